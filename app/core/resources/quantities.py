"""Numbers in sentences: counts, shares and rates with a suitable number of digits."""

import math

FEWEST = 0.0001
"""A share below this is not written as a number."""


def count(number: float) -> str:
    """Format a count with three significant digits: 48,200."""
    return f"{rounded(number, 3):,.0f}"


def share(part: float, whole: float) -> str:
    """Format a share in per cent, with two digits: 3.1 %, 12 %."""
    if whole <= 0 or part <= 0:
        return "0 %"
    if part >= whole:
        return "100 %"
    if part / whole < FEWEST:
        return "less than 0.01 %"
    percent = 100 * part / whole
    if percent > 99:
        return f"{min(math.floor(percent * 100) / 100, 99.99):.6g} %"  # never rounded up to 100 %
    return f"{rounded(percent, 2):.6g} %"


def shares(least: float, most: float, whole: float) -> str:
    """Format a range of shares: 3.1 % to 12 %."""
    low, high = share(least, whole), share(most, whole)
    return low if low == high else f"{low} to {high}"


def rate(number: float) -> str:
    """Format a number per second, with two digits."""
    if number >= 100 or number <= 0:
        return count(number)
    return f"{rounded(number, 2):.6g}" if number >= 0.001 else "less than 0.001"


def rounded(number: float, digits: int) -> float:
    """Round to so many significant digits, never to fewer than the whole number of 1 needs."""
    if number <= 0:
        return 0.0
    return round(number, digits - 1 - math.floor(math.log10(number)))

"""What a process uses, sampled over time, and how it changes: a leak is a slope."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

MEBIBYTE = 1 << 20
WARM = 0.25
"""The part of a run whose samples do not count: caches fill."""
NOISE = {"memory": 4.0, "threads": 4.0, "descriptors": 4.0, "watches": 1.0}
"""What a figure may grow by in a whole run, in MiB or in numbers, and still be flat.

The event loop of the webhook reads files in a pool of threads, which has a few more or less.
"""


@dataclass
class Vitals:
    """The samples of one process, by the name of the figure: pairs of seconds and a value."""

    name: str
    samples: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def put(self, seconds: float, figures: Mapping[str, float]) -> None:
        """Add a sample."""
        for figure, value in figures.items():
            self.samples.setdefault(figure, []).append((seconds, value))

    def counting(self, figure: str) -> Sequence[tuple[float, float]]:
        """The samples after the run has become warm."""
        all_of_them = self.samples[figure]
        return all_of_them[int(len(all_of_them) * WARM) :]

    def growth(self, figure: str) -> float:
        """What the fitted line grows by over the samples that count."""
        counting = self.counting(figure)
        if len(counting) < 3:
            return math.nan
        times, values = zip(*counting, strict=True)
        return float(statistics.linear_regression(times, values).slope * (times[-1] - times[0]))

    def flat(self, figure: str) -> bool:
        """Whether the line stays within the noise: that of the figure, or that of the samples themselves."""
        values = [value for _, value in self.counting(figure)]
        return abs(self.growth(figure)) <= max(NOISE[figure], statistics.pstdev(values))


def of_process(pid: int) -> dict[str, float]:
    """Memory in MiB, threads and open file descriptors of a process."""
    folder = Path(f"/proc/{pid}")
    status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
    return {
        "memory": int(status["VmRSS"].split()[0]) / 1024,
        "threads": float(status["Threads"]),
        "descriptors": float(len(list((folder / "fd").iterdir()))),
    }

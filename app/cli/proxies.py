"""Flags about DNS: by how many proxies names are resolved, and how long the answers are valid."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from app.cli.flags import AtLeast, Decorator, flag, together
from app.cli.terminal import fail

if TYPE_CHECKING:
    from app.core.resources.sidecars import Group

FROM_CLUSTER = "cluster"
_MOST_PROXIES = 10_000_000


def dns_flags(of_cluster: str = "") -> Decorator:
    """Declare by how many proxies names are resolved."""
    more = f", {of_cluster}" if of_cluster else ""
    return together(
        flag(
            "--proxies",
            f"Count the DNS queries of so many proxies: N that know every entry, or NAMESPACE=N, repeated{more}.",
            metavar="N|NAMESPACE=N",
            multiple=True,
        ),
        flag("--ttl", "Seconds that answers of DNS are valid, for --proxies.", type=AtLeast(1), default=30.0),
    )


def read_groups(given: tuple[str, ...], from_cluster: "Callable[[], tuple[Group, ...]] | None") -> "tuple[Group, ...]":
    """Read how many proxies there are, or count those of the cluster."""
    if given == (FROM_CLUSTER,) and from_cluster:
        return from_cluster()
    return tuple(map(partial(_group, cluster=from_cluster is not None), given))


def _group(text: str, *, cluster: bool) -> "Group":
    from app.core.resources.sidecars import ANY, Group

    namespace, _, number = text.rpartition("=")
    if not (number.isascii() and number.isdigit() and int(number) <= _MOST_PROXIES):
        also = f" or {FROM_CLUSTER}" if cluster else ""
        fail(f"--proxies: {text!r} is neither a number such as 500 nor a namespace with one, such as shop=20{also}")
    return Group(namespace or ANY, int(number))

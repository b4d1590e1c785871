"""How much longer a create takes with the webhook: the same entries in a namespace that it guards and in one not."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from statistics import median

from tests.bed.binaries import provide
from tests.bed.control_plane import ControlPlane
from tests.bed.processes import wait_until
from tests.guard import Webhook
from tests.perf.api import Api
from tests.perf.figures import Effort, Figure, p99
from tests.perf.objects import entry

GUARDED, PLAIN = "guarded", "plain"
SELECTOR = {"guard": "on"}
PAIRS = 500
WARMING = 50
ADDED_AIM = 3.0
NUMBERS = count()


def run(effort: Effort) -> Iterator[Figure]:
    """In turns, one create here, one there: first of entries that the webhook patches, then of compliant ones."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        control_plane = stack.enter_context(ControlPlane(provide()))
        api = stack.enter_context(Api(control_plane))
        webhook = stack.enter_context(Webhook(folder))
        stack.enter_context(webhook.registered(control_plane, SELECTOR))
        api.create_namespace(GUARDED, **SELECTOR)
        api.create_namespace(PLAIN)
        wait_until(lambda: _stored(api, GUARDED, "?dryRun=All") == "DNS", "the webhook is asked")
        for resolution, shown in (("NONE", "an entry that is patched"), ("DNS", "a compliant entry")):
            _pairs(api, resolution, WARMING)
            yield from _figures(shown, *_pairs(api, resolution, effort.count(PAIRS)))


def _figures(shown: str, guarded: list[float], plain: list[float]) -> Iterator[Figure]:
    for values, how in ((plain, "without the webhook"), (guarded, "with both calls")):
        yield Figure(f"{shown}, {how}, median", median(values) * 1000, "ms")
        yield Figure(f"{shown}, {how}, 99th percentile", p99(values) * 1000, "ms")
    yield Figure(f"{shown}, added at the median", (median(guarded) - median(plain)) * 1000, "ms", ADDED_AIM)


def _pairs(api: Api, resolution: str, pairs: int) -> tuple[list[float], list[float]]:
    """Seconds of each create: guarded, and plain."""
    taken: dict[str, list[float]] = {GUARDED: [], PLAIN: []}
    for _ in range(pairs):
        for namespace, values in taken.items():
            given = entry(next(NUMBERS), resolution=resolution)
            began = time.perf_counter()
            stored = api.create_entry(given, namespace)
            values.append(time.perf_counter() - began)
            expected = "DNS" if namespace == GUARDED else resolution
            assert stored["spec"]["resolution"] == expected, "the webhook is not asked where it should be"
    return taken[GUARDED], taken[PLAIN]


def _stored(api: Api, namespace: str, query: str) -> str:
    return str(api.create_entry(entry(next(NUMBERS)), namespace, query)["spec"]["resolution"])

"""`python -m tests.harm FILE… [--policy FILE]`: what the guard does to the traffic of a cluster, in words.

Each file holds the objects of one cluster. Prints what would be stored and emitted, and what gets worse, in each way to
come to that state and each set-up of the mesh. Ends with 1 if something does.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from app.core.policy.model import GuardPolicy, default_policy
from app.core.policy.reader import parse_policy
from tests.bed.binaries import provide_generator
from tests.documents import documents, parsed
from tests.harm.envoy import VIRTUAL_OUTBOUND
from tests.harm.generator import Generator
from tests.harm.guarded import EARLY, LATE, World
from tests.harm.protocol import Answer, Description, Manifest, Proxy
from tests.harm.trial import Mesh, Outcome, hold


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.harm", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--policy", type=Path, help="a GuardPolicy; default: FILE.policy.yaml, or the built-in one")
    parser.add_argument("--world", choices=[world.name.lower() for world in World], help="one world only")
    parser.add_argument("--revision", default="", help="the revision of istiod; objects of another do not count")
    parser.add_argument("--emitted-first", action="store_true", help="what is emitted is older than all else")
    parser.add_argument("--tenancy", action="store_true", help="nothing of a namespace changes without its consent")
    parser.add_argument("--dump", action="store_true", help="print what istiod gives the sidecars, before and after")
    given = parser.parse_args()
    worlds = [world for world in World if given.world in {None, world.name.lower()}]
    when = EARLY if given.emitted_first else LATE
    worse = False
    with Generator(provide_generator()) as generator:
        for path in given.files:
            documents, policy = _read(path, given.policy)
            for world in worlds:
                print(f"== {path.name}, {world.name.lower()}: {world.value}")
                mesh = Mesh(revision=given.revision)
                outcome = hold(generator, documents, policy, world, mesh=mesh, emitted_at=when, tenancy=given.tenancy)
                _print(outcome, dump=given.dump)
                worse |= bool(outcome.harms)
    return int(worse)


def _read(path: Path, policy: Path | None) -> tuple[list[Manifest], GuardPolicy]:
    given = documents(path.read_text())
    beside = path.with_suffix(".policy.yaml")
    file = policy or (beside if beside.exists() else None)
    own = parsed(file.read_text()) if file else None
    return [_plain(one) for one in given], parse_policy(own) if own else default_policy()


def _plain(value: Any) -> Any:
    """Write dates as the text that they were: YAML reads a creationTimestamp as a date."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value.strftime("%Y-%m-%dT%H:%M:%SZ") if hasattr(value, "strftime") else value


def _print(outcome: Outcome, *, dump: bool) -> None:
    for one in outcome.change.reviewed:
        stored = one.stored["spec"].get("resolution")
        print(f"   ServiceEntry {one.entry.key}: {one.outcome}, resolution {one.entry.resolution} -> {stored}")
        for finding in one.findings:
            print(f"      {finding.severity.value} {finding.sentence}")
    for emitted in outcome.change.emitted:
        metadata = emitted["metadata"]
        print(f"   emitted {emitted['kind']} {metadata['namespace']}/{metadata['name']}: {json.dumps(emitted['spec'])}")
    for when, answer in (("before", outcome.before), ("after", outcome.after)) if dump else ():
        for line in _lines(answer, outcome.proxies):
            print(f"   {when}: {line}")
    for harm in outcome.harms:
        print(f"   HARM {harm.kind}: {harm}")
    if not outcome.harms:
        print("   no harm")


def _lines(answer: Answer, proxies: Sequence[Proxy]) -> Iterator[str]:
    for rejected in answer.rejected:
        yield f"rejected {rejected.kind} {rejected.namespace}/{rejected.name}: {rejected.reason}"
    for proxy, one in zip(proxies, answer.proxies, strict=True):
        yield f"{proxy}"
        yield from _listeners(one)
        yield from _routes(one)
        for name, cluster in one.clusters.items():
            where = ", ".join(f"{each.address}:{each.port}" for each in cluster.endpoints)
            yield f"  cluster {name} {cluster.type} {where}"
        for name, addresses in one.names.items():
            yield f"  name {name} {','.join(addresses)}"


def _listeners(one: Description) -> Iterator[str]:
    for listener in one.listeners:
        if listener.name == VIRTUAL_OUTBOUND:
            continue
        for chain in [*listener.chains, *([listener.default] if listener.default else [])]:
            match = chain.match
            asks = " ".join([*match.prefixes, *match.server_names, match.transport, *match.applications])
            target = f"routes {chain.route}" if chain.route else ", ".join(each.cluster for each in chain.clusters)
            yield f"  listener {','.join(listener.addresses)}:{listener.port} [{asks}] -> {target}"


def _routes(one: Description) -> Iterator[str]:
    for name, hosts in one.routes.items():
        for host in hosts:
            for route in host.routes:
                to = ", ".join(each.cluster for each in route.clusters) or route.direct
                retry = f"retries {route.retry.attempts} on {','.join(route.retry.on)}" if route.retry else "no retries"
                domains = ",".join(host.domains)
                yield f"  route {name} {domains} {route.match} -> {to}, timeout {route.timeout}, {retry}"


if __name__ == "__main__":
    sys.exit(main())

"""Holds a cluster against the rule: asks istiod's generator before and after the guard, for sidecars of every kind."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.core.policy.model import GuardPolicy
from tests.harm.facts import Facts
from tests.harm.generator import Generator
from tests.harm.guarded import EARLY, LATE, Change, World, change
from tests.harm.protocol import Answer, Manifest, Proxy, Request
from tests.harm.rule import Comparison, Counts, Harm, every_call

BYSTANDER = "bystander"
"""A namespace without any object."""
BLOCKED = {"traffic": "registry-only"}
"""Labels of the sidecars that reach nothing but what is registered."""
PROXY_PORT = 15007
TIMES = 10
"""How often it is looked again whether what got worse was chance."""


@dataclass(frozen=True, slots=True)
class Mesh:
    """How the mesh is set up, beside its objects: fields of MeshConfig, and the revision that its istiod serves."""

    settings: dict[str, Any] | None = None
    revision: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a cluster was before and after the guard, and what got worse."""

    change: Change
    before: Answer
    after: Answer
    proxies: Sequence[Proxy]
    harms: Sequence[Harm]


def hold(
    generator: Generator,
    documents: Iterable[Manifest],
    policy: GuardPolicy,
    world: World = World.ADMITTED,
    *,
    mesh: Mesh | None = None,
    emitted_at: str = LATE,
    tenancy: bool = False,
) -> Outcome:
    """Hold a cluster against the rule.

    Some of what istiod does is left to chance, such as the order of equals. So where something got worse, both sides
    are asked anew, and what did not get worse each time is not told.
    """
    made = change(documents, policy, world, emitted_at)
    trial = _trial(generator, made, policy, mesh, tenancy)
    first = compared = trial.compare()
    if unstored := _never_stored(first, made):
        rest = [one for index, one in enumerate(made.before) if index not in unstored]
        made = change(rest, policy, world, emitted_at)
        trial = _trial(generator, made, policy, mesh, tenancy)
        compared = trial.compare()
    overwritten = [Harm("overwritten", f"the guard writes over {one}") for one in made.overwritten]
    rejections = dict.fromkeys([*first.rejections(), *compared.rejections()])
    harms = [*overwritten, *rejections, *trial.persistent(compared)]
    return Outcome(made, compared.before, compared.after, compared.proxies, harms)


def harms_in_every_world(
    generator: Generator, documents: Sequence[Manifest], policy: GuardPolicy, mesh: Mesh | None = None
) -> list[str]:
    """Hold a cluster against the rule in every world, with what is emitted older and younger than all else."""
    found, held = list[str](), list[object]()
    for world in World:
        for emitted_at in (EARLY, LATE):
            made = change(documents, policy, world, emitted_at)
            if (made.before, made.after) not in held:
                held.append((made.before, made.after))
                outcome = hold(generator, documents, policy, world, mesh=mesh, emitted_at=emitted_at, tenancy=True)
                found += [f"{world.name}, emitted in {emitted_at[:4]}: {harm}" for harm in outcome.harms]
    return found


def _never_stored(compared: Comparison, made: Change) -> set[int]:
    """Return the entries that Istio rejects as they are written: no cluster has them."""
    entries = {index for index, one in enumerate(made.before) if one["kind"] == "ServiceEntry"}
    return {one.index for one in compared.before.rejected} & entries


def _trial(generator: Generator, made: Change, policy: GuardPolicy, mesh: Mesh | None, tenancy: bool) -> "Trial":
    return Trial(generator, made.before, made.after, Facts.read(made.before, policy), mesh or Mesh(), tenancy)


@dataclass(frozen=True, slots=True)
class Trial:
    """Two states of a cluster, held against the rule; `counts` says which calls are looked at."""

    generator: Generator
    before: Sequence[Manifest]
    after: Sequence[Manifest]
    facts: Facts
    mesh: Mesh = field(default_factory=Mesh)
    tenancy: bool = False
    counts: Counts = every_call

    def compare(self) -> Comparison:
        """Ask for both sides."""
        spaces = namespaces(self.before)
        proxies = [proxy for namespace in spaces for proxy in sidecars(namespace)]
        blocking = [_blocking(namespace) for namespace in spaces]
        both = ([*manifests, *blocking] for manifests in (self.before, self.after))
        before, after = self.generator.ask(*(_request(manifests, proxies, self.mesh) for manifests in both))
        return Comparison(before, after, proxies, self.facts, self.tenancy, self.counts)

    def persistent(self, compared: Comparison) -> list[Harm]:
        """Return what gets worse each time."""
        suffered = dict(compared.suffered())
        for _ in range(TIMES):
            if not suffered:
                return []
            again = self.compare().suffered()
            suffered = {place: what for place, what in suffered.items() if place in again}
        return compared.harms(suffered)


def namespaces(manifests: Iterable[Manifest]) -> list[str]:
    """Return the namespaces that objects are in or exported to, and one without any."""
    found = {BYSTANDER}
    for one in manifests:
        spec = one.get("spec")
        exported = spec.get("exportTo", ()) if isinstance(spec, dict) else ()
        found |= {one["metadata"].get("namespace", BYSTANDER), *exported}
    return sorted(found - {".", "*", "~"})


def sidecars(namespace: str) -> list[Proxy]:
    """Return a sidecar of every kind."""
    return [
        Proxy(namespace=namespace),
        Proxy(namespace=namespace, labels=BLOCKED),
        Proxy(namespace=namespace, captures_dns=True),
        Proxy(namespace=namespace, captures_dns=True, labels=BLOCKED),
        Proxy(namespace=namespace, http_proxy_port=PROXY_PORT),
    ]


def _blocking(namespace: str) -> Manifest:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "Sidecar",
        "metadata": {"name": "registry-only", "namespace": namespace},
        "spec": {
            "workloadSelector": {"labels": BLOCKED},
            "outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"},
            "egress": [{"hosts": ["*/*"]}],
        },
    }


def _request(manifests: Sequence[Manifest], proxies: Sequence[Proxy], mesh: Mesh) -> Request:
    return Request(
        manifests=list(manifests),
        proxies=list(proxies),
        mesh=mesh.settings or {},
        revision=mesh.revision,
        allocate=True,
    )

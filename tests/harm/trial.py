"""Holds a cluster against the rule: asks istiod's generator before and after the guard, for sidecars of every kind."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.core.policy import GuardPolicy
from tests.harm.facts import Facts
from tests.harm.generator import Generator
from tests.harm.guarded import LATE, Change, World, change
from tests.harm.protocol import Answer, Manifest, Proxy, Request
from tests.harm.rule import Comparison, Harm

BYSTANDER = "bystander"
"""A namespace without any object."""
BLOCKED = {"harm": "registry-only"}
"""Labels of the sidecars that reach nothing but what is registered."""
PROXY_PORT = 15007


@dataclass(frozen=True, slots=True)
class Mesh:
    """How the mesh is set up, beside its objects."""

    registry_only: bool = False
    captures_dns: bool = False
    proxy_port: bool = False
    settings: dict[str, Any] = field(default_factory=dict)


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
    revision: str = "",
) -> Outcome:
    """Hold a cluster against the rule."""
    made = change(documents, policy, world, emitted_at)
    proxies = list(_proxies(made.before, mesh or Mesh()))
    before, after = generator.ask(
        *(_request(manifests, proxies, mesh or Mesh(), revision) for manifests in (made.before, made.after))
    )
    compared = Comparison(before, after, proxies, Facts.read(made.before, policy), tenancy=tenancy)
    overwritten = [Harm("overwritten", f"the guard writes over {one}") for one in made.overwritten]
    return Outcome(made, before, after, proxies, [*overwritten, *compared.harms()])


def _proxies(manifests: Iterable[Manifest], mesh: Mesh) -> Iterator[Proxy]:
    namespaces = {BYSTANDER}
    for one in manifests:
        namespaces |= {one["metadata"].get("namespace", BYSTANDER), *one.get("spec", {}).get("exportTo", ())}
    for namespace in sorted(namespaces - {".", "*", "~"}):
        yield Proxy(
            namespace=namespace,
            labels=BLOCKED if mesh.registry_only else {},
            captures_dns=mesh.captures_dns,
            http_proxy_port=PROXY_PORT if mesh.proxy_port else 0,
        )


def _request(manifests: Sequence[Manifest], proxies: Sequence[Proxy], mesh: Mesh, revision: str) -> Request:
    policy = {"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}} if mesh.registry_only else {}
    return Request(
        manifests=list(manifests),
        proxies=list(proxies),
        mesh={**policy, **mesh.settings},
        revision=revision,
        allocate=mesh.captures_dns,
    )

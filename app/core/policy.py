"""The GuardPolicy: what a platform team sets.

Every field has a default, and the defaults together are the recipe: resolution DNS, three retries, enforced. Reading a
policy is strict: an unknown key, a wrong type or an impossible value is an error with its path.
"""

import enum
import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import Field, PrivateAttr, ValidationError
from pydantic.alias_generators import to_camel

from app.core.emission import AttemptsBounds, DestinationRule, DurationBounds, VirtualService
from app.core.globs import Glob, matches
from app.core.model import Model, Permission
from app.core.problems import PolicyError, explain
from app.core.resources import JSON

API_VERSION: Final = "serviceentry-guard.io/v1alpha1"
KIND: Final = "GuardPolicy"
MAX_DEPTH = 32
MAX_VALUES = 100_000
INT_BITS = 63
"""Bounds of a document: YAML's aliases can make any number of values out of a few lines, or one that holds itself."""


M = TypeVar("M", bound=Model)


class Mode(enum.Enum):
    """How far the guard goes: change and refuse, only warn, or stand aside."""

    ENFORCE = "Enforce"
    WARN = "Warn"
    OFF = "Off"


class Unfixable(enum.Enum):
    """What becomes of an entry that cannot be given resolution DNS."""

    DENY = "Deny"
    WARN = "Warn"


class Wildcards(enum.Enum):
    """What becomes of an entry of wildcard hosts only."""

    DENY = "Deny"
    DYNAMIC_DNS = "DynamicDNS"
    ALLOW = "Allow"


class Static(enum.Enum):
    """What becomes of an entry that lists its endpoints."""

    ALLOW = "Allow"
    WARN = "Warn"
    DENY = "Deny"


class Existing(enum.Enum):
    """What becomes of an entry that was stored before the guard was there."""

    REPORT = "Report"
    REMEDIATE = "Remediate"


DnsDomain = Annotated[
    str,
    Field(pattern=r"^[a-z0-9][-a-z0-9.]*[a-z0-9]$", max_length=253, title="domain"),
]
"""A DNS name in lower case, without the dot of the root."""


class Scope(Model):
    """Which ServiceEntries are looked at."""

    locations: tuple[Literal["MESH_EXTERNAL", "MESH_INTERNAL"], ...] = Field(
        ("MESH_EXTERNAL",), min_length=1, description="Locations that are looked at; unset counts as MESH_EXTERNAL."
    )
    excluded_namespaces: tuple[Glob, ...] = Field((), description="Namespaces that are not looked at.")
    cluster_domains: tuple[DnsDomain, ...] = Field(
        ("cluster.local", "clusterset.local"),
        description="DNS domains of Kubernetes Services: nothing is emitted for hosts under svc. of these.",
    )


class Resolution(Model):
    """What becomes of a ServiceEntry whose resolution is not DNS."""

    unfixable: Unfixable = Field(
        Unfixable.DENY,
        description="An entry that Istio would refuse with DNS, such as one with CIDR addresses: refused, or let in.",
    )
    wildcards: Wildcards = Field(
        Wildcards.DENY,
        description="An entry of wildcard hosts only: refused, given DYNAMIC_DNS, or left alone.",
    )
    static: Static = Field(
        Static.WARN,
        description="An entry that lists endpoints or selects workloads: let in, let in with a warning, or refused.",
    )


class Exemptions(Model):
    """Who is left alone. An exemption always shows as a finding."""

    hosts: tuple[Glob, ...] = Field(
        (), description="Hosts; an entry is exempt when all its hosts match one of these globs."
    )
    namespaces: tuple[Glob, ...] = Field((), description="Namespaces whose entries are all exempt.")
    annotation: Permission = Field(
        Permission.ALLOW,
        description='Whether serviceentry-guard.io/exempt: "<reason>" on a ServiceEntry is honoured.',
    )


class Settings(Model):
    """What applies to one namespace."""

    mode: Mode = Field(
        Mode.ENFORCE,
        description="Enforce patches, refuses and emits; Warn only warns, and emits nothing; Off does not look at all.",
    )
    scope: Scope = Scope.model_construct()
    resolution: Resolution = Resolution.model_construct()
    exemptions: Exemptions = Exemptions.model_construct()
    virtual_service: VirtualService = VirtualService.model_construct()
    destination_rule: DestinationRule = DestinationRule.model_construct()
    existing: Existing = Field(
        Existing.REPORT,
        description="Entries that were stored before the guard was there: only reported, or patched by the controller.",
    )


class NamespaceSettings(Settings):
    """Settings for the namespaces that match, laid over the rest of the policy."""

    match: tuple[Glob, ...] = Field(min_length=1, description="Namespaces that these settings are for.")


class Metadata(Model):
    """Metadata of the policy."""

    name: str = Field("", description="A name, for people.")


class Identity(Model):
    """What makes a document a policy."""

    api_version: Literal["serviceentry-guard.io/v1alpha1"] = Field(description="Version of the policy's format.")
    kind: Literal["GuardPolicy"] = Field(description="Kind of the document.")
    metadata: Metadata = Metadata.model_construct()


class GuardPolicy(Settings, Identity):
    """One policy file."""

    namespaces: tuple[NamespaceSettings, ...] = Field(
        (),
        description=(
            "Settings for some namespaces: any of the settings above, with match. Only the first entry that matches a "
            "namespace counts; it is laid over the rest key by key, lists as a whole."
        ),
        examples=[[{"match": ["sandbox-*"], "mode": "Warn"}]],
    )

    _laid_over: tuple[Settings, ...] = PrivateAttr(default=())

    def model_post_init(self, _context: JSON) -> None:
        """Lay each namespace's settings over the rest, once."""
        base = _given(self) if self.namespaces else {}
        self._laid_over = tuple(_validate(Settings, _merge(base, _given(one))) for one in self.namespaces)

    def settings(self, namespace: str) -> Settings:
        """Return what applies to a namespace: the first match laid over the rest."""
        for override, settings in zip(self.namespaces, self._laid_over, strict=True):
            if matches(namespace, override.match):
                return settings
        return self

    def layers(self) -> Iterator[tuple[str, Settings, Settings]]:
        """Yield the settings that apply somewhere: path, what is written there, and what results from it."""
        yield "", self, self
        for index, (override, settings) in enumerate(zip(self.namespaces, self._laid_over, strict=True)):
            yield f"namespaces[{index}].", override, settings


def parse_policy(document: object) -> GuardPolicy:
    """Read a decoded policy file; raises PolicyError."""
    if not isinstance(document, dict):
        raise PolicyError([f"the policy must be an object with apiVersion: {API_VERSION} and kind: {KIND}"])
    missing = [f"{name}: must be {value}" for name, value in _IDENTITY.items() if document.get(name) != value]
    if missing:
        raise PolicyError(missing)
    try:
        policy = _validate(GuardPolicy, _plain(document, iter(range(MAX_VALUES))))
    except ValidationError as error:
        raise PolicyError(explain(error, GuardPolicy)) from error
    if reversed_bounds := list(_reversed_bounds(policy)):
        raise PolicyError(reversed_bounds)
    return policy


@lru_cache(maxsize=1)
def default_policy() -> GuardPolicy:
    """Return the built-in policy: the recipe, enforced."""
    return GuardPolicy.model_construct(api_version=API_VERSION, kind=KIND)


_IDENTITY = {"apiVersion": API_VERSION, "kind": KIND}
_SETTINGS = {to_camel(name) for name in Settings.model_fields}


def _validate(model: type[M], document: JSON) -> M:
    """Read as JSON: strictness then still takes arrays for tuples and strings for enumerations."""
    return model.model_validate_json(json.dumps(document), by_alias=True, by_name=False)


def _plain(value: object, left: Iterator[int], depth: int = 0) -> JSON:
    """Copy a document as JSON, within bounds; what JSON does not have becomes text, which the models refuse."""
    if depth > MAX_DEPTH or next(left, None) is None:
        raise PolicyError([f"the policy has more than {MAX_VALUES} values, or is nested deeper than {MAX_DEPTH}"])
    if isinstance(value, Mapping):
        return {_text(name): _plain(one, left, depth + 1) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one, left, depth + 1) for one in value]
    small = isinstance(value, int) and value.bit_length() <= INT_BITS
    return value if value is None or small or isinstance(value, float) else _text(value)


def _text(value: object) -> str:
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    huge = isinstance(value, int) and value.bit_length() > INT_BITS
    return f"a number of more than {INT_BITS} bits" if huge else str(value)


def _given(layer: Settings) -> dict[str, Any]:
    """Dump what a layer sets, and not what it leaves at its default."""
    given = layer.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude={"match", "namespaces"})
    return {name: value for name, value in given.items() if name in _SETTINGS}


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in over.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(name), Mapping)
        merged[name] = _merge(merged[name], value) if both else value
    return merged


def _reversed_bounds(policy: GuardPolicy) -> Iterator[str]:
    """Find bounds that nothing is within; a layer's are checked as they are once it is laid over the rest."""
    known = set[str]()
    for path, _, settings in policy.layers():
        for name, bounds in settings.virtual_service.overrides:
            if isinstance(bounds, AttemptsBounds | DurationBounds) and bounds.reversed:
                problem = f"virtualService.overrides.{to_camel(name)}: min {bounds.min} is over max {bounds.max}"
                yield from () if problem in known else (path + problem,)
                known.add(problem)

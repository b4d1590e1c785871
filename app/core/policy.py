"""The GuardPolicy: what a platform team sets.

Every field has a default, and the defaults together are the recipe: resolution DNS, three retries, enforced. Reading a
policy is strict: an unknown key, a wrong type or an impossible value is an error with its path.
"""

import enum
import json
from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Annotated, Any, Final, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError
from pydantic.alias_generators import to_camel, to_snake

from app.core.durations import DurationField, parse_duration
from app.core.resources import JSON

API_VERSION: Final = "serviceentry-guard.io/v1alpha1"
KIND: Final = "GuardPolicy"

RETRY_CONDITIONS = (
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "retriable-4xx",
    "refused-stream",
    "retriable-status-codes",
    "retriable-headers",
    "envoy-ratelimited",
    "http3-post-connect-failure",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
)
"""The words that Istio's validation accepts in retryOn; it accepts HTTP status codes besides."""


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


class Permission(enum.Enum):
    """Whether teams may use one of our annotations."""

    ALLOW = "Allow"
    FORBID = "Forbid"


class Existing(enum.Enum):
    """What becomes of an entry that was stored before the guard was there."""

    REPORT = "Report"
    REMEDIATE = "Remediate"


Glob = Annotated[str, Field(min_length=1, max_length=253)]
"""A shell pattern (`*`, `?`, `[…]`), compared in lower case."""
RetryCondition = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=64)]
Attempts = Annotated[int, Field(ge=0, le=100)]


class Model(BaseModel):
    """A frozen part of the policy: camelCase, strict, no unknown keys."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
    )


M = TypeVar("M", bound=Model)


class Scope(Model):
    """Which ServiceEntries are looked at."""

    locations: tuple[Literal["MESH_EXTERNAL", "MESH_INTERNAL"], ...] = ("MESH_EXTERNAL",)
    excluded_namespaces: tuple[Glob, ...] = ()


class Resolution(Model):
    """The settings of the decision table."""

    unfixable: Unfixable = Unfixable.DENY
    wildcards: Wildcards = Wildcards.DENY
    static: Static = Static.WARN


class Exemptions(Model):
    """Who is left alone; an exemption always shows as a finding."""

    hosts: tuple[Glob, ...] = ()
    namespaces: tuple[Glob, ...] = ()
    annotation: Permission = Permission.ALLOW


class Retries(Model):
    """`retries` of each route; the optional fields are written only where set, since older Istio rejects them."""

    attempts: Attempts = 3
    per_try_timeout: DurationField = parse_duration("2s")
    retry_on: tuple[RetryCondition, ...] = ("gateway-error", "connect-failure", "refused-stream", "5xx")
    backoff: DurationField | None = None
    retry_ignore_previous_hosts: bool | None = None
    retry_remote_localities: bool | None = None


class UnsafeMethods(Model):
    """Retries of POST and PATCH, where they shall differ; unset means that they do not."""

    retry_on: tuple[RetryCondition, ...] | None = None


class AttemptsBounds(Model):
    """Bounds of the attempts annotation, both inclusive."""

    min: Attempts = 0
    max: Attempts = 10


class DurationBounds(Model):
    """Bounds of a duration annotation, both inclusive."""

    min: DurationField = parse_duration("10ms")
    max: DurationField = parse_duration("5m")


class Overrides(Model):
    """Which annotations teams may use, and within which bounds; null forbids one."""

    attempts: AttemptsBounds | None = AttemptsBounds()
    per_try_timeout: DurationBounds | None = DurationBounds()
    timeout: DurationBounds | None = DurationBounds()
    retry_on: tuple[RetryCondition, ...] | None = RETRY_CONDITIONS
    virtual_service: Permission = Permission.ALLOW


class VirtualService(Model):
    """The VirtualService that is emitted for each host."""

    enabled: bool = True
    timeout: DurationField = parse_duration("30s")
    retries: Retries = Retries()
    unsafe_methods: UnsafeMethods = UnsafeMethods()
    overrides: Overrides = Overrides()


class HttpPool(Model):
    """Connections of HTTP ports; the first bound keeps below the 60 s of common load balancers."""

    idle_timeout: DurationField | None = parse_duration("50s")
    max_requests_per_connection: Annotated[int, Field(ge=1, le=2**29)] | None = None


class TcpKeepalive(Model):
    """Probes on idle connections, so that both ends and the firewalls between them keep or notice."""

    time: DurationField = parse_duration("60s")
    interval: DurationField = parse_duration("15s")
    probes: Annotated[int, Field(ge=1, le=100)] = 3


class TcpPool(Model):
    """Connections of every port, TLS passthrough included."""

    idle_timeout: DurationField | None = None
    max_connection_duration: DurationField | None = None
    tcp_keepalive: TcpKeepalive | None = None


class ConnectionPool(Model):
    """`trafficPolicy.connectionPool`; what is null is not written."""

    http: HttpPool = HttpPool()
    tcp: TcpPool = TcpPool()


class DestinationRule(Model):
    """The DestinationRule that is emitted for each host, where that is wanted."""

    enabled: bool = False
    connection_pool: ConnectionPool = ConnectionPool()
    tls_origination: bool = False


class Settings(Model):
    """What applies to one namespace."""

    mode: Mode = Mode.ENFORCE
    scope: Scope = Scope()
    resolution: Resolution = Resolution()
    exemptions: Exemptions = Exemptions()
    virtual_service: VirtualService = VirtualService()
    destination_rule: DestinationRule = DestinationRule()
    existing: Existing = Existing.REPORT


class NamespaceSettings(Settings):
    """Settings for the namespaces that match, laid over the rest of the policy."""

    match: tuple[Glob, ...] = Field(min_length=1)


class Metadata(Model):
    """Metadata of the policy file: a name, for people."""

    name: str = ""


class GuardPolicy(Settings):
    """One policy file."""

    api_version: Literal["serviceentry-guard.io/v1alpha1"] = API_VERSION
    kind: Literal["GuardPolicy"] = KIND
    metadata: Metadata = Metadata()
    namespaces: tuple[NamespaceSettings, ...] = ()

    _laid_over: tuple[Settings, ...] = PrivateAttr(default=())

    def model_post_init(self, _context: JSON) -> None:
        """Lay each namespace's settings over the rest, so that a clash is found on reading."""
        base = {name: value for name, value in _dump(self).items() if name in _SETTINGS}
        self._laid_over = tuple(_read(Settings, _merge(base, _dump(one))) for one in self.namespaces)

    def settings(self, namespace: str) -> Settings:
        """Return what applies to a namespace: the first match laid over the rest."""
        for override, settings in zip(self.namespaces, self._laid_over, strict=True):
            if matches(namespace, override.match):
                return settings
        return self


class PolicyError(ValueError):
    """A policy that cannot be used; each of `problems` names a path and what is allowed there."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def parse_policy(document: object) -> GuardPolicy:
    """Read a decoded policy file; raises PolicyError."""
    if not isinstance(document, dict):
        raise PolicyError([f"the policy must be an object with apiVersion: {API_VERSION} and kind: {KIND}"])
    missing = [f"{name}: must be {value}" for name, value in _IDENTITY.items() if document.get(name) != value]
    if missing:
        raise PolicyError(missing)
    try:
        return _read(GuardPolicy, document)
    except ValidationError as error:
        raise PolicyError([_explain(detail) for detail in error.errors(include_url=False)]) from error


@lru_cache(maxsize=1)
def default_policy() -> GuardPolicy:
    """Return the built-in policy: the recipe, enforced."""
    return GuardPolicy()


@lru_cache(maxsize=65_536)
def matches(text: str, globs: tuple[str, ...]) -> bool:
    """Say whether a text matches any of the globs, in lower case."""
    return any(fnmatchcase(text.lower(), glob.lower()) for glob in globs)


def _read(model: type[M], document: object) -> M:
    """Validate as JSON: strictness then still takes arrays for tuples and strings for enumerations."""
    return model.model_validate_json(json.dumps(document, default=str))


_IDENTITY = {"apiVersion": API_VERSION, "kind": KIND}
_SETTINGS = frozenset(to_camel(name) for name in Settings.model_fields)


def _dump(model: Model) -> dict[str, Any]:
    dumped = model.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude={"match", "namespaces"})
    return {name: value for name, value in dumped.items() if name in _SETTINGS}


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in over.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(name), Mapping)
        merged[name] = _merge(merged[name], value) if both else value
    return merged


def _explain(detail: JSON) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in detail["loc"]).lstrip(".")
    if detail["type"] == "extra_forbidden":
        return f"{path}: unknown key; allowed here: {', '.join(_keys(detail['loc'][:-1]))}"
    message = str(detail["msg"]).removeprefix("Value error, ")
    return f"{path}: {message[0].lower()}{message[1:]}, not {detail['input']!r:.60}"


def _keys(path: tuple[str | int, ...]) -> list[str]:
    model: type[BaseModel] = GuardPolicy
    for part in path:
        if isinstance(part, str):
            model = _models(model.model_fields[to_snake(part)].annotation)[0]
    return [field.alias or name for name, field in model.model_fields.items()]


def _models(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models(argument)]

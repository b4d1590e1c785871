"""The GuardPolicy: what a platform team sets.

Every field has a default, and the defaults together are the recipe: resolution DNS, three retries, enforced.
"""

import enum
from collections.abc import Iterator, Mapping
from dataclasses import field, replace
from functools import lru_cache
from typing import Annotated, Final, Literal

from app.core.policy.fields import Bounds, Glob, Permission, model, setting
from app.core.policy.tenancy import Exemptions, ExportTo, Hosts
from app.core.policy.traffic import DestinationRule, VirtualService
from app.core.resources.globs import matches
from app.core.resources.service_entry import JSON

API_VERSION: Final = "serviceentry-guard.io/v1alpha1"
KIND: Final = "GuardPolicy"


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


class Tcp(enum.Enum):
    """What becomes of an entry none of whose ports names its host."""

    LEAVE = "Leave"
    DNS = "DNS"


class SplitHosts(enum.Enum):
    """What becomes of entries of a namespace that declare different ports or addresses of one host."""

    LEAVE = "Leave"
    DNS = "DNS"


class Existing(enum.Enum):
    """What becomes of an entry that was stored before the guard was there."""

    REPORT = "Report"
    SIBLINGS = "Siblings"
    REMEDIATE = "Remediate"


DnsDomain = Annotated[str, Bounds(pattern=r"^[a-z0-9][-a-z0-9.]*[a-z0-9]$", max_length=253, title="domain")]
"""A DNS name in lower case, without the dot of the root."""


@model
class Scope:
    """Which ServiceEntries are looked at."""

    locations: tuple[Literal["MESH_EXTERNAL", "MESH_INTERNAL"], ...] = setting(
        "Locations that are looked at; unset counts as MESH_EXTERNAL.", default=("MESH_EXTERNAL",), min_length=1
    )
    excluded_namespaces: tuple[Glob, ...] = setting("Namespaces that are not looked at.", default=())
    cluster_domains: tuple[DnsDomain, ...] = setting(
        "DNS domains of Kubernetes Services: nothing is emitted for hosts under svc. of these.",
        default=("cluster.local", "clusterset.local"),
    )


@model
class Resolution:
    """What becomes of a ServiceEntry whose resolution is not DNS."""

    unfixable: Unfixable = setting(
        "An entry that cannot become DNS, such as one with addresses: refused, or let in.",
        default=Unfixable.DENY,
    )
    wildcards: Wildcards = setting(
        "An entry of wildcard hosts only: refused, given DYNAMIC_DNS, or left alone.", default=Wildcards.DENY
    )
    static: Static = setting(
        "An entry that lists endpoints or selects workloads: let in, let in with a warning, or refused.",
        default=Static.WARN,
    )
    tcp: Tcp = setting(
        "Ports that name no host (TCP, MONGO, MYSQL, REDIS, UDP, no protocol): Leave keeps the resolution of an entry "
        "that has only such ports, and refuses to mix them with others; DNS treats them like other ports, for meshes "
        "whose sidecars capture DNS and allocate addresses.",
        default=Tcp.LEAVE,
    )
    split_hosts: SplitHosts = setting(
        "Entries of a namespace that name the same host and declare different ports, other than HTTP, or different "
        "addresses: Leave keeps their resolution, with a warning, because sidecars that capture DNS take each entry "
        "for another address of the host; DNS changes them like other entries, for meshes whose sidecars do not "
        "capture DNS.",
        default=SplitHosts.LEAVE,
    )


Limit = Annotated[int, Bounds(ge=1, le=1_000_000)]


@model
class Limits:
    """How much is emitted. Beyond a limit nothing is emitted for the entry, not for one of its hosts."""

    entry_hosts: Limit = setting("The most hosts of an entry; Istio's schema takes 256.", default=256)
    entry_routes: Limit = setting("The most hosts times HTTP ports of an entry.", default=512)
    object_bytes: Limit = setting(
        "The most bytes of JSON that one VirtualService or DestinationRule may have.", default=32 * 1024
    )
    namespace_objects: Limit = setting(
        "The most VirtualServices and DestinationRules of a namespace. The oldest entries come first; once their "
        "objects do not fit, nothing is emitted for an entry or any younger one.",
        default=2000,
    )


@model
class Settings:
    """What applies to one namespace."""

    mode: Mode = setting(
        "Enforce patches, refuses and emits; Warn only warns, and emits nothing; Off does not look at all.",
        default=Mode.ENFORCE,
    )
    scope: Scope = Scope()
    resolution: Resolution = Resolution()
    exemptions: Exemptions = Exemptions()
    hosts: Hosts = Hosts()
    export_to: ExportTo = ExportTo()
    virtual_service: VirtualService = VirtualService()
    destination_rule: DestinationRule = DestinationRule()
    limits: Limits = Limits()
    existing: Existing = setting(
        "Entries that were stored before the guard was there. Report: the controller patches none. Siblings: it "
        "patches those that share a namespace and a host with one that became DNS, for Istio merges them. Remediate: "
        "it patches all.",
        default=Existing.SIBLINGS,
    )


@model
class NamespaceSettings(Settings):
    """Settings for the namespaces that match, laid over the rest of the policy."""

    match: tuple[Glob, ...] = setting("Namespaces that these settings are for.", min_length=1)


@model
class Metadata:
    """Metadata of the policy."""

    name: str = setting("A name, for people.", default="")


@model
class Identity:
    """What makes a document a policy."""

    api_version: Literal["serviceentry-guard.io/v1alpha1"] = setting("Version of the policy's format.")
    kind: Literal["GuardPolicy"] = setting("Kind of the document.")
    metadata: Metadata = Metadata()


@model
class Dns:
    """What resolution DNS may cost the DNS servers."""

    max_queries_per_second: Annotated[int, Bounds(ge=1, le=10_000_000)] | None = setting(
        "The most DNS queries that all proxies together may send for ServiceEntries. Above it, review and audit "
        "with --proxies warn of the entries that cost most (SEG049); nothing is refused for it. null sets no limit.",
        default=1000,
    )


@model
class PolicyDocument(Settings, Identity):
    """One policy file."""

    dns: Dns = Dns()

    namespaces: tuple[NamespaceSettings, ...] = setting(
        "Settings for some namespaces: any of the settings above, with match. Only the first entry that matches a "
        "namespace counts; it is laid over the rest key by key, lists as a whole.",
        default=(),
        examples=[[{"match": ["sandbox-*"], "mode": "Warn"}]],
    )


@model
class GuardPolicy(PolicyDocument):
    """A policy as it applies on a day: what the file says, and what comes of it in the namespaces with settings."""

    laid_over: tuple[Settings, ...] = ()
    """Each of `namespaces`, laid over the rest."""
    written: tuple[Mapping[str, JSON], ...] = field(default=({},), compare=False, repr=False)
    """What the file says itself, without any default: for all, and in each of `namespaces`."""
    today: str = ""
    """The day (UTC) by which exemptions are judged; "" where none has ended."""

    @property
    def dated(self) -> bool:
        """Whether anything depends on the day."""
        exemptions = (settings.exemptions for _, _, settings in self.layers())
        return any(one.temporary or one.annotation is Permission.ALLOW for one in exemptions)

    def on(self, day: str) -> "GuardPolicy":
        """Return the policy as it applies on a day, such as 2027-03-31."""
        return self if day == self.today else replace(self, today=day)

    def settings(self, namespace: str) -> Settings:
        """Return what applies to a namespace: the first match laid over the rest."""
        for override, settings in zip(self.namespaces, self.laid_over, strict=True):
            if matches(namespace, override.match):
                return settings
        return self

    def layers(self) -> Iterator[tuple[str, Settings, Settings]]:
        """Yield the settings that apply somewhere: path, what is written there, and what results from it."""
        yield "", self, self
        for index, (override, settings) in enumerate(zip(self.namespaces, self.laid_over, strict=True)):
            yield f"namespaces[{index}].", override, settings


@lru_cache(maxsize=1)
def default_policy() -> GuardPolicy:
    """Return the built-in policy: the recipe, enforced."""
    return GuardPolicy(api_version=API_VERSION, kind=KIND)

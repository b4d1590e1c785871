"""The GuardPolicy: the configuration of the guard.

Every field has a default, and the defaults are the recipe: resolution DNS, three retries, mode Enforce.
"""

import enum
from collections.abc import Iterator, Mapping
from dataclasses import field, replace
from functools import lru_cache
from typing import Annotated, Final, Literal, Self

from app.core.policy.fields import Bounds, Glob, Permission, model, setting
from app.core.policy.tenancy import Exemptions, ExportTo, Hosts
from app.core.policy.traffic import DestinationRule, VirtualService
from app.core.resources.fields import JSON
from app.core.resources.globs import matches

API_VERSION: Final = "serviceentry-guard.io/v1alpha1"
KIND: Final = "GuardPolicy"


class Mode(enum.Enum):
    """Whether the guard changes and rejects entries, only warns, or does nothing."""

    ENFORCE = "Enforce"
    WARN = "Warn"
    OFF = "Off"


class Unfixable(enum.Enum):
    """The verdict on an entry that cannot be given resolution DNS."""

    DENY = "Deny"
    WARN = "Warn"


class Wildcards(enum.Enum):
    """The verdict on an entry with wildcard hosts only."""

    DENY = "Deny"
    DYNAMIC_DNS = "DynamicDNS"
    ALLOW = "Allow"


class Static(enum.Enum):
    """The verdict on an entry that lists its endpoints."""

    ALLOW = "Allow"
    WARN = "Warn"
    DENY = "Deny"


class Tcp(enum.Enum):
    """The verdict on an entry with no port that names its host."""

    LEAVE = "Leave"
    DNS = "DNS"


class SplitHosts(enum.Enum):
    """The verdict on entries of a namespace that declare different ports or addresses of one host."""

    LEAVE = "Leave"
    DNS = "DNS"


class Existing(enum.Enum):
    """The treatment of an entry that was stored before the guard was installed."""

    REPORT = "Report"
    SIBLINGS = "Siblings"
    REMEDIATE = "Remediate"


DnsDomain = Annotated[str, Bounds(pattern=r"^[a-z0-9][-a-z0-9.]*[a-z0-9]$", max_length=253, title="domain")]
"""A DNS name in lower case, without the dot of the root."""


@model
class Scope:
    """The ServiceEntries that the guard reviews."""

    locations: tuple[Literal["MESH_EXTERNAL", "MESH_INTERNAL"], ...] = setting(
        "Locations that are in scope. An entry without location counts as MESH_EXTERNAL.",
        default=("MESH_EXTERNAL",),
        min_length=1,
    )
    excluded_namespaces: tuple[Glob, ...] = setting("Namespaces that are out of scope.", default=())
    cluster_domains: tuple[DnsDomain, ...] = setting(
        "DNS domains of Kubernetes Services. Nothing is emitted for hosts that end in svc. and one of these.",
        default=("cluster.local", "clusterset.local"),
    )


@model
class Resolution:
    """The treatment of a ServiceEntry whose resolution is not DNS."""

    unfixable: Unfixable = setting(
        "An entry that cannot become DNS, such as one with addresses: Deny rejects it, Warn admits it with a warning.",
        default=Unfixable.DENY,
    )
    wildcards: Wildcards = setting(
        "An entry with wildcard hosts only: Deny rejects it, DynamicDNS gives it resolution DYNAMIC_DNS (Istio 1.30 "
        "has it, 1.26 does not, and then rejects the entry), Allow admits it unchanged.",
        default=Wildcards.DENY,
    )
    static: Static = setting(
        "An entry with endpoints or a workloadSelector: Allow admits it, Warn admits it with a warning, Deny rejects "
        "it.",
        default=Static.WARN,
    )
    tcp: Tcp = setting(
        "Ports that name no host (TCP, MONGO, MYSQL, REDIS, UDP, no protocol): Leave keeps the resolution of an entry "
        "that has only such ports, and rejects an entry that mixes them with other ports. DNS treats them like other "
        "ports; use it only if sidecars capture DNS and istiod allocates addresses.",
        default=Tcp.LEAVE,
    )
    split_hosts: SplitHosts = setting(
        "Entries of a namespace that name the same host and declare different ports, other than HTTP, or different "
        "addresses: Leave keeps their resolution, with a warning, because sidecars that capture DNS give the host a "
        "different address for each entry. DNS changes them like other entries; use it only if no sidecar captures "
        "DNS.",
        default=SplitHosts.LEAVE,
    )


Limit = Annotated[int, Bounds(ge=1, le=1_000_000)]


@model
class Limits:
    """Limits of the emitted objects. If an entry exceeds a limit, nothing is emitted for any of its hosts."""

    entry_hosts: Limit = setting("Maximum number of hosts of an entry; Istio's schema allows 256.", default=256)
    entry_routes: Limit = setting("Maximum of hosts times HTTP ports of an entry.", default=512)
    object_bytes: Limit = setting(
        "Maximum size of a VirtualService or DestinationRule, in bytes of JSON.", default=32 * 1024
    )
    namespace_objects: Limit = setting(
        "Maximum number of VirtualServices and DestinationRules in a namespace. The oldest entries come first. For "
        "the first entry that exceeds the maximum, and for all newer entries, nothing is emitted.",
        default=2000,
    )


@model
class Settings:
    """The settings of one namespace."""

    mode: Mode = setting(
        "Enforce patches and rejects entries, and emits objects. Warn only warns, and emits nothing. Off does nothing.",
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
        "Entries that were stored before the guard was installed. Report: the controller patches none. Siblings: it "
        "patches entries that share a namespace and a host with an entry that became DNS, because Istio merges them. "
        "Remediate: it patches all.",
        default=Existing.SIBLINGS,
    )

    def in_mode(self, mode: Mode) -> Self:
        """Return the same settings in another mode."""
        return replace(self, mode=mode)


@model
class NamespaceSettings(Settings):
    """Settings for the namespaces that match, merged into the rest of the policy."""

    match: tuple[Glob, ...] = setting("Namespaces to which these settings apply.", min_length=1)


@model
class Metadata:
    """Metadata of the policy."""

    name: str = setting("A name. It has no effect.", default="")


@model
class Identity:
    """The fields that identify a document as a policy."""

    api_version: Literal["serviceentry-guard.io/v1alpha1"] = setting("Version of the policy's format.")
    kind: Literal["GuardPolicy"] = setting("Kind of the document.")
    metadata: Metadata = Metadata()


@model
class Dns:
    """Limit of the DNS queries that resolution DNS causes."""

    max_queries_per_second: Annotated[int, Bounds(ge=1, le=10_000_000)] | None = setting(
        "Maximum number of DNS queries per second that all proxies together send for ServiceEntries. Above it, review "
        "and audit with --proxies warn about the most expensive entries (SEG049). No entry is rejected for it. null: "
        "no limit.",
        default=1000,
    )


@model
class PolicyDocument(Settings, Identity):
    """One policy file."""

    dns: Dns = Dns()

    namespaces: tuple[NamespaceSettings, ...] = setting(
        "Settings for some namespaces: match, and any of the settings above. Only the first item that matches a "
        "namespace applies. It is merged into the rest of the policy key by key; lists are replaced.",
        default=(),
        examples=[[{"match": ["sandbox-*"], "mode": "Warn"}]],
    )


@model
class GuardPolicy(PolicyDocument):
    """A policy on a given day: the settings of the file, and the merged settings of each item of `namespaces`."""

    laid_over: tuple[Settings, ...] = ()
    """Each item of `namespaces`, merged into the rest."""
    written: tuple[Mapping[str, JSON], ...] = field(default=({},), compare=False, repr=False)
    """The content of the file without defaults: the policy itself, and each item of `namespaces`."""
    today: str = ""
    """The day (UTC) for exemptions; "" if no exemption ends."""

    @property
    def dated(self) -> bool:
        """Whether anything depends on the day."""
        exemptions = (settings.exemptions for _, _, settings in self.layers())
        return any(section.temporary or section.annotation is Permission.ALLOW for section in exemptions)

    @property
    def enforced(self) -> "GuardPolicy":
        """The policy with Enforce instead of Warn; the same object if nothing changes."""
        layers = (self, *self.laid_over)
        if all(layer.mode is not Mode.WARN for layer in layers):
            return self
        own, *others = (layer.in_mode(Mode.ENFORCE) if layer.mode is Mode.WARN else layer for layer in layers)
        return replace(self, mode=own.mode, laid_over=tuple(others))

    def on(self, day: str) -> "GuardPolicy":
        """Return the policy as it applies on a day, such as 2027-03-31."""
        return self if day == self.today else replace(self, today=day)

    def settings(self, namespace: str) -> Settings:
        """Return the settings of a namespace: the first matching item, merged into the rest."""
        for override, settings in zip(self.namespaces, self.laid_over, strict=True):
            if matches(namespace, override.match):
                return settings
        return self

    def layers(self) -> Iterator[tuple[str, Settings, Settings]]:
        """Yield each layer of settings: its path, its own content, and the merged settings."""
        yield "", self, self
        for index, (override, settings) in enumerate(zip(self.namespaces, self.laid_over, strict=True)):
            yield f"namespaces[{index}].", override, settings


@lru_cache(maxsize=1)
def default_policy() -> GuardPolicy:
    """Return the built-in policy: the recipe, in mode Enforce."""
    return GuardPolicy(api_version=API_VERSION, kind=KIND)

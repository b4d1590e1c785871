"""The parts of the policy about teams: exemptions, owners of hosts, and visibility of entries."""

import enum
from typing import Annotated

from app.core.policy.fields import Bounds, DayField, DaysField, Glob, PatternField, Permission, model, setting

LONGEST_REASON = 500
"""Maximum number of characters of a reason."""
EVERY = ("*",)

HostPattern = Annotated[str, Bounds(pattern=r"^(?:\*|\*?[-a-z0-9.]*[a-z0-9])$", max_length=253, title="host")]
"""A host in lower case, or `*` and its end; it matches as in Istio."""
Reason = Annotated[str, Bounds(max_length=LONGEST_REASON, title="text")]


class Require(enum.Enum):
    """The verdict on an entry that every namespace sees."""

    NAMESPACE = "Namespace"
    WARN = "Warn"
    OFF = "Off"


@model
class Temporary:
    """An exemption of the policy that ends."""

    hosts: tuple[Glob, ...] = setting(
        "Hosts. An entry is exempt if all its hosts match one of these globs.", default=EVERY, min_length=1
    )
    namespaces: tuple[Glob, ...] = setting("Namespaces of the entries.", default=EVERY, min_length=1)
    until: DayField = setting(
        "The last day (UTC). After it, the next write of an entry is reviewed; until that write nothing changes."
    )
    reason: Reason = setting("The reason, which the finding shows.", default="")


@model
class Exemptions:
    """Exemptions. Each exempt entry has a finding."""

    hosts: tuple[Glob, ...] = setting(
        "Hosts. An entry is exempt if all its hosts match one of these globs.", default=()
    )
    namespaces: tuple[Glob, ...] = setting("Namespaces whose entries are all exempt.", default=())
    temporary: tuple[Temporary, ...] = setting(
        "Exemptions that end. An entry is exempt if its namespace and all its hosts match.",
        default=(),
        examples=[[{"hosts": ["*.legacy.example"], "until": "2027-03-31", "reason": "OPS-1234: moves"}]],
    )
    annotation: Permission = setting(
        'Whether serviceentry-guard.io/exempt: "<reason>" on a ServiceEntry has an effect.', default=Permission.FORBID
    )
    min_reason_length: Annotated[int, Bounds(ge=1, le=LONGEST_REASON)] = setting(
        "Minimum number of characters of the annotation's reason, without surrounding white space.", default=8
    )
    reason_pattern: PatternField | None = setting(
        "Pattern that some part of the annotation's reason must match, such as [A-Z]+-[0-9]+ for a ticket; null "
        "allows any reason.",
        default=None,
    )
    require_expiry: bool = setting(
        "Whether the annotation has an effect only together with serviceentry-guard.io/exempt-until. `policy check` "
        "finds exemptions of the policy without an end.",
        default=False,
    )
    max_duration: DaysField | None = setting(
        "Maximum time from the day on which the entry is written to the end of its exemption, such as 90d; null: no "
        "limit.",
        default=None,
    )


@model
class Owner:
    """Hosts, and the namespaces that may have entries for them."""

    match: tuple[HostPattern, ...] = setting(
        "Hosts in lower case; *.example.com stands for all names that end in .example.com.", min_length=1
    )
    namespaces: tuple[Glob, ...] = setting("Namespaces that own these hosts.", min_length=1)


@model
class Hosts:
    """Owners of hosts."""

    owners: tuple[Owner, ...] = setting(
        "Hosts with owners. An entry in another namespace is rejected. Only the first item of the list that matches a "
        "host applies. The namespace of an entry with a wildcard host must own all hosts that it covers. The rule "
        "also holds for exempt entries and any location.",
        default=(),
        examples=[[{"match": ["*.payments.example"], "namespaces": ["payments"]}]],
    )


@model
class ExportTo:
    """Visibility of entries. The guard never changes exportTo."""

    require: Require = setting(
        "Namespace rejects an entry that every namespace sees (exportTo unset, or *). Warn admits it with a warning. "
        "Off does not check it.",
        default=Require.OFF,
    )

"""The parts of the policy that keep teams apart: exemptions, who owns which hosts, and how far an entry is visible."""

import enum
from typing import Annotated

from app.core.policy.fields import Bounds, DayField, DaysField, Glob, PatternField, Permission, model, setting

LONGEST_REASON = 500
"""Most characters of a reason."""
EVERY = ("*",)

HostPattern = Annotated[str, Bounds(pattern=r"^(?:\*|\*?[-a-z0-9.]*[a-z0-9])$", max_length=253, title="host")]
"""A host in lower case, or `*` and its end; it matches as in Istio."""
Reason = Annotated[str, Bounds(max_length=LONGEST_REASON, title="text")]


class Require(enum.Enum):
    """What becomes of an entry that every namespace sees."""

    NAMESPACE = "Namespace"
    WARN = "Warn"
    OFF = "Off"


@model
class Temporary:
    """An exemption of the policy that ends."""

    hosts: tuple[Glob, ...] = setting(
        "Hosts; an entry is exempt when all its hosts match one of these globs.", default=EVERY, min_length=1
    )
    namespaces: tuple[Glob, ...] = setting("Namespaces of the entries.", default=EVERY, min_length=1)
    until: DayField = setting(
        "The last day (UTC). After it an entry is judged on its next write; until that write what runs stays as it is."
    )
    reason: Reason = setting("Why, for people; shown in the finding.", default="")


@model
class Exemptions:
    """Who is left alone. An exemption always shows as a finding."""

    hosts: tuple[Glob, ...] = setting(
        "Hosts; an entry is exempt when all its hosts match one of these globs.", default=()
    )
    namespaces: tuple[Glob, ...] = setting("Namespaces whose entries are all exempt.", default=())
    temporary: tuple[Temporary, ...] = setting(
        "Exemptions that end. An entry is exempt when its namespace and all its hosts match.",
        default=(),
        examples=[[{"hosts": ["*.legacy.example"], "until": "2027-03-31", "reason": "OPS-1234: moves"}]],
    )
    annotation: Permission = setting(
        'Whether serviceentry-guard.io/exempt: "<reason>" on a ServiceEntry is honoured.', default=Permission.FORBID
    )
    min_reason_length: Annotated[int, Bounds(ge=1, le=LONGEST_REASON)] = setting(
        "Fewest characters of the annotation's reason, without blanks around it.", default=8
    )
    reason_pattern: PatternField | None = setting(
        "Some part of the annotation's reason must match, such as [A-Z]+-[0-9]+ for a ticket; null takes any reason.",
        default=None,
    )
    require_expiry: bool = setting(
        "Whether the annotation counts only beside serviceentry-guard.io/exempt-until; `policy check` finds "
        "exemptions of the policy without an end.",
        default=False,
    )
    max_duration: DaysField | None = setting(
        "How far away the end of an exemption may be on the day on which the entry is written, such as 90d; null sets "
        "no limit.",
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
    """Who may have entries for which hosts."""

    owners: tuple[Owner, ...] = setting(
        "An entry of another namespace is refused. Only the first entry of the list that matches a host counts; an "
        "entry with a wildcard host must own all that its wildcard covers. Exempt entries and those of any location "
        "are judged too.",
        default=(),
        examples=[[{"match": ["*.payments.example"], "namespaces": ["payments"]}]],
    )


@model
class ExportTo:
    """How far an entry may be visible. The guard never changes exportTo."""

    require: Require = setting(
        "Namespace refuses an entry that every namespace sees (exportTo unset, or *); Warn lets it in with a warning.",
        default=Require.OFF,
    )

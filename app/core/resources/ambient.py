"""What labels, and the status that istiod writes, say of the waypoint that serves a ServiceEntry in an ambient mesh.

An entry is bound to the waypoint that its own labels name, else to the one of its namespace's labels, else to the one
that its status names. All of it is total over any JSON value: labels and status are never a reason to refuse an entry.
"""

from collections.abc import Iterator

from app.core.resources.records import Record

USE_WAYPOINT = "istio.io/use-waypoint"
WAYPOINT_NAMESPACE = "istio.io/use-waypoint-namespace"
DATAPLANE_MODE = "istio.io/dataplane-mode"
INJECTION = "istio-injection"
OPTED_OUT = "none"
"""The value of the label by which an entry or a namespace has no waypoint."""
BOUND = "istio.io/WaypointBound"
"""The type of the condition in which istiod says whether a waypoint serves the entry."""
_ATTACHED = "Successfully attached to waypoint "
"""How the message of that condition begins; the waypoint follows as NAMESPACE/NAME."""


class Ambient(Record):
    """What one object says of its waypoint."""

    waypoint: str = ""
    """The label istio.io/use-waypoint; "" where there is none."""
    namespace: str = ""
    """The label istio.io/use-waypoint-namespace."""
    bound: str = ""
    """The waypoint that the status names, as NAMESPACE/NAME."""
    refused: str = ""
    """Why istiod did not bind the entry to the waypoint, as the status says it."""

    @classmethod
    def read(cls, labels: object, status: object = None) -> "Ambient":
        """Read the labels of an object, and the status of a ServiceEntry."""
        if not (labels or status):
            return NOTHING
        condition = _condition(status) if status else ("", "")
        found = text(labels, USE_WAYPOINT), text(labels, WAYPOINT_NAMESPACE), *condition
        return cls(*found) if any(found) else NOTHING

    @property
    def opted_out(self) -> bool:
        """Whether the labels say that no waypoint serves it."""
        return self.waypoint == OPTED_OUT


NOTHING = Ambient()
"""Of most objects: one for all of them, because there are very many."""


def text(values: object, name: str) -> str:
    """Return a string field of a JSON value, "" where there is none."""
    value = values.get(name) if isinstance(values, dict) else None
    return value if isinstance(value, str) else ""


def _condition(status: object) -> tuple[str, str]:
    """Return the waypoint that the status names, and why the entry is not bound."""
    for one in _conditions(status):
        message = text(one, "message")
        if text(one, "type") != BOUND:
            continue
        if text(one, "status") == "False":
            return "", ": ".join(filter(None, (text(one, "reason"), message)))
        if message.startswith(_ATTACHED):
            named = message.removeprefix(_ATTACHED).partition(" ")[0].rstrip(".")
            return (named if "/" in named else ""), ""
    return "", ""


def _conditions(status: object) -> Iterator[object]:
    found = status.get("conditions") if isinstance(status, dict) else None
    yield from found if isinstance(found, list) else ()

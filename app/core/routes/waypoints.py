"""The verdict on a ServiceEntry beside the labels of its namespace, and beside entries at the same waypoint."""

from app.core.policy.model import GuardPolicy
from app.core.resources.records import replace
from app.core.resources.service_entry import ServiceEntry
from app.core.routes.bindings import Bindings
from app.core.rules.catalogue import EXEMPTED, RESOLUTION_CHANGED
from app.core.rules.resolution import in_scope
from app.core.rules.verdict import Verdict
from app.core.rules.waypoint_findings import shared_finding, waypoint_findings


def at_waypoint(entry: ServiceEntry, verdict: Verdict, bindings: Bindings, policy: GuardPolicy) -> Verdict:
    """Add the findings of an ambient mesh, which need other entries, to the verdict on an entry.

    An entry that shares a host and a waypoint with one of another namespace keeps its resolution. With DNS, Istio gives
    it an address, and chooses at each push which of the two entries the waypoint serves.
    """
    exempt = any(one.rule is EXEMPTED for one in verdict.findings)
    if exempt or entry.problems or not in_scope(entry, policy.settings(entry.key.namespace)):
        return verdict
    if shared := bindings.shared(entry):
        kept = (one for one in verdict.findings if one.rule is not RESOLUTION_CHANGED)
        return replace(verdict, findings=(*kept, shared_finding(entry, *shared)), patch=())
    stored = verdict.patch[0]["value"] if verdict.patch else entry.resolution
    said = waypoint_findings(entry, stored)
    found = waypoint_findings(entry, stored, bindings.namespace(entry.key.namespace))
    added = tuple(one for one in found if one not in said)
    return replace(verdict, findings=(*verdict.findings, *added)) if added else verdict

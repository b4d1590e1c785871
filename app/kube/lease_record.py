"""The content of a Lease: who holds it, and to whom its holder shall hand it over."""

from app.core.resources.service_entry import PREFIX
from app.kube.client import Object
from app.kube.timing import micro_time

HAND_OVER = f"{PREFIX}hand-over-to"
"""Annotation of a Lease: the identity that its holder hands it over to."""


def requested(lease: Object, identity: str) -> Object:
    """A Lease whose holder is asked to hand it over to `identity`."""
    annotations = {**(lease["metadata"].get("annotations") or {}), HAND_OVER: identity}
    return {**lease, "metadata": {**lease["metadata"], "annotations": annotations}}


def successor(lease: Object) -> str:
    """The identity that asks for the Lease; empty without one."""
    annotations = lease.get("metadata", {}).get("annotations") or {}
    return str(annotations.get(HAND_OVER, ""))


def handed_over(lease: Object, duration: int) -> Object:
    """A Lease that its successor holds. The request for it is gone."""
    metadata = lease["metadata"]
    annotations = {name: text for name, text in metadata["annotations"].items() if name != HAND_OVER}
    claim = claimed(lease["spec"], successor(lease), duration)
    return {**lease, "metadata": {**metadata, "annotations": annotations}, "spec": claim}


def claimed(spec: Object, identity: str, duration: int) -> Object:
    """The spec of a Lease that `identity` acquires, or renews if it is the holder."""
    now = micro_time()
    claim = {**spec, "holderIdentity": identity, "leaseDurationSeconds": duration, "renewTime": now}
    if spec.get("holderIdentity") == identity:
        return claim
    transitions = spec["leaseTransitions"] + 1 if "leaseTransitions" in spec else 0
    return {**claim, "acquireTime": now, "leaseTransitions": transitions}


def released(spec: Object) -> Object:
    """The spec of a released Lease, which any replica may acquire immediately."""
    return {**spec, "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": micro_time()}

"""All faults, in the order of the page: each module of faults puts its own into the table when it is imported."""

from tests.chaos import (
    faults_api_server,
    faults_controller,
    faults_etcd,
    faults_network,
    faults_objects,
    faults_webhook,
)
from tests.chaos.faults import TABLE, Fault

MODULES = (faults_api_server, faults_etcd, faults_controller, faults_network, faults_webhook, faults_objects)
PARTS = ("API server", "etcd", "controller", "network", "webhook", "objects")
FAULTS: tuple[Fault, ...] = tuple(sorted(TABLE, key=lambda fault: PARTS.index(fault.part)))
QUICK: tuple[Fault, ...] = tuple(each for each in FAULTS if each.quick)

"""`python -m tests.chaos.soak`: half an hour in which everything that happens seldom happens often.

The policy file changes every 10 s, certificates live for 90 s, the Lease is taken from the leader every 45 s, and teams
create five entries a second. Memory, threads, file descriptors and watches have to stay flat, and the logs have to stay
free of lines that nobody expects. With --write the result goes into docs/reliability.md.
"""

import argparse
import json
import re
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.kube.client import Client
from app.kube.errors import ApiError, NotFound
from app.kube.resources import EMITTED, LEASES, SERVICE_ENTRIES
from app.settings import LEASE_NAME
from tests.bed.binaries import provide
from tests.bed.control_plane import ControlPlane
from tests.bed.errors import BedError
from tests.bed.guard import Controller
from tests.bed.processes import Child, wait_until
from tests.chaos.arena import POLICY
from tests.chaos.page import write
from tests.chaos.vitals import Vitals, of_process
from tests.e2e.installation import Installation

SHORT = ("--ca-lifetime=300s", "--certificate-lifetime=90s", "--certificate-propagation=20s")
RATE = 5.0
KEPT = 200
"""Entries at a time: older ones are deleted."""
POLICY_SECONDS, LEADER_SECONDS, SAMPLE_SECONDS = 10.0, 45.0, 5.0
BEGIN, END = "<!-- Made by `make soak`. -->\n", "<!-- End of the soak. -->\n"
EXPECTED = (
    r"stopped leading: lost Lease",
    r"cannot acquire or renew Lease .* \(409 Conflict\)",
    r"reconciling .* failed, will retry: .*the object has been modified.* \(409 Conflict\)",
)
"""Lines at level warning that the taken Lease leads to: for a moment, two controllers believe that they lead."""
WATCHED = re.compile(r'^apiserver_longrunning_requests\{.*resource="(\w+)".*verb="WATCH".*\} (\d+)')
OURS = {"serviceentries", "virtualservices", "destinationrules"}


@dataclass
class Soak:
    """The parts of a run."""

    installation: Installation
    processes: dict[str, Child]
    policy: Path
    vitals: dict[str, Vitals] = field(default_factory=dict)
    created: int = 0
    failed: list[str] = field(default_factory=list)
    reloads: int = 0
    leaders: int = 0
    certificates: set[bytes] = field(default_factory=set)
    end: threading.Event = field(default_factory=threading.Event)

    def run(self, seconds: float) -> None:
        """Do everything at its interval, each in a thread of its own, and sample."""
        tasks = ((1 / RATE, self._create), (POLICY_SECONDS, self._reload), (LEADER_SECONDS, self._take_lease))
        threads = [threading.Thread(target=self._repeat, args=task) for task in tasks]
        for thread in threads:
            thread.start()
        began = time.monotonic()
        try:
            while time.monotonic() < began + seconds:
                self._sample(time.monotonic() - began)
                time.sleep(SAMPLE_SECONDS)
        finally:
            self.end.set()
            for thread in threads:
                thread.join()

    def _repeat(self, seconds: float, task: Callable[[], None]) -> None:
        due = time.monotonic()
        while not self.end.wait(max(0.0, due - time.monotonic())):
            due += seconds
            try:
                task()
            except ApiError as error:
                self.failed.append(str(error))

    def _create(self) -> None:
        self.created += 1
        self.installation.client.create(SERVICE_ENTRIES, self.installation.entry(f"soak-{self.created}"))
        if self.created > KEPT:
            self.installation.client.delete(SERVICE_ENTRIES, self.installation.team, f"soak-{self.created - KEPT}")

    def _reload(self) -> None:
        self.reloads += 1
        fresh = self.policy.with_suffix(".new")
        fresh.write_text(f"{POLICY}# {self.reloads}\n")
        fresh.rename(self.policy)

    def _take_lease(self) -> None:
        if self.leaders:
            empty = [{"op": "replace", "path": "/spec/holderIdentity", "value": ""}]
            self.installation.client.json_patch(LEASES, self.installation.name, LEASE_NAME, empty)
        self.leaders += 1

    def _sample(self, seconds: float) -> None:
        for name, child in self.processes.items():
            self.vitals.setdefault(name, Vitals(name)).put(seconds, of_process(child.pid))
        self.vitals.setdefault("API server", Vitals("API server")).put(seconds, {"watches": self._watches()})
        self.certificates.add(self.installation.secret("serviceentry-guard-tls").get("tls.crt", b""))

    def _watches(self) -> float:
        lines = self.installation.control_plane.get("/metrics")[1].decode().splitlines()
        found = (WATCHED.match(line) for line in lines)
        return sum(float(one[2]) for one in found if one and one[1] in OURS)


def unexpected(logs: Sequence[Path]) -> Counter[str]:
    """Lines of the logs at level warning or above that the run does not bring about; names and numbers left out."""
    found = Counter[str]()
    for path in logs:
        for line in path.read_text(errors="replace").splitlines():
            record = _record(line)
            message = str(record.get("message"))
            if record.get("level") not in {"info", "debug"} and not any(re.search(one, message) for one in EXPECTED):
                found[f"{path.stem.partition('-')[0]}: {re.sub(r'[0-9a-f]{8}|[0-9]+', 'N', message)}"] += 1
    return found


def _record(line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError:
        return {"level": "none", "message": line}
    return record if isinstance(record, dict) else {"level": "none", "message": line}


@contextmanager
def soaking() -> Iterator[Soak]:
    """Webhook, two controllers and a stand-in for the kubelet, all ready."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="serviceentry-guard-soak-")))
        plane = stack.enter_context(ControlPlane(provide()))
        client = Client.from_kubeconfig(str(plane.kubeconfig))
        stack.callback(client.close)
        installation = Installation(plane, client, folder)
        policy = folder / "policy.yaml"
        policy.write_text(POLICY)
        stack.enter_context(installation.kubelet())
        given = [*SHORT, f"--policy={policy}", "--log-format=json", f"--namespace={installation.name}"]
        given += ["--manage-certificates", f"--webhook-configuration={installation.name}"]
        webhook = stack.enter_context(installation.webhook(f"--policy={policy}", "--log-format=json"))
        controllers = [stack.enter_context(Controller(plane, folder, given)) for _ in range(2)]
        webhook.wait_until(lambda: installation.ready, "the webhook has a certificate")
        processes = {"webhook": webhook, **{f"controller {n + 1}": one.child for n, one in enumerate(controllers)}}
        wait_until(lambda: bool(installation.bundle()), "the API server trusts it")
        yield Soak(installation, processes, policy)
        webhook.kill()


def report(soak: Soak, minutes: float) -> str:
    """The result as Markdown."""
    head = ("process", "figure", "first", "last", "change by the fitted line", "")
    rows = [head, tuple("---" for _ in head)]
    for vitals in soak.vitals.values():
        for figure, samples in vitals.samples.items():
            unit = " MiB" if figure == "memory" else ""
            counting = vitals.counting(figure)
            change = f"{vitals.growth(figure):+.1f}{unit}"
            verdict = "flat" if vitals.flat(figure) else "GROWS"
            rows.append(
                (vitals.name, figure, f"{counting[0][1]:.0f}{unit}", f"{samples[-1][1]:.0f}{unit}", change, verdict)
            )
    lines = [f"| {' | '.join(row)} |" for row in rows]
    log = unexpected([child.log for child in soak.processes.values()])
    said = [f"{count} times `{message}`" for message, count in log.items()]
    counts = (
        f"{minutes:g} minutes: {soak.created} entries created ({len(soak.failed)} refused), {soak.reloads} changes of "
        f"the policy file, {len(soak.certificates)} serving certificates, the Lease taken {soak.leaders - 1} times. "
        f"Unexpected lines in the logs: {log.total()}{': ' if said else '.'}{'; '.join(said)}"
    )
    return "\n".join((counts, "", *lines)) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="how long it lasts")
    parser.add_argument("--write", action="store_true", help="put the result into docs/reliability.md")
    given = parser.parse_args()
    try:
        with soaking() as soak:
            soak.run(60 * given.minutes)
            settled = _settle(soak)
            text = report(soak, given.minutes)
    except BedError as error:
        print(f"soak: {error}", file=sys.stderr)
        return 2
    print(text, *dict.fromkeys(soak.failed), settled, sep="\n")
    if given.write:
        write(text, BEGIN, END)
    flat = all(vitals.flat(figure) for vitals in soak.vitals.values() for figure in vitals.samples)
    return 0 if flat and not soak.failed and not settled else 1


def _settle(soak: Soak) -> str:
    """Wait until each entry has its VirtualService; what is missing after a minute."""
    client, team = soak.installation.client, soak.installation.team

    def names(resource: Any) -> set[str]:
        return {host for item in client.list_page(resource, team).items for host in item["spec"]["hosts"]}

    try:
        wait_until(lambda: names(SERVICE_ENTRIES) == names(EMITTED["VirtualService"]), "all are routed", 60)
    except (TimeoutError, NotFound) as error:
        return str(error)
    return ""


if __name__ == "__main__":
    sys.exit(main())

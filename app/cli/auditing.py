"""An audit with all that was asked for besides the verdicts: traffic, suggestions, DNS queries."""

from collections.abc import Iterator
from dataclasses import dataclass

from app.audit import EVERYTHING, Audit, Part, connect, proxies
from app.cli.insight import Asked, Suggest, read_dns, read_usage
from app.cli.progress import progress
from app.cli.proxies import read_groups
from app.core.insight.cluster import Insight, WithFindings
from app.core.insight.suggestions import annotations, policy_for
from app.core.policy.model import GuardPolicy
from app.kube.client import Access, Client
from app.manifests.writer import document
from app.report import Report


@dataclass(frozen=True, slots=True)
class Look:
    """What is audited, and how."""

    access: Access
    policy: GuardPolicy
    asked: Asked
    proxies: tuple[str, ...]
    ttl: float
    suggest: Suggest | None = None
    part: Part = EVERYTHING


class Seen:
    """The results of one audit."""

    def __init__(self, audit: Audit, insight: Insight, policy: GuardPolicy) -> None:
        """Take the verdicts, the insight beside them, and the policy."""
        self._audit = audit
        self._insight = insight
        self._policy = policy
        self._report: Report | None = None

    def report(self, *, colour: bool) -> Report:
        """Return the report."""
        dns = self._insight.dns
        findings = dns.findings(self._policy.dns.max_queries_per_second) if dns else {}
        reviewed = WithFindings(self._audit, findings) if findings else self._audit
        self._report = Report(reviewed, colour=colour, insight=self._insight)
        return self._report

    @property
    def exit_code(self) -> int:
        """Return the exit code."""
        return (self._report or self.report(colour=False)).exit_code

    def suggestions(self, kind: Suggest) -> Iterator[str]:
        """Yield settings that would keep nearly all calls, as YAML; a comment if nothing needs to be changed."""
        forecasts = self._insight.usage.forecasts if self._insight.usage else ()
        if kind is Suggest.ANNOTATIONS:
            documents = list(annotations(forecasts))
        else:
            policy = policy_for(forecasts, self._policy)
            documents = [policy] if policy else []
        if not documents:
            yield "# Nothing to change: the policy keeps nearly all calls.\n"
        yield from map(document, documents)


def look(what: Look) -> Seen:
    """Read the cluster, and Prometheus if it was named; raises AuditError."""
    client = connect(what.access)
    progress.step(f"listing the objects of {client.cluster}")
    asked = what.asked.prometheus or what.proxies
    policy = what.policy.enforced if asked else what.policy
    audit = Audit(client, policy, what.part)
    insight = _insight(client, audit, what)
    if policy is not what.policy:
        del audit  # two of them at a time would take twice the memory
        audit = Audit(client, what.policy, what.part)
    return Seen(audit, insight, what.policy)


def _insight(client: Client, audit: Audit, what: Look) -> Insight:
    """Query Prometheus for the effect of the policy once it is enforced, if flags ask for it."""
    if what.asked.prometheus:
        progress.step("asking Prometheus")
    usage = read_usage(what.asked, what.policy, audit.hosts, audit.forecasts, needed=what.suggest is not None)
    if what.proxies:
        progress.step("counting the proxies")
    groups = read_groups(what.proxies, lambda: proxies(client, what.part))
    dns = read_dns(audit.resolutions(), groups, what.ttl)
    progress.step("reviewing the ServiceEntries")
    return Insight(usage, dns, audit.stored_objects)

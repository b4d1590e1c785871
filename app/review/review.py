"""The review of files: read, review, and write a report; or repair the files; or act in a pipeline."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from app.core.insight.cluster import Insight, WithFindings
from app.core.policy.model import GuardPolicy
from app.core.resources.records import Record
from app.core.routes.survey import DEFAULT_NAMESPACE, Reviewed, survey
from app.core.routes.unseen_namespaces import unseen_namespaces
from app.core.rules.findings import printable
from app.manifests.edits import NotEditable, repaired
from app.manifests.files import STDIN_NAME, replace_file
from app.manifests.layout import Source
from app.manifests.manifests import Manifests
from app.report import Output, Report, Revision, SourceLine, write
from app.review.krm import configured

if TYPE_CHECKING:
    from app.core.resources.sidecars import Group
    from app.review.pipeline import Pipeline


UNSEEN = (
    "labels of namespaces are not in the input: {namespaces}; add their Namespace manifests, or review does not know "
    "which waypoint serves their entries, and whether sidecars are beside it"
)


class Request(Record):
    """What to review, and how; without `output` as text, or as a ResourceList if the input is one.

    `namespace` is the namespace of manifests that have none. `cluster_folders` are globs of folders that are clusters.
    """

    paths: Sequence[str]
    policy: GuardPolicy
    namespace: str = DEFAULT_NAMESPACE
    cluster_folders: Sequence[str] = ()
    output: Output | None = None
    colour: bool = False
    proxies: "tuple[Group, ...]" = ()
    """The proxies whose DNS queries are counted."""
    ttl: float = 30.0
    step: Callable[[str], object] = str
    """Is told each step."""


class Review:
    """One review. To change files, call `repair`. Iterate `written` to its end, then read `complaints`, `exit_code`."""

    def __init__(self, request: Request) -> None:
        """Read and review everything; raises PolicyError if a KRM function has an invalid policy."""
        self._request = request
        self._failures: list[str] = []
        self._read()

    def repairs(self) -> Iterator[str]:
        """Yield a line for each entry that `repair` would change in its file."""
        for source, entries in self._changed():
            with suppress(NotEditable):
                repaired(source, entries)
                yield from (
                    f"{self._place(each)}: ServiceEntry {each.entry.key}: resolution {each.entry.resolution} becomes "
                    f"{each.repaired.resolution}"
                    for each in entries
                )

    def repair(self) -> Iterator[str]:
        """Set every resolution that would be changed in its file; yield a line for each, and read all files again."""
        for source, entries in self._changed():
            try:
                replace_file(source.file, repaired(source, entries))
            except NotEditable as error:
                self._failures.append(f"{source.file.name}: is not fixed: {error}")
            except OSError as error:
                self._failures.append(f"{source.file.name}: is not fixed: {error.strerror}")
            else:
                yield from (f"{self._place(entry)}: ServiceEntry {entry.entry.key} is fixed" for entry in entries)
        self._read()

    def written(self) -> Iterator[str]:
        """Yield the standard output in pieces."""
        if self._function:
            return self._transformed()
        if self._request.output is Output.YAML:
            return self._passed_on()
        if self._request.output is Output.DIFF:
            return write(self._report(tuple(self._revisions())), Output.DIFF)
        return write(self._report(), self._request.output or Output.TEXT)

    def complaints(self) -> Iterator[str]:
        """Yield the lines for standard error."""
        for item in self._manifests.unreviewed:
            yield f"{SourceLine(item.source, item.line)}: {item.reason}"
        yield from self._failures
        if unseen := unseen_namespaces(self._manifests.documents, self._reviewed):
            yield UNSEEN.format(namespaces=", ".join(map(printable, unseen)))
        if self._function or self._request.output in {Output.YAML, Output.DIFF}:
            yield from (line for each in self._refused for line in self._refusal(each))

    @property
    def empty(self) -> bool:
        """Whether folders were named and none has a ServiceEntry: most often it is the wrong folder."""
        found = self._reviewed or self._manifests.unreviewed
        return not found and any(Path(path).is_dir() for path in self._request.paths)

    @property
    def exit_code(self) -> int:
        """Return the exit code. A KRM function ends with 0 after a change, because changing is its purpose."""
        report = self._report()
        if self._function and not report.incomplete:
            return int(bool(self._refused))
        return report.exit_code

    def _read(self) -> None:
        request = self._request
        self._manifests = Manifests(request.paths, request.namespace, request.cluster_folders, request.step)
        request.step(f"reviewing {len(self._manifests.documents)} objects")
        policy = configured(self._manifests.resource_list, request.policy.today) if self._function else None
        self._reviewed = survey(self._manifests.documents, policy or request.policy, request.namespace)
        self._insight = Insight()
        if request.proxies:
            self._count_queries(policy or request.policy)

    def _count_queries(self, policy: GuardPolicy) -> None:
        """Count the DNS queries, and warn about the most expensive entries if the policy's limit is exceeded."""
        from app.core.insight.dns_load import dns_load  # noqa: PLC0415 - few reviews count queries

        under = survey(self._manifests.documents, policy.enforced, self._request.namespace)
        pairs = (
            (reviewed.entry, reviewed.repaired if reviewed.verdict.allowed else reviewed.entry) for reviewed in under
        )
        dns = dns_load(pairs, self._request.proxies, self._request.ttl)
        self._insight = Insight(dns=dns)
        self._reviewed = tuple(WithFindings(self._reviewed, dns.findings(policy.dns.max_queries_per_second)))

    @property
    def _function(self) -> bool:
        """Whether this runs as a KRM function."""
        return self._manifests.resource_list is not None and self._request.output in {None, Output.YAML}

    @property
    def _refused(self) -> list[Reviewed]:
        return [reviewed for reviewed in self._reviewed if not reviewed.verdict.allowed]

    def _refusal(self, reviewed: Reviewed) -> Iterator[str]:
        for finding in reviewed.verdict.errors:
            place = self._report().place(reviewed, finding.path)
            yield f"{place}: ServiceEntry {reviewed.entry.key} is refused: {finding.sentence}. {finding.remedy}"

    def _place(self, reviewed: Reviewed) -> SourceLine:
        return self._report().place(reviewed, "spec.resolution")

    def _report(self, revisions: Sequence[Revision] | None = None) -> Report:
        manifests = self._manifests
        return Report(
            self._reviewed,
            manifests.unreviewed,
            manifests,
            revisions,
            colour=self._request.colour,
            insight=self._insight,
        )

    def _changed(self) -> Iterator[tuple[Source, list[Reviewed]]]:
        """Yield the sources with changes, except those that cannot be read completely."""
        broken = {item.source for item in self._manifests.unreadable}
        groups = defaultdict[str, list[Reviewed]](list)
        for reviewed in self._reviewed:
            if reviewed.verdict.patch and reviewed.source not in broken:
                groups[reviewed.source].append(reviewed)
        yield from ((self._manifests.sources[name], entries) for name, entries in groups.items())

    def _revisions(self) -> Iterator[Revision]:
        for source, entries in self._changed():
            try:
                yield Revision(source.file.name, source.file.text, repaired(source, entries))
            except NotEditable as error:
                self._failures.append(f"{source.file.name}: is not in the diff: {error}")

    @property
    def _pipeline(self) -> "Pipeline":
        from app.review.pipeline import Pipeline  # noqa: PLC0415 - few reviews are part of a pipeline

        return Pipeline(self._manifests, self._reviewed, self._request.namespace)

    def _transformed(self) -> Iterator[str]:
        if not self._manifests.unreadable:
            yield self._pipeline.resource_list()

    def _passed_on(self) -> Iterator[str]:
        """Yield the output. A pipeline gets all of it or nothing, because objects that are missing may be deleted."""
        if STDIN_NAME in self._manifests.sources:
            if self._refused or self._manifests.unreadable:
                return
            try:
                yield self._pipeline.stream()
            except NotEditable as error:
                self._failures.append(f"{STDIN_NAME}: is not passed on: {error}")
                return
        yield from write(Report([entry for entry in self._reviewed if entry.source != STDIN_NAME]), Output.YAML)

"""Manifests in files: YAML or JSON, with one or more documents each; Lists are split into their items."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property

from app.core.resources.fields import JSON, Fields
from app.core.resources.kinds import is_http_route, is_istio
from app.core.resources.namespaces import is_namespace
from app.core.resources.records import replace
from app.core.resources.service_entry import Key
from app.core.routes.observed import KINDS
from app.core.routes.survey import DEFAULT_NAMESPACE, Skipped, Sourced, Unreadable, Unreviewed
from app.core.rules.findings import quoted
from app.manifests.clusters import Clusters
from app.manifests.documents import Document, Malformed, documents
from app.manifests.embedded import mention
from app.manifests.files import STDIN_NAME, read_files
from app.manifests.kustomize import FILES
from app.manifests.layout import Source
from app.manifests.lists import is_template, members
from app.manifests.obstacles import ENTRY_KIND, Obstacle, enclosed, obstacle
from app.manifests.projects import Projects, Unrendered, inline_patches

REVIEWED_KINDS = (ENTRY_KIND, *KINDS)
"""The kinds that a review reads; of other documents only the text is kept."""


class Manifests:
    """Istio's objects in some paths ("-" is standard input), and the files that could not be read or reviewed.

    `namespace` is the namespace of manifests that have none. `cluster_folders` are globs of folders that are clusters.
    `step` is told how many files have been read.
    """

    def __init__(
        self,
        paths: Iterable[str],
        namespace: str = DEFAULT_NAMESPACE,
        cluster_folders: Iterable[str] = (),
        step: Callable[[str], object] = str,
    ) -> None:
        self.documents: list[Sourced] = []
        self.unreadable: list[Unreadable] = []
        self.skipped: list[Skipped] = []
        self.sources: dict[str, Source] = {}
        self.resource_list: JSON = None
        """The input of a KRM function, if standard input contains one."""
        self._namespace = namespace
        self._step = step
        self._read(list(paths), cluster_folders)

    @property
    def unreviewed(self) -> Sequence[Unreviewed]:
        """The manifests that could not be read, or must be rendered first."""
        return (*self.unreadable, *self.skipped)

    def line(self, manifest: Sourced, path: str) -> int:
        """Return the line, counted from 1, of a field of a manifest, or of its nearest existing parent."""
        source = self.sources[manifest.source]
        return source.line(source.node(manifest).find(path).start)

    def named(self, kind: str, key: Key) -> Sequence[Sourced]:
        """Return the manifests of a kind and key."""
        return self._index.get((kind, key), ())

    @cached_property
    def _index(self) -> Mapping[tuple[str, Key], Sequence[Sourced]]:
        index = defaultdict[tuple[str, Key], list[Sourced]](list)
        for document in self.documents:
            index[document.manifest["kind"], _key(document.manifest, self._namespace)].append(document)
        return index

    def _read(self, paths: Sequence[str], cluster_folders: Iterable[str]) -> None:
        clusters, projects = Clusters(paths, cluster_folders), Projects()
        self.unreadable += [Unreadable(glob, "--cluster-folders matches no folder") for glob in clusters.unmatched]
        unrendered = defaultdict[str, list[tuple[Unrendered, Source]]](list)
        for number, file in enumerate(read_files(paths), 1):
            self._step(f"reading files: {number}")
            if isinstance(file, Unreadable):
                self.unreadable.append(file)
            elif file.path and (found := projects.unrendered(file.path)):
                if found.concerns(file.text):
                    unrendered[found.chart or file.name].append((found, Source(file)))
            else:
                self._take(Source(file), clusters.of(file.path) if file.path else STDIN_NAME)
        for (first, source), *more in unrendered.values():
            line = source.line(mention(source.file.text) or 0)
            self.skipped.append(Skipped(source.file.name, first.reason(len(more)), line))

    def _take(self, source: Source, cluster: str) -> None:
        name, before = source.file.name, len(self.documents)
        try:
            for document in documents(source.file.text):
                source.spans.append((document.start, document.end))
                self._add(source, document, cluster)
        except Malformed as error:
            self.unreadable.append(Unreadable(name, error.reason, error.line))
        if len(self.documents) > before or name == STDIN_NAME:
            self.sources[name] = source

    def _add(self, source: Source, document: Document, cluster: str) -> None:
        name, value = source.file.name, document.value
        if name == STDIN_NAME and len(source.spans) == 1 and is_resource_list(value):
            self.resource_list = value
        found = list(_manifests(Sourced(name, value, len(source.spans) - 1, cluster=cluster)))
        if document.twice and any(_kept(sourced.manifest) for sourced in found):
            key, line = document.twice
            self.unreadable.append(Unreadable(name, f"has the key {quoted(key)} twice in one object", line))
            return
        for sourced in found:
            if obstacles := list(_obstacles(sourced, value, source)):
                self._leave_out(sourced, obstacles, source)
            elif _kept(sourced.manifest) or is_namespace(sourced.manifest):
                self.documents.append(sourced)

    def _leave_out(self, sourced: Sourced, obstacles: Iterable[Obstacle], source: Source) -> None:
        for each in obstacles:
            line = source.line(source.node(sourced).find(each.path).start)
            if each.rejected:
                self.unreadable.append(Unreadable(sourced.source, each.reason, line))
            else:
                self.skipped.append(Skipped(sourced.source, each.reason, line))


def _kept(manifest: JSON) -> bool:
    """Say whether a manifest is reviewed, or routes the hosts of reviewed ones."""
    return is_istio(manifest, REVIEWED_KINDS) or is_http_route(manifest)


def is_resource_list(value: JSON) -> bool:
    """Say whether a document is a ResourceList, the input and output of KRM functions."""
    if not isinstance(value, dict) or value.get("kind") != "ResourceList" or not isinstance(value.get("items"), list):
        return False
    return str(value.get("apiVersion")).startswith("config.kubernetes.io/")


def _key(manifest: JSON, namespace: str) -> Key:
    meta = Fields(manifest, "").child("metadata")
    return Key(meta.text("namespace") or namespace, meta.text("name") or meta.text("generateName"))


def _manifests(document: Sourced) -> Iterator[Sourced]:
    """Split a List or a Template into its objects."""
    found = members(document.manifest)
    if found is None:
        yield document
    else:
        yield from (replace(document, manifest=manifest, item=item) for item, manifest in enumerate(found))


def _obstacles(sourced: Sourced, document: JSON, source: Source) -> Iterator[Obstacle]:
    """Yield the reasons why a manifest of a document cannot be reviewed."""
    path, manifest = source.file.path, sourced.manifest
    inline = list(inline_patches(path, manifest)) if path and path.name in FILES else []
    if inline:
        yield from inline
        return
    found = obstacle(
        manifest,
        listed=sourced.item is not None,
        template=is_template(document),
        placeholders=source.may_have_placeholders,
    )
    if found is None and source.mentions_entries:
        found = enclosed(manifest)
    if found:
        yield found

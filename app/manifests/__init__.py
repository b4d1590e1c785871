"""Manifests as people keep them: files of YAML or JSON, several documents each, Lists taken apart."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from app.core.findings import quoted
from app.core.plan import KINDS
from app.core.resources import JSON, Fields, Key, is_istio
from app.core.survey import DEFAULT_NAMESPACE, Sourced, Unreadable
from app.manifests.clusters import Clusters
from app.manifests.documents import Document, Malformed, documents
from app.manifests.files import STDIN_NAME, File, read_files
from app.manifests.source import Source

KEPT = ("ServiceEntry", *KINDS)
"""The kinds that a review is about; of all others no more than their text is kept."""


class Manifests:
    """What was read of some paths ("-" is standard input): Istio's objects, and what could not be read.

    `namespace` is that of manifests that name none. `cluster_folders` are globs of folders that are clusters.
    """

    def __init__(
        self, paths: Iterable[str], namespace: str = DEFAULT_NAMESPACE, cluster_folders: Iterable[str] = ()
    ) -> None:
        self.documents: list[Sourced] = []
        self.unreadable: list[Unreadable] = []
        self.sources: dict[str, Source] = {}
        self.resource_list: JSON = None
        """The input of a KRM function, where standard input holds one."""
        self._namespace = namespace
        paths = list(paths)
        self._clusters = Clusters(paths, cluster_folders)
        self.unreadable += [Unreadable(glob, "--cluster-folders matches no folder") for glob in self._clusters.unmatched]
        for one in read_files(paths):
            if isinstance(one, File):
                self._take(Source(one))
            else:
                self.unreadable.append(one)

    def line(self, one: Sourced, path: str) -> int:
        """Return the line, counted from 1, of a field of a manifest, or of the nearest that is written."""
        source = self.sources[one.source]
        return source.line(source.node(one).find(path).start)

    def named(self, kind: str, key: Key) -> Sequence[Sourced]:
        """Return the manifests of a kind and key."""
        return self._index.get((kind, key), ())

    @cached_property
    def _index(self) -> Mapping[tuple[str, Key], Sequence[Sourced]]:
        index = defaultdict[tuple[str, Key], list[Sourced]](list)
        for one in self.documents:
            index[one.manifest["kind"], _key(one.manifest, self._namespace)].append(one)
        return index

    def _take(self, source: Source) -> None:
        name, before = source.file.name, len(self.documents)
        try:
            for document in documents(source.file.text):
                source.spans.append((document.start, document.end))
                self._add(source, document)
        except Malformed as error:
            self.unreadable.append(Unreadable(name, error.reason, error.line))
        if len(self.documents) > before or name == STDIN_NAME:
            self.sources[name] = source

    def _add(self, source: Source, document: Document) -> None:
        name, path, number, value = source.file.name, source.file.path, len(source.spans) - 1, document.value
        if name == STDIN_NAME and number == 0 and is_resource_list(value):
            self.resource_list = value
        one = Sourced(name, value, number, cluster=self._clusters.of(path) if path else STDIN_NAME)
        found = [each for each in _manifests(one) if is_istio(each.manifest, KEPT)]
        if found and document.twice:
            key, line = document.twice
            self.unreadable.append(Unreadable(name, f"has the key {quoted(key)} twice in one object", line))
        else:
            self.documents += found


def is_resource_list(value: JSON) -> bool:
    """Say whether a document is what KRM functions take and give."""
    if not isinstance(value, dict) or value.get("kind") != "ResourceList" or not isinstance(value.get("items"), list):
        return False
    return str(value.get("apiVersion")).startswith("config.kubernetes.io/")


def _key(manifest: JSON, namespace: str) -> Key:
    meta = Fields(manifest, "").child("metadata")
    return Key(meta.text("namespace") or namespace, meta.text("name") or meta.text("generateName"))


def _manifests(one: Sourced) -> list[Sourced]:
    value = one.manifest
    if isinstance(value, dict) and str(value.get("kind")).endswith("List") and isinstance(value.get("items"), list):
        return [replace(one, manifest=manifest, item=item) for item, manifest in enumerate(value["items"])]
    return [one]

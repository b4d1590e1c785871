"""Which manifests `review` holds against each other: those of one cluster, never those of two."""

import json
import re
from pathlib import Path

import pytest

from app.core.policy.model import default_policy
from app.core.routes.survey import Sourced, survey
from tests.command import run
from tests.unit.reviews import Folder, entry, text, virtual_service

PARTNER = entry("partner", resolution="DNS")
ANOTHER = entry("another", hosts=["partner.example.com"], resolution="DNS")
ELSEWHERE = entry("elsewhere", "other", hosts=["partner.example.com"], resolution="DNS")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    monkeypatch.chdir(tmp_path)
    folder = Folder(tmp_path)
    folder.write("clusters/eu/se.yaml", PARTNER)
    folder.write("clusters/us/apps/se.yaml", PARTNER)
    return folder


def codes(folder: Folder, *arguments: str, stdin: str = "") -> dict[str, list[str]]:
    """The findings of each file, by code."""
    result = folder.review(*arguments, "--output=json", stdin=stdin)
    assert result.stderr == ""
    return {
        one["source"]: [finding["code"] for finding in one["findings"]] for one in json.loads(result.stdout)["entries"]
    }


EU, US = "clusters/eu/se.yaml", "clusters/us/apps/se.yaml"


def test_each_folder_given_as_path_is_a_cluster_of_its_own(folder: Folder) -> None:
    folder.write("clusters/us/more.yaml", ELSEWHERE, virtual_service("partner.example.com"))
    found = codes(folder, "clusters/eu", "clusters/us")
    shared = ["SEG026", "SEG021"]
    assert found == {EU: [], US: shared, "clusters/us/more.yaml": shared}


def test_the_other_object_of_a_conflict_is_that_of_the_same_cluster(folder: Folder) -> None:
    for name in (EU, US):
        folder.write(name, ANOTHER, PARTNER)
    report = json.loads(folder.review("clusters/eu", "clusters/us", "--output=json").stdout)
    others = [finding["other"] for one in report["entries"] for finding in one["findings"]]
    assert others == [{"source": EU, "line": 1}, {"source": US, "line": 1}]


def test_the_text_lists_the_emitted_objects_of_each_cluster(folder: Folder) -> None:
    shown = folder.review("clusters/eu", "clusters/us").stdout
    assert shown.count("emits   VirtualService team/partner.example.com") == 2
    assert shown.endswith("2 ServiceEntries reviewed: 0 refused, 0 changed, 2 allowed; 2 objects to emit\n")


def test_a_duplicate_entry_in_a_cluster_is_seg050_and_no_shared_host(folder: Folder) -> None:
    shown = folder.review("clusters").stdout
    assert "which is first by name" not in shown
    assert re.search(
        r"SEG050 metadata.name: another manifest in this cluster has the same namespace and name\n"
        r" *clusters/us/apps/se.yaml:\d+: Keep one of them.*--cluster-folders.*\n"
        r" *clusters/eu/se.yaml:1: conflicting object\n",
        shown,
    )


def test_the_second_manifest_of_a_name_is_reviewed_as_if_the_first_was_not_there(folder: Folder) -> None:
    folder.write("clusters/us/other.yaml", virtual_service("partner.example.com"))
    assert codes(folder, "clusters") == {EU: ["SEG021"], US: ["SEG050", "SEG021"]}


def test_entries_with_generate_name_are_not_duplicates(folder: Folder) -> None:
    generated = entry("partner", resolution="DNS")
    generated["metadata"] = {"generateName": "partner-", "namespace": "team"}
    folder.write("one.yaml", generated, generated)
    assert codes(folder, "one.yaml") == {"one.yaml": []}


def test_files_given_by_name_are_one_cluster_together(folder: Folder) -> None:
    folder.write("a.yaml", PARTNER)
    folder.write("b.yaml", ANOTHER)
    assert codes(folder, "a.yaml", "b.yaml") == {"a.yaml": ["SEG022"], "b.yaml": []}
    assert codes(folder, "a.yaml", "clusters/eu", "b.yaml") == {"a.yaml": ["SEG022"], EU: [], "b.yaml": []}


@pytest.mark.parametrize("paths", [["clusters", "clusters/eu"], ["clusters/eu", "clusters"], [EU, "clusters/eu", "."]])
def test_a_file_belongs_to_the_nearest_folder_that_was_given(folder: Folder, paths: list[str]) -> None:
    assert codes(folder, *paths) == {EU: [], US: []}


def test_standard_input_is_a_cluster_of_its_own(folder: Folder) -> None:
    stdin = text(PARTNER)
    assert codes(folder, "-", "clusters/eu", EU, stdin=stdin) == {"<stdin>": [], EU: []}


@pytest.mark.parametrize(
    "arguments",
    [
        ["clusters", "--cluster-folders=clusters/*"],
        [".", "--cluster-folders=clusters/eu", "--cluster-folders=*/us"],
        [EU, US, "--cluster-folders=clusters/*"],
        [".", "--cluster-folders=**/apps/"],
        [".", "--cluster-folders=./clusters/../clusters/eu"],
    ],
)
def test_each_folder_that_the_glob_matches_is_a_cluster_of_its_own(folder: Folder, arguments: list[str]) -> None:
    assert codes(folder, *arguments) == {EU: [], US: []}


def test_files_outside_of_the_matched_folders_belong_to_the_path_in_which_they_are(folder: Folder) -> None:
    folder.write("base/se.yaml", PARTNER)
    folder.write("base/another.yaml", ANOTHER)
    found = codes(folder, ".", "--cluster-folders=clusters/*")
    assert found == {"base/another.yaml": [], "base/se.yaml": ["SEG022"], EU: [], US: []}


def test_globs_may_be_absolute_and_may_come_from_the_environment(folder: Folder) -> None:
    assert codes(folder, ".", f"--cluster-folders={folder.path}/clusters/*") == {EU: [], US: []}
    globs = {"SERVICEENTRY_GUARD_CLUSTER_FOLDERS": "clusters/eu clusters/us"}
    assert "SEG050" not in run("review", ".", environment=globs).stdout


def test_a_glob_that_matches_no_folder_is_an_error_with_exit_code_2(folder: Folder) -> None:
    result = folder.review(".", f"--cluster-folders={EU}")
    assert result.exit_code == 2
    assert result.stderr == f"serviceentry-guard: {EU}: --cluster-folders matches no folder\n"
    assert "2 ServiceEntries reviewed" in result.stdout


def test_fix_writes_the_files_of_every_cluster(folder: Folder) -> None:
    folder.write(EU, entry("partner"))
    folder.write(US, entry("partner"))
    assert run("review", "--fix", "clusters/eu", "clusters/us").exit_code == 0
    assert all("resolution: DNS" in Path(name).read_text() for name in (EU, US))


def test_the_order_of_the_report_is_that_of_reading() -> None:
    manifests = [("b", PARTNER), ("a", PARTNER), ("b", ANOTHER), ("a", ANOTHER)]
    documents = [Sourced("file", manifest, cluster=cluster) for cluster, manifest in manifests]
    reviewed = survey(documents, default_policy())
    assert [id(one.origin) for one in reviewed] == [id(one) for one in documents]
    assert [[finding.code for finding in one.findings] for one in reviewed] == [["SEG022"], ["SEG022"], [], []]

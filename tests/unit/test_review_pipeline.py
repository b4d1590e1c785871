"""`review -` in a pipeline: behind Helm and Kustomize, before kubectl, and as a KRM function."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from app.cli import cli
from app.core.policy.model import API_VERSION, KIND
from tests.command import run
from tests.unit.reviews import CONFIG_MAP, REFUSED, entry, loaded, text, virtual_service

HELM = """\
---
# Source: chart/templates/config.yaml
apiVersion: v1
kind: ConfigMap
metadata: {name: c}   # kept
data:
  on: y
---
# Source: chart/templates/entry.yaml
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: api
spec:
  hosts:
  - api.example.com   # partner
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: NONE
"""


def passed_on(stdin: str, *arguments: str) -> str:
    return str(run("review", "-", "--output=yaml", *arguments, stdin=stdin).stdout)


def test_the_output_is_the_input_with_resolution_dns_followed_by_the_emitted_objects() -> None:
    result = run("review", "-", "--output=yaml", stdin=HELM)
    assert (result.exit_code, result.stderr) == (1, "")
    before, _, emitted = result.stdout.partition("---\napiVersion: networking.istio.io/v1\nkind: VirtualService\n")
    assert before == HELM.replace("resolution: NONE", "resolution: DNS")
    assert "name: api.example.com\n" in emitted


def test_input_without_any_entry_passes_untouched() -> None:
    odd = "# nothing here\r\n---\r\na:   [1,\t2] # {\r\n---\r\n%odd"
    for stdin in ("", text(CONFIG_MAP), "a: b", odd.replace("%odd", "x: *y").replace("*y", "y")):
        result = run("review", "-", "--output=yaml", stdin=stdin.encode())
        assert (result.exit_code, result.stdout_bytes) == (0, stdin.encode())


def test_the_output_passes_again_unchanged() -> None:
    once = passed_on(HELM)
    again = run("review", "-", "--output=yaml", stdin=once)
    assert (again.exit_code, again.stdout) == (0, once)


def test_an_object_of_the_guard_that_has_drifted_is_brought_up_to_date_where_it_stands() -> None:
    entry_, service = loaded(passed_on(text(entry(resolution="DNS"))))
    drifted = service | {"spec": service["spec"] | {"http": []}}
    drifted["metadata"]["labels"]["theirs"] = "kept"
    result = run("review", "-", "--output=yaml", stdin=text(drifted, CONFIG_MAP, entry_))
    renewed, other, last = loaded(result.stdout)
    assert (renewed["spec"], renewed["metadata"]["labels"]["theirs"]) == (service["spec"], "kept")
    assert (other, last) == (CONFIG_MAP, entry_)
    in_list = {"apiVersion": "v1", "kind": "List", "items": [drifted, entry_]}
    for written in (text(in_list), json.dumps(in_list)):
        (passed,) = loaded(run("review", "-", "--output=yaml", stdin=written).stdout)
        assert passed["items"] == [renewed, entry_]


def test_a_list_stays_one_list() -> None:
    in_list = {"apiVersion": "v1", "kind": "List", "items": [CONFIG_MAP, entry(resolution="NONE")]}
    passed, emitted = loaded(passed_on(json.dumps(in_list)))
    assert passed["items"] == [CONFIG_MAP, entry(resolution="DNS")]
    assert emitted["kind"] == "VirtualService"


def test_json_is_marked_as_yaml_since_yaml_may_follow_it() -> None:
    assert passed_on(json.dumps(entry())).startswith('---\n{"apiVersion"')


@pytest.mark.parametrize("broken", [text(entry("b", **REFUSED)), "[", "a: &a [*a]"])
def test_nothing_is_passed_on_where_something_would_be_missing(broken: str) -> None:
    result = run("review", "-", "--output=yaml", stdin=f"{HELM}---\n{broken}")
    assert result.exit_code == (1 if "refused" in result.stderr else 2)
    assert result.stdout == ""
    assert result.stderr.startswith("serviceentry-guard: <stdin>:")


def test_nothing_is_passed_on_where_a_resolution_cannot_be_set_alone() -> None:
    shared = {"hosts": ["a.b"], "ports": entry()["spec"]["ports"]}
    aliased = yaml.safe_dump({"kind": "List", "items": [entry("a") | {"spec": shared}, entry("b") | {"spec": shared}]})
    assert "*id" in aliased
    result = run("review", "-", "--output=yaml", stdin=aliased)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("serviceentry-guard: <stdin>: is not passed on: its spec is behind a YAML alias")


def test_without_a_namespace_objects_follow_their_entry_to_wherever_it_is_applied() -> None:
    *_, emitted = loaded(passed_on(HELM))
    assert "namespace" not in emitted["metadata"]
    *_, emitted = loaded(passed_on(HELM, "--namespace=team"))
    assert emitted["metadata"]["annotations"] == {"serviceentry-guard.io/service-entry": "team/api"}


def test_words_that_kubectl_takes_for_true_or_false_stay_text(tmp_path: Any) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text(entry(resolution="DNS")).replace("name: api\n", "name: api\n  labels: {a: 'y', b: 'n'}\n"))
    written = run("review", str(path), "--output=yaml").stdout
    assert "a: 'y'\n" in written
    assert "b: 'n'\n" in written


def resource_list(*items: dict[str, Any], **more: Any) -> str:
    head = {"apiVersion": "config.kubernetes.io/v1", "kind": "ResourceList"}
    return yaml.safe_dump({**head, "items": list(items), **more}, sort_keys=False)


@pytest.mark.parametrize("arguments", [[], ["--output=yaml"]])
def test_a_resource_list_comes_out_with_entries_repaired_objects_added_and_results(arguments: list[str]) -> None:
    annotations = {"internal.config.kubernetes.io/path": "a/b.yaml", "internal.config.kubernetes.io/index": "2"}
    noted = entry(resolution="NONE")
    noted["metadata"]["annotations"] = annotations
    result = run("review", "-", *arguments, stdin=resource_list(CONFIG_MAP, noted))
    assert (result.exit_code, result.stderr) == (0, "")
    (given,) = loaded(result.stdout)
    assert (given["apiVersion"], given["kind"]) == ("config.kubernetes.io/v1", "ResourceList")
    other, repaired, emitted = given["items"]
    assert other == CONFIG_MAP
    assert repaired == noted | {"spec": noted["spec"] | {"resolution": "DNS"}}
    assert emitted["metadata"]["name"] == "api.example.com"
    assert given["results"] == [
        {
            "message": "SEG003: NONE becomes DNS, so that retries can reach another address. Write resolution: DNS.",
            "severity": "warning",
            "resourceRef": {
                "apiVersion": noted["apiVersion"],
                "kind": "ServiceEntry",
                "namespace": "team",
                "name": "api",
            },
            "field": {"path": "spec.resolution", "currentValue": "NONE", "proposedValue": "DNS"},
            "file": {"path": "a/b.yaml", "index": 2},
            "tags": {"code": "SEG003", "rule": "ResolutionChanged"},
        }
    ]


def test_a_function_run_on_its_own_result_changes_nothing_and_updates_objects_in_place() -> None:
    (once,) = loaded(run("review", "-", stdin=resource_list(entry())).stdout)
    (again,) = loaded(run("review", "-", stdin=yaml.safe_dump(once)).stdout)
    assert again["items"] == once["items"]
    once["items"][1]["spec"]["http"] = []
    once["items"][1]["metadata"]["annotations"]["config.kubernetes.io/path"] = "vs.yaml"
    (renewed,) = loaded(run("review", "-", stdin=yaml.safe_dump(once)).stdout)
    assert renewed["items"][1]["spec"] == again["items"][1]["spec"]
    assert renewed["items"][1]["metadata"]["annotations"]["config.kubernetes.io/path"] == "vs.yaml"


FUNCTION = """\
apiVersion: config.kubernetes.io/v1
kind: ResourceList
items:
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: c}   # kept
  data:
    script: |
      #!/bin/sh
      exit   0
- apiVersion: networking.istio.io/v1
  kind: ServiceEntry
  metadata:
    name: api
    namespace: team
  spec:
    hosts: [api.example.com] # partner
    ports: [{number: 80, name: http, protocol: HTTP}]
    resolution: NONE   # the old way
"""


def test_a_function_leaves_the_text_of_all_else_as_it_was() -> None:
    given = run("review", "-", stdin=FUNCTION).stdout
    kept = FUNCTION.replace("resolution: NONE ", "resolution: DNS ")
    assert given.startswith(f"{kept}- apiVersion: networking.istio.io/v1\n  kind: VirtualService\n")
    assert "\nresults:\n- message: " in given
    assert run("review", "-", stdin=given).stdout.startswith(f"{kept}- apiVersion")


def test_a_function_reads_and_gives_json() -> None:
    for indent in (None, 2):
        stdin = json.dumps(yaml.safe_load(FUNCTION), indent=indent)
        given = json.loads(run("review", "-", stdin=stdin).stdout)
        assert [one["kind"] for one in given["items"]] == ["ConfigMap", "ServiceEntry", "VirtualService"]
        assert len(given["results"]) == 1


def test_a_function_rewrites_the_whole_list_if_its_items_are_behind_an_alias() -> None:
    aliased = "items: &i\n- {apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: a}, spec: *s}\n"
    spec = "functionConfig: {spec: &s {hosts: [a.b], ports: [{number: 80, name: h, protocol: HTTP}]}}\n"
    head = FUNCTION[: FUNCTION.index("items")]
    (given,) = loaded(run("review", "-", stdin=head + spec + aliased).stdout)
    assert [one["kind"] for one in given["items"]] == ["ServiceEntry", "VirtualService"]
    assert given["items"][0]["spec"]["resolution"] == "DNS"
    assert "resolution" not in given["functionConfig"]["spec"]
    stored = aliased.replace("items: &i", "other: &i") + "items: *i\n"
    (given,) = loaded(run("review", "-", stdin=head + spec.replace("ports", "resolution: DNS, ports") + stored).stdout)
    assert [one["kind"] for one in given["items"]] == ["ServiceEntry", "VirtualService"]


def test_a_function_keeps_a_rejected_entry_and_fails() -> None:
    refused = entry(**REFUSED)
    refused["metadata"]["annotations"] = {"config.kubernetes.io/path": "a.yaml"}
    result = run("review", "-", stdin=resource_list(refused))
    assert result.exit_code == 1
    (given,) = loaded(result.stdout)
    assert given["items"] == [refused]
    assert (given["results"][0]["severity"], given["results"][0]["file"]) == ("error", {"path": "a.yaml"})
    assert "ServiceEntry team/api is refused: SEG006" in result.stderr


def test_a_function_takes_its_policy_from_its_configuration() -> None:
    head = {"apiVersion": API_VERSION, "kind": KIND}
    noted = {"metadata": {"name": "p", "annotations": {"config.kubernetes.io/function": "exec: {path: x}"}}}
    (given,) = loaded(
        run("review", "-", stdin=resource_list(entry(), functionConfig={**head, **noted, "mode": "Off"})).stdout
    )
    assert given["items"] == [entry()]
    assert "results" not in given
    other = {"apiVersion": "v1", "kind": "ConfigMap", "data": {}}
    (given,) = loaded(run("review", "-", stdin=resource_list(entry(), functionConfig=other)).stdout)
    assert len(given["items"]) == 2
    broken = run("review", "-", stdin=resource_list(entry(), functionConfig={**head, "mode": "x"}))
    assert (broken.exit_code, broken.stdout) == (2, "")
    assert broken.stderr.startswith("serviceentry-guard: mode: ")


def test_a_resource_list_can_be_reported_on_like_any_other_list() -> None:
    result = run("review", "-", "--output=json", stdin=resource_list(entry(), virtual_service("api.example.com")))
    (reviewed,) = json.loads(result.stdout)["entries"]
    assert [(finding["code"], finding["line"]) for finding in reviewed["findings"]] == [("SEG003", 9), ("SEG021", 10)]
    assert result.exit_code == 1


def test_a_function_prints_no_list_if_its_input_is_partly_unreadable() -> None:
    result = run("review", "-", stdin=resource_list(entry()) + "---\n[")
    assert (result.exit_code, result.stdout) == (2, "")


def test_yaml_output_of_files_has_the_allowed_entries_even_if_another_is_rejected() -> None:
    examples = Path(__file__).parent.parent.parent / "docs" / "examples"
    result = CliRunner().invoke(cli, ["review", str(examples), "--output", "yaml"])
    kinds = [document["kind"] for document in yaml.safe_load_all(result.stdout)]
    assert kinds == ["ServiceEntry", "VirtualService", "VirtualService"]
    assert "partner-network is refused: SEG006" in result.stderr
    assert result.exit_code == 1

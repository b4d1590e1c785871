"""The policy's reference: its schema agrees with its model, its default is the default, and both are printed."""

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, ValidationError, validators

from app.cli import cli
from app.core.policy.errors import PolicyError
from app.core.policy.model import PolicyDocument, default_policy
from app.core.policy.reader import as_document, parse_policy
from app.policyfile import decode_policy
from app.reference import PolicyField, default_text, fields, schema
from tests.depth import examples

SCHEMA = schema()
FULL: dict[str, Any] = as_document(default_policy(), PolicyDocument)
FULL["destinationRule"]["connectionPool"]["tcp"]["tcpKeepalive"] = {"time": "60s", "interval": "15s", "probes": 3}
ELSEWHERE = {"apiVersion", "kind", "metadata", "namespaces", "dns"}
"""What the whole policy has, and no namespace of its own."""
SETTINGS = {name: value for name, value in FULL.items() if name not in ELSEWHERE}
FULL["namespaces"] = [{"match": ["*"], **SETTINGS}]

Path_ = tuple[str | int, ...]


def ecma_pattern(_validator: object, pattern: str, instance: object, _schema: object) -> Iterator[ValidationError]:
    """Match as JSON Schema says, after ECMA-262: there, `$` does not match before a final line feed."""
    if isinstance(instance, str) and not re.search(pattern.replace("$", r"\Z"), instance):
        yield ValidationError(f"{instance!r} does not match {pattern}")


Validator = validators.extend(Draft202012Validator, {"pattern": ecma_pattern})  # type: ignore[no-untyped-call]  # so it is

VALIDATOR = Validator(SCHEMA)


def places(value: Any, path: Path_ = ()) -> Iterator[Path_]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in items:
        yield from places(one, (*path, key))


def at(document: Any, path: Path_) -> Any:
    for key in path:
        document = document[key]
    return document


BEYOND_SCHEMA = re.compile(r": min \S+ is over max \S+$|exemptions\.reasonPattern: (?!must be a pattern|input)")
DURATIONS = ["2s", "0s", "1.5ms", "1h2m3s4ms", "500ms", "2s\n", "99h", "1m30s"]
WORDS = ["Warn", "Off", "Allow", "Forbid", "Deny", "DynamicDNS", "MESH_INTERNAL", "Report", "GuardPolicy"]
ODD = ["", "a", "A", "\u00e9", "5xx", "503", "5xx\n", "-x", "*" * 253, "*" * 254, "a" * 65]
texts = st.sampled_from([*DURATIONS, *WORDS, *ODD])
numbers = st.sampled_from(
    [-1, 0, 1, 3, 100, 101, 2**29, 2**29 + 1, 2**64, 1.5]
)  # 3.0 is an integer in JSON Schema only
leaves = st.one_of(texts, texts, numbers, st.booleans(), st.none())
values = st.one_of(
    leaves,
    leaves,
    st.lists(leaves, max_size=2),
    st.dictionaries(st.sampled_from(["min", "max", "match", "mode", "x"]), leaves, max_size=2),
    st.sampled_from([at(FULL, path) for path in places(FULL)]),
).map(copy.deepcopy)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """A policy with every field, after some mutations."""
    document = copy.deepcopy(FULL)
    for _ in range(draw(st.integers(1, 3))):
        paths = [path for path in places(document) if path]
        path = paths[draw(st.integers(0, 10_000)) % len(paths)]
        holder = at(document, path[:-1])
        match draw(st.sampled_from(["set", "set", "set", "delete", "add"])):
            case "set":
                holder[path[-1]] = draw(values)
            case "delete":
                del holder[path[-1]]
            case _ if isinstance(holder, dict):
                holder[draw(st.sampled_from(["x", "mode", "per_try_timeout", "match", "apiVersion"]))] = draw(values)
    return document


def line_of(written: str, text: str) -> int:
    return text[: text.index(written)].count("\n") + 1


def refused(document: object) -> list[str]:
    try:
        parse_policy(document)
    except PolicyError as error:
        return error.lines
    return []


@given(documents())
@settings(max_examples=examples(300), deadline=None)
def test_schema_and_model_agree_except_on_reversed_bounds_and_invalid_patterns(document: Any) -> None:
    problems = [problem for problem in refused(document) if not BEYOND_SCHEMA.search(problem)]
    found = [error.message for error in VALIDATOR.iter_errors(document)]
    assert bool(found) is bool(problems), (found, problems)


def test_the_schema_is_one_of_its_dialect() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert VALIDATOR.is_valid(FULL)


def test_the_schema_gives_every_default_as_it_is_written_in_a_file() -> None:
    assert SCHEMA["$defs"]["VirtualService"]["properties"]["timeout"]["default"] == "30s"
    written = (field for field in leaf_fields() if field.path[0] in SETTINGS and "[]" not in "".join(field.path))
    assert all(field.default == at(FULL, field.path) for field in written)


def leaf_fields(among: tuple[PolicyField, ...] | None = None) -> Iterator[PolicyField]:
    for field in fields() if among is None else among:
        if not field.section:
            yield field
        yield from leaf_fields(field.fields)


def test_the_printed_default_is_exactly_the_default_policy_with_every_field() -> None:
    assert decode_policy(default_text().encode(), "default") == default_policy()
    assert yaml.safe_load(default_text()) == as_document(default_policy(), PolicyDocument)


def test_the_printed_default_says_what_every_field_is_for() -> None:
    said = " ".join(line.strip().replace("# ", "") for line in default_text().splitlines())
    unsaid = [field.path for field in every_field() if field.description not in said]
    assert [path for path in unsaid if not path[-2].endswith("[]")] == []  # an empty list has an example
    assert all(len(field.description) > 6 and field.description.endswith(".") for field in every_field())


def every_field(among: tuple[PolicyField, ...] | None = None) -> Iterator[PolicyField]:
    for field in fields() if among is None else among:
        yield field
        yield from every_field(field.fields)


def test_the_commented_out_settings_are_valid() -> None:
    keepalive = default_text().replace("tcpKeepalive: null", "tcpKeepalive:").splitlines()
    start = next(index for index, line in enumerate(keepalive) if "tcpKeepalive:" in line)
    indent = len(keepalive[start]) - len(keepalive[start].lstrip())
    inside = [line.replace("# ", "", 1) for line in keepalive[start + 1 : start + 7]]
    assert all(line.startswith(" " * (indent + 2)) for line in inside)
    text = "\n".join([*keepalive[: start + 1], *inside, *keepalive[start + 7 :]])
    assert decode_policy(text.encode(), "x").destination_rule.connection_pool.tcp.tcp_keepalive
    (example,) = [field.example for field in fields() if field.example]
    assert parse_policy({**FULL, "namespaces": example}).namespaces[0].mode.value == "Warn"


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("mode", "Enforce, Warn or Off"),
        ("kind", "GuardPolicy"),
        ("metadata", "section"),
        ("metadata.name", "text"),
        ("scope.locations", "non-empty list of MESH_EXTERNAL or MESH_INTERNAL"),
        ("exemptions.hosts", "list of globs"),
        ("virtualService.enabled", "true or false"),
        ("virtualService.timeout", "duration, or 0s for none"),
        ("virtualService.grpc.timeout", "duration, or 0s for none, or null"),
        ("virtualService.retries.attempts", "whole number, 0 to 100"),
        ("virtualService.retries.retryOn", "non-empty list of retry conditions"),
        ("virtualService.retries.retryRemoteLocalities", "true or false, or null"),
        ("virtualService.unsafeMethods.retryOn", "list of retry conditions, or null"),
        ("virtualService.overrides.attempts", "section, or null"),
        ("destinationRule.connectionPool.tcp.tcpKeepalive.time", "duration of whole seconds"),
        ("namespaces", "list of sections"),
        ("namespaces[].match", "non-empty list of globs"),
    ],
)
def test_the_reference_describes_the_allowed_values(path: str, allowed: str) -> None:
    (field,) = [field for field in every_field() if ".".join(field.path) == path]
    assert field.allowed == allowed


class TestTheCommand:
    """`serviceentry-guard policy`."""

    def run(self, *arguments: str, given: str | bytes | None = None) -> tuple[int, str, str]:
        result = CliRunner().invoke(cli, ["policy", *arguments], input=given)
        return result.exit_code, result.stdout, result.stderr

    def test_default_prints_the_built_in_policy_which_check_finds_sound(self, tmp_path: Path) -> None:
        code, printed, _ = self.run("default")
        assert (code, printed) == (0, default_text())
        (tmp_path / "policy.yaml").write_text(printed)
        path = str(tmp_path / "policy.yaml")
        assert self.run("check", path) == (0, f"{path}: valid\n", "")

    def test_schema_prints_the_schema(self) -> None:
        code, printed, _ = self.run("schema")
        assert code == 0
        assert json.loads(printed) == SCHEMA

    def test_check_prints_a_line_for_each_finding_and_exits_with_1(self) -> None:
        unsound = default_text().replace("timeout: 30s", "timeout: 3s").replace("[gateway-error", "[gateway-eror")
        assert self.run("check", "-", given=unsound) == (
            1,
            (
                "-: warning SEG030 virtualService.timeout: 3s ends before the last of 4 tries of 2s each\n"
                '-: warning SEG031 virtualService.retries.retryOn[0]: Istio does not know "gateway-eror"\n'
            ),
            "",
        )

    def test_check_prints_a_line_for_each_problem_and_exits_with_2(self) -> None:
        broken = default_text().replace("mode: Enforce", "mode: On").replace("attempts: 3", "tries: 3")
        code, printed, told = self.run("check", "-", given=broken)
        assert (code, printed) == (2, "")
        assert [line.split(": ")[1:3] for line in told.splitlines()] == [
            [f"-:{line_of('mode: On', broken)}", "mode"],
            [f"-:{line_of('tries: 3', broken)}", "virtualService.retries.tries"],
        ]

    @pytest.mark.parametrize("given", [b"\xff\xfe\x00", b"", b"[" * 100_000, b"#" * 2**21])
    def test_check_answers_anything_else_with_one_line_and_2(self, given: bytes) -> None:
        code, printed, told = self.run("check", "-", given=given)
        assert (code, printed, told.count("\n")) == (2, "", 1)

    def test_check_of_a_file_that_cannot_be_read_exits_with_2(self, tmp_path: Path) -> None:
        assert self.run("check", str(tmp_path / "none"))[0] == 2
        assert (
            self.run("check", str(tmp_path))[2] == f"serviceentry-guard: {tmp_path}: cannot be read: Is a directory\n"
        )

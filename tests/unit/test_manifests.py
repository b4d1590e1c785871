"""Reading manifests: what YAML means, where everything stands, and what is refused in one clear line."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from app.core.resources.fields import JSON
from app.core.resources.service_entry import Key
from app.manifests.documents import ALIAS_LIMIT, DEPTH_LIMIT, VALUE_LIMIT, Malformed, documents, plain
from app.manifests.files import SIZE_LIMIT, File, read_files, replace_file
from app.manifests.layout import layout
from app.manifests.manifests import Manifests
from app.manifests.projects import Projects
from tests.strategies import json_values

ENTRY = """\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: api
spec:
  hosts: [api.example.com]
"""


def values(text: str) -> list[JSON]:
    return [document.value for document in documents(text)]


def reason(text: str) -> tuple[str, int]:
    with pytest.raises(Malformed) as caught:
        values(text)
    return caught.value.reason, caught.value.line


def bomb(levels: int, width: int) -> str:
    first = f"a0: &a0 [{', '.join('x' * width)}]\n"
    return first + "".join(
        f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * width)}]\n" for level in range(1, levels)
    )


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("", None), ("~", None), ("Null", None), ("y", True), ("On", True), ("NO", False), ("off", False),
        ("0", 0), ("80", 80), ("+1", 1), ("-0b11", -3), ("017", 15), ("0o17", 15), ("0x1F", 31), ("1_000", 1000),
        ("100", 100), ("12e3", 12000.0), (".5", 0.5), ("1.", 1.0), ("9" * 30, float("9" * 30)),
        ("1:30", "1:30"), ("2024-01-01", "2024-01-01"), (".inf", ".inf"), ("-", "-"), ("0.1.2", "0.1.2"),
    ],
)  # fmt: skip
def test_a_plain_scalar_means_what_it_means_to_kubectl(text: str, meaning: JSON) -> None:
    assert (plain(text), type(plain(text))) == (meaning, type(meaning))


def test_a_scalar_that_is_quoted_or_tagged_as_text_is_text() -> None:
    assert values("- '1'\n- \"true\"\n- !!str 1\n- !other 3\n- |\n  4\n") == [["1", "true", "1", "3", "4\n"]]
    assert values("[!!int '1', !!bool yes, !!null x]") == [[1, True, "x"]]


def test_keys_are_text_whatever_they_look_like() -> None:
    assert values("{1: a, yes: b, ~: c, &k d: e}\n---\n&n x: y\n*n : z\n") == [
        {"1": "a", "yes": "b", "~": "c", "d": "e"},
        {"x": "z"},
    ]


def test_a_merge_key_takes_in_objects_of_which_the_first_counts_and_the_own_keys_most() -> None:
    text = "a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {<<: [*a, *b], z: 3}\nd: {'<<': kept}\n"
    assert values(text)[0]["c"] == {"x": 1, "y": 1, "z": 3}
    assert values(text)[0]["d"] == {"<<": "kept"}


@given(json_values, st.sampled_from([None, True, False]))
def test_yaml_of_another_writer_has_the_same_values(value: JSON, flow: bool | None) -> None:
    written = yaml.dump([value, value], Dumper=yaml.CSafeDumper, default_flow_style=flow, allow_unicode=True)
    if ".inf" not in written:
        assert values(written) == [[keyed(value), keyed(value)]]


def keyed(value: JSON) -> JSON:
    """PyYAML quotes what it would read as something else, but not what kubectl would."""
    if isinstance(value, dict):
        return {key: keyed(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [keyed(inner) for inner in value]
    return plain(value) if isinstance(value, str) and value in {"y", "Y", "n", "N"} else value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: b\nc: [}", ("is not YAML: did not find expected node content", 2)),
        ("a: b: c", ("is not YAML: mapping values are not allowed in this context", 1)),
        ("a: b\nc: \0", ("is not YAML: control characters are not allowed", 2)),
        ("a: *b", ("*b refers to an unknown anchor", 1)),
        ("a: &a\n- *a", ("*a refers to an object that it is part of", 2)),
        ("a: &a {b: *a}", ("*a refers to an object that it is part of", 1)),
        ("---\n? [a]\n: b", ("has a key that is not text", 2)),
        ("<<: 1", ("merges a value that is not an object", 1)),
    ],
)
def test_broken_yaml_is_refused_with_its_reason_and_line(text: str, expected: tuple[str, int]) -> None:
    said, line = reason(text)
    assert (said, line) == expected


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? ", "a:\n", "&a ["])
def test_nesting_is_refused_before_it_ends_the_process(opening: str) -> None:
    lines = (f"{' ' * depth}{opening}" for depth in range(20_000)) if opening == "a:\n" else [opening * 200_000]
    assert reason("".join(lines))[0] == f"is nested deeper than {DEPTH_LIMIT}"


def test_nesting_within_the_limit_is_read() -> None:
    assert values("[" * DEPTH_LIMIT + "]" * DEPTH_LIMIT)
    assert reason("[" * (DEPTH_LIMIT + 1) + "]" * (DEPTH_LIMIT + 1))


@pytest.mark.parametrize("text", [bomb(12, 9), bomb(2, 200), "a: &a {b: c}\nc:\n" + "  - <<: *a\n" * ALIAS_LIMIT])
def test_aliases_that_multiply_are_refused(text: str) -> None:
    assert reason(text)[0] == f"has aliases that repeat more than {ALIAS_LIMIT:,} values"


def test_aliases_as_people_use_them_are_read() -> None:
    assert values(bomb(3, 9))[0]["a2"] == [[["x"] * 9] * 9] * 9


def test_values_of_aliases_are_copies() -> None:
    (value,) = values("a: &a {x: [1]}\nb: *a\nc: {<<: *a}\n")
    value["a"]["x"].append(2)
    assert (value["b"], value["c"]) == ({"x": [1]}, {"x": [1]})


def test_more_values_than_memory_is_for_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(documents.__globals__, "VALUE_LIMIT", 1_000)
    assert reason("[" + "1," * 1_001 + "]")[0] == "has more than 1,000 values"
    assert len(values("[" + "1," * 998 + "]")) == 1


def test_limits_are_of_each_document_by_itself() -> None:
    assert len(values(("---\na: &a [" + "1," * 3_000 + "]\nb: [*a, *a]\n") * 4)) == 4


def test_the_line_of_a_path_is_its_own_or_that_of_its_nearest_parent() -> None:
    text = textwrap.dedent("""\
        # comment
        kind: x
        metadata:
          annotations:
            example.io/a: "1"
            example.io/a.b: "2"
        spec:
          hosts: [a, *b]
          ports:
          - number: 80
            protocol: HTTP
          - {number: 443,
             protocol: TLS}
        """).replace("*b", "b")
    root = layout(text, 0, len(text))
    found = {path: text.count("\n", 0, root.find(path).start) + 1 for path in [
        "", "the document", "kind", "spec", "spec.hosts[1]", "spec.hosts[7]", "spec.resolution",
        "spec.ports[0].protocol", "spec.ports[1].protocol", 'metadata.annotations["example.io/a.b"]',
        "metadata.annotations.example.io/a.b", 'metadata.annotations["example.io/a"]', "specification",
    ]}  # fmt: skip
    assert list(found.values()) == [2, 2, 2, 7, 8, 8, 7, 11, 13, 6, 6, 5, 2]


def test_lines_are_counted_as_editors_do(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbf# a\xc2\x85\xe2\x80\xa8# b\r\n--- # c\r\n" + ENTRY.encode())
    manifests = Manifests([str(tmp_path)])
    assert manifests.line(manifests.documents[0], "spec.hosts[0]") == 8


def test_a_list_with_items_behind_an_alias_has_the_line_of_the_whole_list(tmp_path: Path) -> None:
    items = textwrap.indent(ENTRY, "  ").replace("  api", "- api", 1)
    (tmp_path / "a.yaml").write_text(f"kept: &kept\n{items}kind: List\nitems: *kept\n")
    manifests = Manifests([str(tmp_path)])
    assert manifests.line(manifests.documents[0], "spec.hosts[0]") == 1


def test_lists_are_taken_apart_and_only_istios_own_are_kept(tmp_path: Path) -> None:
    items = "".join(textwrap.indent(ENTRY, "  ").replace("  api", "- api", 1) for _ in range(2))
    (tmp_path / "a.yaml").write_text(
        f"kind: List\nitems:\n{items}- text\n---\nkind: List\nitems: text\n---\n- 1\n---\n"
    )
    found = Manifests([str(tmp_path)]).documents
    assert [(one.document, one.item) for one in found] == [(0, 0), (0, 1)]


def test_a_key_twice_in_a_manifest_is_refused_since_tools_differ_on_which_counts(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(f"a: 1\na: 2\n---\n{ENTRY}---\n{ENTRY}  hosts: [b.example.com]\n")
    manifests = Manifests([str(tmp_path)])
    assert len(manifests.documents) == 1
    (refused,) = manifests.unreadable
    assert (refused.reason, refused.line) == ('has the key "hosts" twice in one object', 17)


def test_documents_before_a_broken_one_are_reviewed(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(f"{ENTRY}---\na: [\n")
    manifests = Manifests([str(tmp_path)])
    assert len(manifests.documents) == len(manifests.unreadable) == 1


def test_manifests_are_known_by_kind_and_key_in_the_given_namespace(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(ENTRY)
    manifests = Manifests([str(tmp_path)], "team")
    assert list(manifests.named("ServiceEntry", Key("team", "api"))) == manifests.documents
    assert list(manifests.named("ServiceEntry", Key("default", "api"))) == []


def test_folders_are_searched_by_name_and_each_file_is_read_once(tmp_path: Path) -> None:
    for name in ("b.yaml", "a/c.yml", "a/d.json", "a/e.txt", ".git/f.yaml", ".github/g.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(ENTRY)
    (tmp_path / "link.yaml").symlink_to("b.yaml")
    (tmp_path / "loop").symlink_to(".")
    os.mkfifo(tmp_path / "fifo.yaml")
    (tmp_path / "folder.yaml").mkdir()
    found = list(read_files([str(tmp_path), str(tmp_path / "b.yaml"), str(tmp_path / "a/e.txt")]))
    names = [str(Path(one.name).relative_to(tmp_path)) for one in found if isinstance(one, File)]
    assert names == [".github/g.yaml", "a/c.yml", "a/d.json", "b.yaml", "a/e.txt"]
    assert len(names) == len(found)


def test_json_without_istio_objects_is_not_read_unless_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "tsconfig.json").write_text("{ // [")
    assert Manifests([str(tmp_path)]).unreadable == []
    assert len(Manifests([str(tmp_path / "tsconfig.json")]).unreadable) == 1


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda _path: None, "cannot be read: No such file or directory"),
        (lambda path: path.symlink_to(path.name), "cannot be read: Too many levels of symbolic links"),
        (lambda path: path.write_bytes(b"a: \xff"), "is not text: byte 0xff is not UTF-8"),
        (lambda path: path.write_bytes("a: b".encode("utf-16")), "is not text: byte 0xff is not UTF-8"),
        (lambda path: path.write_bytes(b" " * (SIZE_LIMIT + 1)), "is larger than 20 MiB"),
    ],
)
def test_a_file_that_cannot_be_read_is_reported_and_the_others_are_read(
    make: Callable[[Path], object], expected: str, tmp_path: Path
) -> None:
    make(tmp_path / "bad.yaml")
    (tmp_path / "good.yaml").write_text(ENTRY)
    manifests = Manifests([str(tmp_path / name) for name in ("bad.yaml", "good.yaml")])
    assert [one.reason for one in manifests.unreadable] == [expected]
    assert len(manifests.documents) == 1


def test_memory_stays_bounded_whatever_is_read(tmp_path: Path) -> None:
    (tmp_path / "bomb.yaml").write_text(bomb(30, 9))
    (tmp_path / "large.yaml").write_bytes(b"a" * 50_000_000)
    (tmp_path / "deep.yaml").write_text("[" * 1_000_000)
    (tmp_path / "wide.yaml").write_text("[" + "[]," * 5_000_000)
    program = "import atexit, app.cli; atexit.register(lambda: print(open('/proc/self/status').read())); app.cli.main()"
    command = [sys.executable, "-c", program, "review", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 4)
    assert f"wide.yaml:1: has more than {VALUE_LIMIT:,} values" in done.stderr
    peak = next(int(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("VmHWM:"))
    assert peak < 250 * 1024


def written(file: File | object) -> File:
    assert isinstance(file, File)
    return file


def test_a_file_is_replaced_whole_with_its_mode_and_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: b\r\n")
    path.chmod(0o640)
    (file,) = read_files([str(path)])
    replace_file(written(file), "a: c\r\n")
    assert path.read_bytes() == b"\xef\xbb\xbfa: c\r\n"
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_has_changed_since_it_was_read_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: b")
    (file,) = read_files([str(path)])
    path.write_text("a: changed")
    with pytest.raises(OSError, match="changed"):
        replace_file(written(file), "a: c")
    assert path.read_text() == "a: changed"


def test_a_file_that_may_not_be_written_is_not_replaced_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: b")
    (file,) = read_files([str(path)])
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(OSError, match="not writable"):
        replace_file(written(file), "a: c")


def test_a_link_is_followed_but_not_out_of_the_folder_in_which_it_was_found(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "out.yaml").write_text("a: b")
    (tmp_path / "folder/in.yml.target").write_text("a: b")
    (tmp_path / "folder/in.yaml").symlink_to("in.yml.target")
    (tmp_path / "folder/out.yaml").symlink_to("../out.yaml")
    inside, outside = read_files([str(tmp_path / "folder")])
    replace_file(written(inside), "a: c")
    with pytest.raises(OSError, match="outside the folder"):
        replace_file(written(outside), "a: c")
    assert (tmp_path / "folder/in.yml.target").read_text() == "a: c"
    assert (tmp_path / "folder/in.yaml").is_symlink()
    assert (tmp_path / "out.yaml").read_text() == "a: b"


def test_nothing_is_left_behind_when_a_file_cannot_be_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: b")
    (file,) = read_files([str(path)])

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        replace_file(written(file), "a: c")
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text() == "a: b"


def test_folders_nested_as_deep_as_paths_can_be_are_looked_through() -> None:
    assert Projects().unrendered(Path("/", *["a"] * 1500, "a.yaml")) is None

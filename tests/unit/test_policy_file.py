"""The policy file: how strictly it is read, and how it is followed."""

import hashlib
import itertools
import logging
import os
import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from app.cli import cli
from app.clock import utc_day
from app.core.policy.errors import PolicyError
from app.core.policy.model import default_policy
from app.core.resources.fields import JSON
from app.manifests.documents import core_schema
from app.policyfile import SIZE_LIMIT, PolicyFile, decode_policy, load_policy

IDENTITY = "apiVersion: serviceentry-guard.io/v1alpha1\nkind: GuardPolicy\n"
WARN = f"{IDENTITY}mode: Warn\n"
OFF = f"{IDENTITY}mode: Off\n"
BROKEN = f"{IDENTITY}mode: War"


def problems(content: str | bytes) -> list[str]:
    encoded = content if isinstance(content, bytes) else (IDENTITY + content).encode()
    with pytest.raises(PolicyError) as raised:
        decode_policy(encoded, "file")
    return raised.value.lines


def test_off_and_on_are_words_and_only_true_and_false_are_booleans() -> None:
    assert decode_policy(OFF.encode(), "file").mode.value == "Off"
    assert problems("mode: on") == ["file:3: mode: input should be 'Enforce', 'Warn' or 'Off', not 'on'"]
    assert not decode_policy(f"{IDENTITY}virtualService: {{enabled: false}}".encode(), "file").virtual_service.enabled
    for word in ("yes", "trueish", '"true"'):
        assert problems(f"virtualService: {{enabled: {word}}}")[0].startswith(
            "file:3: virtualService.enabled: input should be a valid boolean"
        )


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("mode: Warn\nscope: {}\nmode: Enforce", ':5: has the key "mode" twice in one object'),
        ("scope:\n  locations: []\n  locations: []", ':5: has the key "locations" twice in one object'),
        ("scope: {<<: {}}", ":3: scope.<<: unknown key; allowed here: locations"),
        ("scope: &a {}\n<<: *a", ":4: <<: unknown key; allowed here: apiVersion"),
        ("---\na: b", ":3: has more than one document"),
        ("--- ", ":3: has more than one document"),
        ("...\n%x", ":4: is not YAML: found unknown directive name"),
        ("mode: {", ":3: is not YAML: did not find expected node content"),
        ("? [a]\n: b", ":3: has a key that is not text"),
        ("mode: *nothing", ":3: *nothing refers to an unknown anchor"),
        ("mode: 2026-01-01", ":3: mode: input should be 'Enforce', 'Warn' or 'Off', not '2026-01-01'"),
        ("mode: !!int abc", ":3: has a value that does not have the type of its tag 'tag:yaml.org,2002:int'"),
        (
            "mode: !!python/object/apply:os.system [x]",
            ":3: has a value that does not have the type of its tag 'tag:yaml",
        ),
        (
            "mode: !!python/name:os.system Warn",
            ":3: has a value that does not have the type of its tag 'tag:yaml.org,2",
        ),
        ("mode: !!binary Warn", ":3: has a value that does not have the type of its tag 'tag:yaml.org,2002:binary'"),
        ("!!binary mode: Warn", ":3: has a value that does not have the type of its tag 'tag:yaml.org,2002:binary'"),
        ("mode: !%0A Warn", r":3: has a value that does not have the type of its tag '!\n'"),
        ("scope: !!map []", ":3: has a value that does not have the type of its tag 'tag:yaml.org,2002:map'"),
        ("scope: !!set {}", ":3: has a value that does not have the type of its tag 'tag:yaml.org,2002:set'"),
        ("scope: {locations: !!omap []}", ":3: has a value that does not have the type of its tag 'tag:yaml.org,2002"),
        (
            "mode: 0x" + "f" * 99,
            ":3: mode: input should be 'Enforce', 'Warn' or 'Off', not 1.6139",
        ),
        (
            f"metadata: {{name: {2**64}}}",
            ":3: metadata.name: input should be a valid string, not 1.8446744073709552e+19",
        ),
        (
            f"metadata: {{name: {10**400}}}",
            ":3: metadata.name: input should be a valid string, not 1.797",
        ),
        ("metadata: {name: " + "9" * 5000 + "}", ":3: metadata.name: input should be a valid string, not inf"),
        ("metadata: {name: -.INF}", ":3: metadata.name: input should be a valid string, not -inf"),
        ("metadata: {name: .nan}", ":3: metadata.name: input should be a valid string, not nan"),
        ("metadata: {name: 1e3}", ":3: metadata.name: input should be a valid string, not 1000.0"),
        ("scope: &a {x: *a}", ":3: *a refers to an object that it is part of"),
        ('"a\\nb": 1', r":1: 'a\nb': unknown key; allowed here: apiVersion"),
        (b"\0", ":1: is not YAML: control characters are not allowed"),
        (b"a: b\nmode: \xff", ":2: is not text: byte 0xff is not UTF-8"),
        (f"{IDENTITY}mode: Warn".encode("utf-16"), ":1: is not text: byte 0xff is not UTF-8"),
        (b"", ": the policy must be an object with apiVersion"),
        (b"kind: GuardPolicy\napiVersion: v1", ":2: apiVersion: must be serviceentry-guard.io/v1alpha1"),
        (b"# none\napiVersion: serviceentry-guard.io/v1alpha1", ":2: kind: must be GuardPolicy"),
        (b"#" * (SIZE_LIMIT + 1), ": is larger than 1048576 bytes"),
        (b"[" * SIZE_LIMIT, ":1: is nested deeper than 32"),
        (b"- " * (SIZE_LIMIT // 2), ":1: is nested deeper than 32"),
    ],
)
def test_invalid_policy_file_is_one_line_with_its_place(content: str | bytes, problem: str) -> None:
    (line,) = problems(content)
    assert line.startswith(f"file{problem}")
    assert "\n" not in line


NAMESPACES = """\
mode: Warn
namespaces:
  - match: [team]
    virtualService:
      overrides:
        attempts:
          min: 5
          max: 2
  - match: [other]
    virtualService: &traffic
      retries:
        attempts: 3
        tries: 4
  - virtualService: *traffic
"""


def test_each_problem_names_the_line_of_its_field_or_of_the_nearest_that_is_written() -> None:
    assert [line.partition(";")[0] for line in problems(NAMESPACES)] == [
        "file:15: namespaces[1].virtualService.retries.tries: unknown key",
        "file:16: namespaces[2].virtualService.retries.tries: unknown key",
        "file:16: namespaces[2].match: is required",
    ]
    reversed_bounds = NAMESPACES.replace("        tries: 4\n", "").replace("- virtual", "- match: [x]\n    virtual")
    assert problems(reversed_bounds) == ["file:8: namespaces[0].virtualService.overrides.attempts: min 5 is over max 2"]


def test_only_the_first_twenty_problems_are_listed() -> None:
    told = problems("".join(f"x{number}: 1\n" for number in range(25)))
    assert len(told) == 21
    assert told[-1] == "file: and 5 more problems"


def test_line_is_counted_as_editors_count_behind_a_byte_order_mark_and_windows_line_ends() -> None:
    content = f"\ufeff{IDENTITY}# \x85 \u2028\nmode: Wrong\n".replace("\n", "\r\n")
    assert problems(content.encode())[0].startswith("file:4: mode: input should be")


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("", None), ("~", None), ("NULL", None), ("true", True), ("False", False), ("0", 0), ("-17", -17), ("+017", 17),
        ("0o17", 15), ("0x1F", 31), ("12e03", 12000.0), (".5", 0.5), ("1.", 1.0), ("-.Inf", float("-inf")),
        ("Off", "Off"), ("yes", "yes"), ("tRUE", "tRUE"), ("0b11", "0b11"), ("1_000", "1_000"), ("1:30", "1:30"),
        ("-0x1", "-0x1"), ("2024-01-01", "2024-01-01"), ("-", "-"), (".", "."), ("0.1.2", "0.1.2"),
    ],
)  # fmt: skip
def test_plain_scalar_means_what_yaml_1_2_says(text: str, meaning: JSON) -> None:
    assert (core_schema(text), type(core_schema(text))) == (meaning, type(meaning))


def test_a_tag_that_is_the_type_of_its_value_is_read() -> None:
    content = f"{IDENTITY}mode: !!str Off\nscope: !!map {{locations: !!seq [! MESH_EXTERNAL]}}\n"
    tagged = f"{content}virtualService: {{retries: {{attempts: !!int '5'}}, enabled: !!bool true}}\n"
    policy = decode_policy(tagged.encode(), "file")
    assert (policy.mode.value, policy.virtual_service.retries.attempts) == ("Off", 5)


def test_aliases_that_expand_without_end_are_refused() -> None:
    names = "abcdefghij"
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n"
    for before, name in itertools.pairwise(names):
        bomb += f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    assert problems(bomb) == ["file:7: has aliases that repeat more than 10,000 values"]
    wide = "a: &a [" + "x, " * 300_000 + "]"
    assert problems(wide) == ["file: the policy has more than 100000 values, or is nested deeper than 32"]
    deep = "a: &a " + "[" * 20 + "]" * 20 + "\nb: " + "[" * 20 + "*a" + "]" * 20
    assert problems(deep) == ["file: the policy has more than 100000 values, or is nested deeper than 32"]


tags = st.sampled_from(["int", "bool", "float", "null", "timestamp", "binary", "set", "omap", "pairs", "str", "map"])
tagged = st.builds(
    lambda tag, text: f"mode: !!{tag} {text}".encode(errors="replace"),
    tags,
    st.one_of(st.text(max_size=12), st.sampled_from(["{}", "[]", "{a: b}", "[a]", "''", "9999-99-99", "1:1"])),
)


@given(st.one_of(st.binary(max_size=60), st.text(max_size=60).map(lambda text: text.encode(errors="replace")), tagged))
def test_whatever_is_in_the_file_is_a_policy_or_a_policy_error(content: bytes) -> None:
    with pytest.raises(PolicyError):
        decode_policy(content, "file")
    with pytest.raises(PolicyError):
        decode_policy(IDENTITY.encode() + b"mode: W\nx: " + content, "file")


def test_without_a_file_the_built_in_policy_applies() -> None:
    assert load_policy(None) == default_policy()
    following = PolicyFile(None, _unexpected, lambda: "2027-03-31")
    assert following.current == default_policy().on("2027-03-31")
    assert not following.poll()


def _unexpected(taken: bool) -> None:
    raise AssertionError(taken)


class Watched:
    """A policy file that is followed."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "policy.yaml"
        self.path.write_text(WARN)
        self.told: list[bool] = []
        self.followed = PolicyFile(self.path, self.told.append)

    @property
    def mode(self) -> str:
        return self.followed.current.mode.value

    def poll_until_settled(self) -> bool:
        """Look as often as it takes for a change to be read."""
        return any([self.followed.poll(), self.followed.poll()])

    def after(self, change: Callable[[Path], object]) -> tuple[bool, str]:
        """Return whether a change was taken, and the mode that is in force then."""
        change(self.path)
        return self.poll_until_settled(), self.mode


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def test_the_log_says_which_policy_is_in_force(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    watched.after(rewrite)
    digest = hashlib.sha256(OFF.encode()).hexdigest()[:12]
    expected = f"policy {watched.path} is in force: mode Off, 0 overrides for namespaces, SHA-256 {digest}"
    assert expected in caplog.messages


def rewrite(path: Path) -> None:
    path.write_text(OFF)


def rename(path: Path) -> None:
    other = path.with_suffix(".new")
    other.write_text(OFF)
    other.rename(path)


def link(path: Path) -> None:
    target = path.with_suffix(".target")
    target.write_text(OFF)
    other = path.with_suffix(".link")
    other.symlink_to(target)
    other.rename(path)


def keep_size_and_time(path: Path) -> None:
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    path.write_text(OFF.replace("Off", "Off "))
    os.utime(path, ns=times)


@pytest.mark.parametrize("change", [rewrite, rename, link, keep_size_and_time])
def test_a_changed_file_is_taken_however_it_was_changed(watched: Watched, change: Callable[[Path], None]) -> None:
    assert watched.mode == "Warn"
    assert watched.after(change) == (True, "Off")
    assert watched.told == [True]
    assert not watched.poll_until_settled()


def test_a_folder_link_that_is_swapped_as_the_kubelet_does_is_seen(tmp_path: Path) -> None:
    for number, content in enumerate((WARN, OFF)):
        (tmp_path / f"..{number}").mkdir()
        (tmp_path / f"..{number}" / "policy.yaml").write_text(content)
    (tmp_path / "..data").symlink_to("..0")
    (tmp_path / "policy.yaml").symlink_to("..data/policy.yaml")
    followed = PolicyFile(tmp_path / "policy.yaml", list[bool]().append)
    (tmp_path / "..tmp").symlink_to("..1")
    (tmp_path / "..tmp").rename(tmp_path / "..data")
    assert any([followed.poll(), followed.poll()])
    assert followed.current.mode.value == "Off"


def garble(path: Path) -> None:
    path.write_text(BROKEN)


def remove(path: Path) -> None:
    path.unlink()


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def empty(path: Path) -> None:
    path.write_text("")


@pytest.mark.parametrize("change", [garble, remove, make_folder, empty])
def test_a_file_that_cannot_be_used_is_refused_once_and_the_last_good_policy_stays(
    watched: Watched, change: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    assert watched.after(change) == (False, "Warn")
    assert not watched.poll_until_settled()
    assert watched.told == [False]
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert re.match(f"{watched.path}(:[0-9]+)?: ", record.getMessage())
    assert record.getMessage().endswith("; the previous policy stays in force")


def test_after_a_broken_file_the_next_good_one_is_taken(watched: Watched) -> None:
    watched.after(garble)
    assert watched.after(rewrite) == (True, "Off")
    assert watched.told == [False, True]


def test_a_file_that_went_and_came_back_as_it_was_is_taken_again(watched: Watched) -> None:
    aside = watched.path.with_suffix(".aside")
    assert watched.after(lambda path: path.rename(aside)) == (False, "Warn")
    assert watched.after(aside.rename) == (True, "Warn")
    assert watched.told == [False, True]


def test_a_file_is_not_read_while_it_is_still_being_written(watched: Watched) -> None:
    """Half of a policy can be a policy too: one that says nothing of the mode enforces."""
    watched.path.write_text(IDENTITY)
    assert not watched.followed.poll()
    watched.path.write_text(OFF)
    assert not watched.followed.poll()
    assert watched.followed.poll()
    assert watched.mode == "Off"
    assert watched.told == [True]


def test_without_a_good_policy_to_start_with_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="cannot be read: No such file or directory"):
        PolicyFile(tmp_path / "none.yaml", _unexpected)


def test_an_unsound_policy_is_taken_with_a_warning(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    watched.path.write_text(f"{WARN}virtualService: {{timeout: 1s}}\n")
    assert watched.poll_until_settled()
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "SEG030 virtualService.timeout: 1s ends before the last of 4 tries of 2s each" in record.getMessage()


@pytest.mark.parametrize("command", [["controller"], ["webhook", "--tls-cert-file=x", "--tls-private-key-file=y"]])
def test_without_a_good_policy_to_start_with_the_process_ends_with_2(tmp_path: Path, command: list[str]) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(BROKEN)
    result = CliRunner().invoke(cli, [*command, f"--policy={path}"])
    assert result.exit_code == 2
    expected = f"{path}:3: mode: input should be 'Enforce', 'Warn' or 'Off', not 'War'"
    assert result.stderr == f"serviceentry-guard: {expected}\n"


def test_another_day_takes_effect_and_is_not_another_policy(tmp_path: Path) -> None:
    path, today = tmp_path / "policy.yaml", ["2027-03-31"]
    path.write_text(f"{IDENTITY}exemptions: {{annotation: Allow}}\n")
    followed = PolicyFile(path, _unexpected, lambda: today[0])
    first = followed.current
    assert (first.today, followed.poll(), followed.current is first) == ("2027-03-31", False, True)
    today[0] = "2027-04-01"
    assert not followed.poll()
    assert followed.current == first.on("2027-04-01")


def test_a_policy_without_dates_stays_the_same_object_at_midnight(tmp_path: Path) -> None:
    path, today = tmp_path / "policy.yaml", ["2027-03-31"]
    path.write_text(WARN)
    followed = PolicyFile(path, _unexpected, lambda: today[0])
    first = followed.current
    today[0] = "2027-04-01"
    assert not followed.poll()
    assert followed.current is first


def test_a_changed_file_applies_on_the_day_on_which_it_is_read(tmp_path: Path) -> None:
    path, today, told = tmp_path / "policy.yaml", ["2027-03-31"], list[bool]()
    path.write_text(WARN)
    followed = PolicyFile(path, told.append, lambda: today[0])
    today[0] = "2027-04-01"
    path.write_text(OFF)
    assert any([followed.poll(), followed.poll()])
    assert (followed.current.mode.value, followed.current.today, told) == ("Off", "2027-04-01", [True])


def test_the_clock_says_the_day_in_utc() -> None:
    before, day, after = datetime.now(UTC).date(), utc_day(), datetime.now(UTC).date()
    assert before <= date.fromisoformat(day) <= after

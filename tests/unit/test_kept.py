"""Stored entries that keep their resolution, as a literal in the expressions of the API server's own policies."""

import json

from app.core.cel.admission_policy import Engine, backstop
from app.core.cel.kept_resolutions import ROOM, in_turns, siblings
from app.core.rules.kept_resolutions import Stays
from tests.builders import guard_policy

STAYS = (Stays("ssh", "NONE", "port 22 (TCP)"),)


def test_names_stand_by_namespace_and_host() -> None:
    other = (Stays("a", "NONE", "no port"), Stays("b", "STATIC", "no port"))
    standing = {("team", "b.example"): STAYS, ("team", "a.example"): other, ("other", "a.example"): STAYS}
    assert json.loads(siblings(standing)) == {
        "other": {"a.example": ["ssh"]},
        "team": {"a.example": ["a", "b"], "b.example": ["ssh"]},
    }


def test_namespaces_take_turns_where_there_is_no_room_for_all() -> None:
    standing = {("aaa", f"{number}.example.com"): STAYS for number in range(5000)}
    few = {("zzz", f"{number}.example.org"): STAYS for number in range(10)}
    assert in_turns(standing | few)[:4] == [
        ("aaa", "0.example.com"),
        ("zzz", "0.example.org"),
        ("aaa", "1.example.com"),
        ("zzz", "1.example.org"),
    ]
    text = siblings(standing | few)
    assert len(text) <= ROOM
    written = json.loads(text)
    assert len(written["zzz"]) == 10
    assert len(written["aaa"]) > 500


def test_only_what_changes_entries_has_them() -> None:
    standing = {("team", "a.example"): STAYS}
    assert backstop(guard_policy(), Engine.VALIDATING, standing) == backstop(guard_policy(), Engine.VALIDATING)
    assert backstop(guard_policy(), Engine.NATIVE, {}) == backstop(guard_policy(), Engine.NATIVE)
    warned = guard_policy(namespaces=[{"match": ["team"], "mode": "Warn"}])
    assert backstop(warned, Engine.NATIVE, standing) == backstop(warned, Engine.NATIVE), "there nothing is changed"
    changed, _, refusing, _ = backstop(guard_policy(), Engine.NATIVE, standing)
    for one in (changed, refusing):
        assert [each["name"] for each in one["spec"]["variables"]].count("siblings") == 1

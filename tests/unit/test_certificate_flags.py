"""Flags about certificates, and of the doctor, that cannot be meant: one sentence, and exit code 2."""

import pytest

from tests.command import run


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["controller", "--manage-certificates", "--ca-lifetime=a-year"],
            '--ca-lifetime is "a-year": it must be a duration such as "2s", "500ms" or "1m30s"',
        ),
        (
            ["controller", "--manage-certificates", "--ca-lifetime=1h"],
            "--certificate-lifetime must not be longer than --ca-lifetime",
        ),
        (
            ["controller", "--manage-certificates", "--certificate-lifetime=10m"],
            "--certificate-lifetime must be longer than four times --certificate-propagation",
        ),
        (["doctor", "--connect=9443"], '--connect is "9443": it must be HOST:PORT, such as localhost:9443'),
        (["doctor", "--kubeconfig=/nowhere"], "kubeconfig /nowhere does not exist"),
    ],
)
def test_an_invalid_combination_of_flags_exits_2_with_one_sentence(arguments: list[str], said: str) -> None:
    ended = run(*arguments)
    assert (ended.exit_code, ended.stdout, ended.stderr) == (2, "", f"serviceentry-guard: {said}\n")

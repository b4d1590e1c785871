"""The flags of the command line: what is taken, what is refused, and what a process ends with."""

import pytest
from click.testing import CliRunner

import app.review.review
from app.cli import MODULES, cli


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["review", "--output", "TEXT"], "'TEXT' is not one of 'text', 'yaml', 'json', 'diff', 'sarif', 'junit'."),
        (["policy", "export"], "Missing option '--format'"),
        (["controller", "--remediation-rate", "0"], "0.0 is not in the range x>=0.01."),
        (["controller", "--remediation-rate", "nan"], "'nan' is no number."),
        (["uninstall", "--timeout", "0.5"], "0.5 is not in the range x>=1."),
        (["reviev"], "Did you mean 'review'?"),
    ],
)
def test_what_is_refused_is_named_and_ends_with_2(arguments: list[str], sentence: str) -> None:
    result = CliRunner().invoke(cli, arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert sentence in result.stderr


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize("command", MODULES)
def test_each_command_says_what_it_takes_and_shows_values(command: str, flag: str) -> None:
    result = CliRunner().invoke(cli, [command, flag])
    assert (result.exit_code, result.stderr) == (0, "")
    assert "Show this message and exit." in result.stdout
    assert ("[none|validating|native]" in result.stdout) == (command == "controller")


def test_a_flag_is_an_environment_variable_too() -> None:
    result = CliRunner().invoke(cli, ["review"], env={"SERVICEENTRY_GUARD_OUTPUT": "json"})
    assert (result.exit_code, result.stdout[:1]) == (0, "{")


def test_commands_are_listed_in_their_order_where_none_is_given() -> None:
    result = CliRunner().invoke(cli, [])
    assert result.exit_code == 2
    listed = result.stderr.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in listed] == list(MODULES)


def test_who_interrupts_is_told_by_the_exit_code_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_request: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(app.review.review, "Review", interrupted)
    result = CliRunner().invoke(cli, ["review"])
    assert (result.exit_code, result.output) == (130, "")

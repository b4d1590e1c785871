"""The flags of the command line: what is taken, what is refused, and what a process ends with."""

from pathlib import Path

import pytest
from click.testing import CliRunner

import app.review.review
from app.cli import MODULES, cli


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["review", "--output", "TEXT"],
            "'TEXT' is not one of 'text', 'yaml', 'json', 'diff', 'sarif', 'junit', 'html', 'github'.",
        ),
        (["policy", "export"], "Missing option '--format'"),
        (["controller", "--remediation-rate", "0"], "0.0 is not in the range x>=0.01."),
        (["controller", "--remediation-rate", "nan"], "'nan' is not a number."),
        (["uninstall", "--timeout", "0.5"], "0.5 is not in the range x>=1."),
        (["audit", "--today", "2027-02-29"], "'2027-02-29' is not a day such as 2027-03-31."),
        (["reviev"], "Did you mean 'review'?"),
    ],
)
def test_an_invalid_argument_is_named_and_exits_2(arguments: list[str], sentence: str) -> None:
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
    assert [line.split()[0] for line in listed if line[2:3].strip()] == list(MODULES)


def test_ctrl_c_exits_130_without_output(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_request: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(app.review.review, "Review", interrupted)
    result = CliRunner().invoke(cli, ["review"])
    assert (result.exit_code, result.output) == (130, "")


def test_the_day_by_which_exemptions_are_judged_can_be_given(tmp_path: Path) -> None:
    policy, entry = tmp_path / "policy.yaml", tmp_path / "entry.yaml"
    policy.write_text(
        "apiVersion: serviceentry-guard.io/v1alpha1\nkind: GuardPolicy\n"
        "exemptions: {annotation: Allow, temporary: [{hosts: [x], until: 2027-03-31}]}\n"
    )
    entry.write_text(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata:\n  name: api\n  annotations:\n"
        "    serviceentry-guard.io/exempt: the vendor pins its addresses\n"
        "    serviceentry-guard.io/exempt-until: 2027-03-31\n"
        "spec: {hosts: [api.example.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: NONE}\n"
    )
    for day, review, check in (("2027-03-01", 0, 0), ("2027-03-31", 0, 0), ("2027-04-01", 1, 1)):
        for arguments, expected in ((["review", str(entry)], review), (["policy", "check", str(policy)], check)):
            given = [*arguments, "--today", day] + (["--policy", str(policy)] if arguments[0] == "review" else [])
            assert CliRunner().invoke(cli, given).exit_code == expected, (day, arguments)
    environment = {"SERVICEENTRY_GUARD_TODAY": "2027-04-01"}
    checked = CliRunner().invoke(cli, ["policy", "check", "-"], input=policy.read_text(), env=environment)
    assert checked.stdout.startswith("-: warning SEG037 exemptions.temporary[0].until: the exemption ended")
    exports = [
        CliRunner().invoke(
            cli, ["policy", "export", "--format=admission-policy", f"--policy={policy}", f"--today={day}"]
        )
        for day in ("2027-03-31", "2027-04-01")
    ]
    assert ['>= \\"2027-03-31\\"' in one.stdout or '>= "2027-03-31"' in one.stdout for one in exports] == [True, False]

"""Commands about policies: the default, the schema, the check, and the policy as objects of the API server's own."""

import enum
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.exceptions import Exit

from app.cli import flags
from app.cli.flags import choice, read_policy
from app.cli.terminal import InOrder, fail, say, tell, write_out
from app.clock import utc_day
from app.core.cel.admission_policy import Engine
from app.core.policy.errors import PolicyError

if TYPE_CHECKING:
    from app.core.policy.model import GuardPolicy


class Format(enum.Enum):
    """The formats of an exported policy."""

    ADMISSION_POLICY = "admission-policy"


@click.group(cls=InOrder, no_args_is_help=True)
def policy() -> None:
    """Print, describe and check policies."""


@policy.command("default")
def policy_default() -> None:
    """Print the built-in policy as commented YAML.

    Every field is there: a start for a file of your own, which needs only what it changes.
    """
    from app.reference import default_text

    write_out([default_text()])


@policy.command("schema")
def policy_schema() -> None:
    """Print the JSON Schema of policy files.

    For editors and pipelines (dialect 2020-12). What it takes is a policy, except for bounds that are reversed.
    """
    import json

    from app.reference import schema

    write_out([json.dumps(schema(), indent=2), "\n"])


@policy.command("check")
@click.argument("file", metavar="FILE|-")
@flags.today()
def policy_check(file: str, today: str | None) -> None:
    """Say what is wrong with a policy file.

    A file - is standard input. Each problem or finding is a line. Exits with 0 where the policy is sound, with 1
    where it can be used and has findings, and with 2 where it cannot be read or used.
    """
    from app.core.rules.policy_lint import lint

    findings = lint(read_policy(Path(file), today) if file != "-" else read_policy_input(today))
    say(*(f"{file}: {finding.severity.value} {finding.sentence}" for finding in findings))
    if not findings:
        say(f"{file}: valid")
    raise Exit(int(bool(findings)))


@policy.command("export")
@choice("--format", "What to print: objects of admissionregistration.k8s.io/v1.", Format, into="form", required=True)
@flags.policy()
@flags.today()
@choice(
    "--engine",
    "validating refuses beside the webhooks; native repairs too (Kubernetes 1.36 or newer).",
    Engine,
    Engine.VALIDATING,
)
def policy_export(form: Format, policy: Path | None, today: str | None, engine: Engine) -> None:
    """Print the policy as admission policies, which the API server enforces even while every webhook is down.

    YAML for `kubectl apply --server-side -f -`: a ValidatingAdmissionPolicy and its binding, and with the engine
    native a MutatingAdmissionPolicy and its binding before it. Exemptions that end are as they stand on one day: print
    the objects again every day, or let the controller keep them.
    """
    from app.core.cel.admission_policy import backstop
    from app.manifests.writer import document

    objects = backstop(read_policy(policy, today), engine)
    if not objects:
        tell(f"there is no {form.value} to print: mode is Off everywhere")
    write_out(map(document, objects))


def read_policy_input(today: str | None) -> "GuardPolicy":
    """Read a policy from standard input, or end with a line for each problem."""
    from app.policyfile import SIZE_LIMIT, decode_policy

    try:
        return decode_policy(sys.stdin.buffer.read(SIZE_LIMIT + 1), "-").on(today or utc_day())
    except PolicyError as error:
        fail(*error.lines)

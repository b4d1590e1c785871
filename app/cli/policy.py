"""Commands about policies: the default, the schema, the check, and the policy as objects of the API server's own."""

import enum
import sys
from pathlib import Path
from typing import Annotated

import typer

from app.cli.flags import PolicyFlag, flag, read_policy
from app.cli.terminal import fail, tell, write_out
from app.core.backstop import Engine
from app.core.policy import GuardPolicy
from app.core.problems import PolicyError
from app.policyfile import SIZE_LIMIT, decode_policy


class Format(enum.Enum):
    """What a policy is exported as."""

    ADMISSION_POLICY = "admission-policy"


policy = typer.Typer(
    name="policy",
    help="Print, describe and check policies.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@policy.command("default")
def policy_default() -> None:
    """Print the built-in policy as commented YAML.

    Every field is there: a start for a file of your own, which needs only what it changes.
    """
    from app.reference import default_text

    typer.echo(default_text(), nl=False)


@policy.command("schema")
def policy_schema() -> None:
    """Print the JSON Schema of policy files.

    For editors and pipelines (dialect 2020-12). What it takes is a policy, except for bounds that are reversed.
    """
    import json

    from app.reference import schema

    typer.echo(json.dumps(schema(), indent=2))


@policy.command("check")
def policy_check(file: Annotated[str, typer.Argument(metavar="FILE|-", show_default=False)]) -> None:
    """Say what is wrong with a policy file.

    A file - is standard input. Each problem or finding is a line. Exits with 0 where the policy is sound, with 1
    where it can be used and has findings, and with 2 where it cannot be read or used.
    """
    from app.core.soundness import soundness

    findings = soundness(read_policy(Path(file)) if file != "-" else read_policy_input())
    for finding in findings:
        typer.echo(f"{file}: {finding.severity.value} {finding.sentence}")
    if not findings:
        typer.echo(f"{file}: sound")
    raise typer.Exit(int(bool(findings)))


@policy.command("export")
def policy_export(
    form: Annotated[Format, flag("--format", "What to print: objects of admissionregistration.k8s.io/v1.")],
    policy: PolicyFlag = None,
    engine: Annotated[
        Engine,
        flag("--engine", "validating refuses beside the webhooks; native repairs too (Kubernetes 1.36 or newer)."),
    ] = Engine.VALIDATING,
) -> None:
    """Print the policy as what the API server enforces itself, though every webhook is down.

    YAML for `kubectl apply --server-side -f -`: a ValidatingAdmissionPolicy and its binding, and with the engine
    native a MutatingAdmissionPolicy and its binding before it.
    """
    from app.core.backstop import backstop
    from app.manifests.writer import document

    objects = backstop(read_policy(policy), engine)
    if not objects:
        tell(f"there is no {form.value} to print: mode is Off everywhere")
    write_out(map(document, objects))


def read_policy_input() -> GuardPolicy:
    """Read a policy from standard input, or end with a line for each problem."""
    try:
        return decode_policy(sys.stdin.buffer.read(SIZE_LIMIT + 1), "-")
    except PolicyError as error:
        fail(*error.problems)

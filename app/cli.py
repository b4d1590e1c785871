"""The command line, and the composition root: the only place that reads the environment and builds everything."""

import logging
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from app.core.policy import GuardPolicy
from app.core.problems import PolicyError
from app.policyfile import SIZE_LIMIT, PolicyFile, decode_policy, load_policy
from app.report import Output

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
CHECKOUT = Path(__file__).parent.parent

cli = typer.Typer(
    name="serviceentry-guard",
    help="Give every Istio ServiceEntry DNS resolution, and retries by a VirtualService per host.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

policy_cli = typer.Typer(
    name="policy",
    help="Print, describe and check policies.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
cli.add_typer(policy_cli)


def flag(name: str, text: str, **more: Any) -> Any:  # noqa: ANN401 - what Typer's own function takes and gives
    """Declare a flag that is an environment variable too."""
    variable = "SERVICEENTRY_GUARD_" + name.split("/", maxsplit=1)[0].removeprefix("--").replace("-", "_").upper()
    return typer.Option(name, envvar=variable, help=text, **more)


PolicyFlag = Annotated[
    Path | None, flag("--policy", "GuardPolicy file; without it the built-in recipe is enforced.", show_default=False)
]
HealthPort = Annotated[int, flag("--health-port", "Plain HTTP port of /healthz, /readyz and /metrics.")]


@cli.command()
def webhook(
    tls_cert_file: Annotated[Path, flag("--tls-cert-file", "PEM file with the serving certificate and its chain.")],
    tls_private_key_file: Annotated[Path, flag("--tls-private-key-file", "PEM file with the certificate's key.")],
    policy: PolicyFlag = None,
    bind_address: Annotated[str, flag("--bind-address", "Address to listen on.")] = "0.0.0.0",  # noqa: S104 - in a pod
    port: Annotated[int, flag("--port", "HTTPS port of /mutate and /validate.")] = 9443,
    health_port: HealthPort = 8081,
) -> None:
    """Answer admission reviews over HTTPS. Needs no access to the API server."""
    from app.metrics import WebhookMetrics
    from app.settings import WebhookSettings
    from app.webhook import serve

    settings = WebhookSettings(
        policy=policy,
        tls_cert_file=tls_cert_file,
        tls_private_key_file=tls_private_key_file,
        bind_address=bind_address,
        port=port,
        health_port=health_port,
    )
    metrics = WebhookMetrics()
    raise typer.Exit(serve(settings, follow_policy(policy, metrics.policy.reloaded), metrics))


@cli.command()
def controller(
    policy: PolicyFlag = None,
    kubeconfig: Annotated[
        Path | None, flag("--kubeconfig", "Kubeconfig file; without it the pod's own account.", show_default=False)
    ] = None,
    health_port: HealthPort = 8081,
    leader_elect: Annotated[
        bool, flag("--leader-elect/--no-leader-elect", "Whether to write only while holding the Lease.")
    ] = True,
    namespace: Annotated[str, flag("--namespace", "Namespace of the Lease.")] = "serviceentry-guard",
    lease_duration: Annotated[
        float, flag("--lease-duration", "Seconds for which other replicas respect the Lease unrenewed.")
    ] = 15.0,
    renew_deadline: Annotated[
        float, flag("--renew-deadline", "Seconds for which the leader writes on without renewing the Lease.")
    ] = 10.0,
    retry_period: Annotated[float, flag("--retry-period", "Seconds between two attempts at the Lease.")] = 2.0,
    remediation_rate: Annotated[
        float, flag("--remediation-rate", "Existing ServiceEntries patched a second, at most.", min=0.01)
    ] = 10.0,
) -> None:
    """Keep one VirtualService per host in step with the ServiceEntries."""
    from app.controller import run
    from app.metrics import ControllerMetrics
    from app.settings import ControllerSettings

    settings = ControllerSettings(
        policy=policy,
        kubeconfig=kubeconfig,
        health_port=health_port,
        leader_elect=leader_elect,
        namespace=namespace,
        lease_duration=lease_duration,
        renew_deadline=renew_deadline,
        retry_period=retry_period,
        remediation_rate=remediation_rate,
    )
    metrics = ControllerMetrics()
    raise typer.Exit(run(settings, follow_policy(policy, metrics.policy.reloaded), metrics))


@cli.command()
def review(
    paths: Annotated[list[str] | None, typer.Argument(metavar="[PATH…|-]", show_default=False)] = None,
    policy: PolicyFlag = None,
    namespace: Annotated[str, flag("--namespace", "Namespace of manifests that name none.")] = "default",
    output: Annotated[
        Output | None, flag("--output", "How the report is written; text unless said otherwise.", show_default=False)
    ] = None,
    fix: Annotated[bool, flag("--fix", "Set the resolution in the files, and touch nothing else in them.")] = False,
) -> None:
    """Show what the guard would do with the ServiceEntries in files, folders or on standard input (-).

    Exits with 0 where nothing would be changed or refused, with 1 where something would, and with 2 where
    something could not be read.
    """
    from app.review import Request, Review

    given = paths or ["-"]
    if given.count("-") > 1:
        fail("standard input (-) can be read once only")
    if fix and "-" in given:
        fail("--fix writes files in place: name them, standard input (-) is none")
    try:
        found = Review(Request(given, read_policy(policy), namespace, output, colour=in_colour()))
    except PolicyError as error:
        fail(*error.problems)
    for line in found.repair() if fix else ():
        tell(line)
    write_out(found.written())
    for line in found.complaints():
        tell(line)
    raise typer.Exit(found.exit_code)


@cli.command()
def audit(
    policy: PolicyFlag = None,
    kubeconfig: Annotated[
        Path | None, flag("--kubeconfig", "Kubeconfig file; without it what kubectl would use.", show_default=False)
    ] = None,
    output: Annotated[Output, flag("--output", "How the report is written.")] = Output.TEXT,
) -> None:
    """Show what the guard would do with the ServiceEntries of a cluster, which is only read.

    Needs the right to list ServiceEntries, VirtualServices and DestinationRules in all namespaces, and no other.
    Exits as review does; with 1 also where an object of the guard is missing, with 2 where the cluster cannot be read.
    """
    from app.audit import Audit, AuditError, connect
    from app.report import Report, write

    rules = read_policy(policy)
    try:
        report = Report(Audit(connect(kubeconfig), rules), colour=in_colour())
    except AuditError as error:
        fail(str(error))
    write_out(write(report, output))
    raise typer.Exit(report.exit_code)


@policy_cli.command("default")
def policy_default() -> None:
    """Print the built-in policy as commented YAML.

    Every field is there: a start for a file of your own, which needs only what it changes.
    """
    from app.reference import default_text

    typer.echo(default_text(), nl=False)


@policy_cli.command("schema")
def policy_schema() -> None:
    """Print the JSON Schema of policy files.

    For editors and pipelines (dialect 2020-12). What it takes is a policy, except for bounds that are reversed.
    """
    import json

    from app.reference import schema

    typer.echo(json.dumps(schema(), indent=2))


@policy_cli.command("check")
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


@cli.command()
def demo() -> None:
    """Show the main job on an API server of its own; runs from a checkout, as `make demo` does."""
    import subprocess

    if not (CHECKOUT / "tests" / "demo.py").exists():
        fail("demo runs from a checkout of the repository, where the test bed is: use `make demo` there")
    command = [sys.executable, "-m", "tests.demo"]
    raise typer.Exit(subprocess.run(command, cwd=CHECKOUT, check=False).returncode)  # noqa: S603 - our own module


def read_policy(path: Path | None) -> GuardPolicy:
    """Load the policy, or end with a line for each problem."""
    try:
        return load_policy(path)
    except PolicyError as error:
        fail(*error.problems)


def read_policy_input() -> GuardPolicy:
    """Read a policy from standard input, or end with a line for each problem."""
    try:
        return decode_policy(sys.stdin.buffer.read(SIZE_LIMIT + 1), "-")
    except PolicyError as error:
        fail(*error.problems)


def follow_policy(path: Path | None, told: Callable[[bool], None]) -> PolicyFile:
    """Load the policy to follow its file, or end with a line for each problem."""
    try:
        return PolicyFile(path, told)
    except PolicyError as error:
        fail(*error.problems)


def fail(*lines: str) -> NoReturn:
    """End with exit code 2, saying why on standard error."""
    for line in lines:
        tell(line)
    raise typer.Exit(2)


def tell(line: str) -> None:
    """Say something on standard error."""
    typer.echo(f"serviceentry-guard: {line}", err=True)


def in_colour() -> bool:
    """Say whether standard output is a terminal whose user has nothing against colours (no-color.org)."""
    terminal = bool(sys.stdout) and sys.stdout.isatty()
    return terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def write_out(pieces: Iterator[str]) -> None:
    """Write UTF-8 to standard output, whatever the locale. Who reads it may stop early, as `head` does."""
    if sys.stdout is None:  # as it is where the shell has closed it
        fail("standard output is closed")
    out = sys.stdout.buffer
    try:
        for piece in pieces:
            out.write(piece.encode(errors="surrogateescape"))
        out.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            fail(f"standard output cannot be written: {error.strerror}")
        deque(pieces, maxlen=0)


def main() -> None:
    """Run the console command."""
    _drop_service_links()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format=LOG_FORMAT)
    cli()


def _drop_service_links() -> None:
    """Forget SERVICEENTRY_GUARD_PORT=tcp://…, which Kubernetes sets in pods beside a Service of our name."""
    if os.environ.get("SERVICEENTRY_GUARD_PORT", "").startswith("tcp://"):
        del os.environ["SERVICEENTRY_GUARD_PORT"]

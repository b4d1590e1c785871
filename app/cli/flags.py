"""Flags that several commands share, as decorators; every flag is an environment variable too.

What only the servers need is in `serverflags`: a review is not to wait for it.
"""

import enum
import math
from collections.abc import Callable
from functools import reduce, wraps
from pathlib import Path
from typing import Any, Generic, TypeVar

import click

from app.cli.terminal import fail
from app.clock import utc_day
from app.core.policy.errors import PolicyError
from app.core.policy.model import GuardPolicy, default_policy
from app.core.resources.days import is_day
from app.core.resources.durations import parse_duration
from app.core.resources.service_entry import MANAGER

Decorator = Callable[[Callable[..., None]], Callable[..., None]]
E = TypeVar("E", bound=enum.Enum)
FILE = click.Path(path_type=Path)


class OneOf(click.Choice[E], Generic[E]):
    """A member of an enumeration, by its value: Click itself goes by names."""

    def normalize_choice(self, choice: object, ctx: click.Context | None) -> str:
        """Return the text that stands for a member on the command line."""
        return super().normalize_choice(choice.value if isinstance(choice, enum.Enum) else choice, ctx)


class AtLeast(click.FloatRange):
    """A number that is not below a bound."""

    def __init__(self, bound: float) -> None:
        """Take the bound."""
        super().__init__(min=bound)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401
        """Return the number. NaN is rejected, because no comparison with it is true."""
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return number


class Day(click.ParamType[str]):
    """A day of the calendar, such as 2027-03-31."""

    name = "YYYY-MM-DD"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the day."""
        if not is_day(value):
            self.fail(f"{value!r} is not a day such as 2027-03-31.", param, ctx)
        return value


def flag(name: str, text: str, *short: str, into: str = "", **more: Any) -> Decorator:  # noqa: ANN401 - Click's
    """Declare a flag that is an environment variable too; `into` is the parameter, where it is not called the same."""
    variable = "SERVICEENTRY_GUARD_" + name.split("/", maxsplit=1)[0].removeprefix("--").replace("-", "_").upper()
    names = [*short, name, into] if into else [*short, name]
    return click.option(*names, envvar=variable, help=text, show_envvar=True, **{"show_default": True, **more})


def switch(name: str, text: str) -> Decorator:
    """Declare a flag that only the command line can set: the environment must not decide about writes and deletions."""
    return click.option(name, is_flag=True, help=text)


def choice(
    name: str,
    text: str,
    kind: type[E],
    default: E | None = None,
    *,
    short: str = "",
    **more: Any,  # noqa: ANN401 - Click's own parameters
) -> Decorator:
    """Declare a flag that is a member of an enumeration."""
    if default is not None:
        more["default"] = default.value
    return flag(name, text, *([short] if short else []), type=OneOf(kind), **more)


def together(*decorators: Decorator) -> Decorator:
    """Apply several decorators, the first one outermost, as if each had its own line."""
    return lambda command: reduce(lambda inner, decorator: decorator(inner), reversed(decorators), command)


def policy() -> Decorator:
    """Declare which policy."""
    return flag("--policy", "GuardPolicy file; without it the built-in recipe is enforced.", type=FILE)


def today() -> Decorator:
    """Declare the day by which exemptions are judged."""
    return flag("--today", "Day (UTC) by which exemptions are judged; the present one unless given.", type=Day())


def kubeconfig(without: str = "what kubectl would use") -> Decorator:
    """Declare --kubeconfig; `without` names the cluster that is used without the flag."""
    return flag("--kubeconfig", f"Kubeconfig file; without it {without}.", type=FILE)


ACCESS = (
    kubeconfig("$KUBECONFIG, ~/.kube/config, or the service account of the pod"),
    flag("--context", "Context of the kubeconfig; without it the current one."),
    flag("--as", "User to impersonate.", into="user", default="", show_default=False),
    flag("--request-timeout", "How long one call of the API server may take.", default="30s"),
)


def access() -> Decorator:
    """Declare which cluster is called and as whom, with kubectl's flags; the parameter is an Access."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def called(
            *, kubeconfig: Path | None, context: str | None, user: str, request_timeout: str, **given: object
        ) -> None:
            from app.kube.client import Access

            path = str(kubeconfig) if kubeconfig else None
            command(access=Access(path, context, user, _request_seconds(request_timeout)), **given)

        decorated: Callable[..., None] = called
        for each in reversed(ACCESS):
            decorated = each(decorated)
        return decorated

    return decorate


def _request_seconds(text: str) -> float:
    try:
        return parse_duration(text).milliseconds / 1000
    except ValueError as error:
        fail(f'--request-timeout is "{text}": it {error}')


def namespace(of: str, default: str = MANAGER) -> Decorator:
    """Declare a namespace flag; the text names its owner."""
    return flag("--namespace", f"Namespace of {of}.", "-n", default=default)


def webhook_configuration(which: str = "both") -> Decorator:
    """Declare the name of the webhook configurations."""
    return flag("--webhook-configuration", f"Name of {which} webhook configurations.", default=MANAGER)


def read_policy(path: Path | None, today: str | None = None) -> GuardPolicy:
    """Load the policy as it applies on a day (today, if None), or end with a line for each problem."""
    day = today or utc_day()
    if path is None:  # app.policyfile imports the YAML reader: a command without a policy file starts faster
        return default_policy().on(day)
    from app.policyfile import load_policy

    try:
        return load_policy(path).on(day)
    except PolicyError as error:
        fail(*error.lines)

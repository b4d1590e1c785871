"""Containers of the image: processes on its file system, with what the image says of environment, user and program."""

import random
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bed.pki import create_authority
from tests.bed.processes import Child
from tests.contract.webhooks import Files, Running, until
from tests.image.build import Image

ENTER = Path(__file__).with_name("enter.py")


@dataclass(frozen=True, slots=True)
class User:
    """Who a container's process is."""

    uid: int
    gid: int


def own_user(image: Image) -> User:
    """The user that the image names."""
    uid, gid = image.config["User"].split(":")
    return User(int(uid), int(gid))


def any_user() -> User:
    """Someone whom no file of the image knows."""
    return User(random.randrange(100_000, 2**31), random.randrange(100_000, 2**31))  # noqa: S311 - no secret


def arbitrary_user_of_root_group() -> User:
    """Someone as OpenShift makes them up."""
    return User(any_user().uid, 0)


def container(image: Image, user: User, volume: Path, command: Sequence[str]) -> Child:
    """A container that is not started yet: `volume` is at /mnt, its log beside it."""
    # Whoever the user is must be able to read what is mounted, as in a pod with an fsGroup.
    volume.chmod(0o755)
    for file in volume.iterdir():
        file.chmod(0o644)
    isolate = ["unshare", "--mount", "--propagation=private", sys.executable, "-I", str(ENTER)]
    return Child(
        *isolate,
        image.root,
        volume,
        str(user.uid),
        str(user.gid),
        *command,
        log=volume.with_suffix(".log"),
        env=image.environment,
    )


def run(image: Image, volume: Path, *command: str) -> tuple[int, str]:
    """Run a command as any user to its end; the exit code, and all that it wrote."""
    child = container(image, any_user(), volume, command)
    with child:
        code = child.process.wait(120)
    return code, child.log.read_text()


@contextmanager
def webhook(image: Image, user: User, folder: Path) -> Iterator[tuple[Running, Child]]:
    """The image's own program as a webhook on loopback, with a certificate mounted."""
    volume = folder / "tls"
    volume.mkdir()
    files = Files.create(volume, create_authority("the image test"))
    flags = {"tls-cert-file": "/mnt/tls.crt", "tls-private-key-file": "/mnt/tls.key", "bind-address": "127.0.0.1"}
    ports = {"port": "0", "health-port": "0"}
    arguments = [f"--{name}={value}" for name, value in {**flags, **ports}.items()]
    with container(image, user, volume, [*image.config["Entrypoint"], "webhook", *arguments]) as child:
        yield Running(*until(lambda: addresses(child)), files.authority), child
        if child.running:
            child.kill()  # a drain takes ten seconds


def addresses(child: Child) -> tuple[str, str] | None:
    """Where a webhook answers, out of its log: admission, health."""
    assert child.running, child.tail()
    found = re.search(
        r"serving admission on ([\d.]+:\d+), health checks and metrics on ([\d.]+:\d+)", child.log.read_text()
    )
    return (found[1], found[2]) if found else None

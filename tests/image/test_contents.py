"""What is in the image, and what is not."""

import json
import os
import stat
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.image.build import Image
from tests.image.container import run

SIZE_LIMIT = 150_000_000
"""Bytes on disk above the base."""
INSTALLERS = {"apk", "apt", "apt-cache", "apt-get", "aptitude", "dpkg", "dpkg-deb", "easy_install", "pip", "uv"}
BUILD_TOOLS = {"as", "c++", "c99", "cargo", "cc", "clang", "cmake", "cpp", "g++", "gcc", "go", "ld", "make", "rustc"}
FETCHERS = {"curl", "git", "gpg", "gpgv", "sqv", "wget"}
PROGRAM_FOLDERS = {"bin", "sbin", "libexec"}


def test_nothing_installs_builds_or_fetches(image: Image) -> None:
    programs = [path for path in files(image.root) if path.parent.name in PROGRAM_FOLDERS and os.access(path, os.X_OK)]
    names = {path.name.rstrip("0123456789.-") for path in programs}  # pip3.13, gcc-14
    assert "python" in names
    assert not names & (INSTALLERS | BUILD_TOOLS | FETCHERS)


def test_python_has_no_installer_nor_what_brings_one_back(image: Image, volume: Path) -> None:
    found = [path for path in files(image.root) if path.suffix == ".whl" or path.parent.name == "ensurepip"]
    assert not found
    program = "import importlib.util as u, json; print(json.dumps([n for n in %r if u.find_spec(n)]))"
    names = ["app", "pip", "setuptools", "pkg_resources", "wheel", "ensurepip", "uv"]
    for python in ("python", "/usr/bin/python3"):
        code, said = run(image, volume, python, "-c", program % names)
        volume.with_suffix(".log").unlink()
        assert (code, json.loads(said)) == (0, ["app"] if python == "python" else []), said


def test_it_is_small(image: Image) -> None:
    base = times_and_sizes(image.base)
    added, inodes = 0, set[int]()
    more = Counter[str]()
    for path in files(image.root):
        status = path.lstat()
        name = str(path.relative_to(image.root))
        if base.get(name) == (int(status.st_mtime), status.st_size) or status.st_ino in inodes:
            continue
        inodes.add(status.st_ino)
        added += status.st_blocks * 512
        top = "/".join(path.relative_to(image.root).parts[:6])
        more[top] += status.st_blocks * 512
    largest = more.most_common(10)
    print(f"\n{added / 1e6:.1f} MB above the base", *(f"  {size / 1e6:.1f} {top}" for top, size in largest), sep="\n")
    assert 30_000_000 < added < SIZE_LIMIT, largest


def times_and_sizes(base: Path) -> dict[str, tuple[int, int]]:
    """Time and size of every file of the base; a hard link has the size of the file it is a name of."""
    with tarfile.open(base) as archive:
        members = {member.name: member for member in archive}
    sizes = {name: members[member.linkname if member.islnk() else name].size for name, member in members.items()}
    return {name.removeprefix("./"): (int(members[name].mtime), size) for name, size in sizes.items()}


def test_it_has_bytecode_for_all_that_servers_import(image: Image, volume: Path) -> None:
    """With a root that is read-only, what has none is compiled at each start."""
    program = (
        "import os, sys, app.webhook.server, app.controller.process, app.cli; "
        "specs = [m.__spec__ for m in sys.modules.values() if getattr(m, '__spec__', None)]; "
        "cached = [s for s in specs if (s.origin or '').endswith('.py')]; "
        "print([s.name for s in cached if not os.path.exists(s.cached)], len(cached) > 99)"
    )
    code, said = run(image, volume, "python", "-c", program)
    assert (code, said.strip()) == (0, "[] True")


def test_files_of_the_product_are_readable_by_all_and_writable_by_root_only(image: Image) -> None:
    for path in [*files(image.root / "opt"), *folders(image.root / "opt")]:
        status = path.lstat()
        needed = stat.S_IROTH | (stat.S_IXOTH if path.is_dir() and not path.is_symlink() else 0)
        assert status.st_mode & needed == needed, path
        assert (status.st_uid, status.st_gid) == (0, 0), path
        assert path.is_symlink() or not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH), path


def test_no_program_makes_its_caller_another_user(image: Image) -> None:
    assert not [
        path
        for path in files(image.root)
        if not path.is_symlink() and path.lstat().st_mode & (stat.S_ISUID | stat.S_ISGID)
    ]


def test_labels_say_what_it_is(image: Image, volume: Path) -> None:
    labels = image.config["Labels"]
    prefix = "org.opencontainers.image."
    for name, argument in {"version": "VERSION", "revision": "REVISION", "created": "CREATED"}.items():
        assert labels[prefix + name] == image.arguments[argument]
    assert labels[prefix + "title"] == "serviceentry-guard"
    assert labels[prefix + "licenses"] == "Apache-2.0"
    assert labels[prefix + "base.name"] == "localhost/base"
    program = "from importlib.metadata import version; print(version('serviceentry-guard'))"
    assert run(image, volume, "python", "-c", program) == (0, labels[prefix + "version"] + "\n")


def test_its_user_is_a_number_other_than_root(image: Image) -> None:
    """Kubernetes can't tell whether a name is root: runAsNonRoot refuses it."""
    assert all(part.isdecimal() and int(part) > 0 for part in image.config["User"].split(":"))


def test_the_command_is_the_product(image: Image) -> None:
    assert image.config["Entrypoint"] == ["serviceentry-guard"]
    assert "Cmd" not in image.config
    assert image.environment["PYTHONDONTWRITEBYTECODE"] == "1"


def files(root: Path) -> Iterator[Path]:
    """All files and links below a folder."""
    for folder, _, names in os.walk(root):
        for name in names:
            yield Path(folder, name)


def folders(root: Path) -> Iterator[Path]:
    """All folders below a folder, and itself."""
    for folder, _, _ in os.walk(root):
        yield Path(folder)

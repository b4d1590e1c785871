"""OCI archives of a few programs each, for programs that are built here and run in pods."""

import hashlib
import io
import json
import platform
import re
import subprocess
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
NAME = "io.containerd.image.name"
FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
"""Where programs of an image are looked for."""


def write_archive(path: Path, program: Path, name: str) -> Path:
    """An image `name` whose only file is `program`, its entrypoint; gives `path`."""
    return write_image(path, {f"/{program.name}": program}, name)


def write_image(path: Path, files: Mapping[str, Path], name: str, user: str = "") -> Path:
    """An image `name` of these files by their places in it, of which the first is its entrypoint; gives `path`."""
    layer = _tar({place.lstrip("/"): file.read_bytes() for place, file in files.items()}, mode=0o755)
    config = {
        "architecture": MACHINES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {"Entrypoint": [next(iter(files))], "Env": [f"PATH={':'.join(FOLDERS)}"], "User": user},
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
    }
    blobs = [layer, json.dumps(config).encode()]
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": _descriptor(blobs[1], "application/vnd.oci.image.config.v1+json"),
        "layers": [_descriptor(layer, "application/vnd.oci.image.layer.v1.tar")],
    }
    blobs.append(json.dumps(manifest).encode())
    entry = {**_descriptor(blobs[2], str(manifest["mediaType"])), "annotations": {NAME: name}}
    contents = {f"blobs/sha256/{_digest(blob).removeprefix('sha256:')}": blob for blob in blobs}
    contents["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    contents["oci-layout"] = json.dumps({"imageLayoutVersion": "1.0.0"}).encode()
    path.write_bytes(_tar(contents, mode=0o644))
    return path


def libraries(programs: Iterable[Path]) -> dict[str, Path]:
    """The shared libraries that programs of this machine need, by the places where they look for them."""
    places = set[str]()
    for program in programs:
        listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
        places |= set(re.findall(r"(/\S+) \(0x", listed))
    return {place: Path(place).resolve() for place in sorted(places)}


def _descriptor(blob: bytes, kind: str) -> dict[str, object]:
    return {"mediaType": kind, "digest": _digest(blob), "size": len(blob)}


def _digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"


def _tar(files: Mapping[str, bytes], mode: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), mode
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()

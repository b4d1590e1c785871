"""`python -m certs.development`: an authority and a serving certificate for work on this machine, into certs/dev.

Both are new each time and last a week; git ignores the folder. Never give them to a cluster that matters.
"""

import argparse
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from app.certificates.x509 import create_authority, issue

FOLDER = Path(__file__).parent / "dev"
LIFETIME = timedelta(days=7)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m certs.development", description=__doc__)
    parser.add_argument("--name", default="localhost", help="DNS name that the certificate is for")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the files go")
    given = parser.parse_args()
    try:
        write(given.folder, given.name)
    except OSError as error:
        print(f"{given.folder}: cannot be written: {error.strerror}", file=sys.stderr)
        return 2
    except ValueError as error:
        print(f"--name {given.name}: {error}", file=sys.stderr)
        return 2
    print(f"{given.folder}: ca.crt, tls.crt and tls.key for {given.name}")
    return 0


def write(folder: Path, name: str) -> None:
    """Write a new ca.crt, tls.crt and tls.key; only the owner can read the key. Raises OSError."""
    now = datetime.now(UTC)
    authority = create_authority(now, LIFETIME)
    serving = issue(authority, name, now, LIFETIME)
    folder.mkdir(parents=True, exist_ok=True)
    for file, content, mode in (
        ("ca.crt", authority.certificate_pem, 0o644),
        ("tls.crt", serving.certificate_pem, 0o644),
        ("tls.key", serving.key_pem, 0o600),
    ):
        path = folder / file
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as output:
            output.write(content)


if __name__ == "__main__":
    sys.exit(main())

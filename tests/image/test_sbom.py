"""The bill of materials says what is in the image, no more and no less."""

import json
import re
import subprocess
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.image.build import ROOT, Image
from tests.image.container import run


def test_the_sbom_lists_what_the_image_has(image: Image, volume: Path) -> None:
    made = subprocess.run(["make", "--silent", "sbom"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    text = (ROOT / made.stdout.splitlines()[-1]).read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bill = json.loads(text)

    subject = bill["metadata"]["component"]
    listed = {(normal(part["name"]), part["version"]) for part in [subject, *bill["components"]]}
    program = (
        "import importlib.metadata as m, json; print(json.dumps([(d.name, d.version) for d in m.distributions()]))"
    )
    code, said = run(image, volume, "python", "-c", program)
    assert code == 0, said
    assert listed == {(normal(name), version) for name, version in json.loads(said)}
    assert all(part["purl"].startswith("pkg:pypi/") for part in bill["components"])


def normal(name: str) -> str:
    """A distribution's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()

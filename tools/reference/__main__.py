"""`python -m tools.reference` (`make reference`): write every generated part of the documentation and of the chart."""

import sys

from tools.reference.files import files
from tools.reference.page import ROOT


def main() -> int:
    """Write the files that differ, and print their names."""
    for path, content in files().items():
        if path.read_text() != content:
            path.write_text(content)
            print(path.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Records what plateseal's commands print and leave on the disk, or shows how it differs from a recording.

python -m tests.behaviour record FILE --plateseal PATH
python -m tests.behaviour compare FILE --plateseal PATH
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from tests.behaviour.compare import differences
from tests.behaviour.scenario import Recording, record


def main() -> int:
    """Write a recording, or return 1 if it differs from one that was written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("act", choices=("record", "compare"))
    parser.add_argument("file", type=Path)
    parser.add_argument("--plateseal", type=Path, default=Path(sys.executable).parent / "plateseal")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        now = record(arguments.plateseal, Path(folder))
    if arguments.act == "record":
        arguments.file.write_text(json.dumps(now, indent=0, ensure_ascii=False) + "\n")
        return 0
    was: Recording = json.loads(arguments.file.read_text())
    found = list(differences(was, now))
    sys.stdout.writelines(f"{each}\n" for each in found)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())

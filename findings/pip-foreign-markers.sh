#!/usr/bin/env bash
# pip 26.3: with --platform and --python-version it takes wheels for the other machine, and requirements of this one.
# Which wheel fits is decided for the target; which requirement holds (`python_version`, `platform_machine` in a marker) is
# decided for the Python and the processor that pip runs on. A package built across machines can so lack what its target
# needs and bring what it does not, without a word. Seen on Python 3.11, x86-64, asking for Python 3.13, aarch64:
#   installed: for-here, unit, up-to-this-python; a "for-there" and a "from-the-target-on" are left out
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --disable-pip-version-check pip==26.3
cd "$scratch"
venv/bin/python - <<'END'
import json
import platform
import subprocess
import sys
from zipfile import ZipFile

here = platform.machine()
there = "aarch64" if here == "x86_64" else "x86_64"
target = f"3.{sys.version_info.minor + 1}"


def write_wheel(name, *requires):
    file, info = name.replace("-", "_"), f"{name.replace('-', '_')}-1.0.dist-info"
    with ZipFile(f"{file}-1.0-py3-none-any.whl", "w") as wheel:
        lines = ["Metadata-Version: 2.1", f"Name: {name}", "Version: 1.0", *(f"Requires-Dist: {one}" for one in requires)]
        wheel.writestr(f"{info}/METADATA", "\n".join(lines) + "\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


write_wheel(
    "unit",
    f"for-here; platform_machine == '{here}'",
    f"for-there; platform_machine == '{there}'",
    f"up-to-this-python; python_version < '{target}'",
    f"from-the-target-on; python_version >= '{target}'",
)
for name in ("for-here", "for-there", "up-to-this-python", "from-the-target-on"):
    write_wheel(name)
command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--report", "report.json", "--no-index"]
command += ["--find-links", ".", "--target", "target", "--only-binary=:all:", "--implementation", "cp"]
command += ["--platform", f"manylinux2014_{there}", "--python-version", target, "unit"]
subprocess.run(command, check=True)
with open("report.json") as file:
    names = sorted(entry["metadata"]["name"] for entry in json.load(file)["install"])
print(f"for Python {target} on {there}, run on {here}: {', '.join(names)}")
assert names == ["for-here", "unit", "up-to-this-python"]
END

#!/usr/bin/env bash
# pip 26.3: `pip download --no-deps` of a source archive builds before it has "downloaded".
# To ask an archive for its name and version, pip installs all that the archive is built with and runs its build system,
# although nobody wants more than the file. With `--no-binary=:all:`, the usual way to ask for a source archive, that
# holds for what it is built with too: pip wants to compile that from source and fails where it is there as a wheel, in the
# same folder. Naming the one project goes through, and runs the build system all the same. No option only fetches. Seen:
#   --no-binary=:all: gives no file; ERROR: No matching distribution found for builder
#   --no-binary=unit gives unit-1.0.tar.gz; the build system was run
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --disable-pip-version-check pip==26.3
cd "$scratch"
venv/bin/python - <<'END'
import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from zipfile import ZipFile

METADATA = "Metadata-Version: 2.1\nName: {}\nVersion: 1.0\n"
BUILDER = f'''
from pathlib import Path
def prepare_metadata_for_build_wheel(folder, config_settings=None):
    Path({os.path.abspath("was-run")!r}).touch()
    info = Path(folder, "unit-1.0.dist-info")
    info.mkdir()
    Path(info, "METADATA").write_text({METADATA.format("unit")!r})
    return info.name
'''
Path("offered").mkdir()
with ZipFile("offered/builder-1.0-py3-none-any.whl", "w") as wheel:
    wheel.writestr("builder.py", BUILDER)
    wheel.writestr("builder-1.0.dist-info/METADATA", METADATA.format("builder"))
    wheel.writestr("builder-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr("builder-1.0.dist-info/RECORD", "")
with tarfile.open("offered/unit-1.0.tar.gz", "w:gz") as archive:
    built_with = '[build-system]\nrequires = ["builder"]\nbuild-backend = "builder"\n'
    files = {"PKG-INFO": METADATA.format("unit"), "pyproject.toml": built_with}
    for name, text in files.items():
        member = tarfile.TarInfo(f"unit-1.0/{name}")
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text.encode()))
left = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
left["PIP_CONFIG_FILE"] = os.devnull
seen = {}
for option in ("--no-binary=:all:", "--no-binary=unit"):
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-index", "--find-links", "offered"]
    done = subprocess.run([*command, option, "-d", "got", "unit==1.0"], capture_output=True, text=True, env=left)
    got = ", ".join(os.listdir("got")) if Path("got").exists() else ""
    errors = [line.strip() for line in done.stderr.splitlines() if "ERROR: No matching" in line]
    seen[option] = got, errors[-1:], Path("was-run").exists()
    print(f"{option} gives {got or 'no file'}; {errors[-1] if errors else 'the build system was run'}")
assert seen["--no-binary=:all:"] == ("", ["ERROR: No matching distribution found for builder"], False)
assert seen["--no-binary=unit"] == ("unit-1.0.tar.gz", [], True)
END

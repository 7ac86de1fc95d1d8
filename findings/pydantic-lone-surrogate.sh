#!/usr/bin/env bash
# pydantic 2.14.3: `validate_json` refuses a document that Python's own `json` writes and reads back.
# The name of a file that is not UTF-8 comes out of `os.listdir` with a lone surrogate in its place. `json.dumps` writes it as
# an escape and `json.loads` reads it again; pydantic's own parser says "Invalid JSON". So a note that a program writes with
# `json` and reads with pydantic can be damaged by the name of a file in an error message. Seen:
#   json.loads: {'why': 'a\udc80: no such file'}
#   validate_json: Invalid JSON: lone leading surrogate in hex escape at line 1 column 16
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --disable-pip-version-check pydantic==2.14.3
cd "$scratch"
venv/bin/python - <<'END'
import json
import os

from pydantic import TypeAdapter, ValidationError

name = os.fsdecode(b"a\x80")
document = json.dumps({"why": f"{name}: no such file"})
read = json.loads(document)
print(f"json.loads: {ascii(read)}")
assert read["why"].startswith(name)
try:
    TypeAdapter(dict[str, str]).validate_json(document)
    said = "taken"
except ValidationError as error:
    said = error.errors()[0]["msg"]
print(f"validate_json: {said}")
assert "surrogate" in said
END

#!/usr/bin/env bash
# pydantic 2.14.3: in strict mode `Literal[1]` takes `true` and `1.0`, which `int` refuses.
# Strict mode is there to take no value of another type, and a field of type `int` refuses both. A `Literal` is compared by
# `==`, and in Python 1 == True == 1.0: a document whose version is `true` is one of version 1, and says 1 when it is written
# again. Seen:
#   int: 1 taken, true refused, 1.0 refused, "1" refused
#   Literal[1]: 1 taken, true taken, 1.0 taken, "1" refused
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --disable-pip-version-check pydantic==2.14.3
cd "$scratch"
venv/bin/python - <<'END'
from typing import Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError


def taken(kind):
    adapter = TypeAdapter(kind, config=ConfigDict(strict=True))
    for text in ("1", "true", "1.0", '"1"'):
        try:
            value = adapter.validate_json(text)
            assert type(value) is int and value == 1
            yield f"{text} taken"
        except ValidationError:
            yield f"{text} refused"


by_int, by_literal = ", ".join(taken(int)), ", ".join(taken(Literal[1]))
print(f"int: {by_int}\nLiteral[1]: {by_literal}")
assert by_int == '1 taken, true refused, 1.0 refused, "1" refused'
assert by_literal == '1 taken, true taken, 1.0 taken, "1" refused'
END

#!/usr/bin/env bash
# pydantic 2.14.3: the place of a wrong key ends in "[key]", a text that can be a key itself.
# `loc` is the way to what is wrong, one key or index after the other; whoever follows it, say to name a line of a file,
# finds nothing below a wrong key, for there is no entry "[key]". Nor can the mark be told from an entry of that name by
# `loc`: a wrong key and a wrong value can have the same. Seen, for countries in capitals and whole numbers below:
#   {'es': {'[key]': 1}}: ('es', '[key]') string_pattern_mismatch
#   {'ES': {'[key]': 'x'}}: ('ES', '[key]') int_parsing
#   {'es': {'[key]': 'x'}}: ('es', '[key]') string_pattern_mismatch, ('es', '[key]') int_parsing
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --disable-pip-version-check pydantic==2.14.3
"$scratch/venv/bin/python" - <<'END'
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

Country = Annotated[str, Field(pattern="^[A-Z]{2}$")]
countries = TypeAdapter(dict[Country, dict[str, int]])


def faults(value):
    """Return the place and the kind of each error."""
    try:
        countries.validate_python(value)
    except ValidationError as error:
        return [(each["loc"], each["type"]) for each in error.errors()]
    return []


cases = {
    "a wrong key": ({"es": {"[key]": 1}}, [(("es", "[key]"), "string_pattern_mismatch")]),
    "a wrong value": ({"ES": {"[key]": "x"}}, [(("ES", "[key]"), "int_parsing")]),
    "both": ({"es": {"[key]": "x"}}, [(("es", "[key]"), "string_pattern_mismatch"), (("es", "[key]"), "int_parsing")]),
}
for value, expected in cases.values():
    seen = faults(value)
    print(f"{value}:", ", ".join(f"{place} {kind}" for place, kind in seen))
    assert seen == expected
END

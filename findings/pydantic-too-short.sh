#!/usr/bin/env bash
# pydantic 2.14.3: a tuple of any length counts only the members that passed, so three corners of which two are out of range are
# also called too few. Whoever shows all errors sends people to look for a corner that is there. One would expect the length of
# what was given, as a list's is: with the same fault, a list has the two errors alone. Seen:
#   tuple[.., ...]: less_than_equal, less_than_equal, too_short "should have at least 3 items after validation, not 1"
#   list[..]: less_than_equal, less_than_equal
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --disable-pip-version-check pydantic==2.14.3
"$scratch/venv/bin/python" - <<'END'
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

Share = Annotated[float, Field(ge=0, le=1)]
AtLeastThree = Field(min_length=3)


def faults(kind):
    """Return the errors for three members, two of them out of range."""
    try:
        TypeAdapter(kind).validate_python([0.5, 640, 480])
    except ValidationError as error:
        return error.errors()
    return []


as_tuple = faults(Annotated[tuple[Share, ...], AtLeastThree])
as_list = faults(Annotated[list[Share], AtLeastThree])
print("tuple[.., ...]:", ", ".join(each["type"] for each in as_tuple), f'"{as_tuple[-1]["msg"]}"')
print("list[..]:", ", ".join(each["type"] for each in as_list))
assert [each["type"] for each in as_tuple] == ["less_than_equal", "less_than_equal", "too_short"]
assert as_tuple[-1]["msg"] == "Tuple should have at least 3 items after validation, not 1"
assert [each["type"] for each in as_list] == ["less_than_equal", "less_than_equal"]
END

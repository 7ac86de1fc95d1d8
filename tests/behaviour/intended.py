"""What is meant to differ from the recording, each with its reason.

`python -m tests.behaviour compare FILE` prints a difference as it is written here.
"""

from __future__ import annotations

from typing import Final

from tests.behaviour.compare import NOT_THERE, Difference

_STATE: Final = "unit/state"
MOVED: Final = {
    f"{when}: {_STATE}/{daemon}.prom": f"{when}: {_STATE}/run/{daemon}.prom"
    for when in ("after capture", "at the end")
    for daemon in ("capture", "upload")
}
"""The old name and the new: what is written once a second lies in the runtime directory, in memory on a unit."""

_RUNTIME: Final = "the setting `runtime_dir` and the directory of that name are new: metrics wore the memory card out"
_WORDS: Final = "status, doctor and fleet page say the same words, from one judgement"
_STATES: Final = "a model's state has the words of the trade: ok, digest mismatch"
_UNIT: Final = "--config unit/unit.toml"


def _new_file(where: str, kind: str) -> Difference:
    return Difference(where, NOT_THERE, ("1 of this name", kind))


INTENDED: Final = {
    Difference(
        "$ plateseal config schema camera",
        (),
        (
            '.properties.runtime_dir.anyOf[0].format = "path"',
            '.properties.runtime_dir.anyOf[0].type = "string"',
            '.properties.runtime_dir.anyOf[1].type = "null"',
            ".properties.runtime_dir.default = null",
        ),
    ): _RUNTIME,
    Difference(
        "$ plateseal config show camera-0 --dir fleet --json",
        (),
        tuple(f".settings.runtime_dir.{key} = null" for key in ("file", "line", "value")),
    ): _RUNTIME,
    _new_file(f"after capture: {_STATE}/run", "folder, mode 0700"): _RUNTIME,
    _new_file(f"at the end: {_STATE}/run", "folder, mode 0700"): _RUNTIME,
    _new_file(f"after capture: {_STATE}/run/capture.json", "JSON, mode 0600"): _RUNTIME,
    _new_file(f"at the end: {_STATE}/run/capture.json", "JSON, mode 0600"): _RUNTIME,
    _new_file(f"at the end: {_STATE}/run/upload.json", "JSON, mode 0600"): _RUNTIME,
    **{
        Difference("$ plateseal models verify --json", (f'[{n}].state = "right"',), (f'[{n}].state = "ok"',)): _STATES
        for n in range(6)
    },
    Difference("$ plateseal models verify plate-reader", ("plate-reader: right",), ("plate-reader: ok",)): _STATES,
    Difference(
        f"$ plateseal status {_UNIT}", ("! keyring  <duration> left",), ("! keyring  ends in <duration>",)
    ): _WORDS,
    **{
        Difference(
            f"$ plateseal doctor {_UNIT} --json{number}",
            ('.findings[11].what = "serial 1, <number> days left"',),
            ('.findings[11].what = "serial 1 ends in <duration>"',),
        ): _WORDS
        for number in ("", " #2")
    },
}
"""Why each of these is meant."""

"""Vectors of the health report, which nobody signs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from agent.wire.cbor import encode
from tests.vectors.messages import MAX_SEQ, NOON, Map
from tests.vectors.vector import Vector, accepted, map_faults, refused

CAR: Final = "\U0001f697"
"""A character of four bytes, and of two units in UTF-16."""
REPORT: Final[Map] = {
    "v": 1,
    "at": NOON,
    "up": [True, True],
    "cameras": [["cam-1", True, 120], ["cam-2", None, 0]],
    "backlog": [3, 36_000, 1 << 30, 4, 0],
    "reads": [1234, 1234, 1231, 17, 0],
    "disk": [1 << 34, 1 << 35],
    "temp": 48_500,
    "clock": "synchronized",
    "ends": [86_400 * 90, 86_400 * 7],
    "versions": [["plateseal", "0.1.0"], ["python", "3.13.5"], ["system", "Debian GNU/Linux 13"]],
    "configs": [["capture", 5, None], ["upload", 5, None]],
    "error": None,
}
BARE: Final = REPORT | {
    "up": [False, False],
    "cameras": [],
    "backlog": [0, 0, 0, None, 0],
    "reads": [None, 0, 0, 0, 0],
    "temp": None,
    "ends": [None, None],
    "versions": [],
    "configs": [],
}
FULL: Final = REPORT | {
    "cameras": [[f"camera {at}", False, MAX_SEQ] for at in range(16)],
    "backlog": [MAX_SEQ] * 5,
    "reads": [MAX_SEQ] * 5,
    "disk": [MAX_SEQ] * 2,
    "temp": -MAX_SEQ,
    "clock": "behind",
    "ends": [-MAX_SEQ, MAX_SEQ],
    "versions": [[CAR * 64, CAR * 100]] * 16,
    "configs": [["capture", MAX_SEQ, CAR * 300], ["upload", 0, ""]],
    "error": [253_402_300_799_999, CAR * 300],
}
CLOCKS: Final[list[list[Any]]] = [
    ["cam-1", True, 40, [-92, -3, 90_000, True]],
    ["cam-2", True, 0, [7_199_950, None, 5, False]],
    ["c", None, 0],
]
MAX_BYTES: Final = 16_384


def vectors() -> Iterator[Vector]:
    """Yield all of them."""
    for name, why, report in (
        ("right", "A unit with two cameras, one of which plays a recording.", REPORT),
        ("right-bare", "Nothing runs, nothing waits, nothing is known.", BARE),
        ("right-full", "Every list, text and number as long, large or small as it may be.", FULL),
        ("right-other-clocks", "A clock that nothing keeps.", REPORT | {"clock": "unsynchronized"}),
        (
            "right-refused",
            "A camera that refuses the login.",
            REPORT | {"cameras": [["cam-1", "refused", 0], ["cam-2", False, 0]]},
        ),
        (
            "right-camera-clocks",
            "Cameras that show their clocks: one dates its frames, of one the drift is not known, one shows none.",
            REPORT | {"cameras": CLOCKS},
        ),
        (
            "right-camera-clocks-extreme",
            "Sixteen cameras with clocks as far off as a number goes, either way.",
            FULL
            | {
                "cameras": [[f"camera {at}", True, 0, [(-1) ** at * MAX_SEQ] * 2 + [MAX_SEQ, True]] for at in range(16)]
            },
        ),
        ("right-error", "The newest error line.", REPORT | {"error": [NOON, "the disk is full"]}),
        ("right-empty-texts", "Texts may be empty.", REPORT | {"cameras": [["", None, 0]], "error": [0, ""]}),
        (
            "right-printable",
            "Letters, marks, symbols and emoji.",
            REPORT | {"error": [0, "né Δ ж 車 € e\u0301 " + CAR]},
        ),
        ("right-longest", "16,384 bytes, as long as a report may be.", _long(MAX_BYTES)),
    ):
        yield accepted("health", name, why, encode(report), report)
    yield from map_faults("health", REPORT, bytes)
    yield from _faults()
    yield from _texts()
    yield refused("health", "too-long", "One byte more than a report may have.", encode(_long(MAX_BYTES + 1)), "size")
    yield refused("health", "truncated", "The last byte is missing.", encode(REPORT)[:-1], "encoding")
    yield refused("health", "trailing-byte", "A zero byte follows it.", encode(REPORT) + b"\0", "encoding")
    yield refused("health", "array", "An array stands where the map must.", encode([REPORT]), "value")


def _long(length: int) -> Map:
    """Return a report of so many bytes: all texts are full, but for some that make up the length."""
    cameras: list[list[Any]] = [[CAR * 64, None, 0] for _ in range(16)]
    report = FULL | {"cameras": cameras, "versions": [[CAR * 64, CAR * 100]] * 15}
    for camera in cameras:
        over = len(encode(report)) - length
        camera[0] = CAR * (64 - min(60, -(-over // 4)))
    cameras[0][0] += "x" * (length - len(encode(report)))
    return report


def _clock(camera: list[Any], place: int, value: object) -> list[list[Any]]:
    """Return the cameras of a report of which the one has a clock with a fault at a place."""
    clock = [-92, -3, 90_000, True]
    clock[place] = value  # type: ignore[call-overload]  # that is the fault
    return [[*camera, clock]]


def _faults() -> Iterator[Vector]:
    camera, version, config = ["cam-1", True, 0], ["part", "1"], ["capture", 1, None]
    clock = CLOCKS[0][3]
    faults: dict[str, tuple[str, Map]] = {
        "negative-time": ("A time before 1970.", {"at": -1}),
        "time-too-late": ("A time after the year 9999.", {"at": 253_402_300_800_000}),
        "up-of-one": ("Whether upload runs is missing.", {"up": [True]}),
        "up-of-numbers": ("1 stands for true, as in some languages.", {"up": [1, 1]}),
        "up-of-null": ("Whether upload runs is null.", {"up": [True, None]}),
        "17-cameras": ("One camera too many.", {"cameras": [camera] * 17}),
        "camera-of-two": ("A camera without its lag.", {"cameras": [camera[:2]]}),
        "camera-up-0": ("0 stands for false.", {"cameras": [["cam-1", 0, 0]]}),
        "camera-state-unknown": ("A state of a camera that there is not.", {"cameras": [["cam-1", "lost", 0]]}),
        "camera-without-name": ("A camera's name is null.", {"cameras": [[None, True, 0]]}),
        "camera-of-five": ("Something follows the camera's clock.", {"cameras": [[*camera, clock, 0]]}),
        "camera-clock-null": ("null stands where a clock may be left out.", {"cameras": [[*camera, None]]}),
        "camera-clock-map": ("A map stands for the clock.", {"cameras": [[*camera, {"offset": 0}]]}),
        "camera-clock-of-three": ("Whether it dates frames is missing.", {"cameras": [[*camera, clock[:3]]]}),
        "camera-clock-of-five": ("A value too many.", {"cameras": [[*camera, [*clock, 0]]]}),
        "camera-clock-offset-null": (
            "The offset is null; only the drift may be.",
            {"cameras": _clock(camera, 0, None)},
        ),
        "camera-clock-offset-too-low": ("An offset of -2^53.", {"cameras": _clock(camera, 0, -MAX_SEQ - 1)}),
        "camera-clock-offset-text": ("The offset is a text.", {"cameras": _clock(camera, 0, "0")}),
        "camera-clock-drift-too-high": ("A drift of 2^53.", {"cameras": _clock(camera, 1, MAX_SEQ + 1)}),
        "camera-clock-watched-negative": ("Watched for -1 s.", {"cameras": _clock(camera, 2, -1)}),
        "camera-clock-watched-null": ("Watched for null.", {"cameras": _clock(camera, 2, None)}),
        "camera-clock-dates-1": ("1 stands for true.", {"cameras": _clock(camera, 3, 1)}),
        "camera-clock-dates-null": ("Whether it dates frames is null.", {"cameras": _clock(camera, 3, None)}),
        "negative-lag": ("A lag of -1.", {"cameras": [["cam-1", True, -1]]}),
        "lag-too-high": ("A lag of 2^53.", {"cameras": [["cam-1", True, MAX_SEQ + 1]]}),
        "backlog-of-four": ("What was set aside is missing.", {"backlog": [0, 0, 0, None]}),
        "backlog-null-count": ("The count is null; only the age may be.", {"backlog": [None, 0, 0, None, 0]}),
        "backlog-negative": ("-1 envelopes wait.", {"backlog": [-1, 0, 0, None, 0]}),
        "reads-of-six": ("A count too many.", {"reads": [0, 0, 0, 0, 0, 0]}),
        "reads-null": ("The sealed reads are null; only the place may be.", {"reads": [0, None, 0, 0, 0]}),
        "reads-too-high": ("2^53 reads were sealed.", {"reads": [0, MAX_SEQ + 1, 0, 0, 0]}),
        "disk-of-one": ("The size of the disk is missing.", {"disk": [0]}),
        "disk-negative": ("-1 bytes are free.", {"disk": [-1, 0]}),
        "disk-null": ("null bytes are free.", {"disk": [None, 0]}),
        "temp-as-text": ("The temperature is a text.", {"temp": "48.5"}),
        "temp-true": ("The temperature is true.", {"temp": True}),
        "temp-too-low": ("The temperature is -2^53.", {"temp": -MAX_SEQ - 1}),
        "temp-too-high": ("The temperature is 2^53.", {"temp": MAX_SEQ + 1}),
        "unknown-clock": ("A state of the clock that there is not.", {"clock": "fast"}),
        "clock-null": ("The clock is null.", {"clock": None}),
        "ends-of-three": ("Three ends.", {"ends": [0, 0, 0]}),
        "ends-too-low": ("The certificate ended 2^53 seconds ago.", {"ends": [-MAX_SEQ - 1, 0]}),
        "ends-false": ("An end is false.", {"ends": [False, 0]}),
        "17-versions": ("One version too many.", {"versions": [version] * 17}),
        "version-of-one": ("A part without its version.", {"versions": [["part"]]}),
        "long-version": ("A version of 101 characters.", {"versions": [["part", "1" * 101]]}),
        "three-configs": ("A third daemon.", {"configs": [config] * 3}),
        "config-of-two": ("A daemon without the reason.", {"configs": [config[:2]]}),
        "config-null-serial": ("A serial is null.", {"configs": [["capture", None, None]]}),
        "long-refusal": ("A reason of 301 characters.", {"configs": [["capture", 1, "x" * 301]]}),
        "error-as-text": ("The error is a text without its time.", {"error": "the disk is full"}),
        "error-without-time": ("The error's time is null.", {"error": [None, "the disk is full"]}),
        "long-error": ("An error line of 301 characters.", {"error": [NOON, CAR * 301]}),
        "long-camera": ("A camera's name of 65 characters.", {"cameras": [["c" * 65, True, 0]]}),
        "long-part": ("A part's name of 65 characters.", {"versions": [["p" * 65, "1"]]}),
        "long-daemon": ("A daemon's name of 65 characters.", {"configs": [["d" * 65, 1, None]]}),
        "crop": ("Bytes, which a report has no room for.", {"error": [NOON, b"\xff\xd8\xff"]}),
    }
    for name, (why, change) in faults.items():
        yield refused("health", name, why, encode(REPORT | change), "value")


def _texts() -> Iterator[Vector]:
    """Yield one character of each kind that is not printable, in each text that there is."""
    for name, why, character in (
        ("line-feed", "a line feed", "\n"),
        ("delete", "a control character (Cc), U+007F", "\x7f"),
        ("zero-width-space", "a format character (Cf), U+200B", "\u200b"),
        ("private-character", "a private character (Co), U+E000", "\ue000"),
        ("unassigned-character", "an unassigned character (Cn), U+0378", "\u0378"),
        ("no-break-space", "a separator (Zs) that is not the space, U+00A0", "\u00a0"),
        ("line-separator", "a line separator (Zl), U+2028", "\u2028"),
    ):
        yield _refused_text(name, f"The error line has {why}.", {"error": [NOON, f"a{character}b"]})
    bell = "a\x07b"
    for name, change in (
        ("camera", {"cameras": [[bell, True, 0]]}),
        ("part", {"versions": [[bell, "1"]]}),
        ("version", {"versions": [["part", bell]]}),
        ("daemon", {"configs": [[bell, 1, None]]}),
        ("refusal", {"configs": [["capture", 1, bell]]}),
    ):
        yield _refused_text(f"control-in-{name}", "A text has a control character.", change)


def _refused_text(name: str, why: str, change: dict[str, Any]) -> Vector:
    return refused("health", name, why, encode(REPORT | change), "value")

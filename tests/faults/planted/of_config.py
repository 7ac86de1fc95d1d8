"""Faults of a unit's configuration file."""

from __future__ import annotations

import re
from typing import Final

from tests.faults.planted.acts import DOCTOR, Plant, done, setting
from tests.faults.planted.fault import Act, Fault, by_hand
from tests.faults.planted.site import Site

CHECK: Final = "config check {config}"
PIXELS: Final = "mask = [{ polygon = [[0, 0], [640, 0], [640, 120]] }]"
SHARES: Final = "mask = [{ polygon = [[0.0, 0.0], [0.5, 0.0], [0.5, 0.2]] }]"
SECOND: Final = '\n[[camera]]\ncamera_id = "second"\nsource = { uri = "rtsp://127.0.0.1:554/live" }\n'
"""The same camera, with the port that is meant anyway."""


def as_told(key: str, pattern: str) -> Act:
    """Give a setting the value that the message names."""

    def act(site: Site, text: str) -> str:
        found = re.search(pattern, text)
        assert found is not None, f"{pattern} is not in: {text}"
        site.change_setting(key, found[1])
        return ""

    return act


def source(uri: str) -> Plant:
    """Name another source of frames."""
    return done(setting("uri", f'"{uri}"'), lambda site: site.change_config("started_at = ", "# started_at = "))


def _line(words: str) -> Plant:
    """Add a line at the top of the configuration."""
    return lambda site: site.config.write_text(f"{words}\n{site.config.read_text()}")


def without(words: str) -> Plant:
    """Take a line out of the configuration."""
    return lambda site: site.change_config(f"{words}\n", "")


FAULTS: Final = (
    Fault(
        "a setting's name is misspelt",
        CHECK,
        lambda site: site.change_config("poll_s", "pol_s"),
        ("unit.toml:", "upload.pol_s: no such setting; did you mean poll_s?"),
        (by_hand("did you mean poll_s?", lambda site: site.change_config("pol_s", "poll_s")),),
    ),
    Fault(
        "the receiver's address is not https",
        CHECK,
        lambda site: site.change_config('"https://', '"http://'),
        ("upload.url: ", "must be https://HOST[:PORT]"),
        (by_hand("https://", lambda site: site.change_config('"http://', '"https://')),),
    ),
    Fault(
        "a value is out of its bounds",
        CHECK,
        setting("poll_s", "600.0"),
        ("upload.poll_s: is 600.0; should be ",),
        (as_told("poll_s", r"less than or equal to (\d+)"),),
    ),
    Fault(
        "a line of the configuration is no TOML",
        DOCTOR,
        _line("camera_id : demo"),
        ("unit.toml: not TOML", "at line 1"),
        (by_hand("at line 1", without("camera_id : demo")),),
    ),
    Fault(
        "a setting is missing",
        DOCTOR,
        without('keyring = "keyring.cose"'),
        ("seal.keyring: is missing",),
        (
            by_hand(
                "seal.keyring: is missing",
                lambda site: site.change_config("[seal]", '[seal]\nkeyring = "keyring.cose"'),
            ),
        ),
    ),
    Fault(
        "a camera's password stands in the configuration",
        CHECK,
        source("rtsp://root:secret@127.0.0.1/live"),
        ("unit.toml:4: source: ", "USER:PASSWORD into a file of its own"),
        (
            by_hand(
                "source.credential",
                done(
                    lambda site: site.change_setting("uri", '"rtsp://127.0.0.1/live"\ncredential = "camera.login"'),
                    lambda site: (site.device / "camera.login").write_text("root:secret\n"),
                ),
            ),
        ),
    ),
    Fault(
        "the configuration is not there",
        DOCTOR,
        lambda site: site.config.rename(site.device / "unit.tom"),
        ("unit.toml: ", "No such file"),
        (by_hand("No such file", lambda site: (site.device / "unit.tom").rename(site.config)),),
    ),
    Fault(
        "a mask's corners are in pixels",
        CHECK,
        lambda site: site.change_config("[vision]", f"[vision]\n{PIXELS}"),
        ("vision.mask", "a corner is two shares of the picture, each from 0 to 1"),
        (by_hand("divide the first by the picture's width", lambda site: site.change_config(PIXELS, SHARES)),),
    ),
    Fault(
        "two cameras are one",
        CHECK,
        done(source("rtsp://127.0.0.1/live"), lambda site: site.config.write_text(site.config.read_text() + SECOND)),
        ("camera.0.source.uri: is the source of demo too; two cameras cannot be one",),
        (
            by_hand(
                "two cameras cannot be one", lambda site: site.change_config("127.0.0.1:554/live", "127.0.0.2/live")
            ),
        ),
    ),
)

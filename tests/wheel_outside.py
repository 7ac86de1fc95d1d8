"""Checks an installed wheel from outside the checkout: what it carries, what its demo counted, and one read picture.

`python wheel_outside.py DEMO_JSON`, with the Python of the environment that holds the wheel; called by `.ci/wheel`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from pathlib import Path

import cv2

import agent
from agent.bench.demo import DEMO_CLIP
from agent.bench.truth import load_truth
from agent.vision.manifest import built_in_manifest

LEAST_READ = 0.9
"""Share of the clip's vehicles that the demo must have a passage of."""


def read_a_vehicle(folder: Path) -> tuple[str, list[str]]:
    """Cut the middle frame of the clip's first vehicle out; return its text and what `plateseal read` finds there."""
    first = load_truth(DEMO_CLIP.with_suffix(".truth.json")).passes[0]
    assert first.first is not None
    assert first.last is not None
    video = cv2.VideoCapture(str(DEMO_CLIP))
    video.set(cv2.CAP_PROP_POS_FRAMES, first.first + (first.last - first.first) * 3 // 4)
    seen, frame = video.read()
    assert seen, f"{DEMO_CLIP} cannot be read"
    picture = folder / "frame.png"
    cv2.imwrite(str(picture), frame)
    done = subprocess.run(
        [Path(sys.executable).with_name("plateseal"), "read", picture, "--jsonl", "-"],
        capture_output=True,
        text=True,
        check=True,
    )
    return first.text, [json.loads(line)["text"] for line in done.stdout.splitlines()]


def main() -> None:
    """Fail by an assertion that says what is wrong."""
    installed = Path(sysconfig.get_paths()["purelib"]).resolve()
    for path in (Path(agent.__file__), DEMO_CLIP, built_in_manifest()):
        assert path.resolve().is_relative_to(installed), f"{path} is not the wheel's own"
    report_file = Path(sys.argv[1]).resolve()
    report = json.loads(report_file.read_text())
    vehicles = len(load_truth(DEMO_CLIP.with_suffix(".truth.json")).passes)
    assert report["passages"] >= LEAST_READ * vehicles, f"{report['passages']} passages of {vehicles} vehicles"
    text, found = read_a_vehicle(report_file.parent)
    assert found == [text], f"`plateseal read` of one frame found {len(found)} plates, not the one that is there"
    print(f"the wheel works outside the checkout: {report['passages']} of {vehicles} vehicles, one picture")  # noqa: T201  a script


if __name__ == "__main__":
    main()

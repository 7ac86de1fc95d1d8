"""Measuring: overlap and counts on cases made by hand, with the agent's own classes, and what is decided by them."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from agent.errors import ModelMissingError
from models.training import choose, evaluate, folders
from models.training.choose import THRESHOLDS, Sweep, worth
from models.training.folders import FloatArray, Picture, Text, load_folder
from models.training.measure import (
    NIGHT_MEDIAN,
    Observation,
    Tally,
    config_file,
    find_boxes,
    iou,
    is_night,
    open_detector,
    open_reader,
    read_box,
    tally,
    time_models,
)
from models.training.pseudo import PublicReader
from models.training.tables import figure_table, table
from tests.toy_models import ALPHABET, random_texts, render_frame, write_toy_models

BOX = (100.0, 100.0, 200.0, 140.0)


def boxes(*rows: tuple[float, ...]) -> FloatArray:
    """Found boxes with their scores, float32 (n, 5)."""
    return np.array(rows, np.float32).reshape(-1, 5)


def observation(
    plates: list[tuple[float, float, float, float]], found: FloatArray, *, texts: list[str] | None = None
) -> Observation:
    """One picture by day in which every plate is read as "READ", in its true box as "TRUE"."""
    said = texts or [""] * len(plates)
    picture = Picture(Path("a.jpg"), tuple(plates), tuple(Text(text) for text in said))
    return Observation(picture, found, night=False, reads=["READ"] * len(plates), true_box_reads=["TRUE"] * len(plates))


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four pictures with a toy plate, one of them at night and one of them narrow, and one without a plate."""
    folder = tmp_path_factory.mktemp("labelled")
    texts = random_texts(4)
    places = [(100, 90, 220, 130), (300, 200, 440, 247), (60, 60, 200, 107), (400, 100, 484, 128)]
    rows = []
    for number, (text, box) in enumerate(zip(texts, places, strict=True)):
        frame = render_frame([(text, box)], seed=number)
        if number == 1:
            frame[frame.max(2) < 120] //= 4
        cv2.imwrite(str(folder / f"{number}.png"), frame)
        rows.append({"file": f"{number}.png", "plates": [{"box": box, "text": text}]})
    cv2.imwrite(str(folder / "empty.png"), render_frame([], seed=9))
    rows.append({"file": "empty.png", "plates": []})
    (folder / "labels.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of toy models."""
    return write_toy_models(tmp_path_factory.mktemp("toys"))


@pytest.mark.parametrize(
    ("other", "overlap"),
    [
        ((100, 100, 200, 140), 1.0),
        ((150, 100, 250, 140), 1 / 3),
        ((100, 100, 150, 140), 0.5),
        ((200, 100, 300, 140), 0.0),
        ((0, 0, 10, 10), 0.0),
        ((90, 90, 210, 150), 4000 / 7200),
    ],
)
def test_overlap_of_boxes(other: tuple[int, ...], overlap: float) -> None:
    """The same, half moved, half of it, side by side, far away, around it."""
    assert iou(BOX, boxes((*other, 0.9)))[0] == pytest.approx(overlap)


def test_counts_of_a_plain_case() -> None:
    """One plate found, one missed, one box that touches nothing, one that touches a plate but does not find it."""
    seen = observation(
        [BOX, (300.0, 100.0, 400.0, 140.0)],
        boxes((102, 100, 200, 140, 0.9), (500, 10, 540, 30, 0.8), (390, 100, 480, 140, 0.7)),
    )
    assert tally([seen], threshold=0.4) == Tally(pictures=1, plates=2, found=1, false_boxes=1)


def test_a_plate_is_found_once() -> None:
    """Two boxes on one plate find one plate, and neither is false."""
    seen = observation([BOX], boxes((*BOX, 0.9), (*BOX, 0.8)))
    assert tally([seen], threshold=0.4) == Tally(pictures=1, plates=1, found=1, false_boxes=0)


def test_one_box_finds_one_plate_at_most() -> None:
    """Two plates under one box: one is found."""
    seen = observation([BOX, BOX], boxes((*BOX, 0.9)))
    assert tally([seen], threshold=0.4) == Tally(pictures=1, plates=2, found=1, false_boxes=0)


def test_the_threshold_belongs_to_the_boxes_that_exist() -> None:
    """A box at the threshold exists, one below does not."""
    seen = observation([BOX], boxes((*BOX, 0.5)))
    assert tally([seen], threshold=0.5).found == 1
    assert tally([seen], threshold=0.51) == Tally(pictures=1, plates=1)


def test_without_plates_every_box_is_false() -> None:
    """An empty picture with two boxes."""
    seen = observation([], boxes((*BOX, 0.9), (0, 0, 9, 9, 0.8)))
    assert tally([seen], threshold=0.4) == Tally(pictures=1, false_boxes=2)


def test_a_box_on_a_plate_that_the_labels_leave_out_is_counted_apart() -> None:
    """Where it touches a labelled plate too, it is about that one."""
    seen = observation(
        [BOX], boxes((*BOX, 0.9), (150, 100, 400, 140, 0.8), (300, 100, 400, 140, 0.7), (0, 0, 9, 9, 0.6))
    )
    seen = replace(seen, picture=replace(seen.picture, unlabelled=((310.0, 100.0, 390.0, 130.0),)))
    counted = tally([seen], threshold=0.4)
    assert counted == Tally(pictures=1, plates=1, found=1, false_boxes=1, unlabelled_boxes=1)
    assert counted.figures()["unlabelled_per_picture"] == 1


def test_plates_that_labels_leave_out_belong_to_the_picture_not_to_its_name(
    labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another picture of the same name has none; a threshold is chosen without them."""
    first = load_folder(labelled)[0].path
    digest = hashlib.sha256(first.read_bytes()).hexdigest()
    rows = [{"file": f"somewhere/{first.name}", "sha256": digest, "plates": [[1, 2, 3, 4]]}]
    for where in (digest, "0" * 64):
        rows[0]["sha256"] = where
        (tmp_path / "list.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        monkeypatch.setattr(folders, "UNLABELLED", tmp_path / "list.jsonl")
        expected = ((1.0, 2.0, 3.0, 4.0),) if where == digest else ()
        assert [picture.unlabelled for picture in load_folder(labelled)] == [expected, (), (), (), ()]


def test_the_list_of_plates_without_label_is_of_measured_folders_alone() -> None:
    """None of a training folder: `corrections.jsonl` is for those."""
    rows = [json.loads(line) for line in folders.UNLABELLED.read_text().splitlines()]
    measured = (*folders.VALID_FOLDERS, *folders.TEST_FOLDERS)
    assert rows
    for row in rows:
        assert str(Path(row["file"]).parent) in measured
        assert all(x1 < x2 and y1 < y2 for x1, y1, x2, y2 in row["plates"])


def test_narrow_plates_do_not_count_but_make_no_box_false() -> None:
    """Below the narrowest width a plate is neither missed nor found, and a box on it is not false."""
    seen = observation([(10.0, 10.0, 30.0, 16.0), BOX], boxes((10, 10, 30, 16, 0.9)))
    assert tally([seen], threshold=0.4, narrowest_px=24) == Tally(pictures=1, plates=1, found=0, false_boxes=0)
    assert tally([seen], threshold=0.4, widest_px=24) == Tally(pictures=1, plates=1, found=1, false_boxes=0)


def test_reads_count_where_there_is_a_text() -> None:
    """Exact in the found box, exact in the true box, and a plate without a text in neither."""
    seen = observation([BOX, BOX, BOX], boxes(), texts=["READ", "TRUE", ""])
    counted = tally([seen], threshold=0.4)
    assert (counted.texts, counted.exact, counted.exact_true_box) == (2, 1, 1)
    assert counted.figures() == {
        "pictures": 1,
        "plates": 3,
        "recall": 0.0,
        "false_per_picture": 0.0,
        "texts": 2,
        "exact": 0.5,
        "exact_true_box": 0.5,
    }


def test_shares_of_nothing_are_left_out() -> None:
    """No plates and no pictures: counts only."""
    assert tally([], threshold=0.4).figures() == {"pictures": 0, "plates": 0}


def test_night_is_a_dark_median() -> None:
    """A bright lamp in a dark picture is night all the same."""
    dark = np.full((20, 20, 3), NIGHT_MEDIAN - 1, np.uint8)
    dark[:5] = 255
    assert is_night(dark)
    assert not is_night(np.full((20, 20, 3), NIGHT_MEDIAN, np.uint8))


def test_the_agents_classes_measure(toys: Path) -> None:
    """A plate is found and read through `agent.vision`; what lies outside of the picture is cut off."""
    text = random_texts(1)[0]
    frame = render_frame([(text, (100, 90, 220, 130))])
    found = find_boxes(open_detector(toys / "toy-detector.onnx"), frame)
    assert found.shape == (1, 5)
    assert iou((100, 90, 220, 130), found)[0] > 0.8
    reader = open_reader(toys / "toy-reader.onnx")
    assert read_box(reader, frame, found[0]) == text
    assert read_box(reader, frame, (700, 0, 720, 10)) == ""


def test_int8_shares_the_configuration(toys: Path, tmp_path: Path) -> None:
    """`x-int8.onnx` takes `x.yaml`; the public models' names are known; none at all is named."""
    for name in ("x.yaml", "y_plate_config.yaml"):
        (tmp_path / name).write_bytes((toys / "toy-reader.yaml").read_bytes())
    assert config_file(tmp_path / "x-int8.onnx").name == "x.yaml"
    assert config_file(tmp_path / "y.onnx").name == "y_plate_config.yaml"
    with pytest.raises(ModelMissingError, match=r"z\.yaml"):
        config_file(tmp_path / "z.onnx")


@pytest.mark.parametrize("opener", [open_detector, open_reader])
def test_a_missing_model_is_named(opener: object, tmp_path: Path) -> None:
    """Both openers say which file is not there."""
    chosen = open_detector if opener is open_detector else open_reader
    with pytest.raises(ModelMissingError, match=r"none\.onnx: no such model"):
        chosen(tmp_path / "none.onnx")


def test_a_folder_is_measured_by_day_night_and_width(labelled: Path, toys: Path) -> None:
    """Toy models on toy pictures: everything found and read, each group with its own count."""
    figures = evaluate.evaluate(labelled, toys / "toy-detector.onnx", toys / "toy-reader.onnx", sweep=True)
    assert figures["all"] == {
        "pictures": 5,
        "plates": 4,
        "recall": 1.0,
        "false_per_picture": 0.0,
        "exact": 1.0,
        "exact_true_box": 1.0,
    }
    assert (figures["day"]["pictures"], figures["night"]["pictures"]) == (4, 1)
    assert figures["64 to 96 px wide"]["plates"] == 1
    assert figures["96 to 160 px wide"]["plates"] == 3
    assert figures["threshold 0.9"]["recall"] == 1.0
    assert "exact" not in figures["threshold 0.9"]


def test_narrow_plates_are_left_out_on_request(labelled: Path, toys: Path) -> None:
    """At 100 pixels one of four plates is too narrow; the rows by width still have it."""
    figures = evaluate.evaluate(labelled, toys / "toy-detector.onnx", None, narrowest_px=100)
    assert figures["all"]["plates"] == 3
    assert figures["64 to 96 px wide"]["plates"] == 1
    assert "exact" in figures["all"]  # the pictures have texts; without a reader none is exact
    assert figures["all"]["exact"] == 0.0


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> None:
    """The command line of `evaluate`."""
    monkeypatch.setattr(sys, "argv", ["evaluate", *map(str, arguments)])
    evaluate.main()


def test_the_command_prints_one_table(
    labelled: Path,
    toys: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A table on standard output and the same figures as JSON in the file."""
    models = ("--detector", toys / "toy-detector.onnx", "--reader", toys / "toy-reader.onnx")
    run(monkeypatch, labelled, *models, "--json", tmp_path / "figures.json")
    lines = capsys.readouterr().out.splitlines()
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert len(lines) == 2 + len(figures)
    assert [cell.strip() for cell in lines[2].strip("|").split("|")] == [
        "all",
        "5",
        "4",
        "1.000",
        "0.000",
        "1.000",
        "1.000",
    ]
    run(monkeypatch, labelled, *models, "--json", "-")
    assert json.loads(capsys.readouterr().out) == figures


def test_the_command_times_models(
    toys: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One row a model, in one run."""
    run(monkeypatch, "--latency", toys / "toy-detector.onnx", toys / "toy-reader.onnx")
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()[2:]] == [
        "toy-detector.onnx",
        "toy-reader.onnx",
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere",), r"nowhere/labels\.jsonl: no such file"),
        (("--latency", "none.onnx"), r"none\.onnx: no such model"),
        ((), "give a folder"),
    ],
)
def test_wrong_calls_say_so_in_one_line(
    arguments: tuple[str, ...],
    said: str,
    toys: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Non-zero exit, one line that names what is wrong, no traceback."""
    with pytest.raises(SystemExit) as stopped:
        run(monkeypatch, *arguments, "--detector", toys / "toy-detector.onnx", "--reader", toys / "toy-reader.onnx")
    assert stopped.value.code
    shown = capsys.readouterr().err
    assert "Traceback" not in shown
    assert len([line for line in shown.splitlines() if line.startswith("evaluate")]) == 1
    assert re.search(said, shown)


def test_latency_is_positive_for_every_model(toys: Path) -> None:
    """Any input type is fed."""
    times = time_models([toys / "toy-detector.onnx", toys / "toy-reader.onnx"], rounds=2)
    assert set(times) == {"toy-detector.onnx", "toy-reader.onnx"}
    assert min(times.values()) > 0


def sweep_of(*folders: dict[float, tuple[int, int]]) -> Sweep:
    """Folders of ten plates and ten pictures; found plates and false boxes where they are given, else 0 and 9."""
    rows = [[Tally(10, 10, *folder.get(threshold, (0, 9))) for threshold in THRESHOLDS] for folder in folders]
    return Sweep(tuple(f"folder{n}" for n in range(len(folders))), rows)


def test_worth_is_recall_less_false_boxes_averaged_over_folders() -> None:
    """0.9 - 0.2 and 0.5 - 0.1: 0.55, however many plates a folder has."""
    assert worth([Tally(10, 10, 9, 2), Tally(10, 100, 50, 1)]) == pytest.approx(0.55)
    assert worth([Tally(10, 0, 0, 1)]) == pytest.approx(-0.1)


def test_the_best_threshold_weighs_both_folders() -> None:
    """0.3 is best for the first folder alone, 0.5 for both; of two equal ones the higher is taken."""
    one = {0.3: (10, 0), 0.5: (9, 0)}
    two = {0.3: (2, 0), 0.5: (8, 0)}
    assert sweep_of(one).best() == 0.3
    assert sweep_of(one, two).best() == 0.5
    assert sweep_of({0.3: (9, 0), 0.4: (9, 0)}).best() == 0.4


def test_the_sweep_shows_every_threshold_and_marks_the_best() -> None:
    """One row a threshold, recall and false boxes of each folder."""
    lines = sweep_of({0.3: (10, 1)}).table().splitlines()
    assert len(lines) == 2 + len(THRESHOLDS)
    marked = [line for line in lines if "*" in line]
    assert [cell.strip() for cell in marked[0].strip("|").split("|")] == ["0.30 *", "1.000", "0.100", "0.900"]
    assert len(marked) == 1


def test_a_sweep_counts_at_every_threshold(labelled: Path, toys: Path) -> None:
    """The toy detector scores 0.9: it finds all up to there."""
    trial = choose.sweep(labelled.parent, [labelled.name], toys / "toy-detector.onnx")
    assert [t.found for t in trial.rows[0]] == [4 if threshold <= 0.9 else 0 for threshold in THRESHOLDS]
    assert choose.recall_loss([labelled], toys / "toy-detector.onnx", toys / "toy-detector.onnx") == 0


def test_exactness_is_counted_by_kind(toys: Path) -> None:
    """Two of kind a, one right; one of kind b, right."""
    texts = random_texts(3)
    frames = [np.ascontiguousarray(render_frame([(t, (100, 90, 260, 143))])[90:143, 100:260]) for t in texts]
    asked = [
        choose.Reading("a", frames[0], Text(texts[0])),
        choose.Reading("a", frames[1], Text("WRONG")),
        choose.Reading("b", frames[2], Text(texts[2])),
    ]
    figures = choose.exactness(open_reader(toys / "toy-reader.onnx"), asked)
    assert figures["all"] == {"plates": 3, "exact": 0.6667}
    assert figures["a"] == {"plates": 2, "exact": 0.5}
    assert figures["b"] == {"plates": 1, "exact": 1.0}


def test_the_public_reader_says_how_sure_it_is(toys: Path) -> None:
    """Its least certain character: high on a plate, lower on grey."""
    text = random_texts(1)[0]
    crop = render_frame([(text, (100, 90, 260, 143))])[90:143, 100:260, ::-1]
    public = PublicReader(toys / "toy-reader.onnx")
    said, least = public.read(np.ascontiguousarray(crop))
    assert said == text
    assert set(said) <= set(ALPHABET)
    assert public.read(np.full((40, 120, 3), 114, np.uint8))[1] < least


def test_tables_have_columns_of_even_width() -> None:
    """Every line is as long as the others; figures that no group has are left out."""
    text = table(["a", "long header"], [["first", "1"], ["x", "22"]])
    assert (
        text == "| a     | long header |\n| ----- | ----------: |\n| first |           1 |\n| x     |          22 |\n"
    )
    shown = figure_table({"all": {"plates": 2, "recall": 0.5}, "other": {"plates": 1}})
    assert "exact" not in shown
    assert "0.500" in shown

"""What ships beside the weights: counted operations, cards made of figures, the manifest's part, the size limit."""

from __future__ import annotations

import itertools
import re
import tomllib
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agent.errors import ModelError
from agent.vision.manifest import built_in_manifest, load_manifest
from models.training import manifest_block
from models.training.cards import (
    DetectorReport,
    Effort,
    Int8Verdict,
    ReaderReport,
    bullet,
    detector_card,
    paragraph,
    reader_card,
    weak_points,
    write_card,
)
from models.training.contract import DETECTOR_SIZES, PUBLIC_READER, READER_CONFIG, READER_NAME
from models.training.manifest_block import BEGIN, END, check_total, model_files, replace_block, write_manifest
from models.training.onnx_cost import multiply_adds, weights
from models.training.plan import (
    DETECTOR,
    DETECTOR_WHOLE,
    NO_RENDERINGS,
    READER,
    READER_HEAD,
    READER_RENDERINGS,
    READER_TUNED,
)
from models.training.tables import Figures

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # onnx and protobuf warn about each other when they load
    import onnx
    from onnx import TensorProto, helper, numpy_helper

SHIPPED = [f"{name}{suffix}.onnx" for suffix in ("", "-int8") for name in (*DETECTOR_SIZES, READER_NAME)]


def small_model(path: Path, *, halved: bool = False) -> Path:
    """A convolution of stride 2, a grouped one, a Gemm and a MatMul, with an open batch dimension.

    Input (n, 3, 8, 8); convolution 3x3 to 4 channels of 4x4; grouped 3x3 convolution, 2 groups; flattened to 64; Gemm
    to 10; MatMul to 5.
    """
    half = np.float16 if halved else np.float32
    tensors = {
        "w1": np.ones((4, 3, 3, 3), half),
        "w2": np.ones((4, 2, 3, 3), half),
        "w3": np.ones((10, 64), half),
        "w4": np.ones((10, 5), half),
    }
    nodes = [
        helper.make_node("Conv", ["x", "f1"], ["a"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["a", "f2"], ["b"], group=2, pads=[1, 1, 1, 1]),
        helper.make_node("Flatten", ["b"], ["c"]),
        helper.make_node("Gemm", ["c", "f3"], ["d"], transB=1),
        helper.make_node("MatMul", ["d", "f4"], ["y"]),
    ]
    casts = [helper.make_node("Cast", [f"w{n}"], [f"f{n}"], to=TensorProto.FLOAT) for n in range(1, 5)]
    graph = helper.make_graph(
        [*casts, *nodes],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 5])],
        [numpy_helper.from_array(value, name) for name, value in tensors.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), str(path))
    return path


@pytest.mark.parametrize("halved", [False, True])
def test_operations_are_those_of_a_count_by_hand(tmp_path: Path, halved: bool) -> None:
    """Weights that are stored as float16 behind a cast count too."""
    model = small_model(tmp_path / "small.onnx", halved=halved)
    first = 4 * 4 * 4 * (3 * 3 * 3)
    grouped = 4 * 4 * 4 * (2 * 3 * 3)
    gemm = 10 * 64
    matmul = 5 * 10
    assert multiply_adds(model) == first + grouped + gemm + matmul == 3570
    assert weights(model) == 108 + 72 + 640 + 50


def test_a_shape_that_cannot_be_inferred_is_no_zero(tmp_path: Path) -> None:
    """A model whose cost is not known says so."""
    model = onnx.load(str(small_model(tmp_path / "small.onnx")))
    model.graph.node[4].domain = "somewhere.else"
    model.opset_import.append(helper.make_opsetid("somewhere.else", 1))
    onnx.save(model, str(tmp_path / "odd.onnx"))
    with pytest.raises(ValueError, match="cannot be inferred"):
        multiply_adds(tmp_path / "odd.onnx")


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    """A folder in which every file that can ship is there; the contents are small stand-ins."""
    for name in SHIPPED:
        small_model(tmp_path / name)
    (tmp_path / f"{READER_NAME}.yaml").write_text(READER_CONFIG)
    return tmp_path


def figures(**values: float) -> Figures:
    """Figures of one group."""
    return dict(values)


GROUPS = {
    "all": figures(pictures=10, plates=20, recall=0.95, false_per_picture=0.1, exact=0.7, exact_true_box=0.8),
    "night": figures(pictures=3, plates=6, recall=0.5, false_per_picture=0.2, exact=0.4, exact_true_box=0.6),
    "24 to 64 px wide": figures(plates=4, recall=0.25, exact=0.25, exact_true_box=0.95),
}
"""The narrow plates and the night are bad."""
LATENCY_MS = {**dict.fromkeys(SHIPPED, 3.0), PUBLIC_READER.name: 2.0}
DETECTOR_REPORT = DetectorReport(
    threshold=0.62,
    latency_ms=LATENCY_MS,
    int8=[Int8Verdict("plate-detector-384", 0.01, kept=True)],
    detection={"folder": {"plate-detector-384": GROUPS}},
    efforts=(Effort(DETECTOR, 123, 4.5, "a machine"), Effort(DETECTOR_WHOLE, 45, 1.5, "a machine")),
)
READER_REPORT = ReaderReport(
    latency_ms=LATENCY_MS,
    int8=[Int8Verdict(READER_NAME, 0.05, kept=False)],
    reading={"folder": {"plate-reader": GROUPS}},
    rendered={"plate-reader": {"all": figures(plates=100, exact=0.92), "US": figures(plates=20, exact=0.71)}},
    no_plate={"plate-reader": {"any": 0.25, "sure_0.8": 0.125, "sure_0.9": 0.0625}},
    temperatures={"plate-reader": 1.22, "public": 1.96},
    precision={"plate-reader": [["0.90", "88", "0.981"]], "public": [["0.90", "77", "0.955"]]},
    renderings=READER_RENDERINGS[READER.name],
    real_crops=(700, 500),
    efforts=(Effort(READER, 456, 6.5, "a machine"),),
)


def write_cards(out: Path, reader: ReaderReport = READER_REPORT) -> None:
    """Write both cards."""
    write_card(out, "plate-detector", detector_card(DETECTOR_REPORT, out))
    write_card(out, READER_NAME, reader_card(reader, out))


def test_cards_tell_what_was_measured(shipped: Path) -> None:
    """Threshold, temperatures, figures by group, digests, effort and the int8 verdicts are all in the text."""
    write_cards(shipped)
    texts = [(shipped / f"{name}.md").read_text() for name in ("plate-detector", READER_NAME)]
    detector, reader = (" ".join(text.split()) for text in texts)  # however they are wrapped
    for path in model_files(shipped):
        assert manifest_block.sha256(path) in (reader if path.name.startswith(READER_NAME) else detector)
    assert "(0.62) was moved" in detector
    assert "123 batches of 16 pictures of 192 x 192 pixels, seed 11" in detector
    assert "45 batches of 8 pictures of 384 x 384 pixels, seed 14" in detector
    assert "456 batches of 512, seed 23" in reader
    assert re.search(r"\| night +\| +3 \| +6 \| +0\.500 \|", detector)
    assert "`plate-detector-384-int8` loses 0.010" in detector
    assert "more than 0.02: it is not shipped" in reader
    assert "500 of 700 crops" in reader
    assert "1.22 for `plate-reader`, 1.96 for `public`" in reader
    assert re.search(r"\| 0\.90 +\| +88 \| 0\.981 \| +77 \| 0\.955 \|", reader)
    assert re.search(r"\| plate-reader \| +0\.250 \| +0\.125 \| +0\.062 \|", reader)
    assert "1.50" in detector  # 3 ms against the public reader's 2


def test_cards_name_the_groups_that_fail(shipped: Path) -> None:
    """Only groups below 0.9, with their figure and count; what was not measured is not named."""
    write_cards(shipped)
    detector = (shipped / "plate-detector.md").read_text().split("## Where it fails")[1]
    reader = (shipped / f"{READER_NAME}.md").read_text().split("## Where it fails")[1]
    assert "recall 0.500 at night (6 plates), 0.250 at 24 to 64 px wide (4 plates)." in " ".join(detector.split())
    assert "of all" not in detector
    assert "0.710 for US (20 plates)" in " ".join(reader.split())
    assert "24 to 64" not in reader


def test_nothing_weak_is_no_sentence() -> None:
    """All groups above the bar."""
    assert weak_points("folder", {"all": figures(plates=3, recall=0.9)}, "recall", "recall") == []


def test_cards_work_without_the_public_reader(shipped: Path) -> None:
    """No latency ratio, no real crops: the card says what there is."""
    write_cards(shipped, replace(READER_REPORT, latency_ms=dict.fromkeys(SHIPPED, 3.0), real_crops=(0, 0)))
    reader = (shipped / f"{READER_NAME}.md").read_text()
    assert "No real crop was trained on." in reader
    assert "1.50" not in reader


@pytest.mark.parametrize(
    ("steps", "said"),
    [(0, "The weights are `a.pt`, as they are."), (12, "Begun with the weights `a.pt`. Trained for 12 batches of 64")],
)
def test_a_card_says_what_a_training_began_with(steps: int, said: str, shipped: Path) -> None:
    """Weights of another training, and whether anything was done to them."""
    tuned = Effort(READER_TUNED, steps, 6.5, "a machine", start="`a.pt`")
    write_cards(shipped, replace(READER_REPORT, efforts=(tuned,), renderings=NO_RENDERINGS))
    assert "It was not taught what is no plate." in (shipped / f"{READER_NAME}.md").read_text()
    assert said in " ".join((shipped / f"{READER_NAME}.md").read_text().split())


def test_a_card_says_that_only_the_last_layers_were_trained() -> None:
    """On how many crops, and how often each was used."""
    plan = replace(READER_HEAD, batch=50, crops=100)
    assert Effort(plan, 8, 6.5, "a machine", start="`a.pt`").sentence() == (
        "Begun with the weights `a.pt`. Only the layers behind the trunk were trained further, on 100 crops that the "
        f"trunk had seen once, each used 4 times. "
        "Each weight is 0.8 of the trained one and 0.2 of the first. "
        "Trained for 8 batches of 50, seed "
        f"{plan.seed}, in 6 minutes on a machine."
    )


def test_lines_are_wrapped_at_their_end_only(shipped: Path) -> None:
    """A line of running text that another follows has no room for the next word."""
    write_cards(shipped)
    lengths: list[int] = []
    for name in ("plate-detector", READER_NAME):
        lines = (shipped / f"{name}.md").read_text().splitlines()
        for line, following in itertools.pairwise(lines):
            if line and following and not line.startswith(("|", "#", "    ")) and following[0] not in "|#-":
                lengths.append(len(line) + 1 + len(following.split()[0]))
    assert min(lengths) > 120


def test_paragraphs_and_bullets_are_wrapped() -> None:
    """At most 120 characters; a bullet's later lines are indented."""
    text = paragraph("word " * 60)
    assert max(len(line) for line in text.splitlines()) <= 120
    assert bullet("word " * 60).startswith("- word")
    assert bullet("word " * 60).splitlines()[1].startswith("  word")


def test_the_manifests_part_is_what_the_agent_takes(shipped: Path) -> None:
    """Built-in models come first, in order of preference; the others stay as they are."""
    write_manifest(shipped, built_in_manifest())
    before, now = load_manifest(built_in_manifest()), load_manifest(shipped / "manifest.toml")
    assert now.detector[0].name == next(iter(DETECTOR_SIZES))
    assert [reader.name for reader in now.reader[:2]] == [f"{READER_NAME}-int8", READER_NAME]
    built_in = {path.stem for path in model_files(shipped)}
    assert [e for e in now.entries if e.name not in built_in] == [e for e in before.entries if e.name not in built_in]
    assert {e.name for e in now.entries if e.built_in} == built_in
    assert {f.file: f.size_bytes for e in now.entries for f in e.files}[f"{READER_NAME}.yaml"] == len(READER_CONFIG)


def test_writing_the_manifest_twice_changes_nothing(shipped: Path) -> None:
    """Remaking the models replaces their part and nothing else."""
    write_manifest(shipped, built_in_manifest())
    once = (shipped / "manifest.toml").read_text()
    write_manifest(shipped, shipped / "manifest.toml")
    assert (shipped / "manifest.toml").read_text() == once


def test_a_readers_temperature_is_written_and_stays(shipped: Path) -> None:
    """Remaking the detector does not forget what was fitted for the reader."""
    write_manifest(shipped, built_in_manifest(), {READER_NAME: 1.22})
    write_manifest(shipped, shipped / "manifest.toml")
    by_name = {reader.name: reader.temperature for reader in load_manifest(shipped / "manifest.toml").reader}
    assert by_name[READER_NAME] == 1.22


def test_a_file_that_does_not_ship_has_no_entry(shipped: Path) -> None:
    """int8 that was not good enough leaves the manifest with its file."""
    write_manifest(shipped, built_in_manifest())
    (shipped / "plate-reader-int8.onnx").unlink()
    write_manifest(shipped, shipped / "manifest.toml")
    names = [e.name for e in load_manifest(shipped / "manifest.toml").entries]
    assert "plate-reader-int8" not in names
    assert "plate-reader" in names


def test_text_around_the_part_is_kept() -> None:
    """Comments before, entries after, whether the part was there or not."""
    base = "# head\n\n[[detector]]\nname = 'other'\n"
    first = replace_block(base, "[[detector]]\nname = 'own'")
    assert first == f"# head\n\n{BEGIN}\n\n[[detector]]\nname = 'own'\n\n{END}\n\n[[detector]]\nname = 'other'\n"
    assert [d["name"] for d in tomllib.loads(first)["detector"]] == ["own", "other"]
    again = replace_block(first, "[[detector]]\nname = 'newer'")
    assert again == first.replace("'own'", "'newer'")
    assert replace_block("# only words\n", "x = 1").startswith("# only words\n\n")


@pytest.mark.parametrize("marker", [BEGIN, END])
def test_half_a_part_is_refused(marker: str) -> None:
    """Somebody deleted one of the markers: nothing is guessed."""
    with pytest.raises(ValueError, match="only one of its two marker lines"):
        replace_block(f"{marker}\n[[detector]]\n", "x = 1")


def test_too_large_models_are_refused(shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit counts every file, and one byte more is too much."""
    total = check_total(shipped)
    assert total == sum((shipped / name).stat().st_size for name in (*SHIPPED, f"{READER_NAME}.yaml"))
    monkeypatch.setattr(manifest_block, "LARGEST_TOTAL_BYTES", total)
    assert check_total(shipped) == total
    monkeypatch.setattr(manifest_block, "LARGEST_TOTAL_BYTES", total - 1)
    with pytest.raises(ModelError, match="may ship"):
        check_total(shipped)

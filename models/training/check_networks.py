"""Tests of what needs PyTorch; `make train-check` runs them in the training environment.

Not part of `make test`, whose environment has no PyTorch: there they could only be skipped.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from agent.errors import ModelError
from models.training import loop, train
from models.training.cache import build_cache
from models.training.choose import exactness, rendered_readings
from models.training.contract import (
    ALPHABET,
    DEFAULT_THRESHOLD,
    GRID,
    HEIGHT,
    PAD_INDEX,
    SLOTS,
    UNKNOWN_LABEL,
    WIDTH,
)
from models.training.detector import PlateDetector, all_centres, assign, pair_iou
from models.training.detector_data import Composer, Scene
from models.training.estimate import minutes_left
from models.training.export import export_detector, export_reader
from models.training.features import FeatureStore, build_features
from models.training.finish_reader import trained_weights
from models.training.loop import Trainer
from models.training.measure import find_boxes, open_detector, open_reader
from models.training.onnx_cost import multiply_adds
from models.training.plan import DETECTOR_STAGES, READER, READER_HEAD, Plan, Renderings, share_minutes
from models.training.quantise import halve_weights, quantise
from models.training.reader import PlateReader
from models.training.reader_data import CropComposer, Sources
from models.training.streams import CropStream, DetectorStream, batches
from models.training.train_detector import loss_on
from models.training.train_reader import batch_loss, head_loss, load_start, reader_loss

# PyTorch's exporter and loader warn about themselves; the suite's settings turn warnings into errors.
pytestmark = pytest.mark.filterwarnings("default")

torch.set_num_threads(1)  # small batches: more threads only wait for each other

SHORT = Plan("short", steps=6, batch=4, rate=1e-3, seed=1, warm=2)


@pytest.fixture(scope="session")
def crops(tmp_path_factory: pytest.TempPathFactory) -> CropComposer:
    """Crops of a few rendered plates."""
    return CropComposer(Sources([build_cache(tmp_path_factory.mktemp("c"), Renderings("plates", 20, 1), workers=0)]))


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Composer:
    """Pictures of a grey scene with rendered plates and signs."""
    folder = tmp_path_factory.mktemp("p")
    scene = Scene(np.full((400, 640, 3), 110, np.uint8), np.zeros((0, 4), np.float32), (0.4, 0.8), False, False)
    caches = [build_cache(folder, Renderings(kind, 20, 1), workers=0) for kind in ("plates", "signs")]
    return Composer([[scene]], *caches)


def trained(model: nn.Module, plan: Plan, folder: Path) -> Path:
    """The checkpoint of a model that was not trained at all."""
    Trainer(model, plan, folder).save()
    return folder / plan.name / "checkpoint.pt"


def test_a_stream_is_the_same_however_many_workers(crops: CropComposer) -> None:
    """The first eight crops with no worker are those with two, in any order; `first` skips."""

    def sums(workers: int, first: int, count: int) -> list[int]:
        stream = CropStream(crops, seed=5, first=first)
        loader = DataLoader(stream, batch_size=1, num_workers=workers)
        return sorted(int(image.sum()) for image, _ in islice(loader, count))

    assert sums(0, 0, 8) == sums(2, 0, 8)
    assert sums(0, 4, 4) != sums(0, 0, 4)
    assert sorted(sums(0, 0, 4) + sums(0, 4, 4)) == sums(0, 0, 8)


def test_samples_have_their_shapes(crops: CropComposer, pictures: Composer) -> None:
    """What the losses expect."""
    image, target = next(iter(DetectorStream(pictures, size=192, seed=1, first=0)))
    assert (image.shape, image.dtype) == ((3, 192, 192), torch.uint8)
    assert (target.shape[1], target.dtype) == (5, torch.float32)
    image, labels = next(iter(CropStream(crops, seed=1, first=0)))
    assert image.shape == (3, HEIGHT, WIDTH)
    assert labels.shape == (2 * SLOTS,)


def test_both_models_learn_something(crops: CropComposer, pictures: Composer, tmp_path: Path) -> None:
    """After some steps on the same pictures the loss is lower than at first."""
    plans = [Plan(name, steps=12, batch=4, rate=1e-3, seed=1, warm=2) for name in ("detector", "reader")]
    detector = Trainer(PlateDetector(), plans[0], tmp_path)
    reader = Trainer(PlateReader(), plans[1], tmp_path)
    streams = DetectorStream(pictures, size=192, seed=1, first=0), CropStream(crops, seed=1, first=0)
    for trainer, stream, loss_of in (
        (detector, streams[0], loss_on(detector.device, 192)),
        (reader, streams[1], batch_loss),
    ):
        batch = [t.to(trainer.device) for t in next(batches(stream, trainer.plan, workers=1))]
        first = float(loss_of(trainer.model, batch).detach())
        trainer.run(iter(lambda batch=batch: batch, None), loss_of)
        assert float(loss_of(trainer.model, batch).detach()) < first


def test_training_goes_on_from_its_checkpoint(crops: CropComposer, tmp_path: Path) -> None:
    """Stopped and started again, the step goes on; a plan that is done is done."""
    half = Plan("short", steps=3, batch=4, rate=1e-3, seed=1, warm=2)
    Trainer(PlateReader(), half, tmp_path).run(batches(CropStream(crops, seed=1, first=0), half, workers=1), batch_loss)
    again = Trainer(PlateReader(), SHORT, tmp_path)
    assert again.step == 3
    assert not again.is_done
    assert minutes_left(again, 60.0) == pytest.approx(3)
    again.run(batches(CropStream(crops, seed=1, first=12), SHORT, workers=1), batch_loss)
    assert Trainer(PlateReader(), SHORT, tmp_path).is_done
    assert minutes_left(Trainer(PlateReader(), SHORT, tmp_path), 60.0) == 0


def test_a_stage_begins_with_the_averaged_weights_of_the_one_before(tmp_path: Path) -> None:
    """Those that would have shipped, not those that the last batch left."""
    first = Trainer(PlateReader(), SHORT, tmp_path)
    nn.init.constant_(next(first.averaged.parameters()), 0.5)
    second = Trainer(PlateReader(), replace(SHORT, name="next"), tmp_path)
    second.start_from(first.averaged)
    for model in (second.model, second.averaged):
        assert (next(model.parameters()) == 0.5).all()


def test_an_estimate_leaves_no_checkpoint(crops: CropComposer, tmp_path: Path) -> None:
    """Timing a few steps writes nothing."""
    trainer = Trainer(PlateReader(), SHORT, tmp_path)
    assert trainer.seconds_a_step(batches(CropStream(crops, seed=1, first=0), SHORT, workers=1), batch_loss) > 0
    assert list(tmp_path.rglob("*.pt")) == []


def test_overlap_is_that_of_measuring() -> None:
    """A third for half moved; the generalised one of far boxes is negative."""
    a, b, far = (torch.tensor(box) for box in ([0.0, 0, 10, 10], [5.0, 0, 15, 10], [90.0, 90, 99, 99]))
    assert float(pair_iou(a, b)) == pytest.approx(1 / 3)
    assert float(pair_iou(a, a, generalised=True)) == pytest.approx(1)
    assert float(pair_iou(a, far, generalised=True)) < 0


def test_cells_of_a_plate_are_near_it() -> None:
    """A perfect prediction claims cells around the centre, and none elsewhere."""
    centres, strides = all_centres(64, "cpu")
    plate = torch.tensor([20.0, 28, 44, 36])
    logits, boxes = torch.zeros(1, len(centres)), plate.expand(1, len(centres), 4)
    quality, owner = assign(logits, boxes, torch.cat([torch.ones(1), plate])[None, None], (centres, strides))
    claimed = quality[0] > 0
    assert 0 < int(claimed.sum()) <= 8
    assert (owner[0][claimed] == 0).all()
    assert ((centres[claimed] - torch.tensor([32.0, 32])).abs() <= 14).all()


@pytest.mark.parametrize("size", [(384, 384), (384, 224)], ids=str)
def test_an_exported_detector_is_the_network(size: tuple[int, int], tmp_path: Path) -> None:
    """The agent's class loads it; its best box is the network's, with the threshold moved onto the default."""
    torch.manual_seed(3)
    model = PlateDetector()
    for head in model.heads:
        nn.init.normal_(head.out.weight, std=0.05)
        head.out.bias.data[0] = -1.0
    checkpoint = trained(model, SHORT, tmp_path)
    out = tmp_path / "detector.onnx"
    export_detector(checkpoint, out, width=size[0], height=size[1], threshold=0.7)
    picture = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    tensor = torch.from_numpy(np.ascontiguousarray(picture[..., ::-1])).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        logits, boxes = model.cpu().eval()(tensor)
    best = int(logits[0].argmax())
    rows = onnxruntime.InferenceSession(str(out)).run(None, {"images": tensor.numpy()})[0]
    top = rows[rows[:, 6].argmax()]
    shift = np.log(DEFAULT_THRESHOLD / (1 - DEFAULT_THRESHOLD)) - np.log(0.7 / 0.3)
    assert top[6] == pytest.approx(float(torch.sigmoid(logits[0, best] + shift)), abs=1e-3)
    assert top[1:5] == pytest.approx(boxes[0, best].numpy(), abs=0.1)
    found = find_boxes(open_detector(out), picture)
    assert len(found) > 0
    assert found[0, 4] == pytest.approx(top[6], abs=1e-3)


def test_an_exported_reader_is_the_network(crops: CropComposer, tmp_path: Path) -> None:
    """The same texts from the ONNX file in the agent's class as from PyTorch."""
    model = PlateReader()
    out = tmp_path / "plate-reader.onnx"
    export_reader(trained(model, READER, tmp_path), out)
    readings = rendered_readings(Renderings("plates", 12, 7))
    rgb = np.stack([reading.crop[..., ::-1] for reading in readings])
    with torch.no_grad():
        logits = model.cpu().eval()(torch.from_numpy(rgb.copy()).permute(0, 3, 1, 2).float() / 255)
    scores = onnxruntime.InferenceSession(str(out)).run(None, {"input": rgb})[0]
    assert scores.reshape(-1, SLOTS, len(ALPHABET)) == pytest.approx(logits.softmax(-1).numpy(), abs=1e-4)
    assert exactness(open_reader(out), readings)["all"]["plates"] == 12


def test_smaller_files_say_nearly_the_same(crops: CropComposer, tmp_path: Path) -> None:
    """float16 weights and int8 change scores a little, the file a lot, and the counted operations not at all."""
    out, small = tmp_path / "plate-reader.onnx", tmp_path / "plate-reader-int8.onnx"
    export_reader(trained(PlateReader(), READER, tmp_path), out)
    samples = np.stack([crops.compose(np.random.default_rng(n))[0] for n in range(8)])
    whole = onnxruntime.InferenceSession(str(out)).run(None, {"input": samples})[0]
    size, cost = out.stat().st_size, multiply_adds(out)
    quantise(out, small, iter(samples[:, None]))
    halve_weights(out)
    assert out.stat().st_size < 0.6 * size
    assert small.stat().st_size < 0.8 * size
    assert multiply_adds(out) == multiply_adds(small) == cost
    for path, near in ((out, 0.01), (small, 0.1)):
        assert onnxruntime.InferenceSession(str(path)).run(None, {"input": samples})[0] == pytest.approx(
            whole, abs=near
        )


def test_the_plan_has_a_limit_in_minutes(tmp_path: Path) -> None:
    """Half of the minutes is half of the way, however few steps were done."""
    trainer = Trainer(PlateDetector(), Plan("limited", steps=100, batch=4, rate=1e-3, seed=1, minutes=2), tmp_path)
    trainer.spent_s = 60
    assert trainer.progress() == pytest.approx(0.5)
    assert minutes_left(trainer, 3600.0) == pytest.approx(1)
    assert all(plan.minutes == 0 for plan in DETECTOR_STAGES)
    limited = share_minutes(DETECTOR_STAGES, 60)
    assert sum(plan.minutes for plan in limited) == pytest.approx(60)
    assert limited[0].minutes > limited[1].minutes > 10
    assert loop.describe_machine()


def test_a_slot_with_a_foreign_character_is_to_be_unsure() -> None:
    """The loss is least where every character is as likely; a sure one costs, and padding costs more."""
    model = PlateReader()
    target = torch.full((1, 2 * SLOTS), -1)
    target[0, :SLOTS] = PAD_INDEX
    target[0, 1] = UNKNOWN_LABEL

    def cost(sure_of: int | None) -> float:
        logits = torch.zeros(1, SLOTS, len(ALPHABET))
        logits[0, :, PAD_INDEX] = 6.0
        logits[0, 1, PAD_INDEX] = -6.0
        if sure_of is not None:
            logits[0, 1, sure_of] = 6.0
        nothing = torch.zeros(1, SLOTS, GRID[0] * GRID[1]), torch.zeros(1, GRID[0] * GRID[1], model.features)
        return float(reader_loss(model, (logits, *nothing), target))

    assert cost(None) < cost(3) < cost(PAD_INDEX)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    """Of another width, or no weights at all; those of this network are taken."""
    torch.save(PlateReader().state_dict(), tmp_path / "good.pt")
    torch.save(PlateReader(1.0).state_dict(), tmp_path / "narrow.pt")
    (tmp_path / "words.pt").write_text("words")
    assert isinstance(load_start(tmp_path / "good.pt"), PlateReader)
    for name in ("narrow.pt", "words.pt", "missing.pt"):
        with pytest.raises(ModelError, match=name):
            load_start(tmp_path / name)


def test_a_checkpoint_knows_what_it_began_with(tmp_path: Path) -> None:
    """Also after it went on."""
    trainer = Trainer(PlateReader(), SHORT, tmp_path)
    trainer.start_from(PlateReader(), name="`a.pt`")
    trainer.save()
    assert Trainer(PlateReader(), SHORT, tmp_path).start == "`a.pt`"


FEW = Plan("few", steps=6, batch=4, rate=1e-3, seed=1, warm=2, crops=10)


def few_features(stem: Path, model: PlateReader, crops: CropComposer) -> FeatureStore:
    """The features of ten crops, those that are there already left as they are."""
    return build_features(stem, model, lambda first: CropStream(crops, seed=1, first=first), FEW, workers=0)


def test_stored_features_are_what_the_trunk_says(crops: CropComposer, tmp_path: Path) -> None:
    """The last layers say of them what the whole network says of the crops."""
    model = PlateReader().eval()
    seen = few_features(tmp_path / "few", model, crops)
    pictures, targets = zip(*islice(CropStream(crops, seed=1, first=0), FEW.crops), strict=False)
    with torch.no_grad():
        whole = model(torch.stack(pictures).float() / 255)
        last = model.forward_head(torch.from_numpy(np.array(seen.features)).float())[0]
    assert last.numpy() == pytest.approx(whole.numpy(), abs=1e-2)
    assert seen.targets.tolist() == torch.stack(targets).tolist()


@pytest.mark.parametrize("kept", [0, 4, 8])
def test_features_that_were_stopped_go_on(crops: CropComposer, tmp_path: Path, kept: int) -> None:
    """Targets cut after any batch, features cut later: the finished files are the same."""
    model = PlateReader()
    few_features(tmp_path / "few", model, crops)
    paths = [tmp_path / "few.features", tmp_path / "few.targets"]
    whole = [path.read_bytes() for path in paths]
    paths[0].write_bytes(whole[0][: len(whole[0]) * kept // FEW.crops] + b"half a crop")
    paths[1].write_bytes(whole[1][: len(whole[1]) * kept // FEW.crops] + b"?")
    few_features(tmp_path / "few", model, crops)
    assert [path.read_bytes() for path in paths] == whole


def test_an_epoch_has_each_crop_once() -> None:
    """In another order each time; started at a later batch, the batches are those that would have come."""
    numbers = np.arange(8, dtype=np.float16).reshape(8, 1, 1, 1)
    store = FeatureStore(numbers, np.zeros((8, 2 * SLOTS), np.int16))
    told = [batch[0].flatten().tolist() for batch in islice(store.batches(FEW, first=0), 4)]
    assert sorted(told[0] + told[1]) == sorted(told[2] + told[3]) == list(range(8))
    assert told[:2] != told[2:]
    assert [batch[0].flatten().tolist() for batch in islice(store.batches(FEW, first=3), 1)] == told[3:]


def test_the_last_layers_learn_and_the_trunk_does_not(crops: CropComposer, tmp_path: Path) -> None:
    """Its weights and its statistics stay; the loss on what was seen falls."""
    trainer = Trainer(PlateReader(), FEW, tmp_path)
    assert isinstance(trainer.model, PlateReader)
    seen = few_features(tmp_path / "few", trainer.model, crops)
    trunk = {name: value.clone() for name, value in trainer.model.trunk.state_dict().items()}
    batch = next(seen.batches(FEW, first=0))
    first = float(head_loss(trainer.model, batch).detach())
    trainer.run(iter(lambda: batch, None), head_loss)
    assert float(head_loss(trainer.model, batch).detach()) < first
    for model in (trainer.model, trainer.averaged):
        assert isinstance(model, PlateReader)
        assert all(torch.equal(value, trunk[name]) for name, value in model.trunk.state_dict().items())


def test_a_share_of_the_first_weights_is_kept(tmp_path: Path) -> None:
    """What is exported is the mean of them and the trained ones; without a share, the trained ones."""
    first, plan = PlateReader(), replace(FEW, kept=0.25)
    torch.save(first.state_dict(), tmp_path / "first.pt")
    trainer = Trainer(PlateReader(), plan, tmp_path)
    trainer.save()
    path = trained_weights(tmp_path, plan, tmp_path / "first.pt")
    mean = torch.load(path, weights_only=True)["averaged"]
    name = "classify.weight"
    expected = 0.75 * trainer.averaged.state_dict()[name] + 0.25 * first.state_dict()[name]
    assert mean[name].numpy() == pytest.approx(expected.detach().numpy(), abs=1e-6)
    assert PlateReader().load_state_dict(mean)
    for keeps, start in ((0.25, None), (0.0, tmp_path / "first.pt")):
        assert trained_weights(tmp_path, replace(plan, kept=keeps), start).name == "checkpoint.pt"


def test_only_the_last_layers_need_weights_to_begin_with(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without them one line says so; with them the plan is that of the last layers."""
    monkeypatch.setattr("sys.argv", ["train", "--head-only"])
    with pytest.raises(SystemExit, match="2"):
        train.parse()
    assert "--head-only: needs --reader-from" in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", ["train", "--head-only", "--reader-from", "weights.pt"])
    assert train.reader_plan(train.parse()) == READER_HEAD

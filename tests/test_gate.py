"""When a face is uncertain: the measures, the thresholds, how they are learned, and how they travel in the bundle."""

import dataclasses
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from fer_edge.convert import gate as learning
from fer_edge.convert.gate import box_side, chow_threshold, curve, learn_gate, quantile_cap, summarize
from fer_edge.devices.errors import BundleError
from fer_edge.edge_runtime.bundle import BUNDLED, Bundle
from fer_edge.edge_runtime.detect_haar import HaarDetector
from fer_edge.edge_runtime.engines import infer_all, open_engine
from fer_edge.edge_runtime.preprocess import face_pixels, square_crop
from fer_edge.edge_runtime.quality import Gate, brightness, margin, sharpness, side_px
from fer_edge.edge_runtime.sample_clip import SAMPLE_PHOTO
from fer_edge.edge_runtime.vocabulary import EMOTIONS, Doubt, softmax
from fer_edge.train.degrade import darkened, defocused, moved, shrunk
from fer_edge.train.synth import synthetic_dataset

CHECKERS = (np.indices((48, 48)).sum(axis=0) % 2 * 200).astype(np.uint8)
"""Mean 100, deviation 100; neighbours across and down differ by 200, along the diagonals by nothing."""
GRAY = np.full((48, 48), 100, np.uint8)
NOISE = np.random.default_rng(0).integers(0, 256, (48, 48)).astype(np.uint8)
SURE = np.array([0.75, 0.25, 0, 0, 0, 0, 0], np.float32)


# The measures


@pytest.mark.parametrize(
    ("box", "side"), [((0, 0, 10, 10), 10), ((5, 5, 25, 15), 20), ((5, 5, 15, 25), 20), ((-10, 0, 40, 40), 50)]
)
def test_the_side_is_the_longer_one(box: tuple[int, int, int, int], side: int) -> None:
    assert side_px(box) == side


@pytest.mark.parametrize(("face", "mean"), [(CHECKERS, 100.0), (GRAY, 100.0), (GRAY * 0, 0.0)])
def test_brightness_is_the_mean(face: np.ndarray, mean: float) -> None:
    assert brightness(face) == mean


def test_sharpness_is_that_of_the_worst_direction() -> None:
    across = np.tile(np.array([0, 200], np.uint8), (48, 24))
    assert sharpness(across) == 0  # nothing changes downwards: smeared along that path
    assert sharpness(CHECKERS) == 0  # nor along a diagonal
    assert sharpness(GRAY) == 0
    sharp = sharpness(NOISE)
    # Of independent pixels a second difference has (1 + 4 + 1) times the variance, over 4 along a diagonal.
    assert sharp == pytest.approx(6 / 4, rel=0.1)
    for angle in (0, 45, 90, 135):
        assert sharpness(moved(NOISE[None], 9, angle)[0]) < sharp / 4, angle


def test_sharpness_does_not_depend_on_light_and_turns_with_the_face() -> None:
    assert sharpness(NOISE // 4) == pytest.approx(sharpness(NOISE), rel=0.02)
    assert sharpness(np.ascontiguousarray(NOISE[::-1])) == pytest.approx(sharpness(NOISE), rel=1e-12)
    assert sharpness(np.ascontiguousarray(NOISE.T)) == pytest.approx(sharpness(NOISE), rel=1e-12)


@pytest.mark.parametrize(
    ("probabilities", "expected"),
    [
        ([0.75, 0.25, 0, 0, 0, 0, 0], 0.5),
        ([0, 0, 0.25, 0, 0.75, 0, 0], 0.5),
        ([0.5, 0.5, 0, 0, 0, 0, 0], 0.0),
        ([1, 0, 0, 0, 0, 0, 0], 1.0),
    ],
)
def test_the_margin_is_best_minus_second(probabilities: list[float], expected: float) -> None:
    assert margin(np.array(probabilities, np.float32)) == expected


# The gate

ALL = Gate(min_side_px=20, min_brightness=50, min_sharpness=0.5, min_margin=0.5)
SHARP = NOISE // 2 + 60


@pytest.mark.parametrize(
    ("gate", "side", "face", "best", "expected"),
    [
        (ALL, 20, SHARP, 0.75, None),  # equal passes, in side and margin
        (ALL, 19.9, SHARP, 0.75, Doubt.SMALL),
        (ALL, 20, GRAY, 0.75, Doubt.BLURRED),
        (ALL, 20, GRAY // 2, 0.75, Doubt.BLURRED),  # mean 50 is not under 50
        (ALL, 20, GRAY // 2 - 1, 0.75, Doubt.DARK),
        (ALL, 20, SHARP, 0.7, Doubt.UNSURE),
        (ALL, 19, GRAY * 0, 0.5, Doubt.SMALL),  # all four at once: in the order small, dark, blurred, unsure
        (ALL, 20, GRAY * 0, 0.5, Doubt.DARK),
        (ALL, 20, GRAY, 0.5, Doubt.BLURRED),
        (Gate(), 1, GRAY * 0, 0.5, None),
        (Gate(min_margin=0.1), 1, GRAY * 0, 0.75, None),
        (Gate(0, 0, 0, 0), 1, GRAY * 0, 0.5, None),
    ],
)
def test_the_reason(gate: Gate, side: float, face: np.ndarray, best: float, expected: Doubt | None) -> None:
    probabilities = np.array([best, 1 - best, 0, 0, 0, 0, 0], np.float32)
    assert gate.doubt(side, face, probabilities) == expected
    of_face = None if expected == Doubt.UNSURE else expected
    assert gate.doubt_of_face(side, face) == of_face
    if expected in (None, Doubt.UNSURE):
        assert gate.is_unsure(probabilities) == (expected == Doubt.UNSURE)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"min_side_px": -1}, "expected min_side_px as a number in 0..10000 or null, got -1"),
        ({"min_side_px": "20"}, "expected min_side_px as a number in 0..10000 or null, got '20'"),
        ({"min_brightness": 256}, "expected min_brightness as a number in 0..255 or null, got 256"),
        ({"min_brightness": True}, "expected min_brightness as a number in 0..255 or null, got True"),
        ({"min_sharpness": math.nan}, "expected min_sharpness as a number in 0..1000 or null, got nan"),
        ({"min_sharpness": math.inf}, "expected min_sharpness as a number in 0..1000 or null, got inf"),
        ({"min_margin": 1.1}, "expected min_margin as a number in 0..1 or null, got 1.1"),
        ({"min_margin": [0.1]}, r"expected min_margin as a number in 0..1 or null, got \[0.1\]"),
        ({"margin": 0.1}, "unknown threshold 'margin'; known are min_side_px, min_brightness, "),
        ([0.1], r"expected thresholds by name, got \[0.1\]"),
        ("0.1", "expected thresholds by name, got '0.1'"),
    ],
)
def test_thresholds_that_cannot_be(values: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Gate.from_dict(values)


@pytest.mark.parametrize("face", [np.zeros((48, 47), np.uint8), np.zeros((48, 48), np.float32)])
def test_a_face_of_another_kind_is_refused(face: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"expected a face \(48, 48\) uint8, got"):
        ALL.doubt_of_face(48, face)


def test_a_gate_survives_its_dictionary_and_takes_overrides() -> None:
    gate = Gate(min_side_px=20, min_margin=0.25)
    values = {"min_side_px": 20, "min_brightness": None, "min_sharpness": None, "min_margin": 0.25}
    assert gate.as_dict() == values
    assert Gate.from_dict(json.loads(json.dumps(values))) == gate
    assert Gate.from_dict({"min_margin": 0.25, "min_side_px": 20}) == gate
    assert Gate.from_dict({}) == Gate()
    assert gate.with_overrides() == gate
    assert gate.with_overrides(min_side_px=0, min_brightness=9) == dataclasses.replace(
        gate, min_side_px=0, min_brightness=9
    )
    with pytest.raises(ValueError, match="min_margin"):
        gate.with_overrides(min_margin=2)


# Chow's rule


@pytest.mark.parametrize(
    ("measure", "right", "cost", "expected"),
    [
        # Rejecting 1 and 2 saves two wrong names for half a name each; 3 is right.
        ([1, 2, 3, 4], [0, 0, 1, 1], 0.5, 3),
        ([4, 2, 1, 3], [1, 0, 0, 1], 0.5, 3),  # the order of the faces is of no matter
        ([1, 2, 3, 4], [1, 1, 1, 1], 0.5, None),
        ([1, 2, 3, 4], [1, 0, 1, 1], 0.5, None),  # 1 right and 2 wrong is right half of the time: a tie, name them
        ([1, 2, 3, 4, 5], [0, 1, 0, 0, 1], 0.5, 5),  # past one right name to three wrong ones
        ([1, 2, 3, 4, 5], [0, 1, 1, 0, 1], 0.5, 2),
        ([1, 2, 3], [0, 0, 0], 0.5, math.inf),
        ([1, 1, 1, 2], [0, 0, 1, 1], 0.5, 2),  # equals stand and fall together: two wrong of three
        ([1, 1, 1, 2], [1, 0, 1, 1], 0.5, None),
        # Dearer to reject: only where three of four are wrong.
        ([1, 1, 1, 2, 2, 2, 2], [0, 0, 1, 1, 1, 1, 1], 0.75, None),
        ([1, 1, 1, 1, 1, 2, 2], [0, 0, 0, 0, 1, 1, 1], 0.75, 2),
    ],
)
def test_the_threshold_of_least_cost(
    measure: list[float], right: list[int], cost: float, expected: float | None
) -> None:
    assert chow_threshold(np.array(measure, float), np.array(right, bool), cost) == expected


def test_no_other_threshold_costs_less() -> None:
    rng = np.random.default_rng(3)
    measure = rng.integers(0, 30, 500) / 30
    right = rng.random(500) < 0.2 + 0.7 * measure

    def cost(threshold: float) -> float:
        named = measure >= threshold
        return float((~right & named).sum() + 0.5 * (~named).sum())

    found = chow_threshold(measure, right)
    assert found is not None
    assert cost(found) == min(cost(t) for t in [*np.unique(measure), math.inf])
    assert 0.2 < found < 0.65  # right half of the time at 3/7


@pytest.mark.parametrize(("share", "expected"), [(0, 1), (0.005, 1), (0.25, 2), (0.5, 3), (1, 4)])
def test_a_cap_refuses_no_more_than_its_share(share: float, expected: float) -> None:
    measure = np.array([4.0, 2.0, 3.0, 1.0])
    assert quantile_cap(measure, share) == expected
    assert (measure < quantile_cap(measure, share)).mean() <= share


def test_the_curve_says_what_each_threshold_would_do() -> None:
    rows = curve(np.array([1.0, 2.0, 3.0, 4.0]), np.array([False, True, False, True]))
    assert rows == [
        {"threshold": 1.0, "coverage": 1.0, "accuracy": 0.5},
        {"threshold": 2.0, "coverage": 0.75, "accuracy": 2 / 3},
        {"threshold": 3.0, "coverage": 0.5, "accuracy": 0.5},
    ]


@pytest.mark.parametrize("margin_", [0.0, 0.03, 0.1, 0.5])
def test_the_box_of_a_crop_is_what_preprocessing_makes_that_crop_from(margin_: float) -> None:
    frame = np.zeros((200, 200), np.uint8)
    for crop in range(8, 49):
        side = box_side(crop, margin_)
        made = [square_crop(frame, (50, 50, 50 + s, 50 + s), margin_).shape[0] for s in (side, side - 1)]
        assert made[0] >= crop > made[1]


# Learning


def test_the_ways_to_make_a_face_worse() -> None:
    face = NOISE[None]
    assert [a.shape for a in (shrunk(face, 10), defocused(face, 1), moved(face, 5, 45))] == [(1, 48, 48)] * 3
    np.testing.assert_array_equal(shrunk(face, 48), face)
    np.testing.assert_array_equal(defocused(face, 0), face)
    np.testing.assert_array_equal(
        shrunk(face, 10)[0], face_pixels(cv2.resize(NOISE, (10, 10), interpolation=cv2.INTER_AREA))
    )
    dark = darkened(np.full((1, 48, 48), 200, np.uint8), 0.1, np.random.default_rng(0))
    assert dark.dtype == np.uint8
    assert dark.mean() == pytest.approx(20, abs=0.2)
    assert dark.std() == pytest.approx(2, abs=0.2)  # the sensor's noise
    centre = np.zeros((1, 48, 48), np.uint8)
    centre[0, 24, 24] = 90
    lit = {angle: np.argwhere(moved(centre, 3, angle)[0]).tolist() for angle in (0, 90)}
    assert lit == {0: [[24, 23], [24, 24], [24, 25]], 90: [[23, 24], [24, 24], [25, 24]]}


def faces_of(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 48, 48)).astype(np.uint8), rng.integers(0, 7, n).astype(np.uint8)


def answers(labels: np.ndarray, knows: Callable[[np.ndarray], np.ndarray], lead: np.ndarray | None = None) -> Any:
    """A model: names the faces rightly that it `knows`, the others wrongly; `lead` is its best logit."""

    def infer(faces: np.ndarray) -> np.ndarray:
        named = np.where(knows(faces), labels, (labels + 1) % 7)
        logits = np.zeros((len(faces), 7), np.float32)
        logits[np.arange(len(faces)), named] = 8 if lead is None else lead
        return logits

    return infer


def test_each_threshold_is_where_the_model_stops_to_know() -> None:
    """A model that knows faces brighter than 40, sharper than 0.05, and nothing else matters to it."""
    faces, labels = faces_of(60, 1)
    gate, about = learn_gate(faces, labels, answers(labels, lambda f: f.mean(axis=(1, 2)) >= 40), 0.03)
    assert gate.min_brightness is not None
    assert 40 <= gate.min_brightness < 45  # between the steps around 40 a few faces lie
    assert (gate.min_side_px, gate.min_sharpness, gate.min_margin) == (None, None, None)
    assert about["thresholds"] == gate.as_dict()
    assert not about["measures"]["min_brightness"]["capped"]
    known = answers(labels, lambda f: np.array([sharpness(one) >= 0.05 for one in f]))
    gate, _ = learn_gate(faces, labels, known, 0.03)
    assert gate.min_sharpness is not None
    assert 0.05 <= gate.min_sharpness < 0.1
    assert gate.min_brightness is None


def test_the_side_is_learned_as_that_of_a_box() -> None:
    """A model that knows a face at 30 pixels and not at 28: its crop is 3% wider than the box."""
    faces, labels = faces_of(20, 2)
    unknown = {face.tobytes() for side in range(8, 30, 2) for face in shrunk(faces, side)}
    known = answers(labels, lambda f: np.array([face.tobytes() not in unknown for face in f]))
    gate, _ = learn_gate(faces, labels, known, 0.03)
    assert gate.min_side_px == 29
    assert round(29 * 1.03) == 30


def test_the_margin_is_learned_on_the_faces_as_they_are() -> None:
    faces, labels = faces_of(100, 3)
    lead = np.linspace(0.5, 5, 100, dtype=np.float32)
    gate, about = learn_gate(faces, labels, answers(labels, lambda f: np.arange(100) >= 30, lead), 0.03)
    best = softmax(np.array([lead[30], 0, 0, 0, 0, 0, 0], np.float32))
    assert gate.min_margin == pytest.approx(best[0] - best[1], abs=1e-6)
    found = about["validation"]
    assert (found["n"], found["coverage"], found["accuracy_all"], found["accuracy_covered"]) == (100, 0.7, 0.7, 1.0)
    assert found["rejected"] == {"small": 0, "dark": 0, "blurred": 0, "unsure": 30}
    of = found["emotions"]
    assert sum(row["images"] for row in of.values()) == 100
    assert sum(row["images"] * row["coverage"] for row in of.values()) == pytest.approx(70)
    assert {row["recall_covered"] for row in of.values()} == {1.0}
    low, high = found["accuracy_covered_interval"]
    assert 0.94 < low < high == 1.0


def test_good_faces_are_kept_whatever_the_rule_says() -> None:
    """Chow would refuse the darker 40% of good faces; the cap leaves all but half a percent."""
    faces, labels = faces_of(400, 4)
    faces = (faces * np.linspace(0.3, 1, 400)[:, None, None]).astype(np.uint8)
    bright = faces.mean(axis=(1, 2))
    middle = float(np.sort(bright)[160])
    gate, about = learn_gate(faces, labels, answers(labels, lambda f: f.mean(axis=(1, 2)) >= middle), 0.03)
    assert about["measures"]["min_brightness"]["capped"]
    assert gate.min_brightness is not None
    assert 0 < (bright < gate.min_brightness).mean() <= learning.MAX_GOOD_REJECTED


def test_a_model_that_knows_too_little_refuses_no_good_face_for_it() -> None:
    faces, labels = faces_of(100, 5)
    lead = np.linspace(0.5, 5, 100, dtype=np.float32)
    gate, about = learn_gate(faces, labels, answers(labels, lambda f: np.arange(len(f)) >= 90, lead), 0.03)
    assert (gate.min_side_px, gate.min_brightness, gate.min_sharpness) == (None, None, None)
    assert about["measures"]["min_margin"]["capped"]
    assert about["validation"]["coverage"] == 1 - learning.MAX_UNSURE


def test_the_seed_decides() -> None:
    faces, labels = faces_of(30, 6)
    infer = answers(labels, lambda f: f.mean(axis=(1, 2)) >= 40)
    one, again, other = (learn_gate(faces, labels, infer, 0.03, seed)[1] for seed in (0, 0, 1))
    assert one == again
    assert one != other


def test_a_summary_of_a_gate_that_names_nobody() -> None:
    faces, labels = faces_of(5, 7)
    found = summarize(Gate(min_brightness=255), faces, labels, np.eye(7, dtype=np.float32)[labels], 0.03)
    assert (found["coverage"], found["accuracy_covered"], found["accuracy_covered_interval"]) == (0, None, None)
    assert found["rejected"]["dark"] == 5


# Which faces it learns from


def _run_on(data: Any, path: Path) -> Any:
    from fer_edge.train.recipes import recipe_for
    from fer_edge.train.run_folder import RunFolder

    run = RunFolder(path)
    about = {"data_sha256": data.sha256, "data_source": data.source}
    run.create(recipe_for("cnn-edge", val_fraction=0.1), about, {})
    return run


def _shipped_variants() -> list[dict[str, Any]]:
    return json.loads((BUNDLED / "bundle.json").read_text())["variants"]


def test_no_test_image_has_a_say_in_the_thresholds(tmp_path: Path) -> None:
    """Other test images: the same thresholds to the last digit; only the check on them differs."""
    pytest.importorskip("keras")
    from fer_edge.convert.gate_run import gate_of_bundle
    from fer_edge.train.dataset import build_dataset
    from fer_edge.train.split import fit_and_val_rows

    data = synthetic_dataset(350, 1)
    run = _run_on(data, tmp_path / "run")
    _, val = fit_and_val_rows(data, 0.1, run.recipe().seed)
    assert set(val) <= set(data.rows("train"))
    faces, labels = np.array(data.faces), np.array(data.labels)
    test = data.rows("test")
    faces[test] //= 8
    labels[test] = np.roll(labels[test], 1)
    other = build_dataset(faces, labels, data.splits, None, "other")
    other_run = _run_on(other, tmp_path / "other")
    gate, about = gate_of_bundle(run, data, "test", BUNDLED, _shipped_variants())
    same, without = gate_of_bundle(other_run, other, "test", BUNDLED, _shipped_variants())
    assert gate is not None
    assert gate == same
    assert about is not None
    assert without is not None
    for part in ("thresholds", "measures", "validation"):
        assert about[part] == without[part]
    assert about["check"] != without["check"]
    assert about["variant"] == "tflite/int8"
    assert about["validation"]["n"] == len(val)

    faces[val] = 255 - faces[val]  # whereas other validation images give another gate
    changed = build_dataset(faces, labels, data.splits, None, "changed")
    assert gate_of_bundle(_run_on(changed, tmp_path / "c"), changed, "test", BUNDLED, _shipped_variants())[0] != gate


def test_data_that_the_run_was_not_trained_on_gives_no_gate(tmp_path: Path) -> None:
    pytest.importorskip("keras")
    from fer_edge.cli.judgement import gate_line
    from fer_edge.convert.gate_run import gate_of_bundle, validation_rows

    run, other = _run_on(synthetic_dataset(350, 1), tmp_path / "run"), synthetic_dataset(350, 2)
    assert gate_of_bundle(run, other, "test", BUNDLED, _shipped_variants()) == (None, None)
    assert gate_line(None).startswith("gate: none, this is not the data that the run was trained on")
    splits = other.splits.copy()
    splits[other.rows("train")[::5]] = 1
    rows = validation_rows(run, dataclasses.replace(other, splits=splits))  # a split of its own is held out anyhow
    np.testing.assert_array_equal(rows, np.flatnonzero(splits == 1))


# The bundle


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The shipped bundle, to change."""
    return Path(shutil.copytree(BUNDLED, tmp_path / "copy"))


def _with_gate(folder: Path, value: Any) -> None:
    path = folder / "bundle.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"gate": value}))


def test_a_gate_travels_in_the_bundle(copy: Path) -> None:
    _with_gate(copy, {"min_side_px": 20, "min_margin": 0.25})
    assert Bundle.open(copy).gate == Gate(min_side_px=20, min_margin=0.25)


def test_a_bundle_without_a_gate_stays_valid(copy: Path) -> None:
    _with_gate(copy, None)
    assert Bundle.open(copy).gate is None
    path = copy / "bundle.json"
    manifest = json.loads(path.read_text())
    del manifest["gate"]
    path.write_text(json.dumps(manifest))
    assert Bundle.open(copy).gate is None


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0.5, "expected thresholds by name, got 0.5"),
        ([], "expected thresholds by name, got []"),
        (False, "expected thresholds by name, got False"),
        ({"min_margin": "wide"}, "expected min_margin as a number in 0..1 or null, got 'wide'"),
        ({"min_margin": float("nan")}, "expected min_margin as a number in 0..1 or null, got nan"),
        ({"min_side_px": 10**400}, "expected min_side_px as a number in 0..10000 or null, got 1000000"),
        ({"max_side_px": 9}, "unknown threshold 'max_side_px'; known are min_side_px, min_brightness, min_sharpness, "),
    ],
)
def test_a_wrong_gate_is_one_sentence(copy: Path, value: Any, message: str) -> None:
    _with_gate(copy, value)
    with pytest.raises(BundleError) as caught:
        Bundle.open(copy)
    assert str(caught.value).startswith(f"{copy}: the gate in bundle.json does not hold: {message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("gate", [Gate(23, 20.5, 0.01, 0.2), None])
def test_the_writer_writes_what_the_reader_reads(copy: Path, gate: Gate | None) -> None:
    writer = pytest.importorskip("fer_edge.convert.bundle_writer", exc_type=ImportError)
    made = json.loads((copy / "report.json").read_text())
    writer.write_manifest(
        copy, "again", _shipped_variants(), made, calibration=None, training_run=None, target="arm", gate=gate
    )
    assert Bundle.open(copy).gate == gate


# What ships


@pytest.fixture(scope="module")
def shipped() -> Bundle:
    return Bundle.open()


@pytest.fixture(scope="module")
def gate(shipped: Bundle) -> Gate:
    assert shipped.gate is not None
    return shipped.gate


@pytest.fixture(scope="module")
def photo() -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """The sample photo in gray, and the face in it."""
    gray = cv2.imread(str(SAMPLE_PHOTO), cv2.IMREAD_GRAYSCALE)
    assert gray is not None
    [face] = HaarDetector().find(gray, 64)
    return gray, face.box_xyxy


def test_the_shipped_bundle_has_all_four_thresholds_as_its_report_says(gate: Gate) -> None:
    assert None not in gate.as_dict().values()
    root = Path(__file__).resolve().parents[1]
    reports = [json.loads(p.read_text())["gate"] for p in (BUNDLED / "report.json", root / "docs/model/report.json")]
    assert reports[0] == reports[1]
    assert reports[0]["thresholds"] == gate.as_dict()
    for found in (reports[0]["validation"], reports[0]["check"]):
        assert found["accuracy_covered_interval"][0] > found["accuracy_all_interval"][1]
        assert (found["n"] - found["rejected"]["unsure"]) / found["n"] - found["coverage"] <= 0.01


def test_the_model_card_has_the_figures_of_the_report(gate: Gate) -> None:
    root = Path(__file__).resolve().parents[1]
    card = (root / "docs/MODEL_CARD.md").read_text(encoding="utf-8")
    report = json.loads((root / "docs/model/report.json").read_text())["gate"]
    for value in (f"| {gate.min_side_px:g} px |", *(f"{gate.as_dict()[k]:{f}} |" for k, f in (
        ("min_brightness", ".1f"), ("min_sharpness", ".4f"), ("min_margin", ".3f"))
    )):  # fmt: skip
        assert value in card
    for found in (report["validation"], report["check"]):
        low, high = found["accuracy_covered_interval"]
        assert f"{found['coverage']:.1%} | **{found['accuracy_covered']:.1%}** | {low:.1%} to {high:.1%} |" in card


def _answer(bundle: Bundle, face: np.ndarray) -> np.ndarray:
    engine = open_engine(bundle, threads=1)
    try:
        return softmax(infer_all(engine, face[None]))[0]
    finally:
        engine.close()


def test_the_sample_photo_is_named(shipped: Bundle, gate: Gate, photo: tuple[np.ndarray, Any]) -> None:
    gray, box = photo
    face = face_pixels(gray, box, shipped.face_margin)
    probabilities = _answer(shipped, face)
    assert gate.doubt(side_px(box), face, probabilities) is None
    assert EMOTIONS[int(probabilities.argmax())] == "happy"


def test_a_face_of_ten_pixels_is_small(shipped: Bundle, gate: Gate, photo: tuple[np.ndarray, Any]) -> None:
    gray, (x0, y0, x1, _) = photo
    scale = 10 / (x1 - x0)
    tiny = cv2.resize(gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    left, top = round(x0 * scale), round(y0 * scale)
    box = (left, top, left + 10, top + 10)
    face = face_pixels(tiny, box, shipped.face_margin)
    assert gate.doubt(side_px(box), face, SURE) == Doubt.SMALL


def test_a_black_face_is_dark(gate: Gate, photo: tuple[np.ndarray, Any]) -> None:
    gray, box = photo
    assert gate.doubt(100, np.zeros((48, 48), np.uint8), SURE) == Doubt.DARK
    assert gate.doubt(side_px(box), face_pixels(gray // 16, box), SURE) == Doubt.DARK
    assert gate.doubt(side_px(box), face_pixels(gray // 4, box), SURE) is None  # dim, and still known


@pytest.mark.parametrize("way", ["focus", "across", "down"])
def test_a_blurred_face_is_blurred(shipped: Bundle, gate: Gate, photo: tuple[np.ndarray, Any], way: str) -> None:
    gray, box = photo
    pixel = side_px(box) / 48  # of the face that the model takes
    length = round(13 * pixel)
    ways = {
        "focus": lambda: cv2.GaussianBlur(gray, (0, 0), 2 * pixel),
        "across": lambda: cv2.blur(gray, (length, 1)),
        "down": lambda: cv2.blur(gray, (1, length)),
    }
    face = face_pixels(ways[way](), box, shipped.face_margin)
    assert gate.doubt(side_px(box), face, SURE) == Doubt.BLURRED

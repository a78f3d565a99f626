"""`fer-edge compare`: which variants on which images, what is measured of them, and planted losses from the outside."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fer_edge.convert import compare as comparing
from fer_edge.convert import fit_rows, robustness
from fer_edge.convert.compare import MOST_FLIPPED, Plan, choose_variants, compare_bundle, flipped
from fer_edge.convert.score import logits_of, report
from fer_edge.devices.errors import ConversionError, EngineError, RunError
from fer_edge.edge_runtime.bundle import Bundle, BundleFile, Variant
from fer_edge.edge_runtime.vocabulary import EMOTIONS, Precision
from fer_edge.train.dataset import SPLITS, Dataset, build_dataset, save_dataset
from fer_edge.train.degrade import noisy
from fer_edge.train.run_folder import RunFolder
from fer_edge.train.synth import synthetic_dataset

Logits = NDArray[np.float32]
NAMES = ("tflite/float32", "tflite/int8", "onnx/float32", "onnx/int8")


def bundle_of(*names: str) -> Bundle:
    variants = []
    for name in names:
        engine, _, precision = name.partition("/")
        file = BundleFile(name.replace("/", "-"), "0" * 64, 1)
        variants.append(Variant(engine, Precision(precision), (file,), None, None, None))
    return Bundle(Path("nowhere"), "fake", 0.03, tuple(variants), {"training_run": "abc"}, "f" * 64)


def numbered(labels: list[int], splits: list[str]) -> Dataset:
    """Faces whose first two pixels are their row."""
    n = len(labels)
    faces = np.zeros((n, 48, 48), np.uint8)
    faces[:, 0, 0], faces[:, 0, 1] = np.arange(n) // 256, np.arange(n) % 256
    own = np.array([SPLITS.index(split) for split in splits], np.uint8)
    return Dataset(faces, np.array(labels, np.uint8), own, None, "numbered", "0" * 64)


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Logits]]:
    """Logits by variant name and row; what is put in answers for that variant's engine."""
    table: dict[str, Logits] = {}
    opened: list[str] = []
    closed: list[str] = []

    def start(engine: str, model: Path, precision: Precision, threads: int | None = None) -> Any:
        name = f"{engine}/{precision}"
        opened.append(name)

        def infer(faces: NDArray[np.uint8]) -> Logits:
            return table[name][faces[:, 0, 0].astype(int) * 256 + faces[:, 0, 1]]

        return SimpleNamespace(infer=infer, close=lambda: closed.append(name))

    monkeypatch.setattr(comparing, "start", start)
    monkeypatch.setattr(comparing, "runs_here", lambda engine, precision: engine != "openvino")
    yield table
    assert sorted(closed) == sorted(opened)


def logits_for(named: list[int]) -> Logits:
    return np.eye(7, dtype=np.float32)[named] * 3


def steps(_: str) -> None:
    return None


# Which variants


def test_the_first_float_is_the_reference_and_all_are_judged() -> None:
    reference, judged = choose_variants(bundle_of("tflite/int8", *NAMES[2:], "tflite/float32"), Plan())
    assert reference.name == "onnx/float32"
    assert [v.name for v in judged] == ["tflite/int8", "onnx/float32", "onnx/int8", "tflite/float32"]


@pytest.mark.parametrize(
    ("only", "judged"),
    [
        (("int8",), ["tflite/int8", "onnx/int8"]),
        (("onnx",), ["onnx/float32", "onnx/int8"]),
        (("onnx/int8", "tflite"), ["tflite/float32", "tflite/int8", "onnx/int8"]),
    ],
)
def test_only(only: tuple[str, ...], judged: list[str]) -> None:
    reference, chosen = choose_variants(bundle_of(*NAMES), Plan(only=only))
    assert reference.name == "tflite/float32"
    assert [v.name for v in chosen] == judged


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (Plan(reference="onnx/int8"), "--reference 'onnx/int8' is no float32 variant that runs here; choose tflite/fl"),
        (Plan(reference="keras/float32"), "--reference 'keras/float32' is no float32 variant that runs here"),
        (Plan(only=("int8", "tpu")), "no variant is called 'tpu' here; there are tflite/float32, tflite/int8, onnx/"),
    ],
)
def test_what_is_not_there_is_one_sentence(plan: Plan, message: str) -> None:
    with pytest.raises(EngineError) as caught:
        choose_variants(bundle_of(*NAMES), plan)
    assert str(caught.value).startswith(message)


def test_without_a_float_there_is_nothing_to_compare_with() -> None:
    with pytest.raises(EngineError, match=r"bundle 'fake' has no float32 variant for an engine installed here"):
        choose_variants(bundle_of("tflite/int8"), Plan())


def test_a_margin_is_checked_first() -> None:
    with pytest.raises(ConversionError, match=r"^--margin nan is no loss that can be allowed"):
        Plan(margin_pp=float("nan"))


# Which images fit the temperature


def rows_of(split: str, labels: list[int], splits: list[str], run: Any = None) -> fit_rows.FitRows:
    return fit_rows.choose_fit_rows(numbered(labels, splits), bundle_of(*NAMES), split, run, 0)


def test_half_of_each_emotion_fits_and_the_others_judge() -> None:
    labels = [0] * 10 + [1] * 5 + [2]
    rows = rows_of("test", labels, ["test"] * 16)
    assert sorted([*rows.fit, *rows.judge]) == list(range(16))
    assert np.bincount(np.array(labels)[rows.fit]).tolist() == [5, 2]
    assert list(rows.fit) == sorted(rows.fit)
    assert rows.fit_on == "half of test, each emotion halved, seed 0"
    assert rows.judge_on == "the other half"


def test_the_datas_own_validation_images_fit() -> None:
    rows = rows_of("test", [0, 1, 2, 3], ["val", "test", "val", "test"])
    assert (rows.fit.tolist(), rows.judge.tolist()) == ([0, 2], [1, 3])
    assert (rows.fit_on, rows.judge_on) == ("val", "test")


def test_validation_images_that_are_judged_do_not_fit() -> None:
    rows = rows_of("val", [0, 0, 0, 0], ["val"] * 4)
    assert len(rows.fit) == len(rows.judge) == 2
    assert not set(rows.fit) & set(rows.judge)


def test_another_run_is_refused(chain) -> None:
    with pytest.raises(RunError, match=r"run is not the run that bundle 'fake' was made of; leave --run out"):
        rows_of("test", [0], ["test"], RunFolder(chain.run))


def test_the_validation_faces_of_the_run_fit(chain) -> None:
    from fer_edge.train.dataset import load_dataset

    data = load_dataset(chain.data)
    rows = fit_rows.choose_fit_rows(data, Bundle.open(chain.bundle), "test", RunFolder(chain.run), 0)
    assert rows.judge.tolist() == data.rows("test").tolist()
    assert set(rows.fit) < set(data.rows("train"))
    recipe = RunFolder(chain.run).recipe()
    assert len(rows.fit) == pytest.approx(recipe.val_fraction * len(data.rows("train")), rel=0.1)
    assert rows.fit_on == "validation faces of the run"


# The report


def test_the_report_of_a_bundle(engines: dict[str, Logits]) -> None:
    labels = [0, 0, 1, 1, 2, 2, 3, 3]
    data = numbered(labels, ["test"] * 8)
    engines["tflite/float32"] = logits_for(labels)
    engines["onnx/float32"] = logits_for(labels)
    engines["tflite/int8"] = logits_for([1, *labels[1:]])
    engines["onnx/int8"] = logits_for([1, 1, *labels[2:]])
    made = compare_bundle(data, bundle_of(*NAMES, "openvino/int8"), Plan(margin_pp=20, robustness=False), steps)
    assert made["schema"] == 2
    assert made["not_installed"] == ["openvino/int8"]
    assert made["bundle"] == {"name": "fake", "sha256": "f" * 64}
    assert list(made["variants"]) == list(NAMES)
    assert made["compared"] == 3
    assert [row["passes"] for row in made["variants"].values()] == [True, True, True, False]
    assert [row["verdict"] for row in made["variants"].values()] == [None, *["not shown"] * 3]
    assert [row["mcnemar_p_holm"] for row in made["variants"].values()] == [None, 1.0, 1.0, 1.0]
    assert made["robustness"] is None
    assert made["diagnosis"] is None
    assert made["confidence"]["fitted_on"]["images"] == made["confidence"]["judged_on"]["images"] == 4
    assert json.loads(json.dumps(made, allow_nan=False)) == made


def test_the_reference_can_be_named(engines: dict[str, Logits]) -> None:
    labels = [0, 1, 2, 3]
    for name in NAMES:
        engines[name] = logits_for(labels)
    engines["onnx/float32"] = logits_for([1, 1, 2, 3])
    plan = Plan(reference="onnx/float32", only=("tflite/int8",), robustness=False)
    made = compare_bundle(numbered(labels, ["test"] * 4), bundle_of(*NAMES), plan, steps)
    assert made["reference"]["name"] == "onnx/float32"
    assert made["reference"]["accuracy"] == 0.75
    assert list(made["variants"]) == ["tflite/int8"]
    assert made["variants"]["tflite/int8"]["drop_pp"] == -25


def test_the_temperature_never_sees_the_images_that_judge(engines: dict[str, Logits]) -> None:
    """Images that are fitted are all right, those that judge are not: only then is a temperature not to be had."""
    labels = [0, 1, 2, 3, 4, 5, 6] * 2
    data = numbered(labels, ["val"] * 7 + ["test"] * 7)
    named = [0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3, 4, 4, 4]
    for name in NAMES[:2]:
        engines[name] = logits_for(named)
    made = compare_bundle(data, bundle_of(*NAMES[:2]), Plan(robustness=False), steps)["confidence"]
    assert made["fitted_on"] == {"what": "val", "images": 7}
    assert made["models"]["tflite/int8"]["temperature"] is None
    engines["tflite/int8"] = logits_for([0, 1, 2, 3, 4, 4, 4, *range(7)])
    made = compare_bundle(data, bundle_of(*NAMES[:2]), Plan(robustness=False), steps)["confidence"]
    # Five of seven right: p of the named emotion is 5/7, e^(3/T) / (e^(3/T) + 6) = 5/7, T = 3 / ln 15
    assert made["models"]["tflite/int8"]["temperature"] == pytest.approx(3 / np.log(15), rel=1e-6)


def test_equal_models_have_no_flips_and_one_holm_family() -> None:
    labels = [at % 7 for at in range(5000)]
    data = numbered(labels, ["test"] * 5000)
    own = logits_for(labels)
    made = report(data, "test", "keras/float32", own, {"tflite/int8": own, "onnx/int8": own}, 0.5)
    assert made["compared"] == 2  # the reference is none of them
    for row in made["variants"].values():
        assert (row["flips"], row["drop_pp"], row["mcnemar_p"], row["mcnemar_p_holm"]) == (0, 0.0, 1.0, 1.0)
        assert (row["verdict"], row["max_kl"], row["max_logit_difference"]) == ("non-inferior", 0.0, 0.0)
        assert row["macro_f1_drop_interval_pp"] == [0.0, 0.0]


def test_the_keys_of_schema_1_are_still_there() -> None:
    old = json.loads((Path(__file__).parents[1] / "edge_runtime" / "bundled" / "report.json").read_text())
    data = numbered([0, 1, 2], ["test"] * 3)
    own = logits_for([0, 1, 2])
    made = report(data, "test", "keras/float32", own, {"tflite/int8": own}, 0.5)
    assert set(old) - {"gate"} <= set(made)
    assert set(old["reference"]) <= set(made["reference"])
    assert set(old["variants"]["tflite/int8"]) <= set(made["variants"]["tflite/int8"])


# Flips


def test_flips_are_listed_with_the_surest_of_float_first() -> None:
    labels = np.array([0, 0, 1, 1, 2], np.uint8)
    reference = np.zeros((5, 7), np.float32)
    reference[[0, 1, 2, 3, 4], [0, 0, 0, 1, 3]] = [1, 2, 3, 1, 1]
    variant = logits_for([1, 2, 1, 1, 4])
    made = flipped(np.array([10, 11, 12, 13, 14]), labels, reference, variant)
    assert [flip["row"] for flip in made["right_to_wrong"]] == [11, 10]
    (back,) = made["wrong_to_right"]
    share = float(np.exp(3) / (np.exp(3) + 6))
    assert back["row"] == 12
    assert (back["label"], back["reference"], back["variant"]) == ("disgust", "angry", "disgust")
    assert back["reference_confidence"] == pytest.approx(share)
    assert back["reference_margin"] == pytest.approx(share - (1 - share) / 6)


def test_no_more_flips_are_listed_than_a_report_can_hold() -> None:
    n = MOST_FLIPPED + 50
    made = flipped(np.arange(n), np.zeros(n, np.uint8), logits_for([0] * n), logits_for([1] * n))
    assert len(made["right_to_wrong"]) == MOST_FLIPPED
    assert made["wrong_to_right"] == []


# Robustness


def test_float_and_int8_see_the_very_same_pixels() -> None:
    faces = synthetic_dataset(21, 0).faces
    seen: dict[str, list[bytes]] = {"tflite/float32": [], "tflite/int8": []}

    def model(name: str) -> robustness.Infer:
        def infer(bad: NDArray[np.uint8]) -> Logits:
            assert bad.dtype == np.uint8
            assert bad.shape == faces.shape
            seen[name].append(bad.tobytes())
            return logits_for([0] * len(bad))

        return infer

    known = {name: logits_for([0] * 21) for name in seen}
    made = robustness.judge_robustness(
        faces, np.zeros(21, np.uint8), {name: model(name) for name in seen}, known, "tflite/float32", steps
    )
    assert seen["tflite/float32"] == seen["tflite/int8"]
    assert len(set(seen["tflite/int8"])) == len(robustness.CONDITIONS) == 10
    assert faces.tobytes() not in seen["tflite/int8"]
    assert [c["kind"] for c in made["conditions"]] == ["none"] + ["noise"] * 3 + ["blur"] * 4 + ["dark"] * 3
    assert all(len(rows) == 11 for rows in made["models"].values())


def test_the_noise_has_the_spread_that_is_asked_for() -> None:
    gray = np.full((50, 48, 48), 128, np.uint8)
    for level in (0.05, 0.1):
        bad = noisy(gray, level, np.random.default_rng(0)).astype(float)
        assert bad.std() == pytest.approx(level * 255, rel=0.01)
        assert bad.mean() == pytest.approx(128, abs=0.2)
    assert noisy(gray, 0.2, np.random.default_rng(0)).max() == 255  # cut off, not wrapped


def test_a_condition_does_not_hang_on_the_others() -> None:
    faces = synthetic_dataset(21, 0).faces
    first = dict(robustness.degraded(faces, 3))
    again = dict(robustness.degraded(faces, 3))
    other = dict(robustness.degraded(faces, 4))
    noise = robustness.CONDITIONS[1]
    np.testing.assert_array_equal(first[noise], again[noise])
    assert (first[noise] != other[noise]).any()


# From the outside


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two caches of 3,589 faces on which the shipped models differ in 50 labels; what is true of those is chosen here.

    `none`: 25 right for float alone, 25 for int8 alone. `point`: 43 and 7, a loss of 1.003 points.
    """
    drawn = synthetic_dataset(210, 0)
    rng = np.random.default_rng(0)
    base, other = rng.integers(0, 210, (2, 4500))
    share = rng.random((4500, 1, 1), dtype=np.float32)
    faces = np.rint(drawn.faces[base] * share + drawn.faces[other] * (1 - share)).astype(np.uint8)
    bundle = Bundle.open()
    theirs, ours = (
        logits_of(bundle, bundle.find("tflite", precision), faces).argmax(1)
        for precision in (Precision.FLOAT32, Precision.INT8)
    )
    differ, same = np.flatnonzero(theirs != ours)[:50], np.flatnonzero(theirs == ours)[: 3589 - 50]
    assert (len(differ), len(same)) == (50, 3539), "too few labels differ to plant a loss"
    rows = np.sort(np.r_[differ, same])
    home = tmp_path_factory.mktemp("planted")
    for name, lost in (("none", 25), ("point", 43)):
        labels = theirs.copy()
        labels[same[::3]] = (labels[same[::3]] + 1) % len(EMOTIONS)  # a third of the others are wrong for both
        labels[differ[lost:]] = ours[differ[lost:]]
        train = drawn.rows("train")
        data = build_dataset(
            np.concatenate([drawn.faces[train], faces[rows]]),
            np.concatenate([drawn.labels[train], labels[rows].astype(np.uint8)]),
            np.repeat(np.array([0, 2], np.uint8), (len(train), len(rows))),
            None,
            name,
        )
        save_dataset(data, home / name)
    return home


def test_a_drop_of_0_by_50_labels_is_non_inferior(planted: Path, cli) -> None:
    done = cli("compare", "--data", planted / "none", "--only", "tflite/int8", "--no-robustness", "--json", "--strict")
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)["variants"]["tflite/int8"]
    assert (row["images"], row["flips"], row["drop_pp"]) == (3589, 50, 0.0)
    assert (row["flips_right_to_wrong"], row["flips_wrong_to_right"]) == (25, 25)
    assert row["verdict"] == "non-inferior"
    assert row["drop_score_interval_pp"] == pytest.approx([-0.400, 0.400], abs=1e-3)


def test_a_drop_of_a_point_fails(planted: Path, cli, tmp_path: Path) -> None:
    done = cli("compare", "--data", planted / "point", "--only", "tflite/int8", "--no-robustness", "--out", "r.json")
    assert done.returncode == 1
    assert "fer-edge: tflite/int8 loses 1.00 points of accuracy (allowed 0.5)" in done.stderr
    assert "worse, FAILS" in done.stdout
    row = json.loads((tmp_path / "r.json").read_text())["variants"]["tflite/int8"]
    assert (row["verdict"], row["passes"], row["non_inferior"]) == ("worse", False, False)
    assert row["drop_pp"] == pytest.approx(36 * 100 / 3589)
    assert row["mcnemar_p"] < 1e-6


def test_strict_fails_what_is_not_shown(chain, cli) -> None:
    """A few hundred images cannot show a loss under half a point, though not one label differs."""
    few = ("compare", chain.bundle, "--data", chain.data, "--only", "onnx/float32", "--no-robustness")
    done = cli(*few)
    assert done.returncode == 0, done.stderr
    assert "not shown" in done.stdout
    done = cli(*few, "--strict")
    assert done.returncode == 1
    assert "fer-edge: onnx/float32 is not shown to be as good: it may lose up to 0.9" in done.stderr


def test_everything_at_once(chain, cli, tmp_path: Path) -> None:
    done = cli(
        *("compare", chain.bundle, "--data", chain.data, "--margin", "5", "--run", chain.run),
        *("--out", "report.json", "--html", "page.html", "--reference", "onnx/float32"),
    )
    assert done.returncode == 0, done.stderr
    made = json.loads((tmp_path / "report.json").read_text())
    assert made["reference"]["name"] == "onnx/float32"
    assert made["command"][:2] == ["fer-edge", "compare"]
    assert made["confidence"]["fitted_on"]["what"] == "validation faces of the run"
    assert made["confidence"]["judged_on"]["images"] == made["data"]["images"]
    lossy = {"tflite/int8", "tflite/float16", "tflite/dynamic-int8", "onnx/int8", "openvino/int8"}
    assert set(made["robustness"]["models"]) == {"onnx/float32", *lossy}
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")
    assert "to pass it on, make it with --no-images" in done.stdout
    lines = [line.rstrip() for line in done.stdout.splitlines() if str(tmp_path) not in line]
    assert max(map(len, lines)) <= 80, max(lines, key=len)
    assert {path.name for path in tmp_path.iterdir()} == {"report.json", "page.html"}


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("--reference", "tflite/int8"), "--reference 'tflite/int8' is no float32 variant that runs here"),
        (("--only", "tpu"), "no variant is called 'tpu' here"),
        (("--margin", "-1"), "--margin -1.0 is no loss that can be allowed"),
        (("--run", "nowhere"), "nowhere is not a training run"),
        (("--split", "train"), "accuracy is measured on held-out images"),
        (("--diagnose-variant", "tflite/float32"), "has no int8 variant 'tflite/float32' to diagnose"),
    ],
)
def test_wrong_input_is_one_sentence(chain, cli, args: tuple[str, ...], sentence: str) -> None:
    done = cli("compare", chain.bundle, "--data", chain.data, *args)
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if line.startswith("fer-edge: ")]
    assert len(lines) == 1, done.stderr
    assert sentence in lines[0]
    assert "Traceback" not in done.stderr


def test_a_variant_that_fails_is_diagnosed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `compare` asks of the diagnosis: int8 variants that fail, or the one that is named."""
    import sys

    from fer_edge.cli.compare import _diagnoses, _variant

    asked: list[tuple[str, str, int]] = []

    def diagnose(bundle: Bundle, variant: Variant, data: Dataset, split: str, *, images: int, step: Any) -> Any:
        asked.append((variant.name, split, images))
        return {"variant": variant.name}

    monkeypatch.setitem(sys.modules, "fer_edge.convert.diagnose", SimpleNamespace(diagnose=diagnose))
    bundle, data = bundle_of(*NAMES, "tflite/float16"), numbered([0], ["test"])
    made = {"data": {"split": "test"}, "variants": {n: {"passes": "int8" not in n} for n in NAMES}}
    made["variants"]["tflite/float16"] = {"passes": False}
    assert _diagnoses(made, bundle, data, None, 64, steps) == {
        "tflite/int8": {"variant": "tflite/int8"},
        "onnx/int8": {"variant": "onnx/int8"},
    }
    assert list(_diagnoses(made, bundle, data, _variant(bundle, "onnx/int8"), 7, steps)) == ["onnx/int8"]
    assert asked == [("tflite/int8", "test", 64), ("onnx/int8", "test", 64), ("onnx/int8", "test", 7)]

"""The calibration study: its sets, its rule on planted curves, and the whole of it on drawn faces."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer_edge.calibration.calibration_set import draw
from fer_edge.calibration.study import RULE, Trial, conclude, curves, enough, spread_of
from fer_edge.calibration.study_sets import commonest, study_sets
from fer_edge.convert.study_plan import StudyPlan
from fer_edge.convert.study_words import cells, methods_compared, sentences
from fer_edge.devices.errors import ConversionError, DataError
from fer_edge.train.dataset import SPLITS, Dataset, content_hash, save_dataset
from fer_edge.train.synth import synthetic_dataset

HAPPY = 3


@pytest.fixture(scope="module")
def data() -> Dataset:
    """350 drawn faces, 280 of them in train; happy, made commonest: a few others of train are in val instead."""
    drawn = synthetic_dataset(350, 0)
    splits = drawn.splits.copy()
    for label in range(7):
        own = np.flatnonzero((drawn.labels == label) & (splits == 0))
        splits[own[: 0 if label == HAPPY else 8]] = SPLITS.index("val")
    splits[np.flatnonzero((drawn.labels == HAPPY) & (splits == SPLITS.index("test")))[:2]] = SPLITS.index("val")
    return replace(drawn, splits=splits)


# The sets


def test_sets_are_what_they_are_called(data: Dataset) -> None:
    sets = study_sets(data, (14, 28), 2, ("stratified", "equal", "alone"))
    assert [(s.balance, s.count, s.seed) for s in sets[:4]] == [
        ("stratified", 14, 0), ("stratified", 14, 1), ("stratified", 28, 0), ("stratified", 28, 1),
    ]  # fmt: skip
    assert len(sets) == 12
    train = set(data.rows("train").tolist())
    for one in sets:
        assert len(set(one.rows)) == one.count
        assert set(one.rows) <= train
        counts = np.bincount(data.labels[list(one.rows)], minlength=7).tolist()
        if one.balance == "stratified":
            assert one.rows == draw(data, one.count, one.seed).rows  # what `fer-edge calibrate` would draw
        elif one.balance == "equal":
            assert counts == [one.count // 7] * 7
        else:
            assert counts == [one.count * (label == HAPPY) for label in range(7)]
    assert sets[0].rows != sets[1].rows
    assert commonest(data) == HAPPY


def test_an_uneven_count_goes_to_the_first_emotions(data: Dataset) -> None:
    one, _ = study_sets(data, (9, 14), 1, ("equal",))
    assert np.bincount(data.labels[list(one.rows)], minlength=7).tolist() == [2, 2, 1, 1, 1, 1, 1]


def test_of_one_seed_the_smaller_set_is_part_of_the_larger(data: Dataset) -> None:
    for balance in ("equal", "alone"):
        small, large = study_sets(data, (14, 28), 1, (balance,))
        assert set(small.rows) < set(large.rows)


def test_a_set_that_the_data_cannot_fill_is_left_out(data: Dataset) -> None:
    assert [one.count for one in study_sets(data, (7, 14, 230), 1, ("equal",))] == [7, 14]
    with pytest.raises(DataError, match="--count 7000 is outside"):
        study_sets(data, (7, 7000), 1, ("stratified",))


# The rule


def trial(count: int, seed: int, agreement: float, kl: float, method: str = "minmax", high: float = 1.0) -> Trial:
    return Trial("stratified", method, count, seed, 0.7, agreement, kl, {"conv1": 0.0}, {"conv1": high})


def planted(figures: dict[int, tuple[float, float]], agreement_sd: float = 0.001, kl_sd: float = 1e-5) -> list[Trial]:
    """Three seeds a count: the mean, and one deviation above and below, whose standard deviation is just that."""
    return [
        trial(count, seed, agreement + (seed - 1) * agreement_sd, kl + (seed - 1) * kl_sd)
        for count, (agreement, kl) in figures.items()
        for seed in range(3)
    ]


def test_the_spread_between_seeds() -> None:
    assert spread_of([0.98, 0.99, 1.0]) == pytest.approx({"mean": 0.99, "sd": 0.01, "low": 0.98, "high": 1.0})
    assert spread_of([0.5]) == {"mean": 0.5, "sd": None, "low": 0.5, "high": 0.5}


@pytest.mark.parametrize(
    ("figures", "expected"),
    [
        # Agreement settles at 32, KL was never far.
        ({8: (0.95, 3e-4), 16: (0.97, 3e-4), 32: (0.9895, 3e-4), 64: (0.99, 3e-4), 128: (0.99, 3e-4)}, 32),
        # Labels cannot tell, KL can: within a tenth from 64 on.
        ({8: (0.99, 9e-4), 16: (0.99, 6e-4), 32: (0.99, 4e-4), 64: (0.99, 3.29e-4), 128: (0.99, 3e-4)}, 64),
        # One count that is good by chance, followed by a worse one, is not enough.
        ({8: (0.99, 3e-4), 16: (0.98, 3e-4), 32: (0.99, 3e-4), 64: (0.99, 3e-4)}, 32),
        # It still falls at the end: nothing that was tried is enough.
        ({8: (0.95, 9e-4), 16: (0.97, 7e-4), 32: (0.98, 5e-4), 64: (0.99, 3e-4)}, None),
        # Wide ranges of many images may even lose something: the smallest set is enough.
        ({8: (0.992, 3e-4), 16: (0.991, 3e-4), 32: (0.99, 3e-4)}, 8),
    ],
)
def test_what_is_enough(figures: dict[int, tuple[float, float]], expected: int | None) -> None:
    found = enough(curves(planted(figures)), images=10_000)
    assert found["count"] == expected
    assert (found["agreement_loss"] is None) == (expected is None)


def test_noise_between_seeds_is_allowed_for_and_one_image_is() -> None:
    figures = {8: (0.985, 3e-4), 16: (0.99, 3e-4), 32: (0.99, 3e-4)}
    assert enough(curves(planted(figures, agreement_sd=0.001)), images=10_000)["count"] == 16
    noisy = enough(curves(planted(figures, agreement_sd=0.006)), images=10_000)
    assert noisy["count"] == 8
    assert (noisy["agreement_loss"], noisy["agreement_spread"]) == pytest.approx((0.005, 0.006))
    assert enough(curves(planted(figures, agreement_sd=0)), images=200)["count"] == 8  # 0.005 is one image of 200


def test_a_single_seed_has_no_spread_and_still_gets_an_answer() -> None:
    rows = curves([trial(8, 0, 0.9, 3e-4), trial(16, 0, 0.99, 3e-4), trial(32, 0, 0.99, 3e-4)])
    assert rows[0]["agreement"]["sd"] is None
    assert enough(rows, images=1000)["count"] == 16


def test_widths_are_against_minmax_at_the_largest_count() -> None:
    trials = [trial(8, 0, 0.99, 3e-4, "mse", 1.0), trial(8, 0, 0.99, 3e-4, "minmax", 3.0)]
    trials += [trial(16, 0, 0.99, 3e-4, "mse", 2.0), trial(16, 0, 0.99, 3e-4, "minmax", 4.0)]
    widths = {(row["method"], row["count"]): row["width"]["mean"] for row in curves(trials)}
    assert widths == {("mse", 8): 0.25, ("minmax", 8): 0.75, ("mse", 16): 0.5, ("minmax", 16): 1.0}


def test_the_best_method_is_the_one_closest_by_kl() -> None:
    trials = [trial(count, 0, 0.99, 4e-4) for count in (8, 16)]
    trials += [trial(count, 0, 0.98, 2e-4, "mse") for count in (8, 16)]
    best = conclude(curves(trials), images=1000)["best"]
    assert best["method"] == "mse"
    (other,) = best["others"]
    assert (other["method"], other["kl_ratio"]) == ("minmax", pytest.approx(2))
    assert (other["behind"], other["spread"]) == pytest.approx((-0.01, 0.001))


def test_the_words_say_what_the_figures_say() -> None:
    trials = planted({8: (0.99, 9e-4), 16: (0.99, 3e-4), 32: (0.99, 3e-4)})
    made = {
        "plan": {"balances": ["stratified"], "methods": ["minmax"], "alone": "happy"},
        "curves": curves(trials),
        "conclusion": conclude(curves(trials), 1000),
    }
    assert sentences(made) == ["minmax, as Training: 16 images are enough", "minmax is the only method tried"]
    assert cells(methods_compared(made), "agreement")[0] == ["8", "99.00 ±0.10"]
    assert cells(methods_compared(made), "mean_kl")[0] == ["8", "9.00 ±0.10"]


# The plan


def plan_of(**changed: Any) -> StudyPlan:
    words: dict[str, Any] = {
        "counts": "8,16", "methods": "minmax", "balances": "stratified", "seeds": 2, "percentile": 99.99,
        "images": None, "target": None,
    }  # fmt: skip
    return StudyPlan.of(**words | changed)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"counts": "8"}, "--counts takes two or more numbers that rise, got 8"),
        ({"counts": "16,8"}, "--counts takes two or more numbers that rise, got 16,8"),
        ({"counts": "8,many"}, "--counts takes numbers, comma-separated, got '8,many'"),
        (
            {"methods": "minmax,kl"},
            "--methods takes some of minmax, percentile, entropy, mse, each once; got minmax,kl",
        ),
        ({"methods": ""}, "--methods takes some of .* got nothing"),
        ({"balances": "equal,equal"}, "--balances takes some of stratified, equal, alone, each once; got equal,equal"),
        ({"seeds": 0}, "--seeds and --images are 1 or more"),
        ({"images": 0}, "--seeds and --images are 1 or more"),
        ({"percentile": 100.5}, "--percentile 100.5 is not over 50"),
        ({"target": "sparc"}, "unknown --target 'sparc'"),
    ],
)
def test_a_plan_is_checked_when_built(changed: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConversionError, match=sentence):
        plan_of(**changed)


# The whole


@pytest.fixture(scope="module")
def home(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a small untrained network, and its data."""
    from keras import Input, Model, layers, utils

    from fer_edge.train.recipes import recipe_for
    from fer_edge.train.run_folder import RunFolder

    utils.set_random_seed(0)
    folder = tmp_path_factory.mktemp("study")
    own = replace(data, sha256=content_hash(data.faces, data.labels, data.splits))
    save_dataset(own, folder / "data")
    pixels = Input((48, 48, 1))
    x = layers.Rescaling(1 / 255)(pixels)
    x = layers.Conv2D(8, 5, strides=4, activation="relu")(x)
    x = layers.Dense(16, activation="relu")(layers.GlobalAveragePooling2D()(x))
    run = RunFolder(folder / "run")
    about = {"data_sha256": own.sha256, "data_source": own.source, "data_path": str(folder / "data")}
    run.create(recipe_for("cnn-edge"), about, {})
    Model(pixels, layers.Dense(7)(x)).save(run.model)
    return folder


@pytest.fixture(scope="module")
def made(home: Path) -> dict[str, Any]:
    from fer_edge.convert.study import run_study
    from fer_edge.train.dataset import load_dataset
    from fer_edge.train.run_folder import RunFolder

    plan = plan_of(counts="8,16,32", methods="minmax,mse", balances="stratified,alone")
    return run_study(RunFolder(home / "run"), load_dataset(home / "data"), plan, lambda what: None)


def test_every_set_is_tried_once(made: dict[str, Any]) -> None:
    tried = {(t["balance"], t["method"], t["count"], t["seed"]) for t in made["trials"]}
    assert len(tried) == len(made["trials"]) == 18
    assert {(b, m) for b, m, _, _ in tried} == {("stratified", "minmax"), ("stratified", "mse"), ("alone", "minmax")}
    assert made["conclusion"]["rule"] == RULE
    assert json.loads(json.dumps(made, allow_nan=False)) == made | {"plan": json.loads(json.dumps(made["plan"]))}


def test_it_runs_the_int8_that_convert_makes(made: dict[str, Any]) -> None:
    assert made["verified"]["same_labels"] >= 0.99
    assert made["verified"]["operators"]["int8 QLinearConv"] == 1
    assert made["verified"]["operators"]["int8 QLinearMatMul"] == 2  # without a bias


def test_ranges_grow_with_the_images_and_mse_is_inside_minmax(made: dict[str, Any]) -> None:
    highs = {(t["balance"], t["method"], t["count"], t["seed"]): t["highs"] for t in made["trials"]}
    assert set(highs["stratified", "minmax", 8, 0]) == {"conv1", "mean1", "dense1", "dense2"}
    for point in ("conv1", "dense1"):
        for count in (8, 16, 32):
            assert highs["stratified", "mse", count, 0][point] <= highs["stratified", "minmax", count, 0][point]
        assert highs["alone", "minmax", 8, 0][point] <= highs["alone", "minmax", 32, 0][point]


def test_no_image_that_judges_calibrates(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fer_edge.convert import study
    from fer_edge.train.dataset import load_dataset
    from fer_edge.train.run_folder import RunFolder

    data = load_dataset(home / "data")
    only_train = replace(data, splits=np.where(data.splits == SPLITS.index("val"), 0, data.splits).astype(np.uint8))
    plan = plan_of(images=10)
    run = RunFolder(home / "run")
    assert len(study._rows(run, data, plan)[1]) == 10
    monkeypatch.setattr(RunFolder, "about", lambda self: {"data_sha256": only_train.sha256})
    monkeypatch.setattr(RunFolder, "recipe", lambda self: replace(recipe(), val_fraction=0.2))
    fit, val = study._rows(run, only_train, plan_of())
    own = study.without_validation(only_train, fit)
    assert len(val) > 20
    assert set(own.rows("train")) == set(fit)
    assert not set(own.rows("train")) & set(val)


def recipe() -> Any:
    from fer_edge.train.recipes import recipe_for

    return recipe_for("cnn-edge")


def test_other_data_is_refused(home: Path) -> None:
    from fer_edge.convert.study import run_study
    from fer_edge.devices.errors import RunError
    from fer_edge.train.run_folder import RunFolder

    with pytest.raises(RunError, match="was not trained on this data"):
        run_study(RunFolder(home / "run"), synthetic_dataset(70, 1), plan_of(), lambda what: None)


def test_the_page_and_the_picture_hold_what_the_study_found(made: dict[str, Any], tmp_path: Path) -> None:
    from fer_edge.convert.study_figures import write_overview
    from fer_edge.convert.study_page import study_page

    whole = {"made_at": "2026-11-21T12:00:00Z", "command": ["fer-edge", "calibrate", "study"], **made}
    page = study_page(whole)
    for sentence in sentences(made):
        assert sentence in page
    for row in cells(methods_compared(made), "mean_kl"):
        assert all(cell in page for cell in row)
    assert page.count("<svg") == 2 * 4 + 2
    assert "https://" not in page
    assert page.count("http://") == page.count("http://www.w3.org/")
    write_overview(tmp_path / "study.png", whole)
    assert (tmp_path / "study.png").read_bytes()[:4] == b"\x89PNG"


STUDY = ("calibrate", "study", "run", "--counts", "8,16", "--seeds", "2", "--methods", "minmax", "--images", "20")


def test_the_command_prints_writes_and_leaves_the_old_one_alone(home: Path, cli: Callable[..., Any]) -> None:
    done = cli(*STUDY, "--balances", "stratified", "--out", "s.json", "--html", "s.html", cwd=home)
    assert done.returncode == 0, done.stderr
    found = json.loads((home / "s.json").read_text())
    assert (found["schema"], len(found["trials"]), found["data"]["validation_images"]) == (1, 4, 20)
    for sentence in sentences(found):
        assert sentence in " ".join(done.stdout.split())
    assert "written: s.html" in done.stdout
    assert not (home / "calibration.json").exists()  # the command that the group is without a word was not run
    for file in ("s.json", "s.html"):
        (home / file).unlink()


def test_ctrl_c_leaves_nothing(home: Path) -> None:
    before = sorted(home.iterdir())
    process = subprocess.Popen(
        [sys.executable, "-m", "fer_edge", *STUDY, "--seeds", "200", "--out", "s.json", "--html", "s.html"],
        cwd=home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    time.sleep(3)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) in (130, -signal.SIGINT)
    assert sorted(home.iterdir()) == before

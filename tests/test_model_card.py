"""README and model card say of the model that ships what its reports say."""

import dataclasses
import importlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from fer_edge.calibration.calibration_set import CalibrationSet, save
from fer_edge.edge_runtime.bundle import BUNDLED, Bundle
from fer_edge.train.eval_known import known_rows
from fer_edge.train.recipes import recipe_for
from fer_edge.train.run_folder import RunFolder
from fer_edge.train.synth import synthetic_dataset

ROOT = Path(__file__).resolve().parents[1]


def imported(name: str) -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "tools"))
        yield importlib.import_module(name)


@pytest.fixture(scope="module")
def tool() -> Iterator[ModuleType]:
    yield from imported("model_card")


@pytest.fixture(scope="module")
def evidence() -> Iterator[ModuleType]:
    yield from imported("model_evidence")


@pytest.fixture(scope="module")
def pairs() -> Iterator[ModuleType]:
    yield from imported("known_pairs")


def test_the_documents_are_what_the_tool_makes_of_the_reports(tool: ModuleType) -> None:
    for path, parts in tool.parts().items():
        text = path.read_text(encoding="utf-8")
        for mark, made in parts.items():
            assert f"{mark}\n{made}\n<!-- end -->" in text, f"{path.name}: run python tools/model_card.py --write"


def test_the_reports_are_of_the_bundle_that_ships(tool: ModuleType) -> None:
    bundle, report, bench = Bundle.open(BUNDLED), tool.read("report.json"), tool.read("bench.json")
    assert tool.read("recipe.json")["recipe"]["model"] == tool.read("compare.json")["bundle"]["name"] == bundle.name
    sums = {row["variant"]: row["sha256"] for row in bench["variants"]}
    for variant in bundle.variants:
        assert report["variants"][variant.name]["accuracy"] == variant.accuracy
        assert sums[variant.name] == variant.files[0].sha256


@pytest.fixture
def taken(tmp_path: Path) -> tuple[RunFolder, Path, Path]:
    """A run, a bundle that says that it was made of it, and the calibration set that it names."""
    run, bundle, calibration = RunFolder(tmp_path / "run"), tmp_path / "bundle", tmp_path / "calibration.json"
    recipe = recipe_for("tiny", start=str(tmp_path / "first"), teachers=(str(tmp_path / "teacher"),))
    run.create(recipe, {"data_sha256": "0", "data_path": str(tmp_path / "data")}, {"cpu": "Some CPU"})
    (run.path / "curves.png").write_bytes(b"curves")
    run.model.write_bytes(b"model")
    save(CalibrationSet((1, 2), "0" * 64, 3, {}), calibration)
    shutil.copytree(BUNDLED, bundle)
    manifest = json.loads((bundle / "bundle.json").read_text())
    manifest |= {"training_run": run.identity(), "calibration": "0" * 12 + "-s3-n2"}
    (bundle / "bundle.json").write_text(json.dumps(manifest))
    return run, bundle, calibration


def test_take_leaves_no_path_of_this_machine(
    evidence: ModuleType, taken: tuple[RunFolder, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "docs").mkdir()
    monkeypatch.setattr(evidence, "REPORTS", tmp_path / "docs")
    evidence.take(*taken)
    kept = {path.name: path.read_bytes() for path in (tmp_path / "docs").iterdir()}
    assert set(kept) == {
        "recipe.json", "history.json", "environment.json", "curves.png", "report.json", "calibration.json",
    }  # fmt: skip
    assert str(tmp_path).encode() not in b"".join(kept.values())
    recipe = json.loads(kept["recipe.json"])["recipe"]
    assert (recipe["start"], recipe["teachers"]) == ("first", ["teacher"])


def test_take_refuses_what_does_not_belong_together(
    evidence: ModuleType, taken: tuple[RunFolder, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, bundle, calibration = taken
    (tmp_path / "docs").mkdir()
    monkeypatch.setattr(evidence, "REPORTS", tmp_path / "docs")
    with pytest.raises(SystemExit, match="was not made of"):
        evidence.take(run, BUNDLED, calibration)
    with pytest.raises(SystemExit, match="was not calibrated with"):
        evidence.take(run, bundle, ROOT / "docs/model/calibration.json")
    (run.path / "curves.png").unlink()
    with pytest.raises(SystemExit, match=r"has no curves\.png"):
        evidence.take(run, bundle, calibration)
    assert not list((tmp_path / "docs").iterdir())


def test_what_a_probability_means_is_said_with_and_without_a_temperature(tool: ModuleType) -> None:
    as_trained = {"ece": 0.02, "ece_if_calibrated": {"p95": 0.021}, "mean_confidence": 0.66, "nll": 0.9}
    models = {"tflite/int8": {"before": as_trained, "temperature": 0.93, "temperature_interval": [0.9, 0.97]}}
    compare = {"confidence": {"judged_on": {"images": 3589}, "models": models}}
    said = tool.probabilities({}, compare)
    assert "no temperature was put in.\nOn 3,589 images" in said
    assert "error is 0.0200, where chance alone would show up to 0.0210;\nthe mean confidence is 66.0%" in said
    assert said.endswith("the least likelihood would be at 0.93 (0.90 to 0.97).")
    untold = {"value": None, "why_not": "9 validation faces tell none from 1"}
    assert "put in: 9 validation faces tell none from 1." in tool.probabilities({"temperature": untold}, compare)
    figures = {"ece": 0.03, "ece_if_calibrated": {"p95": 0.02}, "nll": 1.0, "mean_confidence": 0.6}
    fitted = {"value": 0.9, "interval": [0.8, 0.95], "fitted_on": {"images": 2371}}
    said = tool.probabilities({"temperature": fitted | {"before": figures, "after": figures | {"ece": 0.01}}}, {})
    assert "a temperature of 0.900 (0.800 to 0.950), fitted on the 2,371 validation faces" in said
    assert "0.0300 before and 0.0100 after" in said


def test_a_mark_that_is_missing_is_one_sentence(tool: ModuleType) -> None:
    marked = importlib.import_module("marked")
    for text in ("no mark", "<!-- a --> and no end", "<!-- a --><!-- end --><!-- a --><!-- end -->"):
        with pytest.raises(SystemExit, match="needs one line <!-- a -->"):
            marked.marked(text, "<!-- a -->", "made")
    assert marked.marked("x\n<!-- a -->\nold\n<!-- end -->\ny", "<!-- a -->", "new") == (
        "x\n<!-- a -->\nnew\n<!-- end -->\ny"
    )


def test_two_models_are_paired_on_all_images_and_on_new_ones(pairs: ModuleType) -> None:
    drawn = synthetic_dataset(140, 3)
    train, test = drawn.rows("train"), drawn.rows("test")
    faces = np.array(drawn.faces)
    faces[test[:4]] = faces[train[:4]]
    data = dataclasses.replace(drawn, faces=faces)

    def evaluation(right: int, name: str) -> dict[str, Any]:
        """Named rightly are the first so many."""
        named = [7 if at >= right else int(label) for at, label in enumerate(data.labels[test])]
        each = {"rows": test.tolist(), "labels": data.labels[test].tolist(), "predicted": named}
        return {"what": {"name": name}, "data": {"sha256": data.sha256}, "predictions": each}

    n, known = len(test), known_rows(data, test)
    assert known[:4].all()
    every, new = pairs.lines(data, evaluation(4, "memory"), evaluation(0, "none"))
    assert every.startswith(f"all: {n} images, {4 / n:.2%} against 0.00%, {400 / n:+.2f} points (")
    assert new.startswith(f"new: {n - known.sum()} images, 0.00% against 0.00%, +0.00 points (")
    assert new.endswith("p 1.000")
    other = evaluation(4, "other")
    other["predictions"]["rows"] = other["predictions"]["rows"][::-1]
    with pytest.raises(SystemExit, match="on other images"):
        pairs.lines(data, evaluation(4, "a"), other)
    with pytest.raises(SystemExit, match="a was evaluated on other data"):
        pairs.lines(synthetic_dataset(140, 4), evaluation(4, "a"), other)

"""README and model card say of the model that ships what its reports say."""

import importlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from fer_edge.calibration.calibration_set import CalibrationSet, save
from fer_edge.edge_runtime.bundle import BUNDLED, Bundle
from fer_edge.train.recipes import recipe_for
from fer_edge.train.run_folder import RunFolder

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def tool() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "tools"))
        yield importlib.import_module("model_card")


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
    tool: ModuleType, taken: tuple[RunFolder, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "docs").mkdir()
    monkeypatch.setattr(tool, "REPORTS", tmp_path / "docs")
    tool.take(*taken)
    kept = {path.name: path.read_bytes() for path in (tmp_path / "docs").iterdir()}
    assert set(kept) == {
        "recipe.json", "history.json", "environment.json", "curves.png", "report.json", "calibration.json",
    }  # fmt: skip
    assert str(tmp_path).encode() not in b"".join(kept.values())
    recipe = json.loads(kept["recipe.json"])["recipe"]
    assert (recipe["start"], recipe["teachers"]) == ("first", ["teacher"])


def test_take_refuses_what_does_not_belong_together(
    tool: ModuleType, taken: tuple[RunFolder, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, bundle, calibration = taken
    (tmp_path / "docs").mkdir()
    monkeypatch.setattr(tool, "REPORTS", tmp_path / "docs")
    with pytest.raises(SystemExit, match="was not made of"):
        tool.take(run, BUNDLED, calibration)
    with pytest.raises(SystemExit, match="was not calibrated with"):
        tool.take(run, bundle, ROOT / "docs/model/calibration.json")
    (run.path / "curves.png").unlink()
    with pytest.raises(SystemExit, match=r"has no curves\.png"):
        tool.take(run, bundle, calibration)
    assert not list((tmp_path / "docs").iterdir())


def test_what_a_probability_means_is_said_with_and_without_a_temperature(tool: ModuleType) -> None:
    assert "no temperature was put in." in tool.probabilities({})
    untold = {"value": None, "why_not": "9 validation faces tell none from 1"}
    assert "put in: 9 validation faces tell none from 1." in tool.probabilities({"temperature": untold})
    figures = {"ece": 0.03, "ece_if_calibrated": {"p95": 0.02}, "nll": 1.0, "mean_confidence": 0.6}
    fitted = {"value": 0.9, "interval": [0.8, 0.95], "fitted_on": {"images": 2371}}
    said = tool.probabilities({"temperature": fitted | {"before": figures, "after": figures | {"ece": 0.01}}})
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

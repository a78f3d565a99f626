"""README and model card say of the model that ships what its reports say."""

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

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


def test_take_leaves_no_path_of_this_machine(tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, calibration = RunFolder(tmp_path / "run"), tmp_path / "calibration.json"
    recipe = recipe_for("tiny", start=str(tmp_path / "first"), teachers=(str(tmp_path / "teacher"),))
    run.create(recipe, {"data_sha256": "0", "data_path": str(tmp_path / "data")}, {"cpu": "Some CPU"})
    (run.path / "curves.png").write_bytes(b"curves")
    calibration.write_text("{}")
    (tmp_path / "docs").mkdir()
    monkeypatch.setattr(tool, "REPORTS", tmp_path / "docs")
    tool.take(run, BUNDLED, calibration)
    kept = {path.name: path.read_bytes() for path in (tmp_path / "docs").iterdir()}
    assert set(kept) == {
        "recipe.json", "history.json", "environment.json", "curves.png", "report.json", "calibration.json",
    }  # fmt: skip
    assert str(tmp_path).encode() not in b"".join(kept.values())
    recipe = json.loads(kept["recipe.json"])["recipe"]
    assert (recipe["start"], recipe["teachers"]) == ("first", ["teacher"])

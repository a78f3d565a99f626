"""docs/results.md is what the tool makes of the committed runs, and its verdicts follow from the recipes."""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fer_edge.train.recipes import recipe_for
from fer_edge.train.zoo import MODELS

ROOT = Path(__file__).resolve().parents[1]
TOOL = ROOT / "tools" / "results_table.py"
PUBLISHED = [name for name, entry in MODELS.items() if entry.published_accuracy is not None]


@pytest.fixture(scope="module")
def tool() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(TOOL.parent))
        yield importlib.import_module("results_table")


def run_of(accuracy: float, model: str = "mlp", epochs_run: int = 20, **values: Any) -> dict[str, Any]:
    """An extract."""
    return {
        "schema": 1,
        "model": model,
        "data": {"sha256": "ab", "split": "test", "source": "fer2013.csv.gz", "images": 3589},
        "accuracy": accuracy,
        "accuracy_interval": [accuracy - 0.015, accuracy + 0.015],
        "macro_f1": 0.2,
        "worst_class": {"name": "disgust", "recall": 0.0},
        "epochs_run": epochs_run,
        "recipe": recipe_for(model, **values).to_json() if model != "ensemble" else {"members": ["a", "b"]},
        "history": [
            {"epoch": at + 1, "seconds": 10.0 + at, "loss": 1.8 - at / 10, "accuracy": 0.25, "val_loss": 1.7}
            for at in range(epochs_run)
        ],
        "machine": {"cpu": "Some CPU", "usable_cores": 1},
        "evaluated_at": "2026-01-02",
    }


def test_the_document_is_what_the_tool_makes_of_the_committed_runs(tool: ModuleType) -> None:
    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    marked = importlib.import_module("marked").marked
    assert text == marked(text, tool.BEGIN, tool.tables(tool.rows()))


def test_every_published_model_has_a_row_and_whoever_is_lower_a_reason(tool: ModuleType) -> None:
    made = tool.rows()
    assert set(PUBLISHED) <= {row.name for row in made}
    assert len(PUBLISHED) == 14
    assert [row.name for row in made if row.verdict == "lower" and not row.note.get("why")] == []
    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    for name in PUBLISHED:
        assert f"\n| {name} | " in text
        assert f"{MODELS[name].published_accuracy:.2%}" in text


def test_the_committed_runs_hold_nothing_that_is_nobodys_business() -> None:
    for path in (ROOT / "docs" / "results").glob("*.json"):
        made = json.loads(path.read_text())
        assert "predictions" not in made
        assert '"/' not in path.read_text(), f"{path.name} holds a path"
        assert made["data"]["images"] == 3589
        assert set(made["machine"]) == {"cpu", "usable_cores"}


@pytest.mark.parametrize(
    ("run", "verdict", "command"),
    [
        (None, "not run", ""),
        (run_of(0.2742), "reproduced", ""),
        (run_of(0.2741), "lower", ""),
        (run_of(0.2842, seed=7), "reproduced", " --set seed=7"),
        (run_of(0.9, epochs_run=3, epochs=3), "short run", " --set epochs=3"),
        (run_of(0.9, train_fraction=0.5), "short run", " --set train_fraction=0.5"),
        (run_of(0.9, dropout=0.1, flip=True), "other recipe", " --set flip=true --set dropout=0.1"),
        (run_of(0.9, epochs=40, epochs_run=40), "other recipe", " --set epochs=40"),
        (run_of(0.61, "cnn", epochs_run=23), "reproduced", ""),
        (run_of(0.61, "cnn-wide", epochs_run=2, epochs=2), "short run", " --set epochs=2"),
        (run_of(0.61, "unet-se", epochs_run=2, epochs=2), "short run", " --set epochs=2"),
        (run_of(0.32, "logreg", epochs_run=1), "reproduced", ""),
        (run_of(0.32, "logreg", epochs_run=1, train_fraction=1.0), "other recipe", " --set train_fraction=1.0"),
        (run_of(0.6, "cnn-edge", epochs_run=45), "nothing published", ""),
        (run_of(0.6, "ensemble", epochs_run=1), "nothing published", " --members runs/a,runs/b"),
    ],
)
def test_verdict_and_command_follow_from_the_recipe(
    tool: ModuleType, run: dict[str, Any] | None, verdict: str, command: str
) -> None:
    model = "mlp" if run is None else run["model"]
    row = tool.Row(model, model, run)
    assert row.verdict == verdict
    assert row.command == f"fer-edge train --model {model} --data data/fer2013{command}"


def test_a_named_recipe_is_found_again(tool: ModuleType) -> None:
    recipe = recipe_for("cnn", "plateau", epochs=60, seed=3)
    row = tool.Row("cnn-plateau", "cnn", run_of(0.65, "cnn", 40) | {"recipe": recipe.to_json()})
    assert row.verdict == "other recipe"
    assert row.command == (
        "fer-edge train --model cnn --data data/fer2013 --recipe plateau --set epochs=60 --set seed=3 "
        "--out runs/cnn-plateau"
    )


def test_the_commands_make_the_recipe_again(tool: ModuleType) -> None:
    from fer_edge.cli.train import _recipe

    for values in ({"epochs": 2}, {"epochs": 2, "erase": 0.2, "dropout": 0.4}, {"mixup": 0.2, "class_weights": False}):
        recipe = recipe_for("unet-se", **values)
        named, changed = tool.asked(recipe)
        words = [f"{k}={tool._placed(k, v)}" for k, v in changed.items()]
        assert _recipe("unet-se", named, {}, words, None) == recipe
    others = {"start": "runs/a,runs/d", "teachers": ("runs/b", "runs/c")}
    named, changed = tool.asked(recipe_for("tiny", start="a,d", teachers=("b", "c")))
    words = [f"{k}={tool._placed(k, v)}" for k, v in changed.items()]
    assert _recipe("tiny", named, {}, words, None) == recipe_for("tiny", **others)


def test_what_goes_on_from_a_long_training_is_no_short_run(tool: ModuleType) -> None:
    gone_on = recipe_for("tiny", epochs=5, start="tiny")
    assert not tool._is_short(gone_on, 5)
    assert tool._is_short(recipe_for("tiny", epochs=5), 5)


def test_short_runs_show_their_losses_and_notes_their_reasons(tool: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "mlp.json").write_text(json.dumps(run_of(0.25, epochs_run=2, epochs=2)))
    (tmp_path / "mlp-long.json").write_text(json.dumps(run_of(0.35, epochs_run=40, epochs=40)))
    (tmp_path / "notes.toml").write_text('[mlp]\nwhy = "Two epochs."\nmachine = "Some GPU"\n')
    text = tool.tables(tool.rows(tmp_path))
    assert "| mlp | 25.00% | 23.50% to 26.50% | 28.42% | -3.42 | short run | 20.00% | disgust 0.0% |" in text
    assert "mlp --data data/fer2013 --set epochs=2` | 2 of 20 | 10 | Some GPU | 2026-01-02 |" in text
    assert "mlp --data data/fer2013 --set epochs=40 --out runs/mlp-long` | 40 of 20 | 30 | Some CPU, 1 core |" in text
    assert "- **mlp** (short run): Two epochs." in text
    assert "mlp, 2 of 20 epochs:\n\n| epoch | loss | validation loss | accuracy |\n|---|---|---|---|\n" in text
    assert "| 1 | 1.8000 | 1.7000 | 25.00% |\n| 2 | 1.7000 |" in text
    assert text.index("| mlp | ") < text.index("| mlp-long | ") < text.index("| lstm | ")
    (tmp_path / "notes.toml").write_text("[mpl]\n")
    with pytest.raises(SystemExit, match="speaks of mpl, and there is no such row"):
        tool.rows(tmp_path)
    (tmp_path / "other.json").write_text(json.dumps(run_of(0.25) | {"data": {"sha256": "cd"}}))
    with pytest.raises(SystemExit, match="figures of different data"):
        tool.rows(tmp_path)


def test_an_extract_keeps_what_the_tables_need(tool: ModuleType, tmp_path: Path) -> None:
    kept = run_of(0.25, epochs_run=2, epochs=2)
    evaluation = {
        "schema": 1,
        "what": {"model": "mlp", "name": "x"},
        "macro": {"f1": kept["macro_f1"]},
        "training": {key: kept[key] for key in ("epochs_run", "recipe", "history")} | {"seconds": 21.0},
        **{key: kept[key] for key in ("data", "accuracy", "accuracy_interval", "worst_class")},
        "predictions": {"labels": [1]},
        "made_at": "2026-01-02T03:04:05Z",
        "command": ["fer-edge", "evaluate", "/home/me/runs/x"],
    }
    (tmp_path / "evaluation.json").write_text(json.dumps(evaluation))
    (tmp_path / "environment.json").write_text(json.dumps(kept["machine"] | {"memory_bytes": 1}))
    words = ("extract", tmp_path / "evaluation.json", "--into", tmp_path / "into", "--as", "mlp-short")
    beside = os.environ | {"PYTHONPATH": str(TOOL.parent)}  # the tests run with the script's own folder off the path
    done = subprocess.run([sys.executable, TOOL, *words], capture_output=True, text=True, env=beside, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "into" / "mlp-short.json").read_text()) == kept
    (tmp_path / "evaluation.json").write_text(json.dumps(evaluation | {"data": {"split": "val"}}))
    with pytest.raises(SystemExit, match="is of the split val"):
        tool.extract(tmp_path / "evaluation.json")

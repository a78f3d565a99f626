"""`tools/shipped.sh`: the commands that made what ships, whose recipes are those of the runs that were measured."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import fer_edge.cli.train
import fer_edge.train.dataset
from fer_edge.cli.main import app
from fer_edge.edge_runtime.bundle import Bundle
from fer_edge.train.eval_training import without_paths
from fer_edge.train.recipe import Recipe

ROOT = Path(__file__).resolve().parents[1]
TEACHERS = ("flagship", "flagship-2", "flagship-3", "vgg10")
RUNS = {"flagship": (*TEACHERS, "flagship-4"), "tiny": (*TEACHERS, "tiny", "tiny-sam", "tiny-2", "tiny-3")}
STUB = """#!/bin/sh
printf '%s\\n' "$*" >> said
case "$1" in
train)  # a trained run leaves its recipe, unless this is the one that is killed
    for word; do folder=$word; [ "$last" = --out ] && break; last=$word; done
    [ "$folder" = "$KILLED" ] && mkdir -p "$folder" && touch "$folder/recipe.json" && exit 143
    mkdir -p "$folder" && touch "$folder/recipe.json" ;;
calibrate) touch calibration.json ;;
convert) for word; do folder=$word; done; mkdir -p "$folder" && touch "$folder/bundle.json" ;;
esac
"""


def said_by(folder: Path, *words: str, killed: str = "") -> tuple[int, list[str]]:
    """Exit code of the script, and the `fer-edge` commands that it gave, of a stub that leaves what they would."""
    stub = folder / "bin" / "fer-edge"
    stub.parent.mkdir(exist_ok=True)
    stub.write_text(STUB)
    stub.chmod(0o755)
    (folder / "said").unlink(missing_ok=True)
    environment = os.environ | {"PATH": f"{stub.parent}:{os.environ['PATH']}", "KILLED": killed}
    done = subprocess.run(["sh", ROOT / "tools" / "shipped.sh", *words], cwd=folder, env=environment, check=False)
    said = folder / "said"
    return done.returncode, said.read_text().splitlines() if said.exists() else []


@pytest.mark.parametrize(("model", "options"), [("flagship", "minmax --balance auto"), ("tiny", "mse --balance 0")])
def test_its_recipes_are_those_of_the_runs_that_were_measured(
    model: str, options: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, commands = said_by(tmp_path, model, "data/fer2013", "1")
    assert code == 0
    count = len(RUNS[model])
    assert [command.split()[0] for command in commands[:count]] == ["train"] * count
    assert all("--threads 1 " in command for command in commands[:count])
    assert commands[count:] == [
        "calibrate --data data/fer2013 --count 512 --seed 0 --out calibration.json",
        f"convert runs/{RUNS[model][-1]} --int8 --ranges {options} --calibration calibration.json "
        f"--out bundles/{model}",
    ]
    manifest = Bundle.open(model).manifest
    assert (manifest["name"], manifest["quantization_recipe"]["ranges"]) == (model, options.split()[0])
    asked: list[tuple[Path, dict[str, Any]]] = []

    def fit(dataset: object, recipe: Recipe, folder: Path, **_: object) -> None:
        asked.append((folder, without_paths(json.loads(json.dumps(recipe.to_json())))))

    monkeypatch.setattr(fer_edge.cli.train, "_fit", fit)
    monkeypatch.setattr(fer_edge.cli.train, "_print_outcome", lambda folder: None)
    monkeypatch.setattr(fer_edge.train.dataset, "load_dataset", lambda path: None)
    for command in commands[:count]:
        done = CliRunner().invoke(app, command.split(), catch_exceptions=False)
        assert done.exit_code == 0, done.output
    assert [str(folder) for folder, _ in asked] == [f"runs/{name}" for name in RUNS[model]]
    for name, (_, recipe) in zip(RUNS[model], asked, strict=True):
        measured = json.loads((ROOT / "docs" / "results" / f"{name}.json").read_text())["recipe"]
        assert recipe | measured == recipe, name


def test_the_model_card_is_of_its_last_training() -> None:
    shipped = json.loads((ROOT / "docs" / "model" / "recipe.json").read_text())["recipe"]
    measured = json.loads((ROOT / "docs" / "results" / f"{RUNS['flagship'][-1]}.json").read_text())["recipe"]
    assert measured | shipped == measured


def test_after_a_kill_it_goes_on_and_repeats_nothing_that_is_done(tmp_path: Path) -> None:
    runs = RUNS["flagship"]
    code, commands = said_by(tmp_path, "flagship", "data", killed="runs/flagship-2")
    assert code == 143
    assert [command.split()[-1] for command in commands] == ["runs/flagship", "runs/flagship-2"]
    code, commands = said_by(tmp_path, "flagship", "data")
    assert code == 0
    assert commands[:2] == [f"train --data data --resume --threads 0 --out runs/{name}" for name in runs[:2]]
    assert "--start runs/flagship,runs/flagship-2" in commands[2]
    assert [command.split()[0] for command in commands[len(runs) :]] == ["calibrate", "convert"]
    _, commands = said_by(tmp_path, "flagship", "data")
    assert commands == [f"train --data data --resume --threads 0 --out runs/{name}" for name in runs]


@pytest.mark.parametrize("words", [(), ("flagship",), ("flagship", "data", "1", "--seed"), ("huge", "data")])
def test_with_other_words_it_says_how_it_is_called(tmp_path: Path, words: tuple[str, ...]) -> None:
    code, commands = said_by(tmp_path, *words)
    assert code == 2
    assert commands == []

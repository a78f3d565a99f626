"""Several processes that train one network: the same weights, the loss of one process, and what a killed one leaves."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fer_edge.devices.errors import RunError
from fer_edge.train import workers
from fer_edge.train.batches import TrainingBatches
from fer_edge.train.dataset import Dataset
from fer_edge.train.recipes import recipe_for
from fer_edge.train.split import fit_and_val_rows
from fer_edge.train.synth import synthetic_dataset
from fer_edge.train.targets import targets

SMALL = ("--model", "mlp")
"""532 images to fit on in batches of 64: the last one is of 20, so that two workers draw the dropout that one draws."""


@pytest.fixture(scope="module")
def drawn() -> Dataset:
    return synthetic_dataset(351, 0)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("distributed")
    done = run("data", "synth", "--out", "synth", "--count", "700", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def command(*args: str) -> list[str]:
    return [sys.executable, "-m", "fer_edge", *args]


def run(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "120"}
    return subprocess.run(
        command(*args),
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=560,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def history(folder: Path) -> list[dict[str, float]]:
    return json.loads((folder / "history.json").read_text())


def train(home: Path, out: str, *args: str) -> Path:
    done = run("train", "--data", "synth", "--out", out, *args, cwd=home)
    assert done.returncode == 0, done.stdout + done.stderr
    return home / out


@pytest.fixture(scope="module")
def alone(home: Path) -> Path:
    """A run of one process on the same backend."""
    return train(home, "alone", *SMALL, "--epochs", "3", "--workers", "1")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_workers_end_with_the_same_weights_and_follow_one(home: Path, alone: Path) -> None:
    pair = train(home, "pair", *SMALL, "--epochs", "3", "--workers", "2")
    rows = json.loads((pair / "workers.json").read_text())
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    for row in rows:
        assert row["workers"] == 2
        assert len(row["weights_sha256"]) == 2
        assert len(set(row["weights_sha256"])) == 1
    assert len({row["weights_sha256"][0] for row in rows}) == 3  # and they were trained
    for one, two in zip(history(alone), history(pair), strict=True):
        for figure in ("loss", "val_loss"):
            assert two[figure] == pytest.approx(one[figure], rel=1e-3)  # summed in another order, no more


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_worker_ends_the_run_and_one_process_finishes_it(home: Path) -> None:
    args = ("train", "--data", "synth", "--out", "killed", *SMALL, "--epochs", "300", "--stop-patience", "0")
    started = subprocess.Popen(
        command(*args, "--workers", "2"), cwd=home, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    folder, children = home / "killed", Path(f"/proc/{started.pid}/task/{started.pid}/children")
    while started.poll() is None and not ((folder / "history.json").is_file() and history(folder)):
        time.sleep(0.05)
    second = int(children.read_text().split()[1])
    os.kill(second, signal.SIGKILL)
    _, said = started.communicate(timeout=120)
    assert started.returncode == 1
    done = len(history(folder))
    assert 1 <= done < 300
    (sentence,) = [line for line in said.splitlines() if line.startswith("fer-edge: ")]
    assert "worker 1 of 2 was killed by signal 9 (SIGKILL" in sentence
    assert f"after epoch {done}" in sentence
    assert "--out killed --resume --workers 2" in sentence
    assert "Traceback" not in said
    assert (folder / "checkpoints" / f"epoch-{done:03d}.keras").is_file()
    assert not (folder / "model.keras").exists()

    about = json.loads((folder / "recipe.json").read_text())
    about["recipe"]["epochs"] = done + 1  # nobody waits for the other 290
    (folder / "recipe.json").write_text(json.dumps(about))
    train(home, "killed", "--resume", "--workers", "1")
    assert [row["epoch"] for row in history(folder)] == [*range(1, done + 2)]
    rows = json.loads((folder / "workers.json").read_text())
    assert [len(row["weights_sha256"]) for row in rows] == [2] * done + [1]


@pytest.mark.slow
def test_the_model_opens_in_tensorflow(alone: Path) -> None:
    code = "import sys, keras; m = keras.models.load_model(sys.argv[1]); print(keras.backend.backend(), m.output_shape)"
    env = os.environ | {"KERAS_BACKEND": "tensorflow"}
    done = subprocess.run(
        [sys.executable, "-c", code, alone / "model.keras"], env=env, capture_output=True, text=True, check=False
    )
    assert "tensorflow (None, 7)" in done.stdout, done.stderr


@pytest.mark.parametrize("size", [64, 50])
@pytest.mark.parametrize("count", [2, 4])
def test_parts_make_up_the_batch(drawn: Dataset, size: int, count: int) -> None:
    recipe = replace(recipe_for("cnn-small"), batch_size=size)
    rows, wanted = targets(drawn, fit_and_val_rows(drawn, 0.1, 0)[0], recipe)
    whole = TrainingBatches(drawn, rows, wanted, recipe)
    parts = [TrainingBatches(drawn, rows, wanted, recipe, (index, count)) for index in range(count)]
    for batch in range(len(whole)):
        x, y = whole[batch][:2]
        cut = [part[batch] for part in parts]
        assert len({len(one[0]) for one in cut}) == 1, "JAX takes parts of one size"
        times = whole_times(len(x), count)
        # Every image comes as often as every other: means, gradients and batch norm are those of one process.
        assert np.array_equal(np.concatenate([one[0] for one in cut]), np.tile(x, (times, 1, 1, 1)))
        assert np.array_equal(np.concatenate([one[1] for one in cut]), np.tile(y, (times, 1)))


def whole_times(size: int, count: int) -> int:
    return next(times for times in range(1, count + 1) if size * times % count == 0)


def test_an_image_of_a_repeated_batch_counts_once(drawn: Dataset) -> None:
    recipe = replace(recipe_for("cnn-small"), batch_size=4)
    rows, wanted = targets(drawn, fit_and_val_rows(drawn, 0.1, 0)[0][:7], recipe)
    batches = TrainingBatches(drawn, rows, wanted, recipe, (0, 2))
    # Losses 1 of four images, 2 of three; the three were repeated, and Keras counts six.
    assert batches.counted_once(1.0, (4 * 1 + 6 * 2) / 10) == pytest.approx((4 * 1 + 3 * 2) / 7)


def test_hosts_are_read() -> None:
    assert workers.parse_workers("10.0.0.1:7788,10.0.0.2", 1) == workers.Crew(2, (1,), "10.0.0.1:7788")
    here = workers.parse_workers("3", None)
    assert here.here == (0, 1, 2)
    assert here.coordinator != workers.parse_workers("3", None).coordinator


@pytest.mark.parametrize(
    ("text", "index", "sentence"),
    [
        ("0", None, "give 1 or more"),
        ("2", 1, "--worker-index goes with"),
        ("a,b", 0, "neither a number nor HOST:PORT"),
        ("a:1,b", None, "say which this one is: --worker-index 0 to 1"),
        ("a:1,b", 2, "say which this one is"),
    ],
)
def test_workers_that_make_no_sense(text: str, index: int | None, sentence: str) -> None:
    with pytest.raises(RunError, match=sentence):
        workers.parse_workers(text, index)


def test_what_cannot_be_shared() -> None:
    with pytest.raises(RunError, match="cannot share batches of 2 equally; give --batch-size a multiple of 4"):
        workers.check_recipe(recipe_for("mlp", batch_size=2), 4)
    with pytest.raises(RunError, match="logreg is not fitted batch by batch"):
        workers.check_recipe(recipe_for("logreg"), 2)


def test_jax_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "find_spec", lambda name: None)
    with pytest.raises(RunError, match=r"jax is not installed; run: pip install 'fer-edge\[distributed\]'"):
        workers.check_recipe(recipe_for("mlp"), 2)


def test_options_are_refused_by_the_command(home: Path) -> None:
    done = run("train", "--data", "synth", "--model", "logreg", "--workers", "2", cwd=home)
    assert done.returncode == 1
    assert done.stderr.startswith("fer-edge: logreg is not fitted batch by batch")
    assert len(done.stderr.splitlines()) == 1
    assert not (home / "runs").exists()

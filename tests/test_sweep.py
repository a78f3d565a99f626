"""Sweeps: the file's errors, the trials that it makes, the ranking, and a real one on Ray, killed and gone on with."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from fer_edge.convert.sweep_spec import Sweep, load_sweep
from fer_edge.convert.sweep_trial import Job, run_trial, write_outcome
from fer_edge.convert.sweep_words import headline, ranked_rows
from fer_edge.edge_runtime.config import ConfigError
from fer_edge.train.dataset import save_dataset
from fer_edge.train.recipes import recipe_for
from fer_edge.train.run_folder import RunFolder
from fer_edge.train.sweep_ranking import not_told_apart, over_seeds, ranking
from fer_edge.train.synth import synthetic_dataset

ROOT = Path(__file__).resolve().parents[1]


def sweep_of(tmp_path: Path, text: str) -> Sweep:
    path = tmp_path / "sweep.toml"
    path.write_text(text)
    return load_sweep(path)


# The file

TRAIN = '[train]\nmodels = ["mlp"]\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no table [train]"),
        ("[train", "is not TOML"),
        ("[training]\n", "unknown table 'training'; did you mean 'train'?"),
        ("models = 3\n", "unknown key outside the tables 'models'"),
        ("train = 3\n", "'train' is no table"),
        ("[train]\n", "[train] has no models"),
        ("[train]\nmodels = []\n", "[train] models is an empty list"),
        ('[train]\nmodels = ["mpl"]\n', "[train] models has 'mpl', which is unknown"),
        ('[train]\nmodels = ["ensemble"]\n', "train its members here instead"),
        ('[train]\nmodels = ["mlp", "mlp"]\n', "[train] models has 'mlp' twice"),
        ("[train]\nmodels = [3]\n", "[train] models is 3; expected a text in quotes"),
        (f"{TRAIN}learning_rat = 0.1\n", "unknown key 'learning_rat'; did you mean 'learning_rate'?"),
        (f"{TRAIN}seed = 1\n", "unknown key 'seed'; did you mean 'seeds'?"),
        (f"{TRAIN}seeds = [0, true]\n", "[train] seeds is True; expected a whole number"),
        (f"{TRAIN}seeds = [-1]\n", "[train] seed -1 is outside"),
        (f"{TRAIN}epochs = 2.5\n", "[train] epochs '2.5' is not a whole number"),
        (f'{TRAIN}epochs = "2"\n', "[train] epochs is '2'; expected a whole number"),
        (f"{TRAIN}epochs = [2, 0]\n", "[train] epochs 0 is outside 1..10000"),
        (f"{TRAIN}flip = 1\n", "[train] flip is 1; expected true or false"),
        (f'{TRAIN}optimizer = "lion"\n', "[train] optimizer 'lion' is unknown"),
        (f'{TRAIN}recipe = "plato"\n', "unknown recipe 'plato'"),
        ('[train]\nmodels = ["mlp", "logreg"]\nepochs = 2\n', "logreg is not trained by epochs"),
        (f"{TRAIN}learning_rate = {{low = 1e-4, high = 1e-2}}\n", "[train] samples is missing"),
        (f"{TRAIN}samples = 3\n", "[train] samples does nothing without a random range"),
        (f"{TRAIN}samples = 2\nlearning_rate = {{low = 1e-2, high = 1e-4}}\n", "low must be less than high"),
        (f"{TRAIN}samples = 2\ndropout = {{low = 0, high = 0.5, log = true}}\n", "low must be above 0"),
        (f"{TRAIN}samples = 2\nflip = {{low = 0, high = 1}}\n", "[train] flip is no number"),
        (f"{TRAIN}samples = 2\nepochs = {{low = 1, hi = 3}}\n", "a random range is {low=, high=, log=true}"),
        (f"{TRAIN}samples = 9\nepochs = {{low = 1, high = 2}}\n", "draws the same values twice"),
        (f"{TRAIN}epochs = [1, 2, 3]\nseeds = [0, 1]\n[search]\nmax_trials = 5\n", "makes 6 trials"),
        (f"{TRAIN}[quantize]\nranges = ['max']\n", "[quantize] ranges has 'max', which is unknown"),
        (f"{TRAIN}[quantize]\npercentile = 99.9\n", '[quantize] percentile goes with ranges = "percentile"'),
        (f"{TRAIN}[quantize]\nranges = 'percentile'\npercentile = 20\n", "[quantize] percentile 20 is not over 50"),
        (f"{TRAIN}[quantize]\nper_tensor = 'yes'\n", "[quantize] per_tensor is 'yes'; expected true or false"),
        (f"{TRAIN}[quantize]\nto = ['ncnn']\n", "[quantize] unknown engine 'ncnn'"),
        (f"{TRAIN}[quantize]\ntarget = 'mips'\n", "[quantize] unknown target 'mips'"),
        (f"{TRAIN}[quantize]\nsplit = 'train'\n", "[quantize] split 'train' is unknown"),
        (f"{TRAIN}[quantize]\nmethod = 'mse'\n", "[quantize] has an unknown key 'method'"),
        (f"{TRAIN}[quantize]\ncalibration_images = 5\n", "[quantize] calibration_images 5 is less than 7"),
        (f"{TRAIN}labels = 'votes-8'\n[quantize]\n", "eight emotions, and int8 is for the seven"),
        ('[train]\nmodels = ["logreg"]\n[quantize]\n', "'logreg', which cannot be made int8"),
        ('[train]\nmodels = ["autoencoder"]\n', "'autoencoder', which names no emotions"),
        (f"{TRAIN}[search]\nmetric = 'loss'\n", "[search] metric 'loss' is unknown"),
        (f"{TRAIN}[search]\nmetric = 'int8_accuracy'\n", "needs a table [quantize]"),
        (f"{TRAIN}[search]\ngrace_epochs = 2\n", '[search] grace_epochs does nothing without early_stopping = "asha"'),
        (
            f"{TRAIN}[quantize]\n[search]\nmetric = 'int8_accuracy'\nearly_stopping = 'asha'\n",
            "[search] early_stopping needs a metric of every epoch",
        ),
        (f"{TRAIN}[search]\ncores = 0\n", "[search] cores 0 is outside 1.."),
        (f"{TRAIN}[run]\naddress = 3\n", "[run] address is 3; expected a text in quotes"),
        (f"{TRAIN}[run]\naddress = ''\n", "[run] address is empty"),
        (f"{TRAIN}[run]\naddress = 'ray://head:10001'\n", "start the sweep on a machine of the cluster"),
        (f"{TRAIN}[run]\naddress = 'auto'\nobject_store_mb = 100\n", "object_store_mb is the cluster's own affair"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused_in_one_sentence(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        sweep_of(tmp_path, text)
    assert says in str(caught.value)
    assert str(tmp_path / "sweep.toml") in str(caught.value)


def test_a_file_is_refused_without_ray_or_tensorflow(tmp_path: Path) -> None:
    (tmp_path / "sweep.toml").write_text(f"{TRAIN}epochs = 0\n")
    code = (
        "import sys\nfrom fer_edge.cli.main import main\n"
        "for name in ('ray', 'tensorflow', 'keras'):\n    sys.modules[name] = None\n"
        "main()"
    )
    for words, status in ((["--data", "d", "--out", "o"], 1), (["--dry-run"], 1)):
        done = subprocess.run(
            [sys.executable, "-c", code, "sweep", str(tmp_path / "sweep.toml"), *words],
            capture_output=True, text=True, check=False, cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == status
        assert done.stderr.startswith("fer-edge: ")
        assert "epochs 0 is outside" in done.stderr
        assert len(done.stderr.splitlines()) == 1


# The trials


def test_a_grid_has_every_combination_seed_by_seed(tmp_path: Path) -> None:
    asked = sweep_of(
        tmp_path,
        '[train]\nmodels = ["mlp", "cnn-small"]\nseeds = [3, 4]\nepochs = 2\nlearning_rate = [0.001, 0.01]\n'
        "class_weights = [true, false]\n",
    )
    made = [(one.seed, one.model, one.values["learning_rate"], one.values["class_weights"]) for one in asked.trainings]
    assert len(made) == len(set(made)) == 16
    assert [seed for seed, *_ in made] == [3] * 8 + [4] * 8
    assert made[0] == (3, "mlp", 0.001, True)
    one = asked.trainings[0]
    # What the command line would train.
    assert one.recipe == recipe_for("mlp", seed=3, epochs=2, learning_rate=0.001, class_weights=True)
    assert one.setting == "mlp class_weights=true epochs=2 learning_rate=0.001"
    assert one.id.startswith("mlp_class_weights=true_epochs=2_learning_rate=0.001_seed=3_")


def test_an_id_is_a_function_of_the_settings_alone(tmp_path: Path) -> None:
    few = sweep_of(tmp_path, f"{TRAIN}epochs = 2\n")
    more = sweep_of(tmp_path, '[train]\nseeds = [1, 0]\nepochs = [1, 2]\nmodels = ["cnn-small", "mlp"]\n')
    assert {one.id for one in few.trainings} < {one.id for one in more.trainings}
    assert len({one.id for one in more.trainings}) == 8
    named = sweep_of(tmp_path, f'{TRAIN}epochs = 2\nrecipe = "plateau"\n')
    assert named.trainings[0].recipe == recipe_for("mlp", "plateau", epochs=2, seed=0)
    assert named.trainings[0].setting == "mlp plateau epochs=2"


def test_random_values_are_the_same_every_time_and_for_every_seed(tmp_path: Path) -> None:
    text = (
        '[train]\nmodels = ["mlp"]\nseeds = [0, 1]\nlearning_rate = {low = 1e-4, high = 1e-2, log = true}\n'
        "batch_size = {low = 16, high = 64}\ndropout = {low = 0.1, high = 0.4}\nsamples = "
    )
    made = sweep_of(tmp_path, f"{text}20\n").trainings
    assert made == sweep_of(tmp_path, f"{text}20\n").trainings
    assert [one.values for one in made[:20]] == [one.values for one in made[20:]]
    assert {one.id for one in sweep_of(tmp_path, f"{text}5\n").trainings} < {one.id for one in made}
    assert all(1e-4 <= one.values["learning_rate"] <= 1e-2 for one in made)
    assert sum(one.values["learning_rate"] < 1e-3 for one in made) > 8  # even over the logarithm
    assert {type(one.values["batch_size"]) for one in made} == {int}
    assert {one.values["batch_size"] for one in sweep_of(tmp_path, f"{text}200\n").trainings} >= {16, 64}
    other = sweep_of(tmp_path, f"{text}5\nsample_seed = 1\n").trainings
    assert not {one.id for one in other} & {one.id for one in made}


def test_quantization_settings_are_those_of_convert(tmp_path: Path) -> None:
    asked = sweep_of(
        tmp_path,
        f'{TRAIN}[quantize]\nto = ["tflite", "onnx"]\nranges = ["minmax", "percentile"]\npercentile = [99.9, 99.99]\n'
        'per_tensor = [false, true]\nfloat_layers = ["", "dense1"]\ncalibration_images = 64\n',
    )
    assert asked.quantize is not None
    names = [one.name for one in asked.quantize.settings]
    assert len(names) == len(set(names)) == 2 * 3 * 2 * 2  # minmax has no percentile
    assert names[0] == "tflite, ranges by minmax, 64 images"
    assert "onnx, ranges by percentile 99.9, one weight scale a tensor, dense1 in float, 64 images" in names
    assert asked.quantize.split == "val"


def test_a_dry_run_lists_the_trials_and_needs_no_data(
    cli: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    (tmp_path / "sweep.toml").write_text(f"{TRAIN}seeds = [0, 1]\n[quantize]\nequalize = [false, true]\n")
    done = cli("sweep", "sweep.toml", "--dry-run")
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert lines[0] == "2 trials, each made int8 in 2 ways"
    assert [line.startswith("mlp_seed=") for line in lines[1:3]] == [True, True]
    assert lines[3:] == [
        "int8: tflite, ranges by minmax, 512 images", "int8: tflite, ranges by minmax, equalized, 512 images",
    ]  # fmt: skip
    missing = cli("sweep", "sweep.toml", "--out", "out")
    assert missing.returncode == 1
    assert "a sweep needs --data CACHE" in missing.stderr
    assert not (tmp_path / "out").exists()


# The ranking


def trial(setting: str, seed: int, accuracy: float | None, status: str = "finished") -> dict[str, Any]:
    return {"setting": setting, "seed": seed, "status": status, "val_accuracy": accuracy, "val_loss": 1.0,
            "int8_accuracy": None, "quantized": []}  # fmt: skip


def test_mean_deviation_and_interval_over_seeds() -> None:
    made = over_seeds([0.5, 0.6, 0.7])
    assert made["mean"] == pytest.approx(0.6)
    assert made["deviation"] == pytest.approx(0.1)
    # Student's t with 2 degrees of freedom: 4.30265; times 0.1 / sqrt(3).
    assert made["interval"] == pytest.approx([0.6 - 0.248414, 0.6 + 0.248414], abs=1e-5)
    assert over_seeds([0.5]) == {"values": [0.5], "mean": 0.5, "deviation": None, "interval": None}


def test_the_ranking_takes_settings_with_all_their_seeds() -> None:
    trials = [
        trial("a", 0, 0.50), trial("a", 1, 0.52), trial("b", 0, 0.70), trial("b", 1, 0.71),
        trial("lucky", 0, 0.99), trial("lucky", 1, 0.1, "stopped"), trial("broken", 0, None, "failed"),
    ]  # fmt: skip
    made = ranking(trials, "val_accuracy")
    assert [row["setting"] for row in made["rows"]] == ["b", "a"]
    assert made["left_out"] == [
        {"setting": "lucky", "quantization": None, "why": "1 of 2 seeds were stopped early"},
        {"setting": "broken", "quantization": None, "why": "1 of 1 seeds failed"},
    ]
    # Two seeds: t is 12.7, and the interval of "a" reaches from 0.383 to 0.637, that of "b" from 0.641 to 0.769.
    assert not_told_apart(made) == []
    near = ranking([trial("b", 0, 0.5), trial("b", 1, 0.6), trial("a", 0, 0.4), trial("a", 1, 0.6)], "val_accuracy")
    assert [row["setting"] for row in not_told_apart(near)] == ["a"]
    assert headline({"ranking": made}) == ("b comes first, and no other interval reaches into its own", True)
    assert ranked_rows({"metric": "val_accuracy", "ranking": made})[0] == ["b", "70.50", "0.71", "64.15 to 76.85", "2"]
    one_seed = ranking([trial("a", 0, 0.5), trial("b", 0, 0.6)], "val_accuracy")
    assert headline({"ranking": one_seed}) == ("b comes first; one seed does not tell it from the others", False)


def test_by_int8_every_quantization_is_ranked_with_every_setting() -> None:
    trials = []
    for seed, plain, mse in ((0, 0.4, 0.6), (1, 0.5, 0.7)):
        quantized = [{"name": "plain", "accuracy": plain}, {"name": "mse", "accuracy": mse}]
        trials.append(trial("a", seed, 0.9) | {"quantized": quantized})
    made = ranking(trials, "int8_accuracy")
    assert [(row["quantization"], row["values"]) for row in made["rows"]] == [
        ("mse", [0.6, 0.7]),
        ("plain", [0.4, 0.5]),
    ]
    trials[1]["quantized"][1]["accuracy"] = None
    assert ranking(trials, "int8_accuracy")["left_out"][0]["why"] == "int8_accuracy is missing with 1 of 2 seeds"


# A real one

SPEC = """
[train]
models = ["mlp", "cnn-small"]
seeds = [0, 1]
epochs = 2

[quantize]
ranges = ["minmax", "mse"]
float_layers = ["", "conv1"]  # the mlp has none: recorded, and nothing else stops
calibration_images = 32
"""


@dataclass(frozen=True)
class Swept:
    """A sweep that was killed once a trial had ended and another had not, and then gone on with."""

    home: Path
    killed: dict[str, str]
    """history.json of each trial that had begun, and its outcome, when the driver was killed."""
    resumed: subprocess.CompletedProcess[str]

    @property
    def made(self) -> dict[str, Any]:
        return json.loads((self.home / "out" / "sweep.json").read_text())


def start(home: Path, out: str, *words: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "fer_edge", "sweep", "sweep.toml", "--data", "synth", "--out", out, *words]
    return subprocess.Popen(
        command, cwd=home, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=os.environ | {"NO_COLOR": "1", "CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip


def wait_until(process: "subprocess.Popen[str]", ready: Callable[[], bool]) -> None:
    """Until `ready`, or the process has ended, which fails."""
    while not ready():
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Swept:
    home = tmp_path_factory.mktemp("sweep")
    made = [sys.executable, "-m", "fer_edge", "data", "synth", "--out", "synth", "--count", "280"]
    subprocess.run(made, cwd=home, check=True, capture_output=True)
    (home / "sweep.toml").write_text(SPEC)
    trials = home / "out" / "trials"
    first = start(home, "out")
    wait_until(first, lambda: any(trials.glob("*/outcome.json")))
    first.send_signal(signal.SIGKILL)
    first.communicate()
    # What was half written when it was killed has a temporary name, with a dot; the next start clears it away.
    written = [path for path in trials.glob("*/*.json") if not path.name.startswith(".")]
    killed = {str(path.relative_to(trials)): path.read_text() for path in written}
    second = start(home, "out", "--resume")
    out, err = second.communicate()
    return Swept(home, killed, subprocess.CompletedProcess(second.args, second.returncode, out, err))


@pytest.mark.slow
@pytest.mark.timeout(1800)  # Ray takes a minute to start on a machine that does anything else
def test_a_killed_sweep_goes_on_where_it_was(swept: Swept) -> None:
    finished = [name for name in swept.killed if name.endswith("outcome.json")]
    assert 1 <= len(finished) < 4, "the kill came too late to say anything"
    trials = swept.home / "out" / "trials"
    for name, text in swept.killed.items():
        now = (trials / name).read_text()
        if name.endswith("history.json"):
            # Seconds are in it: an epoch that was trained again would not be the same.
            assert json.loads(now)[: len(json.loads(text))] == json.loads(text)
        elif name.endswith("outcome.json"):
            assert now == text
    assert len(list(trials.iterdir())) == 4
    assert all(len(json.loads(path.read_text())) == 2 for path in trials.glob("*/history.json"))


@pytest.mark.slow
@pytest.mark.timeout(1800)  # Ray takes a minute to start on a machine that does anything else
def test_results_of_a_sweep(swept: Swept) -> None:
    made = swept.made
    jsonschema.validate(made, json.loads((ROOT / "docs" / "sweep.schema.json").read_text()))
    assert made["counts"] == {"finished": 4, "stopped": 0, "failed": 0, "waiting": 0}
    assert [row["setting"] for row in made["ranking"]["rows"]] != []
    for one in made["trials"]:
        history = json.loads((swept.home / "out" / "trials" / one["id"] / "history.json").read_text())
        assert one["val_accuracy"] == history[one["kept_epoch"] - 1]["val_accuracy"]
        assert one["seconds"] == pytest.approx(sum(epoch["seconds"] for epoch in history), abs=0.11)
        for entry in one["quantized"]:
            possible = one["model"] == "cnn-small" or "conv1" not in entry["name"]
            assert (entry["accuracy"] is not None) is possible
            assert (entry["sentence"] is None) is possible
            if possible:
                assert entry["float_accuracy"] == pytest.approx(one["val_accuracy"], abs=1e-6)
                assert entry["images"] * entry["accuracy"] == pytest.approx(round(entry["images"] * entry["accuracy"]))
    first = made["ranking"]["rows"][0]
    own = [one["val_accuracy"] for one in made["trials"] if one["setting"] == first["setting"]]
    assert first["values"] == own
    assert first["mean"] == pytest.approx(sum(own) / 2)
    # Two settings of the mlp cannot be: said, and in the exit code.
    assert swept.resumed.returncode == 1
    assert "4 of the sweep's results failed" in swept.resumed.stderr
    assert swept.resumed.stdout.count("has no layer") or swept.resumed.stdout.count("conv1")
    page = (swept.home / "out" / "sweep.html").read_text()
    for one in made["trials"]:
        assert all(word in page for word in one["setting"].split())
    assert "http://" not in page.replace("http://www.w3.org", "")


@pytest.mark.slow
@pytest.mark.timeout(1800)  # Ray takes a minute to start on a machine that does anything else
def test_a_trial_is_an_ordinary_run(swept: Swept, cli: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    one = next(t for t in swept.made["trials"] if t["model"] == "mlp")
    run = swept.home / "out" / "trials" / one["id"]
    done = cli("train", "--data", swept.home / "synth", "--out", run, "--resume")
    assert done.returncode == 0, done.stderr
    stored = json.loads((run / "recipe.json").read_text())["recipe"]
    assert (stored["model"], stored["seed"], stored["epochs"]) == ("mlp", one["seed"], 2)


@pytest.mark.slow
@pytest.mark.timeout(1800)  # Ray takes a minute to start on a machine that does anything else
def test_a_failing_trial_stops_no_other_and_asha_stops_a_bad_one(swept: Swept) -> None:
    """One after the other: the first learns, the second hardly moves and is stopped, the third diverges."""
    (swept.home / "sweep.toml").write_text(
        '[train]\nmodels = ["mlp"]\nepochs = 2\noptimizer = "sgd"\nlearning_rate = [0.01, 1e-9, 10.0]\n'
        '[search]\nmetric = "val_loss"\nearly_stopping = "asha"\ngrace_epochs = 1\nreduction = 2\nconcurrency = 1\n'
    )
    process = start(swept.home, "other")
    out, err = process.communicate()
    made = json.loads((swept.home / "other" / "sweep.json").read_text())
    assert [one["status"] for one in made["trials"]] == ["finished", "stopped", "failed"], out + err
    assert [one["epochs"] for one in made["trials"]] == [2, 1, 0]
    assert "training diverged" in made["trials"][2]["sentence"]
    assert [row["setting"] for row in made["ranking"]["rows"]] == ["mlp epochs=2 learning_rate=0.01 optimizer=sgd"]
    assert process.returncode == 1
    assert "1 of the sweep's results failed, see other/sweep.json" in err


def test_a_trial_that_was_stopped_early_tells_its_epochs_and_goes_no_further(tmp_path: Path) -> None:
    """So that early stopping judges the others as before when a sweep goes on."""
    one = sweep_of(tmp_path, f"{TRAIN}epochs = 4\n").trainings[0]
    folder = tmp_path / "trial"
    history = [{"epoch": at, "seconds": 1.0, "val_loss": 2.0 - at, "val_accuracy": 0.1 * at} for at in (1, 2)]
    RunFolder(folder).create(one.recipe, {"data_sha256": "0"}, {})
    RunFolder(folder).record(history, set())
    write_outcome(folder, "stopped")
    told: list[dict[str, Any]] = []
    run_trial(Job(one, None, folder, tmp_path, "0", 1), told.append)
    assert [(row["epoch"], row["judged_epoch"], row["val_loss"]) for row in told] == [(1, 1, 1.0), (2, 2, 0.0)]


def test_a_sweep_is_not_written_over_another_and_not_resumed_on_other_data(
    cli: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    (tmp_path / "sweep.toml").write_text(TRAIN)
    save_dataset(synthetic_dataset(70, 0), tmp_path / "synth")
    out = tmp_path / "out"
    words = ("sweep", "sweep.toml", "--data", "synth", "--out", "out")
    nothing = cli(*words, "--resume")
    assert "out holds no sweep to resume" in nothing.stderr
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    assert "out exists and is no sweep" in cli(*words).stderr
    (out / "sweep.json").write_text(json.dumps({"data": {"sha256": "0" * 64}}))
    assert "out holds a sweep already; continue it with --resume" in cli(*words).stderr
    other = cli(*words, "--resume")
    assert (other.returncode, "out is a sweep on data 000000000000, not" in other.stderr) == (1, True)
    assert (out / "thesis.txt").read_text() == "mine"

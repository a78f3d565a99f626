"""The comparison of models: which evaluations can be compared, who is on the front, whose difference is shown."""

import json
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer_edge.devices.errors import RunError
from fer_edge.edge_runtime import figure_style as fs
from fer_edge.edge_runtime.figure_labels import label_points
from fer_edge.edge_runtime.vocabulary import EMOTIONS
from fer_edge.train.intervals import wilson
from fer_edge.train.ranking import on_front, pairs, ranking
from fer_edge.train.ranking_page import ranking_page
from fer_edge.train.ranking_read import Evaluated, read_all
from fer_edge.train.ranking_time import check_run
from fer_edge.train.ranking_words import duration, latency_note, short
from fer_edge.train.synth import synthetic_dataset

Cli = Callable[..., subprocess.CompletedProcess[str]]
HARMS = (
    ("noise", 0.1),
    ("noise", 0.2),
    ("blur", 1.0),
    ("dark", 0.5),
    ("bright", 2.0),
    ("occlusion", 0.5),
    ("jpeg", 10),
)


def evaluation(
    name: str, right: int | list[bool], images: int = 1000, *, seed: int = 0, **changes: Any
) -> dict[str, Any]:
    """The report of a model that names so many of the images rightly; `changes` replace or, as dicts, extend parts."""
    labels = np.arange(images) % len(EMOTIONS)
    is_right = np.zeros(images, bool)
    if isinstance(right, int):
        is_right[np.random.default_rng(seed).permutation(images)[:right]] = True
    else:
        is_right[:] = right
    predicted = np.where(is_right, labels, (labels + 1) % len(EMOTIONS))
    accuracy, by_class = float(is_right.mean()), {}
    for at, emotion in enumerate(EMOTIONS):
        here = is_right[labels == at]
        by_class[emotion] = {
            "precision": 0.5, "recall": float(here.mean()), "f1": 0.5, "support": len(here),
            "recall_interval": list(wilson(int(here.sum()), len(here))),
        }  # fmt: skip
    worst = min(by_class, key=lambda emotion: by_class[emotion]["recall"])
    made: dict[str, Any] = {
        "schema": 1,
        "what": {
            "kind": "run", "model": name, "name": name, "variant": None, "precision": "float32",
            "identity": sha256(f"{name} {seed}".encode()).hexdigest()[:16],
        },
        "data": {"sha256": "ab" * 32, "split": "test", "source": "drawn", "images": images, "left_out": 0},
        "classes": list(EMOTIONS),
        "accuracy": accuracy,
        "accuracy_interval": list(wilson(int(is_right.sum()), images)),
        "correct": int(is_right.sum()),
        "macro": {"precision": accuracy, "recall": accuracy, "f1": accuracy - 0.01},
        "weighted": {"precision": accuracy, "recall": accuracy, "f1": accuracy},
        "by_class": by_class,
        "worst_class": {"name": worst, "recall": by_class[worst]["recall"]},
        "confusion": [],
        "confidence": {"ece": 0.05},
        "robustness": [
            {
                "condition": kind, "level": level, "what": f"{kind} {level:g}", "images": images,
                "accuracy": accuracy * (0.9 - at / 50),
            }
            for at, (kind, level) in enumerate(HARMS)
        ],
        "predictions": {"labels": labels.tolist(), "predicted": predicted.tolist(), "confidence": [0.5] * images},
        "parameters": 1_000_000, "macs": 30_000_000, "size_bytes": 4_000_000,
        "latency_ms": {"batch1": {"median": 2.5, "p90": 3.0, "runs": 200}, "batch256_per_sample": 0.8},
        "training": {"recipe": {"model": name}, "epochs_run": 20, "seconds": 600.0},
        "machine": {"cpu": "Some CPU", "usable_cores": 2},
        "seed": 0,
        "versions": {},
        "made_at": "2026-01-02T03:04:05Z",
        "command": ["fer-edge", "evaluate", f"runs/{name}"],
    }  # fmt: skip
    for key, value in changes.items():
        made[key] = made[key] | value if isinstance(value, dict) and isinstance(made[key], dict) else value
    return made


def write(folder: Path, made: dict[str, Any]) -> Path:
    """Put it where `evaluate` does; the run's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "evaluation.json").write_text(json.dumps(made))
    return folder


def made_of(tmp_path: Path, *made: dict[str, Any]) -> list[Path]:
    return [write(tmp_path / f"{at}-{one['what']['name']}", one) for at, one in enumerate(made)]


def whole(report: dict[str, Any]) -> dict[str, Any]:
    return report | {"made_at": "2026-01-02T03:04:05Z", "command": ["fer-edge", "compare-models"], "versions": {}}


# What can be compared


def test_the_most_accurate_comes_first_whatever_the_order_of_the_arguments(tmp_path: Path) -> None:
    runs = made_of(tmp_path, evaluation("a", 500), evaluation("b", 700, seed=1), evaluation("c", 600, seed=2))
    assert [one.name for one in read_all(runs)] == ["b", "c", "a"]
    assert [one.name for one in read_all([runs[2], runs[0] / "evaluation.json"])] == ["c", "a"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data": {"sha256": "cd" * 32}}, r"they differ in the data set \(abababababab against cdcdcdcdcdcd\)"),
        ({"data": {"split": "private"}}, r"they differ in the split \(test against private\)"),
        ({"classes": ["angry", "happy"]}, r"they differ in the classes \(angry, disgust, .* against angry, happy\)"),
        ({"schema": 2}, "evaluation of schema 2, expected 1"),
        ({"by_class": None}, "lacks by_class"),
        ({"robustness": [{"condition": "noise"}]}, "lacks a figure of robustness"),
        ({"predictions": {"predicted": []}}, "lacks a prediction for every image"),
    ],
)
def test_what_cannot_be_compared_is_said(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    runs = made_of(tmp_path, evaluation("a", 500), evaluation("b", 600, seed=1, **changes))
    with pytest.raises(RunError, match=said) as raised:
        read_all(runs)
    assert str(runs[1] / "evaluation.json") in str(raised.value)


def test_other_images_or_other_labels_of_them_are_refused(tmp_path: Path) -> None:
    other = evaluation("b", 600, seed=1)
    other["predictions"]["labels"][0] = 3
    with pytest.raises(RunError, match="the images' labels differ"):
        read_all(made_of(tmp_path / "labels", evaluation("a", 500), other))
    with pytest.raises(RunError, match=r"they differ in the number of images \(1,000 against 993\)"):
        read_all(made_of(tmp_path / "count", evaluation("a", 500), evaluation("b", 600, 993)))


def test_the_same_model_twice_is_refused(tmp_path: Path) -> None:
    one = evaluation("a", 500)
    with pytest.raises(RunError, match=r"are of the same model \(\w{16}\); leave one of them out"):
        read_all(made_of(tmp_path, one, one))


def test_models_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    int8 = {"kind": "bundle", "variant": "tflite/int8"}
    runs = made_of(
        tmp_path, evaluation("a", 700), evaluation("a", 600, seed=1), evaluation("a", 500, seed=2, what=int8)
    )
    names = [one.name for one in read_all(runs)]
    assert len(set(names)) == 3
    assert names[2] == "a tflite/int8"


def test_a_run_without_an_evaluation_is_one_sentence(cli: Cli, tmp_path: Path) -> None:
    write(tmp_path / "a", evaluation("a", 500))
    (tmp_path / "b").mkdir()
    done = cli("compare-models", "a", "b")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "fer-edge: b has no evaluation.json; make it: fer-edge evaluate b\n"
    with pytest.raises(RunError, match="c does not exist"):
        read_all([tmp_path / "a", tmp_path / "c"])
    with pytest.raises(RunError, match="a comparison needs two models or more"):
        read_all([tmp_path / "a"])


@pytest.mark.parametrize("text", ["{", "[]", "null", "\xff"])
def test_a_damaged_evaluation_is_one_sentence(tmp_path: Path, text: str) -> None:
    runs = made_of(tmp_path, evaluation("a", 500), evaluation("b", 600, seed=1))
    (runs[1] / "evaluation.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(RunError, match="evaluation"):
        read_all(runs)


# What is found


def test_the_front_holds_those_that_no_other_beats() -> None:
    points = [(0.7, 100.0), (0.7, 200.0), (0.6, 100.0), (0.5, 10.0), (0.9, None), (0.7, 100.0), (0.55, 9.0)]
    assert on_front(points) == [True, False, False, False, None, True, True]


def test_pairs_are_tested_image_by_image() -> None:
    right = [[True] * 60 + [False] * 40, [True] * 50 + [False] * 50, [False] * 2 + [True] * 48 + [False] * 50]
    made = pairs([Evaluated(Path(name), name, evaluation(name, r, 100)) for name, r in zip("abc", right, strict=True)])
    first, second, third = made
    assert (first["better"], first["other"], first["only_better"], first["only_other"]) == ("a", "b", 10, 0)
    assert first["difference_pp"] == 10
    assert first["mcnemar_p"] == pytest.approx(2 / 2**10)
    assert first["mcnemar_p_holm"] == pytest.approx(2 * 2 / 2**10)
    assert second["mcnemar_p_holm"] == pytest.approx(3 * 2 / 2**12)
    assert (third["only_better"], third["mcnemar_p"], third["differ"]) == (2, 0.5, False)
    assert first["differ"]
    assert second["differ"]
    assert 0 < first["interval_pp"][0] < 10 < first["interval_pp"][1]


def test_all_pairs_of_the_leaders_and_no_other_are_tested(tmp_path: Path) -> None:
    runs = made_of(tmp_path, *(evaluation(name, 500 + 20 * at, seed=at) for at, name in enumerate("abcdef")))
    made = ranking(read_all(runs), leaders=4)
    assert made["leaders"] == ["f", "e", "d", "c"]
    assert [(p["better"], p["other"]) for p in made["pairs"]] == list(combinations("fedc", 2))


def test_what_was_not_measured_stays_null_and_is_in_no_picture(tmp_path: Path) -> None:
    bare = {"macs": None, "parameters": None, "latency_ms": None, "training": None, "robustness": None}
    runs = made_of(tmp_path, evaluation("net", 500), evaluation("forest", 700, seed=1, **bare))
    made = ranking(read_all(runs), leaders=5)
    forest, net = made["models"]
    assert [forest[key] for key in bare] == [None] * 5
    assert forest["on_front"] == {"macs": None, "size_bytes": True}
    assert net["on_front"] == {"macs": True, "size_bytes": False}
    page = ranking_page(whole(made))
    assert "forest: MACs not known, so not in that picture." in page
    assert "Not judged under these conditions: forest." in page
    assert page.count("not measured") == 4


# The command


def test_the_command_writes_what_it_prints(cli: Cli, tmp_path: Path) -> None:
    names = ("net", "resnet<50>", "tree")
    for at, name in enumerate(names):
        write(tmp_path / f"r{at}", evaluation(name, 500 + 100 * at, seed=at, size_bytes=4_000_000 * (at + 1)))
    done = cli("compare-models", "r0", "r1", "r2", "--leaders", "2", "--out", "report")
    assert done.returncode == 0, done.stderr
    made = json.loads((tmp_path / "report" / "compare-models.json").read_text())
    page = (tmp_path / "report" / "compare-models.html").read_text()
    assert made["schema"] == 1
    assert [row["name"] for row in made["models"]] == ["tree", "resnet<50>", "net"]
    assert made["side_by_side"] is None
    assert len(made["pairs"]) == 1
    assert made["command"][:2] == ["fer-edge", "compare-models"]
    assert "predictions" not in json.dumps(made)
    assert "resnet&lt;50&gt;" in page
    assert "<50>" not in page
    low, high = made["models"][0]["accuracy_interval"]
    for text in (done.stdout, page):
        assert f"{low * 100:.2f}..{high * 100:.2f}" in text
        assert "tree is the most accurate of 3, 70.00%; it is shown to be better than the next" in " ".join(
            text.split()
        )
        assert "separate occasions" in " ".join(text.split())
    assert max(map(len, done.stdout.split("written")[0].splitlines())) <= 80
    again = cli("compare-models", "r0", "r1", "--out", "report")
    assert again.returncode == 1
    assert "exists already" in again.stderr


def test_without_side_by_side_no_training_library_is_loaded(tmp_path: Path) -> None:
    for name in "ab":
        write(tmp_path / name, evaluation(name, 500, seed=ord(name)))
    code = (
        "import sys\nfrom fer_edge.cli.main import app\napp(standalone_mode=False)\n"
        "sys.exit(bool({'tensorflow', 'keras', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, "compare-models", "a", "b", "--out", "o"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_what_is_no_run_or_has_changed_cannot_be_timed(tmp_path: Path) -> None:
    one = Evaluated(write(tmp_path / "a", evaluation("a", 500)) / "evaluation.json", "a", evaluation("a", 500))
    with pytest.raises(RunError, match=r"a/evaluation.json lies in no run, so its model cannot be timed"):
        check_run(one)
    recipe = {"schema": 1, "recipe": {"model": "logreg"}, "data_sha256": ""}
    (tmp_path / "a" / "recipe.json").write_text(json.dumps(recipe))
    (tmp_path / "a" / "model.joblib").write_bytes(b"another")
    with pytest.raises(RunError, match=r"a holds another model than the one that was evaluated; run: fer-edge evaluat"):
        check_run(one)


def test_times_are_taken_in_turns_and_compared_with_the_fastest(cli: Cli, tmp_path: Path) -> None:
    """Two regressions of different sizes: quickly made, and timed without TensorFlow."""
    from fer_edge.train.fit import train
    from fer_edge.train.recipes import recipe_for
    from fer_edge.train.run_folder import RunFolder

    data = synthetic_dataset(350, 0)
    for name, components in (("small", 5), ("large", 120)):
        recipe = recipe_for("logreg", components=components, train_fraction=1.0)
        train(data, recipe, tmp_path / name)
        run = RunFolder(tmp_path / name)
        write(tmp_path / name, evaluation(name, 500 + components, what={"identity": run.identity()}))
    done = cli("compare-models", "small", "large", "--side-by-side", "--threads", "1", "--out", "o")
    assert done.returncode == 0, done.stderr
    made = json.loads((tmp_path / "o" / "compare-models.json").read_text())["side_by_side"]
    assert made["rounds"] >= 20
    assert made["threads"] == 1
    fastest = made["models"].pop(made["fastest"])
    assert fastest["over_fastest"] is None
    (other,) = made["models"].values()
    assert other["over_fastest"]["rounds"] == made["rounds"]
    low, high = other["over_fastest"]["interval"]
    assert low <= other["over_fastest"]["time_ratio"] <= high
    page = (tmp_path / "o" / "compare-models.html").read_text()
    assert "Latency, side by side" in page
    assert f"in each of {made['rounds']} rounds, with 1 core, on" in page
    assert "times the fastest" in done.stdout


# Words and pictures


def test_latencies_of_several_machines_are_said_to_be_so(tmp_path: Path) -> None:
    other = evaluation("b", 600, seed=1, machine={"cpu": "Other CPU"})
    made = ranking(read_all(made_of(tmp_path, evaluation("a", 500), other)), leaders=5)
    assert "on 2 machines (Other CPU, 2 cores; Some CPU, 2 cores)" in latency_note(made)


def test_figures_are_short() -> None:
    assert [short(n) for n in (999, 1000, 58_423, 999_960, 1_232_807, 3_856_451_328, 96_282_368, 282_255_808)] == [
        "999", "1.00k", "58.4k", "1.00M", "1.23M", "3.86G", "96.3M", "282M",
    ]  # fmt: skip
    assert [duration(s) for s in (None, 12.6, 131, 600, 36_000)] == [None, "13 s", "2.2 min", "10 min", "10.0 h"]


def test_names_beside_points_cover_neither_one_another_nor_a_point() -> None:
    points = [(10.0 + at % 3 / 10, 50.0 + at // 3 / 10) for at in range(12)] + [(1000.0, 90.0), (1.0, 10.0)]
    names = [f"model-with-a-name-{at}" for at in range(len(points))]
    with fs.style():
        figure, (axes,) = fs.canvas(300)
        axes.set_xscale("log")
        axes.plot(*zip(*points, strict=True), "o")
        places = label_points(axes, points, names)
        room = axes.get_window_extent()
        to_pt = 72 / figure.dpi
        for one, other in combinations(places, 2):
            assert not one.overlaps(other)
        for place in places:
            assert place.x0 >= room.x0 * to_pt - 0.01
            assert place.x1 <= room.x1 * to_pt + 0.01
            for x, y in axes.transData.transform(points) * to_pt:
                assert not place.contains(x, y)
        assert all(name in fs.svg(figure) for name in names)

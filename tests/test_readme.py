"""Every command in the README runs: its `sh` blocks are taken line by line, in order, in one folder, as a reader would.

Only what needs hardware or hours is made small: training stops after two epochs and its bundle may therefore lose more;
FER-2013 is a CSV of drawn faces. What is said about deploying runs in test_deploy.py, which has a board.
"""

import csv
import gzip
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fer_edge.edge_runtime.sample_clip import SAMPLE_PHOTO, write_sample_clip
from fer_edge.train.read_csv import CSV_EMOTIONS
from fer_edge.train.synth import synthetic_dataset

ROOT = Path(__file__).resolve().parents[1]
BY_CI = {"make demo", "make test"}
SMALL = {
    "fer-edge train --data data/fer2013 --model random-forest": " --set trees=9",
    "fer-edge train ": " --epochs 2",
    "fer-edge evaluate ": " --robustness-images 20",
    "fer-edge convert ": " --max-drop 20",
    "fer-edge compare ": " --max-drop 20",
}
BY_TEST_DEPLOY = ("fer-edge deploy ", "fer-edge package ")
NO_CAMERA = "there is no camera /dev/video0"


def commands() -> list[str]:
    """The lines of the README's `sh` blocks, comments cut off, continued lines joined."""
    lines, inside = [], False
    for line in (ROOT / "README.md").read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
        if line.startswith("```"):
            inside = line == "```sh"
        elif inside and line.strip() and not line.startswith("#"):
            lines.append(line.split("  #")[0].strip())
    return lines


def test_the_readme_has_commands_and_ci_runs_those_of_make() -> None:
    found = commands()
    assert len(found) > 12
    ci = (ROOT / ".ci" / "run").read_text()
    makefile = (ROOT / "Makefile").read_text()
    for command in (c for c in found if c.startswith("make ")):
        assert command in BY_CI
        target = command.split()[1]
        assert target in ci or f": {target}" in makefile


def _fer2013_csv(path: Path) -> None:
    from fer_edge.edge_runtime.vocabulary import EMOTIONS

    data = synthetic_dataset(700, 1)
    with gzip.open(path, "wt", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["emotion", "pixels", "Usage"])
        for face, label, split in zip(data.faces, data.labels, data.splits, strict=True):
            usage = "Training" if split == 0 else "PublicTest"
            rows.writerow([CSV_EMOTIONS.index(EMOTIONS[label]), " ".join(map(str, face.ravel())), usage])


@pytest.mark.timeout(1800)
def test_every_command_of_the_readme_runs(tmp_path: Path) -> None:
    work, tools = tmp_path / "work", tmp_path / "tools"
    work.mkdir()
    tools.mkdir()
    _fer2013_csv(work / "fer2013.csv.gz")
    shutil.copy(SAMPLE_PHOTO, work / "photo.jpg")
    write_sample_clip(work / "clip.mp4", 40)
    (tools / "fer-edge").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m fer_edge "$@"\n')
    (tools / "fer-edge").chmod(0o755)
    (tools / "python").symlink_to(sys.executable)
    environment = os.environ | {"PATH": f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}", "NO_COLOR": "1"}
    environment["FER_EDGE_STATE_DIR"] = str(tmp_path / "state")
    for command in commands():
        if command in BY_CI or command.startswith(BY_TEST_DEPLOY):
            continue
        extra = next((more for start, more in SMALL.items() if command.startswith(start)), "")
        extra = "" if "--resume" in command else extra
        done = subprocess.run(
            command + extra, shell=True, cwd=work, env=environment, capture_output=True, text=True, check=False,
            timeout=600,
        )  # fmt: skip
        if " run 0" in command and NO_CAMERA in done.stderr:
            continue  # the command is right, the machine has no camera
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def test_the_python_example_runs(tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    code = text.split("```python\n")[1].split("```")[0]
    write_sample_clip(tmp_path / "clip.mp4", 30)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "happy" in done.stdout


def test_the_links_of_the_readme_exist() -> None:
    import re

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = [t for t in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in t]
    assert targets
    for target in targets:
        assert (ROOT / target).exists(), target


def test_the_figures_of_the_readme_are_those_of_the_report() -> None:
    """Accuracy, drop and flips stand in the README as in the report of the run that is committed."""
    import json

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    report = json.loads((ROOT / "docs" / "model" / "report.json").read_text())
    names = {"tflite": "LiteRT", "onnx": "ONNX Runtime", "openvino": "OpenVINO"}
    measured = json.loads((ROOT / "docs" / "model" / "bench.json").read_text())["ratios"]
    ratios = {r["variant"]: r for r in measured if r["over"].endswith("/float32")}
    for engine, name in names.items():
        [row] = [line for line in text.splitlines() if line.startswith(f"| int8, {name} |")]
        judged = report["variants"][f"{engine}/int8"]
        assert f"{judged['accuracy']:.2%} " in row
        assert f"{judged['drop_pp']:+.2f} " in row
        assert f"{judged['flips']:,} of {judged['images']:,}" in row
        assert f"{ratios[f'{engine}/int8']['time_ratio']:.2f} " in row
    [row] = [line for line in text.splitlines() if line.startswith("| float32, Keras |")]
    assert f"{report['reference']['accuracy']:.2%} " in row


def test_the_comparison_found_the_flips_of_the_conversion() -> None:
    import json

    first, second = (
        json.loads((ROOT / "docs" / "model" / f"{name}.json").read_text()) for name in ("report", "compare")
    )
    for name, row in second["variants"].items():
        if name.endswith("/int8"):
            assert {k: row[k] for k in ("accuracy", "flips_right_to_wrong", "flips_wrong_to_right")} == {
                k: first["variants"][name][k] for k in ("accuracy", "flips_right_to_wrong", "flips_wrong_to_right")
            }


def test_the_speeds_of_the_readme_and_of_the_runtime_page_are_those_measured() -> None:
    import json

    made = json.loads((ROOT / "docs" / "runtime" / "runtime.json").read_text())
    page = (ROOT / "docs" / "runtime.md").read_text(encoding="utf-8")
    haar, yunet = (c for c in made["clips"] if c["clip"] == "interview.mp4")
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    rates = [round(clip["followed"]["frames_per_second"]) for clip in (haar, yunet)]
    assert f"at {rates[0]} frames a second on one core with OpenCV's Haar cascade and at {rates[1]} with YuNet" in text
    for clip in made["clips"]:
        name = {"haar": "Haar", "yunet": "YuNet"}[clip["detector"]]
        assert f"| {clip['clip']}, {name} | {clip['followed']['frames_per_second']:.0f} |" in page
        assert f"{clip['against_full_scans']['recall']:.1%} of {clip['against_full_scans']['faces']}" in page
    soak = json.loads((ROOT / "docs" / "runtime" / "soak.json").read_text())
    assert f"{soak['frames']:,} frames in " in page
    assert f"{soak['growth_bytes'] / 1e6:.1f} MB more" in page

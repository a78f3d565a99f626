"""Copies into docs/model what the model card stands on: a run's recipe, history and curves, its bundle's report.

    python tools/model_evidence.py --run runs/flagship-4 --bundle bundles/flagship --calibration calibration.json

Without paths of this machine. compare.json, bench.json and their pages are written there by `fer-edge compare` and
`fer-edge bench` themselves; then `python tools/model_card.py --write` puts the figures into README and card.
"""

import argparse
import json
import shutil
from pathlib import Path

from fer_edge.calibration.calibration_set import CalibrationSet
from fer_edge.devices.files import write_json
from fer_edge.edge_runtime.bundle import Bundle
from fer_edge.train.eval_training import without_paths
from fer_edge.train.run_folder import RunFolder

REPORTS = Path(__file__).resolve().parents[1] / "docs" / "model"
OF_RUN = ("history.json", "environment.json", "curves.png")


def take(run: RunFolder, bundle: Path, calibration: Path) -> None:
    """Copy what the card stands on into docs/model; files that do not belong together end the tool."""
    manifest = Bundle.open(bundle).manifest
    if manifest["training_run"] != run.identity():
        raise SystemExit(f"{bundle} was not made of {run.path}")
    made = json.loads(calibration.read_text(encoding="utf-8"))
    chosen = CalibrationSet(tuple(made["rows"]), made["data_sha256"], made["seed"], made["covers"])
    if manifest["calibration"] != chosen.id:
        raise SystemExit(f"{bundle} was not calibrated with {calibration}")
    if missing := [name for name in OF_RUN if not (run.path / name).is_file()]:
        raise SystemExit(f"{run.path} has no {', '.join(missing)}")
    about = run.about()
    about.pop("data_path", None)
    about["recipe"] = without_paths(about["recipe"])
    write_json(REPORTS / "recipe.json", about)
    for name in OF_RUN:
        shutil.copyfile(run.path / name, REPORTS / name)
    shutil.copyfile(bundle / "report.json", REPORTS / "report.json")
    shutil.copyfile(calibration, REPORTS / "calibration.json")


def main() -> None:
    """Take them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    for name in ("run", "bundle", "calibration"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    given = parser.parse_args()
    take(RunFolder(given.run), given.bundle, given.calibration)


if __name__ == "__main__":
    main()

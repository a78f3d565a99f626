"""One trial of a sweep, in a process of its own: train or go on training, then make int8. Knows no Ray.

What becomes of it stands in the trial's folder, an ordinary run folder, beside the run: outcome.json and, where int8 is
asked for, quantized.json. The sweep can be killed at any moment and find out from there what is left to do.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer_edge.convert.sweep_settings import Quantize
from fer_edge.devices.errors import DataError, FerEdgeError, RunError
from fer_edge.devices.files import write_json
from fer_edge.train.run_folder import RunFolder
from fer_edge.train.sweep_grid import Training

OUTCOME = "outcome.json"
QUANTIZED = "quantized.json"
PATIENCE_S = 60
"""How long a process of a killed sweep may still hold the run."""
JUDGED = "judged_epoch"
"""The epoch, in a report that early stopping is to judge."""
Report = Callable[[dict[str, Any]], None]
"""Called with epoch and val figures after each epoch, and once more with `finished` at the end."""


@dataclass(frozen=True)
class Job:
    """What a trial needs to know. Paths are absolute, and on a cluster they are the same on every machine."""

    training: Training
    quantize: Quantize | None
    folder: Path
    data: Path
    data_sha256: str
    cores: int


def run_trial(job: Job, report: Report) -> None:
    """Do what is left of the trial. An error that the user can mend becomes its outcome, anything else is raised."""
    from fer_edge.train.quietly import keras_quietly

    try:
        before = outcome_of(job.folder).get("status")
        _replay(job, report)
        if before == "stopped" or is_done(job):
            return  # its figures count for those that are still to be judged, and nothing is left to do
        keras_quietly(job.cores)
        last = _train(job, report)
        int8 = _quantized(job)
        write_outcome(job.folder, "finished")
        report({**last, **({} if int8 is None else {"int8_accuracy": int8}), "finished": True})
    except FerEdgeError as error:
        write_outcome(job.folder, "failed", " ".join(str(error).split()))


def _replay(job: Job, report: Report) -> None:
    """The epochs that an earlier start had, so that early stopping knows them."""
    if (job.folder / "recipe.json").is_file():
        for epoch in RunFolder(job.folder).history():
            report(_figures(job, epoch))


def is_done(job: Job) -> bool:
    """Whether the trial came to its end and has every int8 figure that is asked for.

    Raises:
        RunError: its outcome cannot be read.
    """
    if outcome_of(job.folder).get("status") != "finished":
        return False
    held = {} if job.quantize is None else read_quantized(job.folder, job.quantize.split)
    asked = () if job.quantize is None else job.quantize.settings
    return all(held.get(one.name, {}).get("accuracy") is not None for one in asked)


def _train(job: Job, report: Report) -> dict[str, Any]:
    """Train to the end; figures of the last epoch."""
    import keras

    from fer_edge.train.dataset import load_dataset
    from fer_edge.train.fit import train

    keras.utils.clear_session()  # this process may have had another trial; names and graphs begin anew
    data = load_dataset(job.data)
    if data.sha256 != job.data_sha256:
        raise DataError(f"{job.data} is other data here than where the sweep was started")
    resume = (job.folder / "recipe.json").is_file()
    if resume:
        _wait_for(RunFolder(job.folder))
    history = train(
        data, job.training.recipe, job.folder, resume=resume, on_epoch=lambda epoch: report(_figures(job, epoch))
    )
    return _figures(job, history[-1])


def _quantized(job: Job) -> float | None:
    """The best int8 accuracy of the settings; None where none is asked for, or none could be made."""
    if job.quantize is None:
        return None
    from fer_edge.convert.sweep_quantized import quantize_run
    from fer_edge.train.dataset import load_dataset

    made = quantize_run(RunFolder(job.folder), load_dataset(job.data), job.quantize, job.cores)
    asked = [made[one.name]["accuracy"] for one in job.quantize.settings]
    return max((value for value in asked if value is not None), default=None)


def _figures(job: Job, epoch: dict[str, float]) -> dict[str, Any]:
    """What is reported of an epoch; without JUDGED after the last one: what is trained is not stopped any more."""
    figures = {key: epoch[key] for key in ("epoch", "val_loss", "val_accuracy") if key in epoch}
    epochs = getattr(job.training.recipe, "epochs", 1)
    return figures | ({JUDGED: int(epoch["epoch"])} if epoch["epoch"] < epochs else {})


def _wait_for(run: RunFolder) -> None:
    """Until nobody else trains here: the processes of a killed sweep take a moment to end."""
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            with run.alone():
                return
        except RunError:
            if time.monotonic() > end:
                raise
            time.sleep(0.5)


def outcome_of(folder: Path) -> dict[str, Any]:
    """outcome.json of a trial; empty while it has none.

    Raises:
        RunError: it cannot be read.
    """
    try:
        return dict(json.loads((folder / OUTCOME).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise RunError(f"{folder / OUTCOME} cannot be read ({error}); delete it, and the trial goes on") from error


def read_quantized(folder: Path, split: str) -> dict[str, dict[str, Any]]:
    """What quantized.json of a trial holds for a split, by the name of the setting; empty where there is none.

    Raises:
        RunError: it cannot be read.
    """
    try:
        return dict(json.loads((folder / QUANTIZED).read_text(encoding="utf-8"))["splits"].get(split, {}))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError) as error:
        raise RunError(f"{folder / QUANTIZED} cannot be read ({error}); delete it, and int8 is made again") from error


def write_outcome(folder: Path, status: str, sentence: str | None = None) -> None:
    """Say what became of a trial: `finished`, `stopped` by early stopping, or `failed` with a sentence."""
    write_json(folder / OUTCOME, {"schema": 1, "status": status, "sentence": sentence})

"""sweep.json: what became of every trial, read from the trials' folders, and the ranking. Runs nothing."""

from pathlib import Path
from typing import Any

from fer_edge.convert.sweep_spec import Sweep
from fer_edge.convert.sweep_trial import Job, outcome_of, read_quantized
from fer_edge.devices.machine import describe_machine, versions
from fer_edge.train.dataset import Dataset
from fer_edge.train.run_folder import RunFolder
from fer_edge.train.schedule import best_epoch
from fer_edge.train.sweep_ranking import ranking

SCHEMA = 1
SWEEP = "sweep.json"
_FIGURES = (
    "images", "accuracy", "accuracy_interval", "float_accuracy", "drop_pp", "drop_score_interval_pp", "size_bytes",
    "seconds", "sentence",
)  # fmt: skip


def result(sweep: Sweep, jobs: tuple[Job, ...], data: Dataset) -> dict[str, Any]:
    """The content of sweep.json, but for the command and the time.

    Raises:
        RunError: a file of a trial cannot be read.
    """
    trials = [trial_result(job) for job in jobs]
    quantize = sweep.quantize
    return {
        "schema": SCHEMA,
        "data": {
            "source": data.source,
            "sha256": data.sha256,
            "path": str(data.folder) if data.folder else None,
            "train_images": len(data.rows("train")),
        },
        "spec": sweep.text,
        "metric": sweep.search.metric,
        "early_stopping": sweep.search.early_stopping,
        "cores": sweep.search.cores,
        "quantized_on": None if quantize is None else quantize.split,
        "quantizations": [] if quantize is None else [{"name": s.name, **s.as_dict()} for s in quantize.settings],
        "trials": trials,
        "counts": {
            status: sum(trial["status"] == status for trial in trials)
            for status in ("finished", "stopped", "failed", "waiting")
        },
        "ranking": ranking(trials, sweep.search.metric),
        "machine": describe_machine(),
        "versions": versions("fer-edge", "ray", "tensorflow", "keras", "scikit-learn", "numpy"),
    }


def trial_result(job: Job) -> dict[str, Any]:
    """One trial: its setting, the figures of the epoch that is kept, int8, and what became of it.

    Raises:
        RunError: a file of it cannot be read.
    """
    run, outcome, training = RunFolder(job.folder), outcome_of(job.folder), job.training
    history = run.history() if (job.folder / "history.json").is_file() else []
    kept = history[best_epoch(history, training.recipe.choose) - 1] if history else {}
    held = {} if job.quantize is None else read_quantized(job.folder, job.quantize.split)
    asked = () if job.quantize is None else job.quantize.settings
    quantized = [{"name": one.name, **_figures(held.get(one.name, {}))} for one in asked]
    reached = [entry["accuracy"] for entry in quantized if entry["accuracy"] is not None]
    return {
        "id": training.id,
        "setting": training.setting,
        "model": training.model,
        "values": training.values,
        "seed": training.seed,
        "status": outcome.get("status", "waiting"),
        "sentence": outcome.get("sentence"),
        "epochs": len(history),
        "kept_epoch": kept.get("epoch"),
        "val_accuracy": kept.get("val_accuracy"),
        "val_loss": kept.get("val_loss"),
        "int8_accuracy": max(reached, default=None),
        "seconds": round(sum(epoch["seconds"] for epoch in history), 1) if history else None,
        "by_epoch": {key: [epoch.get(key) for epoch in history] for key in ("val_accuracy", "val_loss")},
        "quantized": quantized,
    }


def _figures(held: dict[str, Any]) -> dict[str, Any]:
    return {key: held.get(key) for key in _FIGURES}


def failures(made: dict[str, Any]) -> list[str]:
    """One sentence for each trial that failed, and for each int8 that could not be made."""
    found = [f"{trial['id']}: {trial['sentence']}" for trial in made["trials"] if trial["status"] == "failed"]
    for trial in made["trials"]:
        for entry in trial["quantized"]:
            if entry["sentence"]:
                found.append(f"{trial['id']}: {entry['name']}: {entry['sentence']}")
    return found


def trial_folder(out: Path, trial: str) -> Path:
    """Where a trial's run is."""
    return out / "trials" / trial

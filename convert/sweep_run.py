"""A sweep from its file to its results: what is left to do, in what order, and sweep.json at the start and at the end.

A sweep that is started again takes what its trials' folders say: those that ended are left alone, those that were cut
short go on after their last epoch, those that failed are tried again.
"""

import fcntl
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fer_edge.convert.sweep_result import SWEEP, result, trial_folder
from fer_edge.convert.sweep_spec import Sweep
from fer_edge.convert.sweep_trial import OUTCOME, Job, is_done, outcome_of
from fer_edge.devices.errors import DataError, OutputError, RunError
from fer_edge.devices.files import write_json
from fer_edge.train.dataset import Dataset

Watch = Callable[[str, dict[str, Any]], None]


def run_sweep(
    sweep: Sweep, data: Dataset, out: Path, about: dict[str, Any], *, resume: bool, watch: Watch
) -> dict[str, Any]:
    """Run what is left of the sweep and return sweep.json; it is written whatever happens meanwhile.

    Args:
        sweep: what the file says.
        data: the cache; its folder is where every machine finds it.
        out: folder of the sweep, new unless `resume`.
        about: what goes before the results in sweep.json: command and time.
        resume: go on with the sweep in `out`; its file may say more or less than it did.
        watch: progress, with a trial's id and figures.

    Raises:
        OutputError: `out` holds something, or another process is at work there.
        RunError: nothing to resume, a file of a trial cannot be read, or Ray does not start.
        DataError: other data than the sweep was started with, or too few images for its splits.
    """
    _check_place(out, data, resume=resume)
    _check_data(sweep, data)
    jobs = jobs_of(sweep, data, out)
    out.mkdir(parents=True, exist_ok=True)
    with _alone(out):
        (out / "trials").mkdir(exist_ok=True)
        todo = _to_do(jobs, asha=sweep.search.early_stopping == "asha")
        write_json(out / SWEEP, {**about, **result(sweep, jobs, data)})
        try:
            if todo:
                from fer_edge.convert.sweep_ray import run_jobs

                run_jobs(todo, sweep.search, sweep.where, (out / "ray").resolve(), watch)
        finally:
            made = {**about, **result(sweep, jobs, data)}
            write_json(out / SWEEP, made)
    return made


def jobs_of(sweep: Sweep, data: Dataset, out: Path) -> tuple[Job, ...]:
    """A job for every training."""
    place = (data.folder or Path()).resolve()
    return tuple(
        Job(one, sweep.quantize, trial_folder(out.resolve(), one.id), place, data.sha256, sweep.search.cores)
        for one in sweep.trainings
    )


def _to_do(jobs: tuple[Job, ...], *, asha: bool) -> list[Job]:
    """The jobs that Ray is to run. With ASHA also those that have ended: it judges the others by their epochs."""
    ended = [job for job in jobs if is_done(job) or (asha and outcome_of(job.folder).get("status") == "stopped")]
    rest = [job for job in jobs if job not in ended]
    for job in rest:
        if outcome_of(job.folder).get("status") in ("failed", "stopped"):
            (job.folder / OUTCOME).unlink()
    return [*ended, *rest] if asha and rest else rest


def _check_place(out: Path, data: Dataset, *, resume: bool) -> None:
    stored = out / SWEEP
    if resume:
        if not stored.is_file():
            raise RunError(f"{out} holds no sweep to resume (no {SWEEP}); leave --resume out to start one")
        try:
            before = json.loads(stored.read_text(encoding="utf-8"))["data"]["sha256"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{stored} cannot be read ({error}); start again in another --out") from error
        if before != data.sha256:
            raise DataError(f"{out} is a sweep on data {before[:12]}, not {data.sha256[:12]}; give the same --data")
    elif stored.exists():
        raise OutputError(f"{out} holds a sweep already; continue it with --resume, or choose another --out")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{out} exists and is no sweep; choose another --out")


def _check_data(sweep: Sweep, data: Dataset) -> None:
    """What every trial would fail with is said before the first one."""
    if sweep.quantize is not None:
        if sweep.quantize.split != "val":
            data.held_out(sweep.quantize.split)
        most = max(one.images for one in sweep.quantize.settings)
        have = len(data.rows("train"))
        if most > have:
            raise DataError(f"[quantize] calibration_images {most:,} is more than the data's {have:,} training images")
    for one in sweep.trainings:
        if data.votes is None and getattr(one.recipe, "labels", "fer2013") != "fer2013":
            raise DataError(
                f"[train] labels = {one.recipe.labels!r}, and the data has no FER+ votes; "  # type: ignore[union-attr]
                "import the CSV with fer2013new.csv beside it, or use its labels"
            )


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    with (out / "sweep.lock").open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # given back by the system, even after a kill
        except OSError:
            raise OutputError(f"another process runs the sweep in {out}; wait for it or stop it") from None
        yield

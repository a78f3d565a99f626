"""Runs the trials of a sweep on Ray Tune: on this machine, or on a cluster that runs.

Ray decides what runs when and where, takes each epoch's report and stops what ASHA gives up. What must outlive it, the
runs and their outcomes, stands in the trials' folders: Ray's own files may be deleted.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is sent anywhere
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is ours: the results so far are written, and the exit code is 130
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a trial that fails in its first epoch has reported nothing
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S": "3600",
    "RAY_worker_niceness": "0",  # Ray's 15 starves beside any other work; `nice fer-edge sweep` is still heeded
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
for _name, _value in _QUIET.items():
    os.environ.setdefault(_name, _value)  # Ray reads them while it is imported

import ray  # noqa: E402
from ray import tune  # noqa: E402
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler  # noqa: E402

from fer_edge.convert.sweep_trial import JUDGED, Job, outcome_of, run_trial, write_outcome  # noqa: E402
from fer_edge.devices.errors import RunError  # noqa: E402
from fer_edge.devices.machine import usable_cores  # noqa: E402
from fer_edge.train.sweep_search import HIGHER_IS_BETTER, Search, Where  # noqa: E402

_STARTS = 4
Watch = Callable[[str, dict[str, Any]], None]
"""Called with a trial's id and its figures after each epoch, and with `finished`, `stopped` or `failed` at its end."""


def run_jobs(jobs: Sequence[Job], search: Search, where: Where, storage: Path, watch: Watch) -> None:
    """Run every job to its end; what became of each stands in its folder.

    Args:
        jobs: in the order in which they are to be started.
        search: metric, early stopping, cores of a trial.
        where: this machine, or a cluster.
        storage: folder for Ray Tune's own files.
        watch: progress.

    Raises:
        RunError: Ray does not start, the cluster cannot be reached, or no machine of it has the cores of a trial.
    """
    by_id = {job.training.id: job for job in jobs}
    with _ray(where, search):
        trainable = tune.with_resources(_trainable(by_id), {"CPU": search.cores, "GPU": search.gpus})
        tuner = tune.Tuner(
            trainable,
            param_space={"trial": tune.grid_search(list(by_id))},
            tune_config=tune.TuneConfig(
                metric=search.metric,
                mode="max" if HIGHER_IS_BETTER[search.metric] else "min",
                scheduler=_scheduler(jobs, search),
                max_concurrent_trials=search.concurrency,
                reuse_actors=True,  # starting TensorFlow and the converters anew costs more than a small training
                trial_dirname_creator=lambda trial: f"{trial.trial_id}",
            ),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=str(storage),
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=where.retries),
                callbacks=[_Outcomes(by_id, watch)],
            ),
        )
        tuner.fit()


def _trainable(by_id: dict[str, Job]) -> Callable[[dict[str, Any]], None]:
    def fer_edge_trial(config: dict[str, Any]) -> None:
        run_trial(by_id[config["trial"]], tune.report)

    return fer_edge_trial


def _scheduler(jobs: Sequence[Job], search: Search) -> TrialScheduler:
    if search.early_stopping == "none":
        return FIFOScheduler()
    longest = max(getattr(job.training.recipe, "epochs", 1) for job in jobs)
    return ASHAScheduler(
        time_attr=JUDGED,
        max_t=longest,  # never reached: the last epoch is not judged
        grace_period=min(search.grace_epochs, longest),
        reduction_factor=search.reduction,
    )


class _Outcomes(tune.Callback):
    """Writes what only Ray knows: that a trial was stopped early, or that its process died."""

    def __init__(self, by_id: dict[str, Job], watch: Watch) -> None:
        self._by_id, self._watch = by_id, watch

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Ray stores its tuner, which we never restore, and a progress bar cannot be stored

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        self._watch(trial.config["trial"], result)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        job = self._by_id[trial.config["trial"]]
        if not outcome_of(job.folder):
            write_outcome(job.folder, "stopped")
        self._watch(job.training.id, outcome_of(job.folder))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        job = self._by_id[trial.config["trial"]]
        told = Path(trial.error_file).read_text(encoding="utf-8").strip() if trial.error_file else ""
        job.folder.mkdir(parents=True, exist_ok=True)
        (job.folder / "error.txt").write_text(told + "\n", encoding="utf-8")
        last = told.splitlines()[-1].strip() if told else "its process died"
        write_outcome(job.folder, "failed", f"{last} (all of it: {job.folder / 'error.txt'})")
        self._watch(job.training.id, {"status": "failed"})


@contextmanager
def _ray(where: Where, search: Search) -> Iterator[None]:
    """Ray, started or joined, with room for a trial; shut down at the end, with the files that it left in /tmp."""
    if ray.is_initialized():
        raise RunError("Ray is running in this process already; run: fer-edge sweep, in a process of its own")
    threads = str(search.cores)
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "LOKY_MAX_CPU_COUNT")
    variables = dict.fromkeys(names, threads) | ({"TF_FORCE_GPU_ALLOW_GROWTH": "true"} if search.gpus else {})
    given: dict[str, Any] = {"runtime_env": {"env_vars": variables}, "log_to_driver": False, "logging_level": "ERROR"}
    own = None
    if where.address == "local":
        own = tempfile.mkdtemp(prefix="fer-edge-ray-", dir="/tmp")  # a socket's path has 107 bytes: not under TMPDIR
        given |= {
            "num_cpus": usable_cores(),
            "object_store_memory": where.object_store_mb << 20,
            "include_dashboard": False,
            "_temp_dir": own,
        }
    try:
        _start(where.address, given)
        _check_room(search)
        yield
    finally:
        ray.shutdown()
        if own is not None:
            shutil.rmtree(own, ignore_errors=True)


def _start(address: str, given: dict[str, Any]) -> None:
    """Start or join Ray. On a busy machine it gives itself up after 30 s; what it has loaded helps the next start."""
    for _ in range(_STARTS):
        try:
            ray.init(address=address, **given)
            return
        except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
            raise RunError(f"Ray at address {address!r} does not answer: {_first(error)}") from error
        except Exception as error:
            if "timed out during startup" not in str(error):  # Ray has no class of its own for this
                raise
    raise RunError(f"Ray did not start, {_STARTS} times 30 s long: this machine is too busy, or short of memory")


def _check_room(search: Search) -> None:
    """Raises RunError unless one machine has the cores and GPUs of a trial: Ray would wait for it for ever."""
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if any(have.get("CPU", 0) >= search.cores and have.get("GPU", 0) >= search.gpus for have in alive):
        return
    most = max((int(have.get("CPU", 0)) for have in alive), default=0)
    raise RunError(
        f"a trial is to have {search.cores} cores and {search.gpus:g} GPUs, and no machine has both "
        f"(most cores: {most}); lower cores or gpus in [search]"
    )


def _first(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]

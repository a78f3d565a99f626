"""One worker of a run that several processes share, on Keras' distribution API over JAX.

All workers hold the same weights, take equal parts of every batch, and compute one gradient of the whole batch.
Worker 0 alone has the run folder; the others get recipe, history and checkpoint from it, and need only the same data.
"""

import hashlib
import json
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import keras
import numpy as np
from jax.experimental import multihost_utils
from numpy.typing import NDArray

from fer_edge.devices.errors import FerEdgeError, RunError
from fer_edge.devices.files import write_json
from fer_edge.train import fit
from fer_edge.train.dataset import Dataset, load_dataset
from fer_edge.train.recipe import Recipe
from fer_edge.train.run_folder import Epoch, RunFolder
from fer_edge.train.worker import Job, LostError, Reports

CONNECT_S = 300
HEARTBEAT_S = 60
"""A host that falls silent, with no word from its system that a connection is closed, is missed after so long."""

_OTHERS = re.compile("gloo|coordination|heartbeat|DEADLINE_EXCEEDED|UNAVAILABLE", re.IGNORECASE)
"""What JAX's errors speak of when it is another process that failed."""


def train_together(job: Job, reports: Reports) -> None:
    """Do one worker's part of a run, from finding the others to its end.

    Raises:
        LostError: another worker is gone.
        RunError: the run cannot begin or go on, see `fit.train`; or the workers were started differently.
        DataError: the data cannot be read.
    """
    try:
        _train(job, reports)
    except (jax.errors.JaxRuntimeError, ValueError) as error:  # a collective's error is the one or the other
        if _OTHERS.search(str(error)):
            raise LostError(str(error)) from error
        raise


def _train(job: Job, reports: Reports) -> None:
    data = load_dataset(Path(job.data))
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    # This is what keras.distribution.initialize calls; it passes no time limit on.
    jax.distributed.initialize(
        job.coordinator, job.count, job.index, initialization_timeout=CONNECT_S, heartbeat_timeout_seconds=HEARTBEAT_S
    )
    workers = Workers(job)
    workers.check_alike(data)
    if job.index:
        _follow(data, workers, reports)
    else:
        _lead(data, workers, reports)
    multihost_utils.sync_global_devices("the run is finished")
    jax.distributed.shutdown()


def _lead(data: Dataset, workers: "Workers", reports: Reports) -> None:
    job, folder = workers.job, Path(workers.job.folder)
    try:
        fit.train(
            data,
            RunFolder(folder).recipe() if job.recipe is None else Recipe.from_json(job.recipe),
            folder,
            resume=job.recipe is None,
            on_batch=reports.batch,
            on_epoch=reports.epoch,
            team=workers,
        )
    except FerEdgeError as error:
        workers.end_before_begin(str(error))
        raise
    workers.end_before_begin(None)


def _follow(data: Dataset, workers: "Workers", reports: Reports) -> None:
    begin, checkpoint = workers.hear()
    if "end" in begin:
        if begin["end"] is not None:
            raise RunError(f"worker 0: {begin['end']}")
        return
    with tempfile.TemporaryDirectory() as folder:
        path = None
        if checkpoint:
            path = Path(folder) / "checkpoint.keras"
            path.write_bytes(checkpoint)
        fit.fit_epochs(
            data,
            Recipe.from_json(begin["recipe"]),
            begin["history"],
            path,
            reports.batch,
            lambda _, history: reports.epoch(history[-1]),
            workers,
        )


class Workers:
    """The team as one of its workers sees it, see `Team`."""

    def __init__(self, job: Job) -> None:
        self.job, self.shard = job, (job.index, job.count)
        self._has_begun = False

    def check_alike(self, data: Dataset) -> None:
        """Whether all were started on the same data with the same options.

        Raises:
            RunError: a worker was not.
        """
        for what, value in (("data", data.sha256), ("options", json.dumps(self.job.recipe, sort_keys=True))):
            digests = _gathered(hashlib.sha256(value.encode()).digest())
            for index, digest in enumerate(digests):
                if digest != digests[0]:
                    raise RunError(f"worker {index} was started with other {what} than worker 0; give all the same")

    def begin(self, recipe: Recipe, history: Sequence[Epoch], checkpoint: Path | None) -> None:
        """Send the others what they begin with."""
        self._tell(
            {"recipe": recipe.to_json(), "history": list(history)}, checkpoint.read_bytes() if checkpoint else b""
        )

    def end_before_begin(self, why: str | None) -> None:
        """Let the others go, if they are still waiting to begin: with a reason, or None where the run is finished."""
        if not self._has_begun:
            self._tell({"end": why}, b"")

    @contextmanager
    def sharing(self) -> Iterator[None]:
        """Weights on one device of every worker, a batch in parts over them."""
        first = {device.process_index: device for device in reversed(jax.devices())}
        devices = [f"{first[index].platform}:{first[index].id}" for index in range(self.job.count)]
        keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices, auto_shard_dataset=False))
        try:
            yield
        finally:
            keras.distribution.set_distribution(None)

    @contextmanager
    def apart(self, model: keras.Model, epoch: int) -> Iterator[None]:
        """Compare the weights of all workers, and write their hashes into workers.json.

        What saving creates, were it shared, would wait for the others for ever: they do not save.
        """
        digest = hashlib.sha256(b"".join(_own(variable).tobytes() for variable in model.weights)).digest()
        digests = [one.hex() for one in _gathered(digest)]
        if len(set(digests)) > 1:
            raise RunError(f"after epoch {epoch} the workers' weights differ ({', '.join(d[:12] for d in digests)})")
        if self.job.index == 0:
            self._note(epoch, digests)
        shared = keras.distribution.distribution()
        keras.distribution.set_distribution(None)
        try:
            yield
        finally:
            keras.distribution.set_distribution(shared)

    def hear(self) -> tuple[dict[str, Any], bytes]:
        """What worker 0 tells: a value, and bytes."""
        text, blob = (self._broadcast(b"") for _ in range(2))
        return json.loads(text), blob

    def _tell(self, value: dict[str, Any], blob: bytes) -> None:
        self._has_begun = True
        self._broadcast(json.dumps(value).encode())
        self._broadcast(blob)

    def _broadcast(self, content: bytes) -> bytes:
        """Worker 0's content; the others learn its size first."""
        size = int(multihost_utils.broadcast_one_to_all(np.array(len(content))))
        mine = np.frombuffer(content, np.uint8) if self.job.index == 0 else np.zeros(size, np.uint8)
        return np.asarray(multihost_utils.broadcast_one_to_all(mine)).astype(np.uint8).tobytes() if size else b""

    def _note(self, epoch: int, digests: list[str]) -> None:
        path = Path(self.job.folder) / "workers.json"
        earlier = json.loads(path.read_text()) if path.is_file() else []
        row = {"epoch": epoch, "workers": self.job.count, "weights_sha256": digests}
        write_json(path, [*(one for one in earlier if one["epoch"] < epoch), row])


def _own(variable: Any) -> NDArray:
    """A shared variable's value, read from this process's device without asking the others."""
    return np.asarray(variable.value.addressable_data(0))


def _gathered(digest: bytes) -> list[bytes]:
    """The digests of all workers, in their order."""
    mine = np.frombuffer(digest, np.uint8)
    rows = np.asarray(multihost_utils.process_allgather(mine)).reshape(-1, len(mine))
    return [row.astype(np.uint8).tobytes() for row in rows]

"""A training run on disk: recipe, data hash, history, checkpoints, environment, curves, final model.

    recipe.json  environment.json  history.json  curves.png  model.keras  checkpoints/epoch-NNN.keras

An epoch counts once it stands in history.json; its checkpoint is written before that, so a kill at any moment leaves a
folder that `resume` continues. Imports neither Keras nor TensorFlow, so that other commands can read a run quickly.
"""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer_edge.devices.errors import RunError
from fer_edge.devices.files import sha256_of, write_json
from fer_edge.train.recipes import Recipe

SCHEMA = 1
Epoch = dict[str, float]
"""One epoch's figures: epoch (1-based), learning_rate, seconds, loss, accuracy, val_loss, val_accuracy."""


@dataclass(frozen=True)
class RunFolder:
    """Paths of one run, and its small files."""

    path: Path

    @property
    def model(self) -> Path:
        """The finished network, float32, ready to convert."""
        return self.path / "model.keras"

    def checkpoint(self, epoch: int) -> Path:
        """The whole training state after a 1-based epoch."""
        return self.path / "checkpoints" / f"epoch-{epoch:03d}.keras"

    def create(self, recipe: Recipe, data: dict[str, str], environment: dict[str, Any]) -> None:
        """Start a run; `data` says what it is trained on: data_sha256, data_source and, where known, data_path.

        Raises:
            RunError: a run is there already.
        """
        if (self.path / "recipe.json").exists() or self.model.exists():
            raise RunError(f"{self.path} holds a run already; continue it with --resume, or choose another --out")
        (self.path / "checkpoints").mkdir(parents=True, exist_ok=True)
        write_json(self.path / "environment.json", environment)
        write_json(self.path / "history.json", [])
        write_json(
            self.path / "recipe.json",
            {"schema": SCHEMA, "recipe": recipe.to_json(), **data},
        )

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the run for this process: two that train in one folder would drop each other's checkpoints.

        Raises:
            RunError: another process trains here.
        """
        with (self.path / "recipe.json").open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # given back by the system, even after a kill
            except OSError:
                raise RunError(f"another process is training in {self.path}; wait for it or stop it") from None
            yield

    def about(self) -> dict[str, Any]:
        """recipe.json as it stands.

        Raises:
            RunError: the folder is no run, or one of another schema.
        """
        about = self._read("recipe.json")
        if about.get("schema") != SCHEMA:
            raise RunError(f"{self.path} is a run of schema {about.get('schema')!r}, expected {SCHEMA}")
        return about

    def recipe(self) -> Recipe:
        """The recipe that the run was started with."""
        return Recipe.from_json(self.about()["recipe"])

    def history(self) -> list[Epoch]:
        """The finished epochs, oldest first."""
        return self._read("history.json")

    def record(self, history: list[Epoch], keep: set[int]) -> None:
        """Make the latest epoch count, then drop the checkpoints that are no longer needed."""
        write_json(self.path / "history.json", history)
        for old in (self.path / "checkpoints").glob("epoch-*.keras"):
            if old not in {self.checkpoint(epoch) for epoch in keep}:
                old.unlink()

    def finished_model(self) -> Path:
        """Path of the final model.

        Raises:
            RunError: the run was not finished.
        """
        self.about()
        if not self.model.is_file():
            raise RunError(
                f"{self.path} is not finished (no model.keras); "
                f"run: fer-edge train --data CACHE --resume --out {self.path}"
            )
        return self.model

    def identity(self) -> str:
        """A short id of the finished run: the hash of its final model."""
        return sha256_of(self.finished_model())[:16]

    def _read(self, name: str) -> Any:
        try:
            return json.loads((self.path / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise RunError(
                f"{self.path} is not a training run (no {name}); make one: fer-edge train --data CACHE"
            ) from None
        except (OSError, ValueError) as error:
            raise RunError(f"{self.path / name} cannot be read ({error})") from error

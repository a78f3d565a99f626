"""A training run on disk: recipe, data hash, history, checkpoints, environment, curves, final model.

    recipe.json  environment.json  history.json  curves.png  model.keras  checkpoints/epoch-NNN.keras  ranges.json

A scikit-learn model is model.joblib, and has neither curves nor checkpoints. ranges.json is of a quantization-aware run
alone.

An epoch counts once it stands in history.json; its checkpoint is written before that, so a kill at any moment leaves a
folder that `resume` continues. Imports neither Keras nor TensorFlow, so that other commands can read a run quickly.
"""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer_edge.devices.errors import RunError
from fer_edge.devices.files import sha256_of, write_json
from fer_edge.edge_runtime.vocabulary import EMOTIONS
from fer_edge.train.recipe import AnyRecipe, ClassicalRecipe, EnsembleRecipe, Recipe
from fer_edge.train.zoo import MODELS

SCHEMA = 1
RECIPE_FILE = "recipe.json"
Epoch = dict[str, float]
"""One epoch's figures: epoch (1-based), learning_rate, seconds, loss, accuracy, val_loss, val_accuracy.

A model without epochs has one without a rate; an autoencoder has no accuracy, and an ensemble nothing but validation's.
"""


@dataclass(frozen=True)
class RunFolder:
    """Paths of one run, and its small files."""

    path: Path

    @property
    def model(self) -> Path:
        """The finished model; a network is float32 and ready to convert."""
        return self.path / ("model.joblib" if MODELS[self.recipe().model].kind == "sklearn" else "model.keras")

    def is_finished(self) -> bool:
        """Whether the training has come to its end."""
        return self.model.is_file()

    def checkpoint(self, epoch: int) -> Path:
        """The whole training state after a 1-based epoch."""
        return self.path / "checkpoints" / f"epoch-{epoch:03d}.keras"

    def create(self, recipe: AnyRecipe, data: dict[str, Any], environment: dict[str, Any]) -> None:
        """Start a run; `data` says what it is trained on: data_sha256, data_source and, where known, data_path;
        and in begun_with, where it has some, what the weights that it begins with have seen (`trained_on.before`).

        Raises:
            RunError: a run is there already.
        """
        self.refuse_occupied()
        (self.path / "checkpoints").mkdir(parents=True, exist_ok=True)
        write_json(self.path / "environment.json", environment)
        write_json(self.path / "history.json", [])
        write_json(
            self.path / RECIPE_FILE,
            {"schema": SCHEMA, "recipe": recipe.to_json(), **data},
        )

    def rewrite(self, recipe: AnyRecipe) -> None:
        """Put a recipe in the place of the one that the run was started with."""
        write_json(self.path / RECIPE_FILE, self.about() | {"recipe": recipe.to_json()})

    def refuse_occupied(self) -> None:
        """Say that a new run has no place here.

        Raises:
            RunError: a run is there already.
        """
        if any((self.path / name).exists() for name in (RECIPE_FILE, "model.keras", "model.joblib")):
            raise RunError(f"{self.path} holds a run already; continue it with --resume, or choose another --out")

    def discard(self) -> None:
        """Take back `create`, for a run that could not begin; a folder that holds anything else stays."""
        for name in (RECIPE_FILE, "environment.json", "history.json"):
            (self.path / name).unlink(missing_ok=True)
        with suppress(OSError):
            (self.path / "checkpoints").rmdir()
            self.path.rmdir()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the run for this process: two that train in one folder would drop each other's checkpoints.

        Raises:
            RunError: another process trains here.
        """
        with (self.path / RECIPE_FILE).open("rb") as file:
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
        about = self._read(RECIPE_FILE)
        if about.get("schema") != SCHEMA:
            raise RunError(f"{self.path} is a run of schema {about.get('schema')!r}, expected {SCHEMA}")
        return about

    def recipe(self) -> AnyRecipe:
        """The recipe that the run was started with.

        Raises:
            RunError: it is of a model or has keys that this version does not know.
        """
        values = self.about()["recipe"]
        kind = MODELS[values["model"]].kind if values.get("model") in MODELS else None
        if kind is None:
            raise RunError(f"{self.path} is a run of model {values.get('model')!r}, which this version does not know")
        kinds: dict[str, type[AnyRecipe]] = {"sklearn": ClassicalRecipe, "ensemble": EnsembleRecipe}
        return kinds.get(kind, Recipe).from_json(values)

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
                f"{self.path} is not finished (no {self.model.name}); "
                f"run: fer-edge train --data CACHE --resume --out {self.path}"
            )
        return self.model

    def network(self) -> Path:
        """Path of the final network.

        Raises:
            RunError: the run was not finished, or its model is none that names the seven emotions by layers.
        """
        path, recipe = self.finished_model(), self.recipe()
        name = recipe.model
        if isinstance(recipe, Recipe) and recipe.class_count != len(EMOTIONS):
            raise RunError(
                f"{self.path} knows FER+'s {recipe.class_count} classes, a bundle has the {len(EMOTIONS)} emotions; "
                "train with --labels votes"
            )
        if MODELS[name].kind not in ("keras", "ensemble"):
            raise RunError(f"{self.path} is a {name}, which cannot be converted; convert takes networks with logits")
        return path

    def write_ranges(self, ranges: dict[str, tuple[float, float]]) -> None:
        """Keep the low and high end of each place that int8 rounds, as they were trained with."""
        write_json(self.path / "ranges.json", ranges)

    def learned_ranges(self) -> dict[str, tuple[float, float]] | None:
        """Low and high end by place, or None where the run was not quantization-aware."""
        if not (self.path / "ranges.json").is_file():
            return None
        return {name: (float(low), float(high)) for name, (low, high) in self._read("ranges.json").items()}

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

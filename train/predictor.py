"""A finished run as something that takes faces and gives logits, whatever library it was made with."""

import pickle
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fer_edge.devices.errors import RunError
from fer_edge.train.recipe import ClassicalRecipe, Recipe
from fer_edge.train.run_folder import RunFolder
from fer_edge.train.targets import class_names
from fer_edge.train.zoo import MODELS


class Predictor(Protocol):
    """Faces in, logits out. `keras_model` and `sklearn_model` are what it stands on, None where it is not that."""

    @property
    def names(self) -> tuple[str, ...]:
        """The classes, in the order of the logits."""

    @property
    def keras_model(self) -> Any:
        """The network, or None."""

    @property
    def sklearn_model(self) -> Any:
        """The pipeline, or None."""

    def logits(self, faces_u8: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits (N, len(names)) of faces (N, 48, 48) uint8; a forest's are logarithms of its trees' shares."""


@dataclass(frozen=True, eq=False)
class KerasPredictor:
    """A network."""

    keras_model: Any
    names: tuple[str, ...]
    sklearn_model: Any = None

    def logits(self, faces_u8: NDArray[np.uint8]) -> NDArray[np.float32]:
        """As `Predictor` says."""
        from fer_edge.train.feed import predicted

        return predicted(self.keras_model, np.asarray(faces_u8)[..., None])


@dataclass(frozen=True, eq=False)
class SklearnPredictor:
    """A scikit-learn pipeline."""

    sklearn_model: Any
    names: tuple[str, ...]
    keras_model: Any = None

    def logits(self, faces_u8: NDArray[np.uint8]) -> NDArray[np.float32]:
        """As `Predictor` says."""
        from fer_edge.train.classical import log_scores

        return log_scores(self.sklearn_model, faces_u8)


def open_run(run: RunFolder) -> Predictor:
    """Load a finished run's model. A scikit-learn model is a pickle: open none that you did not train or trust.

    Raises:
        RunError: the run is unfinished, its model is damaged, or it gives no logits.
    """
    recipe, path = run.recipe(), run.finished_model()
    if MODELS[recipe.model].kind == "autoencoder":
        raise RunError(f"{run.path} is an autoencoder, which names no emotions")
    if isinstance(recipe, ClassicalRecipe):
        import joblib

        try:
            return SklearnPredictor(joblib.load(path), class_names(7))
        except (OSError, ValueError, EOFError, KeyError, AttributeError, pickle.UnpicklingError) as error:
            raise RunError(f"{path} cannot be read as a scikit-learn model ({error})") from error
    from fer_edge.train.models import load_network

    network = load_network(path)
    return KerasPredictor(
        network, class_names(recipe.class_count if isinstance(recipe, Recipe) else network.output_shape[-1])
    )

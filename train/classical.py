"""The scikit-learn models of the comparison: logistic regression and a random forest on flattened pixels."""

import time
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from fer_edge.devices.errors import RunError
from fer_edge.devices.files import replacing_file
from fer_edge.edge_runtime.vocabulary import EMOTIONS
from fer_edge.train.dataset import Dataset
from fer_edge.train.recipe import ClassicalRecipe
from fer_edge.train.run_folder import Epoch, RunFolder
from fer_edge.train.split import fit_part, rows_of

LEAST_PROBABILITY = 1e-6
"""What a forest's votes of 0 count as in a logarithm."""


def build_classical(recipe: ClassicalRecipe) -> Pipeline:
    """The unfitted model. Takes pixels (N, 2304)."""
    weight = "balanced" if recipe.class_weights else None
    if recipe.model == "logreg":
        return make_pipeline(
            StandardScaler(),
            PCA(recipe.components, random_state=recipe.seed),
            LogisticRegression(
                C=recipe.inverse_penalty, max_iter=recipe.iterations, tol=recipe.tolerance, class_weight=weight
            ),
        )
    forest = RandomForestClassifier(
        recipe.trees, max_depth=recipe.depth, class_weight=weight, random_state=recipe.seed, n_jobs=-1
    )
    return make_pipeline(forest)


def fit_classical(data: Dataset, recipe: ClassicalRecipe, run: RunFolder) -> Epoch:
    """Fit, write the model, and return the figures of its one epoch.

    Raises:
        RunError: fewer faces than principal components.
    """
    fit_rows, val_rows = rows_of(data, recipe)
    fit_rows = fit_part(data, fit_rows, recipe.train_fraction, recipe.seed)
    if recipe.model == "logreg" and len(fit_rows) < recipe.components:
        raise RunError(
            f"{len(fit_rows)} faces cannot have {recipe.components} principal components; "
            f"give --set components={len(fit_rows) // 2}, or --full"
        )
    start = time.perf_counter()
    model = build_classical(recipe).fit(flat(data.faces[fit_rows]), data.labels[fit_rows])
    seconds = round(time.perf_counter() - start, 1)
    with replacing_file(run.model) as temporary:
        joblib.dump(model, temporary, compress=3)
    return {
        "epoch": 1,
        "seconds": seconds,
        **_figures(model, data, fit_rows, ""),
        **_figures(model, data, val_rows, "val_"),
    }


def flat(faces: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Faces (N, 48, 48) as rows of pixels (N, 2304)."""
    return np.asarray(faces).reshape(len(faces), -1)


def log_scores(model: Any, faces: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What serves as logits (N, 7): the regression's own, and the logarithm of the share of a forest's trees."""
    if hasattr(model[-1], "decision_function"):
        return np.asarray(model.decision_function(flat(faces)), np.float32)
    return np.log(np.maximum(model.predict_proba(flat(faces)), LEAST_PROBABILITY)).astype(np.float32)


def _figures(model: Pipeline, data: Dataset, rows: NDArray[np.int64], prefix: str) -> dict[str, float]:
    said = model.predict_proba(flat(data.faces[rows]))
    labels = data.labels[rows]
    return {
        f"{prefix}loss": float(log_loss(labels, said, labels=range(len(EMOTIONS)))),
        f"{prefix}accuracy": float((said.argmax(1) == labels).mean()),
    }

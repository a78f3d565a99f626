"""What one model's accuracy is under noise, blur, wrong light, a covered face and JPEG."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_edge.train.degrade_conditions import blur, bright, dark, jpeg, noise, occlusion
from fer_edge.train.eval_scores import share
from fer_edge.train.eval_subject import Infer

CONDITIONS = (
    *map(noise, (0.05, 0.1, 0.2)),
    *map(blur, (1.0, 2.0)),
    *map(dark, (0.5, 0.25)),
    *map(bright, (1.5, 2.0)),
    *map(occlusion, (0.25, 0.5)),
    *map(jpeg, (50, 20, 10)),
)


def under_conditions(
    faces: NDArray[np.uint8],
    labels: NDArray[np.int64],
    logits: Infer,
    step: Callable[[str], None],
    seed: int = 0,
) -> list[dict[str, Any]]:
    """A row a condition: `condition`, `level`, `what`, `images`, `accuracy`, `accuracy_interval`.

    Args:
        faces: (N, 48, 48) uint8 as they are.
        labels: (N,) their classes.
        logits: the model.
        step: called with what is being done.
        seed: of noise and of the places that are covered; what is drawn hangs on seed and condition alone.
    """
    rows = []
    for at, condition in enumerate(CONDITIONS):
        step(f"under {condition.what}")
        bad = condition.apply(faces, np.random.default_rng([seed, 10, at]))
        rows.append(
            {
                "condition": condition.kind,
                "level": condition.level,
                "what": condition.what,
                "images": len(faces),
                **share(logits(bad).argmax(axis=1) == labels),
            }
        )
    return rows

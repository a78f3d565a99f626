"""What noise, blur and darkness cost, float and int8 side by side on the very same pixels. Runs no engine itself.

Owns which conditions. What they do to faces is `train/degrade_conditions.py`'s.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_edge.convert.judge import difference
from fer_edge.convert.judge_logits import kl_by_image
from fer_edge.train.degrade_conditions import AS_THEY_ARE, Condition, blur, dark, noise

NOISES = (0.05, 0.1, 0.2)
"""Standard deviation of Gaussian noise, of the full range of 255 grays."""
SIGMAS_PX = (0.5, 1.0, 1.5, 2.0)
EXPOSURES = (0.5, 0.25, 0.1)

Faces = NDArray[np.uint8]
Infer = Callable[[Faces], NDArray[np.float32]]
"""Logits (N, 7) of faces (N, 48, 48) uint8."""

CONDITIONS = (*map(noise, NOISES), *map(blur, SIGMAS_PX), *map(dark, EXPOSURES))


def degraded(faces: Faces, seed: int) -> Iterator[tuple[Condition, Faces]]:
    """Every condition with the faces (N, 48, 48) uint8 under it; its noise hangs on seed and condition alone."""
    for at, condition in enumerate(CONDITIONS):
        yield condition, condition.apply(faces, np.random.default_rng([seed, 9, at]))


def judge_robustness(
    faces: Faces,
    labels: NDArray[np.uint8],
    models: dict[str, Infer],
    known: dict[str, NDArray[np.float32]],
    reference: str,
    step: Callable[[str], None],
    seed: int = 0,
) -> dict[str, Any]:
    """`conditions`, and by model a row for each: accuracy, and what is lost against the reference, with intervals.

    Args:
        faces: (N, 48, 48) uint8, as they are.
        labels: (N,) their emotions.
        models: by name; the reference is among them.
        known: logits (N, 7) of the same models on the faces as they are.
        reference: the float model that the others are compared with.
        step: called with what is being done.
        seed: of the noise.
    """
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in models}

    def add(logits: dict[str, NDArray[np.float32]]) -> None:
        theirs = logits[reference]
        for name, row in rows.items():
            ours = logits[name]
            named = ours.argmax(1)
            row.append(
                {
                    **difference(named == labels, theirs.argmax(1) == labels),
                    "flips": int((named != theirs.argmax(1)).sum()),
                    "mean_kl": float(kl_by_image(theirs, ours).mean()),
                }
            )

    add(known)
    for condition, bad in degraded(faces, seed):
        step(f"{condition.what}: {', '.join(models)}")
        add({name: infer(bad) for name, infer in models.items()})
    conditions = [{"kind": c.kind, "level": c.level, "what": c.what} for c in (AS_THEY_ARE, *CONDITIONS)]
    return {"seed": seed, "conditions": conditions, "models": rows}

"""Takes outliers, leaking duplicates and blank images out of Training, and removes noise on request.

Owns what may be touched: only Training loses images, so that what a model is judged on stays the same; denoising alone
changes pixels, and then those of every split alike. Must not know Keras: errors of an autoencoder come as numbers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_edge.devices.errors import DataError, RunError
from fer_edge.train.audit import by_emotion, leaks
from fer_edge.train.dataset import SPLITS, Dataset, build_dataset
from fer_edge.train.duplicates import BLANK_DEVIATION, Duplicates, Rows, is_blank
from fer_edge.train.run_folder import RunFolder
from fer_edge.train.zoo import MODELS

NLM_STRENGTH = 5.0
NLM_TEMPLATE, NLM_SEARCH = 3, 11
"""Non-local means (Buades et al. 2011): sides in pixels of a patch and of the window it is looked for in.

OpenCV's 7 and 21 are for photos; in 48 pixels a patch of 7 is an eye.
"""


@dataclass(frozen=True, eq=False)
class Removal:
    """A step that removes: its name, the rows that go, ascending, and its part of the record.

    `scores` (N,) is what the step went by, for all N images, where it went by a number.
    """

    step: str
    rows: Rows
    about: dict[str, Any]
    scores: NDArray[np.float64] | None = None


def check_autoencoder(run: RunFolder, percentile: float) -> None:
    """Say that outliers cannot be found before any work is done.

    Raises:
        DataError: the percentile is not above 0 and below 100.
        RunError: the run is none, is no autoencoder's, or is not finished.
    """
    if not 0 < percentile < 100:
        raise DataError(f"expected a percentile above 0 and below 100, got {percentile:g}; 98 removes 2%")
    model = run.recipe().model
    if MODELS[model].kind != "autoencoder":
        raise RunError(
            f"{run.path} is a {model}, not an autoencoder; train one: fer-edge train --data CACHE --model autoencoder"
        )
    run.finished_model()


def leaking(data: Dataset, found: Duplicates) -> Removal:
    """Images of Training that have a duplicate in a held-out split."""
    rule = {"most_bits": found.rule.distance, "least_likeness": found.rule.likeness}
    return Removal("across-splits", leaks(data, found), {"rule": rule})


def outliers(data: Dataset, errors: NDArray[np.float64], percentile: float, run: RunFolder) -> Removal:
    """Images of Training that the autoencoder reproduces worse than that percentile of Training.

    Args:
        data: the cache.
        errors: (N,) as `reconstruction_errors` gives them.
        percentile: where the threshold is.
        run: the autoencoder, for the record.

    Raises:
        DataError, RunError: as `check_autoencoder` says.
    """
    check_autoencoder(run, percentile)
    train = data.rows("train")
    threshold = float(np.percentile(errors[train], percentile))
    rows = train[errors[train] > threshold]
    about = {
        "autoencoder": run.identity(),
        "autoencoder_data_sha256": run.about()["data_sha256"],
        "percentile": percentile,
        "threshold_mse": threshold,
    }
    return Removal("outliers", rows, about, errors)


def blank(data: Dataset) -> Removal:
    """Images of Training that show nothing."""
    train = data.rows("train")
    return Removal("blank", train[is_blank(data.faces[train])], {"blank_deviation": BLANK_DEVIATION})


def cleaned(
    data: Dataset,
    removals: list[Removal],
    *,
    denoise: float | None = None,
    tick: Callable[[int], None] | None = None,
) -> Dataset:
    """The data without the removed images, in the old order, with a record of each step.

    Args:
        data: the cache.
        removals: every step's rows are of this data, so the order of the steps does not matter.
        denoise: strength of non-local means on every image that is left, of all splits; None leaves the pixels alone.
        tick: called now and then with the number of images denoised.

    Raises:
        DataError: nothing is asked for, or Training is left without one of the emotions.
    """
    if not removals and denoise is None:
        raise DataError("nothing to clean; ask for --autoencoder RUN, --across-splits, --blank or --denoise")
    gone = np.unique(np.concatenate([np.empty(0, np.int64), *(removal.rows for removal in removals)]))
    if (data.splits[gone] != SPLITS.index("train")).any():
        raise ValueError("only images of Training may be removed")
    kept = np.setdiff1d(np.arange(len(data.faces)), gone)
    faces = np.asarray(data.faces[kept])
    steps = [_record(data, removal) for removal in removals]
    if denoise is not None:
        faces = denoised(faces, denoise, tick)
        steps.append(
            {
                "step": "denoise",
                "method": "cv2.fastNlMeansDenoising",
                "strength": denoise,
                "patch_px": NLM_TEMPLATE,
                "search_px": NLM_SEARCH,
                "splits": [split for split in SPLITS if len(data.rows(split))],
            }
        )
    record = {"from_sha256": data.sha256, "images_before": len(data.faces), "removed": len(gone), "steps": steps}
    votes = None if data.votes is None else data.votes[kept]
    name = data.source if data.cleaned else f"{data.source}, cleaned"
    return build_dataset(faces, data.labels[kept], data.splits[kept], votes, name, (*data.cleaned, record))


def denoised(faces: NDArray[np.uint8], strength: float, tick: Callable[[int], None] | None = None) -> NDArray[np.uint8]:
    """Non-local means of each of faces (N, 48, 48) uint8.

    Raises:
        DataError: the strength is not above 0.
    """
    if not strength > 0:
        raise DataError(f"expected a strength of denoising above 0, got {strength:g}")
    out = np.empty_like(faces)
    for at, face in enumerate(faces):
        out[at] = cv2.fastNlMeansDenoising(
            face, h=strength, templateWindowSize=NLM_TEMPLATE, searchWindowSize=NLM_SEARCH
        )
        if tick is not None and ((at + 1) % 100 == 0 or at + 1 == len(faces)):
            tick(at + 1)
    return out


def _record(data: Dataset, removal: Removal) -> dict[str, Any]:
    return {
        "step": removal.step,
        **removal.about,
        "removed": len(removal.rows),
        "removed_by_emotion": by_emotion(data.labels[removal.rows]),
        "splits": ["train"],
    }

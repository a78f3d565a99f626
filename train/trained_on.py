"""What a bundle has seen: kept in its manifest, so that who begins with its weights validates on other faces.

`trained` is a list: its own training first, then those of what that began with.
"""

from typing import Any

from fer_edge.devices.errors import BundleError, RunError
from fer_edge.edge_runtime.bundle import MANIFEST, Bundle
from fer_edge.edge_runtime.vocabulary import Precision
from fer_edge.train.dataset import Dataset
from fer_edge.train.recipe import Recipe
from fer_edge.train.run_folder import RunFolder
from fer_edge.train.split import check_unseen

_SPLIT = ("model", "validation", "val_fraction", "seed")
"""What tells, with the data, which faces a training kept for validation."""


def trained_on(run: RunFolder) -> list[dict[str, Any]] | None:
    """A finished run's trainings, for its bundle; None where it is not a network's."""
    recipe, about = run.recipe(), run.about()
    if not isinstance(recipe, Recipe):
        return None
    own = {"data_sha256": about["data_sha256"]} | {name: getattr(recipe, name) for name in _SPLIT}
    return [own, *about.get("begun_with", [])]


def before(bundle: Bundle | None, runs: list[RunFolder]) -> dict[str, list[dict[str, Any]]]:
    """What a run that begins with these has to keep of them in its recipe.json."""
    if bundle is not None:
        seen = bundle.manifest.get("trained")
    else:
        seen = [one for run in runs for one in run.about().get("begun_with", [])]
    return {"begun_with": seen} if seen else {}


def check_bundle(bundle: Bundle, recipe: Recipe, data: Dataset) -> None:
    """Whether a bundle may be begun with: it is of this network, and was not fitted to the faces that validate here.

    Of data that is neither this one nor what this was cleaned from nothing is known, and one's own faces are such.

    Raises:
        RunError: it is of another network, may have been fitted to them, or does not say what it was trained on.
        BundleError: it has no float32 variant for TFLite, or its `trained` cannot be read.
    """
    who = f"--start {bundle.name}"
    bundle.find("tflite", Precision.FLOAT32)
    for name in ("standardize", "image_side"):
        if getattr(recipe, name):
            raise RunError(f"{who}: what a bundle's network does to its pixels stays; leave out {name}")
    trainings = _read(bundle)
    if (model := trainings[0][1].model) != recipe.model:
        raise RunError(f"{who} is a {model}, not a {recipe.model}; start from a bundle of the same network")
    cleaned_from = {record["from_sha256"] for record in data.cleaned}
    for sha256, theirs in trainings:
        if sha256 == data.sha256:
            check_unseen(who, sha256, theirs, data, recipe)
        elif sha256 in cleaned_from and not len(data.rows("val")):
            raise RunError(f"{who} was fitted to what this data was cleaned from, maybe to faces that validate here")


def _read(bundle: Bundle) -> list[tuple[str, Recipe]]:
    trained = bundle.manifest.get("trained")
    if not trained:
        raise RunError(
            f"--start {bundle.name}: the bundle does not say what it was trained on; start from its run, or convert "
            "that again"
        )
    try:
        return [(str(one["data_sha256"]), Recipe(**{name: one[name] for name in _SPLIT})) for one in trained]
    except (TypeError, KeyError, RunError) as error:
        raise BundleError(f"{bundle.path / MANIFEST}: `trained` cannot be read ({error})") from error

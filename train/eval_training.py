"""How a run was trained, for its evaluation: recipe, epochs, seconds, and the phases of the learning rate."""

from pathlib import Path
from typing import Any

from fer_edge.train.run_folder import Epoch, RunFolder
from fer_edge.train.schedule import best_epoch


def training_of(run: RunFolder) -> dict[str, Any]:
    """The recipe without paths, `epochs_run`, `seconds`, `best_epoch`, `history` by epoch, and `phases` of the rate."""
    recipe, history = run.recipe(), run.history()
    return {
        "recipe": without_paths(recipe.to_json()),
        "epochs_run": len(history),
        "seconds": round(sum(epoch["seconds"] for epoch in history), 1),
        "best_epoch": best_epoch(history, recipe.choose),
        "history": history,
        "phases": phases(history),
    }


def phases(history: list[Epoch]) -> list[dict[str, float]]:
    """Epochs in a row at one learning rate: `learning_rate`, `first` and `last` epoch; none for a model without one."""
    found: list[dict[str, float]] = []
    for epoch in history:
        rate = epoch.get("learning_rate")
        if rate is None:
            return []
        if found and found[-1]["learning_rate"] == rate:
            found[-1]["last"] = epoch["epoch"]
        else:
            found.append({"learning_rate": rate, "first": epoch["epoch"], "last": epoch["epoch"]})
    return found


def without_paths(recipe: dict[str, Any]) -> dict[str, Any]:
    """Of files and folders the names alone: where they lay is nobody's business but the run's."""
    if "members" in recipe:
        recipe["members"] = [Path(member).name for member in recipe["members"]]
    if "teachers" in recipe:
        recipe["teachers"] = [Path(teacher).name for teacher in recipe["teachers"]]
    if recipe.get("start"):
        recipe["start"] = ",".join(Path(run).name for run in recipe["start"].split(","))
    for name in ("weights", "teacher_cache", "quantization_aware"):
        if recipe.get(name):
            recipe[name] = Path(recipe[name]).name
    return recipe

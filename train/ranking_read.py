"""Reads the evaluations that are to be compared, and refuses those that cannot be. Loads no framework.

Models can be compared image by image only where the very same images were judged by the same labels.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_edge.devices.errors import RunError

FILE = "evaluation.json"
SCHEMA = 1
_NEEDED = {
    "what": ("kind", "model", "name", "identity"),
    "data": ("sha256", "split", "source", "images"),
    "macro": ("f1",),
    "worst_class": ("name", "recall"),
    "predictions": ("labels", "predicted"),
}
_LISTS = ("classes", "accuracy_interval")
_OF_CLASS, _OF_HARM = ("recall", "support"), ("condition", "level", "what", "images", "accuracy")
_ALIKE = (
    ("the data set", lambda made: made["data"]["sha256"][:12]),
    ("the split", lambda made: made["data"]["split"]),
    ("the classes", lambda made: ", ".join(made["classes"])),
    ("the number of images", lambda made: f"{made['data']['images']:,}"),
)


@dataclass(frozen=True, eq=False)
class Evaluated:
    """One model's evaluation: where it was found, what it is called here, and the report as `evaluate` wrote it."""

    path: Path
    name: str
    made: dict[str, Any]

    @property
    def right(self) -> NDArray[np.bool_]:
        """(N,) which images it names rightly."""
        said = self.made["predictions"]
        return np.asarray(said["labels"]) == np.asarray(said["predicted"])

    @property
    def folder(self) -> Path:
        """Where the evaluation lies, which is the run itself where `evaluate` chose the place."""
        return self.path.parent


def read_all(paths: Sequence[Path]) -> list[Evaluated]:
    """The evaluations, the most accurate first, each with a name of its own.

    Args:
        paths: runs, folders that hold an evaluation.json, or such files.

    Raises:
        RunError: fewer than two; one that is missing or damaged; two of the same model; two that cannot be compared.
    """
    if len(paths) < 2:
        raise RunError("a comparison needs two models or more; give several runs, or their evaluation.json")
    found = [(path, read_one(path)) for path in map(_file, paths)]
    _check_each_once(found)
    _check_alike(found)
    names = _names(found)
    made = [Evaluated(path, name, one) for (path, one), name in zip(found, names, strict=True)]
    return sorted(made, key=lambda one: (-one.made["accuracy"], one.name))


def read_one(path: Path) -> dict[str, Any]:
    """One evaluation.json.

    Raises:
        RunError: it cannot be read, is of another schema, or lacks what a comparison needs.
    """
    try:
        made = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read as an evaluation ({error})") from error
    if not isinstance(made, dict) or made.get("schema") != SCHEMA:
        said = made.get("schema") if isinstance(made, dict) else None
        raise RunError(f"{path} is an evaluation of schema {said!r}, expected {SCHEMA}; evaluate the model again")
    if lacking := _lacking(made):
        raise RunError(f"{path} is no whole evaluation, it lacks {lacking}; evaluate the model again")
    return made


def _file(path: Path) -> Path:
    if path.is_file():
        return path
    if not path.is_dir():
        raise RunError(f"{path} does not exist")
    if not (path / FILE).is_file():
        raise RunError(f"{path} has no {FILE}; make it: fer-edge evaluate {path}")
    return path / FILE


def _lacking(made: dict[str, Any]) -> str | None:
    """The first thing missing that a comparison cannot do without."""
    for part, keys in _NEEDED.items():
        here = made.get(part)
        for key in keys:
            if not isinstance(here, dict) or key not in here:
                return f"{part}.{key}"
    for part in _LISTS:
        if not isinstance(made.get(part), list):
            return part
    by_class = made.get("by_class")
    if not isinstance(by_class, dict) or not all(_has(by_class.get(name), _OF_CLASS) for name in made["classes"]):
        return "by_class"
    if not all(_has(row, _OF_HARM) for row in made.get("robustness") or []):
        return "a figure of robustness"
    if not isinstance(made.get("accuracy"), float):
        return "accuracy"
    labels, predicted = made["predictions"]["labels"], made["predictions"]["predicted"]
    if not len(labels) == len(predicted) == made["data"]["images"]:
        return "a prediction for every image"
    return None


def _has(part: Any, keys: tuple[str, ...]) -> bool:
    return isinstance(part, dict) and all(key in part for key in keys)


def _check_each_once(found: Sequence[tuple[Path, dict[str, Any]]]) -> None:
    first: dict[tuple[str, Any], Path] = {}
    for path, made in found:
        key = (made["what"]["identity"], made["what"].get("variant"))
        if key in first:
            raise RunError(f"{first[key]} and {path} are of the same model ({key[0]}); leave one of them out")
        first[key] = path


def _check_alike(found: Sequence[tuple[Path, dict[str, Any]]]) -> None:
    first_path, first = found[0]
    for path, made in found[1:]:
        for what, of in _ALIKE:
            if of(first) != of(made):
                raise RunError(
                    f"{first_path} and {path} cannot be compared: they differ in {what} "
                    f"({of(first)} against {of(made)}); evaluate both on the same"
                )
        if made["predictions"]["labels"] != first["predictions"]["labels"]:
            raise RunError(
                f"{first_path} and {path} cannot be compared: the images' labels differ; "
                "evaluate both by the same labels"
            )


def _names(found: Sequence[tuple[Path, dict[str, Any]]]) -> list[str]:
    """What each is called; those of the same name carry their variant, and the identity where even that is the same."""
    names = [str(made["what"]["name"]) for _, made in found]
    for more, chars in (("variant", None), ("identity", 8)):
        twice = {name for name, times in Counter(names).items() if times > 1}
        ends = [str(made["what"].get(more) or "")[:chars] for _, made in found]
        names = [f"{name} {end}".strip() if name in twice else name for name, end in zip(names, ends, strict=True)]
    return names

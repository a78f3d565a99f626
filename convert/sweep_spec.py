"""A sweep as its file says it: what is trained, how it is quantized, how it is searched, where it runs.

Checked to the last value before anything starts; imports neither Ray nor TensorFlow.
"""

from dataclasses import dataclass
from pathlib import Path

from fer_edge.convert.sweep_settings import Quantize, quantize_of
from fer_edge.edge_runtime.config import ConfigError
from fer_edge.train.recipe import Recipe
from fer_edge.train.sweep_grid import Training, trainings
from fer_edge.train.sweep_search import Search, Where, search_of, where_of
from fer_edge.train.sweep_toml import Section, read_sections
from fer_edge.train.zoo import MODELS

TABLES = ("train", "quantize", "search", "run")


@dataclass(frozen=True)
class Sweep:
    """Everything that a sweep's file says; `text` is the file itself."""

    trainings: tuple[Training, ...]
    quantize: Quantize | None
    search: Search
    where: Where
    text: str


def load_sweep(path: Path) -> Sweep:
    """Read and check a sweep's file.

    Raises:
        ConfigError: an unknown key, a value that cannot be meant, tables that contradict each other, too many trials.
    """
    sections, text = read_sections(path, TABLES)
    if "train" not in sections:
        raise ConfigError(f"{path} has no table [train]; it says which models are trained")
    search = search_of(sections.get("search", Section(path, "search", {})))
    where = where_of(sections.get("run", Section(path, "run", {})))
    asked = trainings(sections["train"], search.max_trials)
    quantize = quantize_of(sections["quantize"], search.max_trials) if "quantize" in sections else None
    _check_together(path, asked, quantize, search)
    return Sweep(asked, quantize, search, where, text)


def _check_together(path: Path, asked: tuple[Training, ...], quantize: Quantize | None, search: Search) -> None:
    if quantize is None and search.metric == "int8_accuracy":
        raise ConfigError(f'{path}: [search] metric = "int8_accuracy" needs a table [quantize]')
    for one in asked:
        kind = MODELS[one.model].kind
        if kind == "autoencoder" and (search.metric == "val_accuracy" or quantize):
            raise ConfigError(
                f"{path}: [train] models has 'autoencoder', which names no emotions; sweep it by itself, with "
                '[search] metric = "val_loss" and without [quantize]'
            )
        if quantize and kind != "keras":
            raise ConfigError(
                f"{path}: [train] models has {one.model!r}, which cannot be made int8; leave it or [quantize] out"
            )
        if quantize and isinstance(one.recipe, Recipe) and one.recipe.class_count != 7:
            raise ConfigError(
                f"{path}: [train] labels = {one.recipe.labels!r} has eight emotions, and int8 is for the seven; "
                "leave it or [quantize] out"
            )

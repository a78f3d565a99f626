"""The trainings of a sweep: models, seeds, grids and random draws of a recipe's values. Pure, and the same every time.

A training's id is a function of what is asked for and of the recipe that comes of it: a sweep that is started again
finds its runs by it, and so does one with more values in its lists. Must not know how anything runs.
"""

import dataclasses
import hashlib
import itertools
import json
import math
import re
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

import numpy as np

from fer_edge.devices.errors import RunError
from fer_edge.edge_runtime.config import ConfigError
from fer_edge.train.recipe import AnyRecipe, parse_value
from fer_edge.train.recipes import RECIPES, kind_of, recipe_for
from fer_edge.train.sweep_toml import Section

OWN_KEYS = ("models", "seeds", "recipe", "samples", "sample_seed")
_LONGEST = 140
_DIGITS = 4
"""Of a random draw: its value fits into the id, and on a command line."""


@dataclass(frozen=True)
class Training:
    """One run. `values` are what the file says of the recipe, by name; `setting` is all but the seed, for people."""

    id: str
    setting: str
    model: str
    seed: int
    values: dict[str, Any]
    recipe: AnyRecipe


@dataclass(frozen=True)
class Draw:
    """A range that random values come from."""

    low: float
    high: float
    log: bool
    whole: bool

    def value(self, rng: np.random.Generator) -> float | int:
        """One value, even over the range or over its logarithm; whole numbers include both ends."""
        if self.whole and not self.log:
            return int(rng.integers(int(self.low), int(self.high), endpoint=True))
        ends = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        drawn = float(rng.uniform(*ends))
        drawn = math.exp(drawn) if self.log else drawn
        return round(drawn) if self.whole else float(f"{drawn:.{_DIGITS}g}")


def trainings(section: Section, most: int) -> tuple[Training, ...]:
    """Every training that [train] asks for, seed by seed, so that a sweep cut short has seen each setting.

    Args:
        section: the table.
        most: more trainings than this are refused before one is listed.

    Raises:
        ConfigError: a key or a value that `fer-edge train` would not take, or too many trainings.
    """
    models = section.several("models", str, ())
    if not models:
        raise ConfigError(f'{section.file}: [train] has no models; give them as models = ["cnn-small", "mlp"]')
    kinds = [_kind(section, model) for model in models]
    named = section.one("recipe", str, None)
    seeds = section.several("seeds", int, (0,))
    fields = list(dict.fromkeys(f.name for kind in kinds for f in dataclasses.fields(kind)))
    section.check_keys([*OWN_KEYS, *(name for name in fields if name not in ("model", "seed", "members"))])
    grids: dict[str, list[Any]] = {}
    draws: dict[str, Draw] = {}
    for key in section.values:
        if key in OWN_KEYS:
            continue
        kind = next(kind for kind in kinds if key in {f.name for f in dataclasses.fields(kind)})
        if isinstance(section.values[key], dict):
            draws[key] = _draw(section, key, kind)
        else:
            grids[key] = [_value(section, key, value, kind) for value in section.listed(key)]
    samples = _samples(section, draws)
    count = len(models) * len(seeds) * len(samples) * math.prod(map(len, grids.values()))
    if count > most:
        raise ConfigError(
            f"{section.file}: [train] makes {count:,} trials, and [search] max_trials is {most:,}; shorten the lists, "
            "or raise it"
        )
    made = []
    for seed, drawn, model in itertools.product(seeds, samples, models):
        for chosen in itertools.product(*grids.values()):
            made.append(_training(section, model, named, seed, drawn | dict(zip(grids, chosen, strict=True))))
    if len({one.id for one in made}) < len(made):
        raise ConfigError(f"{section.file}: [train] draws the same values twice; give fewer samples or a wider range")
    return tuple(made)


def _kind(section: Section, model: str) -> type:
    if model == "ensemble":
        raise section.error("models", "has 'ensemble', which averages finished runs; train its members here instead")
    if model not in RECIPES:
        raise section.error("models", f"has {model!r}, which is unknown; choose of {', '.join(RECIPES)}")
    return kind_of(model)


def _value(section: Section, key: str, value: Any, kind: type) -> Any:
    """`value` as `fer-edge train --set` would take it, but with TOML's own types: no text for a number."""
    hint = get_type_hints(kind)[key]
    kinds = get_args(hint) or (hint,)
    if bool in kinds and not isinstance(value, bool):
        raise section.error(key, f"is {value!r}; expected true or false")
    numeric = str not in kinds and bool not in kinds
    none = isinstance(value, str) and value.lower() == "none" and type(None) in kinds
    if not isinstance(value, bool | int | float | str) or (numeric and isinstance(value, str) and not none):
        expected = "a whole number" if int in kinds else "a number" if numeric else "a text in quotes"
        raise section.error(key, f"is {value!r}; expected {expected}")
    text = str(value).lower() if isinstance(value, bool) else str(value)
    try:
        return parse_value(kind, key, text)
    except RunError as error:
        raise ConfigError(f"{section.file}: [train] {error}") from error


def _draw(section: Section, key: str, kind: type) -> Draw:
    given = section.values[key]
    hint = get_type_hints(kind)[key]
    kinds = get_args(hint) or (hint,)
    if not {int, float} & set(kinds) or bool in kinds:
        raise section.error(key, "is no number, so it has no random range; give a list")
    if set(given) - {"low", "high", "log"} or not {"low", "high"} <= set(given):
        raise section.error(
            key, f"has the keys {', '.join(given) or 'none'}; a random range is {{low=, high=, log=true}}"
        )
    low, high = (_value(section, key, given[end], kind) for end in ("low", "high"))
    log = section.typed(key, given.get("log", False), bool)
    if low is None or high is None or not low < high:
        raise section.error(key, f"reaches from {given['low']} to {given['high']}; low must be less than high")
    if log and low <= 0:
        raise section.error(key, f"is logarithmic and begins at {low}; low must be above 0")
    return Draw(low, high, log, int in kinds)


def _samples(section: Section, draws: dict[str, Draw]) -> list[dict[str, Any]]:
    """The random values of each sample; the first ones stay the same when more are asked for."""
    count = section.number("samples", int, None, 1, 1_000_000)
    if draws and count is None:
        raise section.error("samples", f"is missing: {', '.join(draws)} is a random range; say how many to draw")
    if count is not None and not draws:
        raise section.error("samples", "does nothing without a random range, as learning_rate = {low=1e-4, high=1e-2}")
    seed = section.number("sample_seed", int, 0, 0, 2**32 - 1)
    if "sample_seed" in section.values and not draws:
        raise section.error("sample_seed", "does nothing without a random range")
    rngs = [np.random.default_rng([seed, 11, at]) for at in range(count or 1)]
    return [{key: draws[key].value(rng) for key in sorted(draws)} for rng in rngs]


def _training(section: Section, model: str, named: str | None, seed: int, values: dict[str, Any]) -> Training:
    try:
        recipe = recipe_for(model, named, seed=seed, **values)
    except RunError as error:
        raise ConfigError(f"{section.file}: [train] {error}") from error
    setting = " ".join([model, *([named] if named else []), *(f"{k}={_shown(values[k])}" for k in sorted(values))])
    digest = hashlib.sha256(json.dumps(recipe.to_json(), sort_keys=True).encode()).hexdigest()[:8]
    words = re.sub(r"[^\w.=+-]+", "_", setting)
    if len(words) > _LONGEST:
        words = f"{words[:_LONGEST]}~"
    return Training(f"{words}_seed={seed}_{digest}", setting, model, seed, values, recipe)


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)

"""The tables of docs/results.md: what our runs reach, against what was published of the same recipes.

    python tools/results_table.py extract RUN/evaluation.json --into docs/results    # keeps what the tables need
    python tools/results_table.py            # prints the tables
    python tools/results_table.py --write    # puts them into docs/results.md

An extract holds no path, no face and no prediction. Its name is that of its row: the model's, or what `--as` says for a
run of another recipe. docs/results/notes.toml says why by row (`why`), and on what it ran where its processor does not
tell (`machine`).
"""

import argparse
import dataclasses
import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marked import begin, write

from fer_edge.devices.files import write_json
from fer_edge.train.recipe import AnyRecipe, ClassicalRecipe, EnsembleRecipe, Recipe
from fer_edge.train.recipes import NAMED, kind_of, recipe_for
from fer_edge.train.zoo import MODELS

DOC = Path(__file__).resolve().parents[1] / "docs" / "results.md"
EXTRACTS = DOC.parent / "results"
BEGIN = begin("results_table")
SCHEMA = 1
WITHIN = 0.01
"""A model that comes so near its published accuracy, or beats it, is reproduced."""
_FIGURES = ("loss", "val_loss", "accuracy", "val_accuracy")
_CHANCE = frozenset({"seed"})
"""Another value of these is the same recipe."""


@dataclass(frozen=True)
class Row:
    """One line of the tables; `run` is the extract, None where nothing was run."""

    name: str
    model: str
    run: dict[str, Any] | None = None
    note: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def recipe(self) -> AnyRecipe | None:
        """What it was trained with; of an ensemble None, whose members are names, not runs of this machine."""
        if self.run is None or self.model == "ensemble":
            return None
        recipe: AnyRecipe = kind_of(self.model).from_json(self.run["recipe"])  # type: ignore[attr-defined]
        return recipe

    @property
    def published(self) -> float | None:
        """The published accuracy."""
        return MODELS[self.model].published_accuracy

    @property
    def verdict(self) -> str:
        """Whether the published figure was reached, by the very recipe."""
        recipe = self.recipe
        if self.run is None:
            return "not run"
        if recipe is not None:
            if _is_short(recipe, self.run["epochs_run"]):
                return "short run"
            if set(asked(recipe)[1]) - _CHANCE or asked(recipe)[0] is not None:
                return "other recipe"
        if self.published is None:
            return "nothing published"
        return "reproduced" if self.run["accuracy"] >= self.published - WITHIN else "lower"

    @property
    def command(self) -> str:
        """What trains it again."""
        words = ["fer-edge train", f"--model {self.model}", "--data data/fer2013"]
        if self.run is not None and self.model == "ensemble":
            words.append("--members " + ",".join(f"runs/{member}" for member in self.run["recipe"]["members"]))
        if self.recipe is not None:
            named, changed = asked(self.recipe)
            words += [f"--recipe {named}"] if named else []
            words += [f"--set {name}={_placed(name, value)}" for name, value in changed.items()]
        if self.name != self.model:
            words.append(f"--out runs/{self.name}")
        return " ".join(words)


def asked(recipe: AnyRecipe) -> tuple[str | None, dict[str, Any]]:
    """The named recipe, if one, and the values besides, with which `train` makes this recipe; the fewest of them."""
    made = []
    for named in (None, *(NAMED if isinstance(recipe, Recipe) else ())):
        given = {} if not isinstance(recipe, Recipe) else {"epochs": recipe.epochs}
        base, own = recipe_for(recipe.model, named, **given), recipe_for(recipe.model, named)
        changed = {} if getattr(own, "epochs", None) == given.get("epochs") else given
        made.append((named, changed | _differing(base, recipe)))
    return min(made, key=lambda one: len(one[1]))


def _differing(base: AnyRecipe, recipe: AnyRecipe) -> dict[str, Any]:
    both = ((f.name, getattr(base, f.name), getattr(recipe, f.name)) for f in dataclasses.fields(recipe))
    return {name: mine for name, theirs, mine in both if mine != theirs}


def _is_short(recipe: AnyRecipe, epochs_run: int) -> bool:
    """Whether less was run than the model's own recipe has: fewer epochs, or fewer faces."""
    own = recipe_for(recipe.model)
    if isinstance(recipe, EnsembleRecipe) or isinstance(own, EnsembleRecipe):
        return False
    if recipe.train_fraction < own.train_fraction:
        return True
    if isinstance(recipe, ClassicalRecipe) or isinstance(own, ClassicalRecipe):
        return False
    if recipe.start is not None or recipe.quantization_aware is not None:
        return False  # it goes on from a training that was long
    return recipe.epochs < own.epochs or (epochs_run < recipe.epochs and recipe.stop_patience == 0)


def extract(evaluation: Path, run: Path | None = None) -> dict[str, Any]:
    """What is kept of an evaluation of a finished run.

    Args:
        evaluation: evaluation.json.
        run: the run; by default where the evaluation lies.
    """
    made = json.loads(evaluation.read_text(encoding="utf-8"))
    if made["schema"] != 1 or made["training"] is None:
        raise SystemExit(f"{evaluation} is no evaluation of a training run")
    if made["data"]["split"] != "test":
        raise SystemExit(f"{evaluation} is of the split {made['data']['split']}; published figures are of test")
    trained_on = json.loads(((run or evaluation.parent) / "environment.json").read_text(encoding="utf-8"))
    training = made["training"]
    return {
        "schema": SCHEMA,
        "model": made["what"]["model"],
        "data": {key: made["data"][key] for key in ("sha256", "split", "source", "images")},
        **{key: made[key] for key in ("accuracy", "accuracy_interval")},
        "macro_f1": made["macro"]["f1"],
        "worst_class": made["worst_class"],
        "epochs_run": training["epochs_run"],
        "recipe": training["recipe"],
        "history": training["history"],
        "machine": {key: trained_on[key] for key in ("cpu", "usable_cores")},
        "evaluated_at": made["made_at"][:10],
    }


def rows(folder: Path = EXTRACTS) -> list[Row]:
    """A row a model with a published figure, and a row an extract; in the zoo's order."""
    runs = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}
    notes = tomllib.loads((folder / "notes.toml").read_text(encoding="utf-8"))
    if len({run["data"]["sha256"] for run in runs.values()}) > 1:
        raise SystemExit(f"{folder} holds figures of different data, which belong into no common table")
    made = []
    for model, entry in MODELS.items():
        names = [name for name, run in runs.items() if run["model"] == model and name != model]
        if entry.published_accuracy is not None or model in runs:
            names.insert(0, model)
        made += [Row(name, model, runs.get(name), notes.get(name, {})) for name in names]
    if strange := sorted(set(notes) - {row.name for row in made}):
        raise SystemExit(f"{folder / 'notes.toml'} speaks of {', '.join(strange)}, and there is no such row")
    return made


def tables(made: list[Row]) -> str:
    """Markdown: ours against published, how each was trained, why, and the losses of short runs."""
    ran = [row for row in made if row.run is not None]
    lines = [_against(made), "", _how(made)]
    if said := [f"- **{row.name}** ({row.verdict}): {row.note['why']}" for row in made if "why" in row.note]:
        lines += ["", "### Why", "", *said]
    if short := [row for row in ran if row.verdict == "short run"]:
        lines += ["", "### Short runs", "", "The loss falls on real data; the runs were too short for more.", ""]
        lines += ["\n\n".join(_losses(row) for row in short)]
    return "\n".join(lines)


def _against(made: list[Row]) -> str:
    lines = [
        "| model | ours | 95% interval | published | points | verdict | macro F1 | worst class |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in made:
        run, published = row.run, "–" if row.published is None else f"{row.published:.2%}"
        if run is None:
            lines.append(f"| {row.name} | – | – | {published} | – | {row.verdict} | – | – |")
            continue
        low, high = run["accuracy_interval"]
        off = "–" if row.published is None else f"{(run['accuracy'] - row.published) * 100:+.2f}"
        worst = run["worst_class"]
        lines.append(
            f"| {row.name} | {run['accuracy']:.2%} | {low:.2%} to {high:.2%} | {published} | {off} | {row.verdict} "
            f"| {run['macro_f1']:.2%} | {worst['name']} {worst['recall']:.1%} |"
        )
    noted = {row.model: MODELS[row.model].published_note for row in made}
    lines += [f"\n{model}: the published figure was {note}." for model, note in noted.items() if note]
    return "\n".join(lines)


def _how(made: list[Row]) -> str:
    lines = ["| model | command | epochs | seconds each | machine | judged |", "|---|---|---|---|---|---|"]
    for row in made:
        run = row.run
        if run is None:
            lines.append(f"| {row.name} | `{row.command}` | – | – | – | – |")
            continue
        cpu, cores = run["machine"]["cpu"], run["machine"]["usable_cores"]
        machine = row.note.get("machine") or f"{cpu}, {cores} core{'' if cores == 1 else 's'}"
        each = sum(epoch["seconds"] for epoch in run["history"]) / len(run["history"])
        lines.append(
            f"| {row.name} | `{row.command}` | {_epochs(row)} | {each:.0f} | {machine} | {run['evaluated_at']} |"
        )
    return "\n".join(lines)


def _epochs(row: Row) -> str:
    """Epochs run of the most that the model's own recipe has; a model without epochs has none."""
    own = recipe_for(row.model) if row.model != "ensemble" else None
    if row.run is None or not isinstance(own, Recipe):
        return "–"
    return f"{row.run['epochs_run']} of {own.epochs}"


def _losses(row: Row) -> str:
    assert row.run is not None
    history = row.run["history"]
    columns = [name for name in _FIGURES if name in history[0]]
    lines = [
        f"{row.name}, {_epochs(row)} epochs:",
        "",
        "| epoch | " + " | ".join(name.replace("val_", "validation ") for name in columns) + " |",
        "|---|" + "---|" * len(columns),
    ]
    for epoch in history:
        figures = (f"{epoch[n]:.4f}" if n.endswith("loss") else f"{epoch[n]:.2%}" for n in columns)
        lines.append(f"| {epoch['epoch']} | " + " | ".join(figures) + " |")
    return "\n".join(lines)


def _placed(name: str, value: Any) -> str:
    """A value as `--set` takes it; of another run an extract keeps the name alone."""
    if value is None or name not in ("start", "quantization_aware", "teachers"):
        return _text(value)
    return ",".join(f"runs/{run}" for run in (value.split(",") if isinstance(value, str) else value))


def _text(value: Any) -> str:
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def main() -> None:
    """Extract, print or write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--write", action="store_true", help="put the tables into docs/results.md")
    step = parser.add_subparsers(dest="step").add_parser("extract", help="keep what the tables need of an evaluation")
    step.add_argument("evaluation", type=Path)
    step.add_argument("--into", type=Path, default=EXTRACTS)
    step.add_argument("--as", dest="name", help="name of the row; the model's by default")
    step.add_argument("--run", type=Path, help="the run, where the evaluation does not lie in it")
    given = parser.parse_args()
    if given.step == "extract":
        kept = extract(given.evaluation, given.run)
        path = given.into / f"{given.name or kept['model']}.json"
        write_json(path, kept)
        print(f"written: {path}")
    elif given.write:
        write(DOC, {BEGIN: tables(rows())})
    else:
        print(tables(rows()))


if __name__ == "__main__":
    main()

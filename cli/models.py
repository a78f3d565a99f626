"""`fer-edge models`: what can be trained, and model files that are not shipped."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from fer_edge.train.recipe import AnyRecipe
    from fer_edge.train.zoo import Entry

app = typer.Typer(invoke_without_command=True)
_Json = Annotated[bool, typer.Option("--json", help="As JSON, for machines.")]


@app.callback()
def models(context: typer.Context, as_json: _Json = False) -> None:
    """What `fer-edge train` can train, with parameters, multiply-adds and recipe; and model files to fetch."""
    if context.invoked_subcommand is not None:
        return
    from fer_edge.cli.screen import table
    from fer_edge.train.recipe_words import in_short
    from fer_edge.train.recipes import NAMED, RECIPES
    from fer_edge.train.zoo import MODELS

    if as_json:
        print(json.dumps([_as_json(entry, RECIPES.get(name)) for name, entry in MODELS.items()], indent=1))
        return
    table(
        "models (multiply-adds of one 48×48 face; the accuracy published)",
        ("model", "parameters", "MACs", "published", "recipe"),
        [
            (
                name,
                f"{entry.parameters:,}" if entry.parameters else "–",
                f"{entry.macs / 1e6:.1f} M" if entry.macs else "–",
                f"{entry.published_accuracy:.2%}" if entry.published_accuracy else "–",
                in_short(RECIPES.get(name)),
            )
            for name, entry in MODELS.items()
        ],
        texts=(0, 4),
    )
    print("recipe: optimizer and rate, images a step × epochs at most; augmented: turned, moved, mirrored")
    print(f"recipes for any network: {', '.join(NAMED)} (fer-edge train --model cnn --recipe {next(iter(NAMED))})")
    print("every value of one: fer-edge models show NAME")


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A model of `fer-edge models`.")],
    recipe: Annotated[str | None, typer.Option(help="A named recipe put over the model's own.")] = None,
    as_json: _Json = False,
) -> None:
    """One model and every value of its recipe, each of which `fer-edge train --set NAME=VALUE` overrides."""
    from fer_edge.cli.screen import table
    from fer_edge.devices.errors import RunError
    from fer_edge.train.recipe_words import as_text, in_full
    from fer_edge.train.recipes import kind_of, recipe_for
    from fer_edge.train.zoo import MODELS

    kind_of(name)
    entry = MODELS[name]
    if entry.kind == "ensemble":
        if recipe is not None:
            raise RunError("an ensemble is not fitted and takes no recipe; leave out --recipe")
        values = None
    else:
        values = recipe_for(name, recipe)
    if as_json:
        print(json.dumps(_as_json(entry, values), indent=1))
        return
    print(f"{name}: {entry.what}")
    if entry.parameters and entry.macs:
        print(f"{entry.parameters:,} parameters, {entry.macs:,} multiply-adds for one face")
    if entry.published_accuracy:
        print(f"published accuracy {entry.published_accuracy:.2%}" + _note(entry))
    if values is None:
        print(f"train it: fer-edge train --model {name} --data CACHE --members RUN,RUN")
        return
    rows = [(field, as_text(value), says) for field, value, says in in_full(values)]
    table("recipe", ("name", "value", "what"), rows, texts=(0, 2))


def _note(entry: "Entry") -> str:
    return f" ({entry.published_note})" if entry.published_note else ""


def _as_json(entry: "Entry", recipe: "AnyRecipe | None") -> dict[str, Any]:
    return {
        "name": entry.name,
        "kind": entry.kind,
        "what": entry.what,
        "parameters": entry.parameters,
        "macs": entry.macs,
        "published_accuracy": entry.published_accuracy,
        "recipe": None if recipe is None else recipe.to_json(),
    }


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="yunet: the face detector that finds turned faces, too.")],
    source: Annotated[
        str | None, typer.Option("--from", help="A file or address in place of the model's home.", show_default=False)
    ] = None,
) -> None:
    """Put a model into the cache, checked against the hash that is known; `run --detector yunet` then finds it."""
    from fer_edge.edge_runtime.detector_models import MODELS
    from fer_edge.edge_runtime.detector_models import fetch as fetch_model

    path = fetch_model(name, source)
    model = MODELS[name]
    print(f"{path} ({model.size_bytes:,} bytes, sha256 {model.sha256[:12]}…, licence {model.licence})")
    print(f"use it: fer-edge run 0 --detector {name}")

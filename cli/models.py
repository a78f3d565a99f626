"""`fer-edge models`: model files that are not shipped."""

from typing import Annotated

import typer

app = typer.Typer(help="Model files that are not shipped.", no_args_is_help=True)


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

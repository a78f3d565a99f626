"""`fer-edge calibrate`: choose the images that calibrate int8, once, for every converter."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Choose the images that calibrate int8, and see how many are enough.", invoke_without_command=True)


@app.callback()
def calibrate(
    context: typer.Context,
    data: Annotated[Path, typer.Option(help="Data cache.")] = Path("data/fer2013"),
    count: Annotated[int, typer.Option(help="Images to choose.")] = 512,
    seed: Annotated[int, typer.Option(min=0, help="The same seed chooses the same images.")] = 0,
    out: Annotated[Path, typer.Option(help="File to write.")] = Path("calibration.json"),
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
) -> None:
    """Choose calibration images: stratified, seeded, from Training only."""
    if context.invoked_subcommand is not None:
        return
    from fer_edge.calibration.calibration_set import draw, save
    from fer_edge.cli.screen import refuse_existing, table
    from fer_edge.train.dataset import load_dataset

    refuse_existing(out, force=force)
    chosen = draw(load_dataset(data), count, seed)
    save(chosen, out)
    counts, light = chosen.covers["counts"], chosen.covers["brightness"]
    table(f"{out}: {chosen.id}", [*counts, "all"], [[*(str(k) for k in counts.values()), str(len(chosen.rows))]])
    low, high = chosen.covers["pixel_range"]
    print(f"pixels {low} to {high}; mean brightness p5 {light['p5']}, p50 {light['p50']}, p95 {light['p95']}")

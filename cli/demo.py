"""`fer-edge demo`: the main job on the bundled model and a sample that may be passed on freely."""

from pathlib import Path
from typing import Annotated

import typer


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the clip and the annotated pictures; replaced.")] = Path(
        "demo-out"
    ),
) -> None:
    """Label a photo and a clip with the bundled int8 model, then time it against the float model it came from."""
    from fer_edge.cli.bench import measure
    from fer_edge.cli.bench_screen import print_bench
    from fer_edge.cli.run import run
    from fer_edge.edge_runtime.bench import Clip, Plan
    from fer_edge.edge_runtime.bench_subject import models_of_bundle
    from fer_edge.edge_runtime.bundle import Bundle
    from fer_edge.edge_runtime.sample_clip import SAMPLE_PHOTO, write_sample_clip

    clip = out / "sample.mp4"
    write_sample_clip(clip)
    print("1. a photo")
    run(source=str(SAMPLE_PHOTO), save=out / "annotated.jpg")
    print("\n2. a clip")
    run(source=str(clip), save=out / "annotated.mp4")
    print("\n3. int8 against the float model that it came from")
    shipped = Bundle.open()
    print_bench(measure(models_of_bundle(shipped, None), shipped, Plan(min_seconds=1.0, clip=Clip(str(clip)))))
    print(f"\nlook at {out / 'annotated.jpg'} and {out / 'annotated.mp4'}; next: fer-edge run 0 (a camera)")

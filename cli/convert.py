"""`fer-edge convert`: a finished run to a judged bundle."""

from pathlib import Path
from typing import Annotated

import typer


def convert(
    run: Annotated[Path, typer.Argument(help="Run folder of fer-edge train.")],
    data: Annotated[
        Path | None,
        typer.Option(help="Data cache that calibrates and judges; by default the one that the run was trained on."),
    ] = None,
    int8: Annotated[bool, typer.Option("--int8/--no-int8", help="Full int8, beside float32.")] = True,
    float16: Annotated[bool, typer.Option("--float16", help="TFLite with float16 weights, too.")] = False,
    dynamic_int8: Annotated[bool, typer.Option("--dynamic-int8", help="TFLite with int8 weights only, too.")] = False,
    to: Annotated[
        str, typer.Option(help="Formats, comma-separated: tflite, onnx, openvino, or one file as onnx/int8.")
    ] = "tflite,onnx,openvino",
    calibration: Annotated[
        Path | None, typer.Option(help="Calibration set; by default 512 images are drawn with seed 0.")
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="Processor meant: arm, x86-vnni or x86; by default this machine's.")
    ] = None,
    split: Annotated[str, typer.Option(help="Held-out images that judge: val, test or private.")] = "test",
    max_drop: Annotated[float, typer.Option(help="Accuracy that may be lost, in percentage points.")] = 0.5,
    out: Annotated[Path | None, typer.Option(help="Folder of the bundle; bundles/NAME by default.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the bundle if it exists.")] = False,
) -> None:
    """Convert a run to float32 and int8 TFLite, ONNX and OpenVINO, judge every variant, write the bundle."""
    from fer_edge.calibration import calibration_set
    from fer_edge.cli.judgement import gate_line, print_judgement
    from fer_edge.cli.screen import progress
    from fer_edge.devices.errors import ConversionError, RunError
    from fer_edge.devices.files import refuse_occupied
    from fer_edge.edge_runtime.bundle import MANIFEST
    from fer_edge.edge_runtime.vocabulary import Precision
    from fer_edge.train.dataset import load_dataset
    from fer_edge.train.quietly import keras_quietly
    from fer_edge.train.run_folder import RunFolder

    folder = RunFolder(run)
    folder.finished_model()
    destination = out or Path("bundles") / run.resolve().name
    refuse_occupied(destination, MANIFEST, force=force)
    stored = folder.about().get("data_path")
    if data is None and stored is None:
        raise RunError(f"{run} does not say where its data is; give --data CACHE")
    dataset = load_dataset(data or Path(str(stored)))
    chosen = (
        calibration_set.load(calibration, dataset)
        if calibration
        else calibration_set.draw(dataset, min(512, len(dataset.rows("train"))), 0)
    )
    with progress("starting TensorFlow") as (bar, task):
        keras_quietly()
        from fer_edge.convert.build import Order, RejectedError, build_bundle
        from fer_edge.convert.onnx import Target

        if target is not None and target not in list(Target):
            raise ConversionError(f"unknown --target {target!r}; choose one of {', '.join(Target)}")
        precisions = [Precision.FLOAT32]
        precisions += [Precision.INT8] * int8 + [Precision.FLOAT16] * float16 + [Precision.DYNAMIC_INT8] * dynamic_int8
        order = Order(
            tuple(word for word in to.split(",") if word),
            tuple(precisions),
            Target(target) if target else None,
            split,
            max_drop,
        )
        try:
            made = build_bundle(
                folder,
                dataset,
                chosen,
                order,
                destination,
                force=force,
                step=lambda what: bar.update(task, description=what, advance=1),
            )
        except RejectedError as error:
            bar.stop()
            print_judgement(error.report)
            raise
    print_judgement(made)
    print(gate_line(made["gate"]))
    print(f"{destination}: calibrated on {chosen.id}; try it: fer-edge run PHOTO --bundle {destination}")

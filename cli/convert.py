"""`fer-edge convert`: a finished run to a judged bundle."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from fer_edge.calibration.calibration_set import CalibrationSet
    from fer_edge.convert.order import Order
    from fer_edge.train.dataset import Dataset
    from fer_edge.train.run_folder import RunFolder

_Run = Annotated[Path, typer.Argument(help="Run folder of fer-edge train.")]
_Data = Annotated[
    Path | None,
    typer.Option(help="Data cache that calibrates and judges; by default the one that the run was trained on."),
]
_Int8 = Annotated[bool, typer.Option("--int8/--no-int8", help="Full int8, beside float32.")]
_Float16 = Annotated[bool, typer.Option("--float16", help="TFLite with float16 weights, too.")]
_DynamicInt8 = Annotated[bool, typer.Option("--dynamic-int8", help="TFLite with int8 weights only, too.")]
_To = Annotated[
    str, typer.Option(help="Formats, comma-separated: tflite, onnx, openvino, tensorrt, or one file as onnx/int8.")
]
_Calibration = Annotated[
    Path | None, typer.Option(help="Calibration set; by default 512 images are drawn with seed 0.")
]
_Ranges = Annotated[
    str | None,
    typer.Option(
        help="Where int8 takes the activations' ranges from: minmax, percentile, entropy, mse, or "
        "learned; by default learned for a quantization-aware run, else minmax."
    ),
]
_Percentile = Annotated[
    float | None, typer.Option(help="With --ranges percentile: what share of the values, 99.99 by default.")
]
_PerTensor = Annotated[
    bool, typer.Option("--per-tensor", help="int8 weights with one scale a tensor, not one a channel.")
]
_FloatLayers = Annotated[str, typer.Option(help="Layers that int8 leaves in float, as conv1,dense2.")]
_Equalize = Annotated[bool, typer.Option("--equalize", help="Even out the channels' weights between layers first.")]
_Temperature = Annotated[
    bool,
    typer.Option("--temperature/--no-temperature", help="Divide the logits so that a probability means what it says."),
]
_Balance = Annotated[
    str, typer.Option(help="0 to 1: name rare emotions more often; auto: as much as costs validation nothing.")
]
_Target = Annotated[str | None, typer.Option(help="Processor meant: arm, x86-vnni or x86; by default this machine's.")]
_Split = Annotated[str, typer.Option(help="Held-out images that judge: val, test or private.")]
_MaxDrop = Annotated[float, typer.Option(help="Accuracy that may be lost, in percentage points.")]
_Out = Annotated[Path | None, typer.Option(help="Folder of the bundle; bundles/NAME by default.")]
_Force = Annotated[bool, typer.Option("--force", help="Replace the bundle if it exists.")]


def convert(
    run: _Run,
    data: _Data = None,
    int8: _Int8 = True,
    float16: _Float16 = False,
    dynamic_int8: _DynamicInt8 = False,
    to: _To = "tflite,onnx,openvino",
    calibration: _Calibration = None,
    ranges: _Ranges = None,
    percentile: _Percentile = None,
    per_tensor: _PerTensor = False,
    float_layers: _FloatLayers = "",
    equalize: _Equalize = False,
    temperature: _Temperature = True,
    balance: _Balance = "0",
    target: _Target = None,
    split: _Split = "test",
    max_drop: _MaxDrop = 0.5,
    out: _Out = None,
    force: _Force = False,
) -> None:
    """Convert a run to float32 and int8 TFLite, ONNX and OpenVINO, judge every variant, write the bundle."""
    from fer_edge.convert.order import Order
    from fer_edge.convert.quantization_recipe import QuantizationRecipe
    from fer_edge.devices.files import refuse_occupied
    from fer_edge.edge_runtime.bundle import MANIFEST
    from fer_edge.train.run_folder import RunFolder

    folder = RunFolder(run)
    folder.network()
    destination = out or Path("bundles") / run.resolve().name
    refuse_occupied(destination, MANIFEST, force=force)
    recipe = QuantizationRecipe.of(
        ranges or _usual_ranges(folder, int8=int8 or "/int8" in to),
        percentile,
        per_tensor=per_tensor,
        float_layers=float_layers,
        equalize=equalize,
    )
    kinds = {"int8": int8, "float16": float16, "dynamic_int8": dynamic_int8}
    order = Order.of(
        to,
        **kinds,
        target=target,
        split=split,
        max_drop_pp=max_drop,
        recipe=recipe,
        temperature=temperature,
        balance=balance,
    )
    dataset = dataset_of(folder, data)
    _build(folder, dataset, _calibration_of(dataset, calibration), order, destination, force=force)


def _usual_ranges(run: "RunFolder", *, int8: bool) -> str:
    return "minmax" if run.learned_ranges() is None or not int8 else "learned"


def dataset_of(run: "RunFolder", data: Path | None) -> "Dataset":
    """The cache that is given, or the one that the run was trained on.

    Raises:
        RunError: none is given, and the run does not say where its own is.
        DataError: it cannot be read.
    """
    from fer_edge.devices.errors import RunError
    from fer_edge.train.dataset import load_dataset

    stored = run.about().get("data_path")
    if data is None and stored is None:
        raise RunError(f"{run.path} does not say where its data is; give --data CACHE")
    return load_dataset(data or Path(str(stored)))


def _calibration_of(dataset: "Dataset", calibration: Path | None) -> "CalibrationSet":
    from fer_edge.calibration import calibration_set

    if calibration:
        return calibration_set.load(calibration, dataset)
    return calibration_set.draw(dataset, min(512, len(dataset.rows("train"))), 0)


def _build(
    run: "RunFolder", data: "Dataset", calibration: "CalibrationSet", order: "Order", out: Path, *, force: bool
) -> None:
    """Build with a progress bar, then print the judgement, also that of a bundle that is rejected."""
    from fer_edge.cli.judgement import balance_line, gate_line, print_judgement, temperature_line
    from fer_edge.cli.screen import progress
    from fer_edge.edge_runtime.engines import judge_of
    from fer_edge.train.quietly import keras_quietly

    made: dict[str, Any]
    with progress("starting TensorFlow") as (bar, task):
        keras_quietly()
        from fer_edge.convert.build import RejectedError, build_bundle

        def step(what: str) -> None:
            bar.update(task, description=what, advance=1)

        try:
            made = build_bundle(run, data, calibration, order, out, force=force, step=step)
        except RejectedError as error:
            bar.stop()
            print_judgement(error.report)
            raise
    print_judgement(made)
    for engine in dict.fromkeys(engine for engine, _ in order.variants() if judge_of(engine) != engine):
        print(f"{engine} was judged through {judge_of(engine)} on this processor: the same graph, not the same kernels")
    if made["balance"] is not None:
        print(balance_line(made["balance"]))
    print(temperature_line(made["temperature"]))
    print(gate_line(made["gate"]))
    print(f"int8: {order.recipe}")
    print(f"{out}: calibrated on {calibration.id}; try it: fer-edge run PHOTO --bundle {out}")

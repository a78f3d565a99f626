"""`fer-edge compare`: the judgement of a bundle again, on this machine."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from fer_edge.convert.score import Step
    from fer_edge.edge_runtime.bundle import Bundle, Variant
    from fer_edge.train.dataset import Dataset


def compare(
    bundle: Annotated[Path | None, typer.Argument(help="Bundle; flagship (by default) and tiny ship.")] = None,
    data: Annotated[Path, typer.Option(help="Data cache.")] = Path("data/fer2013"),
    split: Annotated[str, typer.Option(help="Held-out images: val, test or private.")] = "test",
    margin: Annotated[
        float, typer.Option("--margin", "--max-drop", help="Accuracy that may be lost, in percentage points.")
    ] = 0.5,
    strict: Annotated[bool, typer.Option("--strict", help="Fail unless all variants are non-inferior.")] = False,
    reference: Annotated[
        str | None, typer.Option(help="Float variant to compare with, as onnx/float32; by default the first.")
    ] = None,
    only: Annotated[
        str | None, typer.Option(help="Judge these alone, comma-separated: engine, precision, engine/precision.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="Run that made the bundle: its validation faces fit the temperature.")
    ] = None,
    robustness: Annotated[
        bool, typer.Option("--robustness/--no-robustness", help="Judge under noise, blur and darkness, too.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON and nothing else.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the report as JSON to this file.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the report as a page that stands alone.")] = None,
    images: Annotated[
        bool, typer.Option("--images/--no-images", help="Show the faces whose label changed in the page.")
    ] = True,
    diagnose: Annotated[
        bool, typer.Option("--diagnose", help="Find the layer where a variant that fails loses.")
    ] = False,
    diagnose_variant: Annotated[
        str | None, typer.Option(help="Diagnose this variant, whether it fails or not.")
    ] = None,
    diagnose_images: Annotated[int, typer.Option(min=1, help="Images that the diagnosis takes.")] = 512,
) -> None:
    """Judge every variant that this machine can run against the bundle's float model."""
    from fer_edge.cli.judgement import print_comparison
    from fer_edge.cli.screen import progress
    from fer_edge.convert.compare import Plan, compare_bundle
    from fer_edge.convert.score import failures
    from fer_edge.devices.errors import ConversionError
    from fer_edge.devices.files import write_json
    from fer_edge.edge_runtime.bundle import Bundle
    from fer_edge.train.dataset import load_dataset
    from fer_edge.train.run_folder import RunFolder

    if html is not None:
        from fer_edge.convert.judge_page import write_page  # what it lacks is said before the work, not after it
    opened = Bundle.open(bundle)
    dataset = load_dataset(data)
    words = tuple(word for word in (only or "").split(",") if word)
    plan = Plan(split, margin, reference, words, robustness, None if run is None else RunFolder(run))
    asked = _variant(opened, diagnose_variant)
    with progress("starting") as (bar, task):

        def step(what: str) -> None:
            bar.update(task, description=what, advance=1)

        made = compare_bundle(dataset, opened, plan, step)
        if diagnose or asked is not None:
            made["diagnosis"] = _diagnoses(made, opened, dataset, asked, diagnose_images, step)
    made["made_at"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    made["command"] = ["fer-edge", *sys.argv[1:]]
    if out is not None:
        write_json(out, made)
    if html is not None:
        write_page(html, made, dataset if images else None)
    if as_json:
        print(json.dumps(made, indent=2, allow_nan=False))
    else:
        print_comparison(made)
        _print_diagnoses(made)
        for file in filter(None, (out, html)):
            print(f"written: {file}")
        if html is not None and images:
            print("the page may show faces of the data; to pass it on, make it with --no-images")
    if failed := failures(made, strict=strict):
        raise ConversionError("; ".join(failed))


def _variant(bundle: "Bundle", name: str | None) -> "Variant | None":
    """The variant that the diagnosis is asked of.

    Raises:
        BundleError: the bundle has none of that name, or it is not int8.
    """
    from fer_edge.devices.errors import BundleError
    from fer_edge.edge_runtime.vocabulary import Precision

    found = {variant.name: variant for variant in bundle.variants if variant.precision == Precision.INT8}
    if name is not None and name not in found:
        have = ", ".join(found) or "none"
        raise BundleError(f"bundle {bundle.name!r} has no int8 variant {name!r} to diagnose; it has {have}")
    return None if name is None else found[name]


def _diagnoses(
    made: dict[str, Any], bundle: "Bundle", data: "Dataset", asked: "Variant | None", images: int, step: "Step"
) -> dict[str, Any]:
    """By name, what is wrong with the variant asked for, else with each int8 variant that fails."""
    from fer_edge.convert.diagnose import diagnose
    from fer_edge.edge_runtime.vocabulary import Precision

    failing = {name for name, row in made["variants"].items() if not row["passes"]}
    chosen = [v for v in bundle.variants if v.name in failing and v.precision == Precision.INT8]
    chosen = chosen if asked is None else [asked]
    return {v.name: diagnose(bundle, v, data, made["data"]["split"], images=images, step=step) for v in chosen}


def _print_diagnoses(made: dict[str, Any]) -> None:
    if made["diagnosis"] is None:
        return
    from fer_edge.cli.diagnosis import print_diagnosis

    if not made["diagnosis"]:
        print("no int8 variant fails, so none is diagnosed; --diagnose-variant NAME takes one all the same")
    for found in made["diagnosis"].values():
        print_diagnosis(found)

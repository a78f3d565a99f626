"""`fer-edge tune`: the fastest settings for this device that keep the accuracy."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from fer_edge.edge_runtime.tune_store import Store


def tune(
    bundle: Annotated[
        Path | None, typer.Option(help="Bundle folder or .ferpack; flagship (by default) and tiny ship.")
    ] = None,
    source: Annotated[str | None, typer.Option(help="Clip of your camera; by default the sample clip.")] = None,
    detector_model: Annotated[Path | None, typer.Option(help="YuNet's .onnx, where it is not in the cache.")] = None,
    aim: Annotated[str | None, typer.Option(help="latency: the least p90 from frame to label (default).")] = None,
    fps: Annotated[
        float | None, typer.Option(min=0.1, max=1000, help="In place of --aim: this rate with the least CPU time.")
    ] = None,
    min_accuracy: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Least accuracy, as 0.67; by default 0.5 points under the float variant."),
    ] = None,
    min_found: Annotated[
        float, typer.Option(min=0, max=1, help="Part of the faces that must be found, and of finds that are faces.")
    ] = 0.95,
    engines: Annotated[
        str | None, typer.Option(help="Choose among these, as tflite,onnx; so for the next five.")
    ] = None,
    precisions: Annotated[str | None, typer.Option(help="int8, float32, float16, dynamic-int8.")] = None,
    threads: Annotated[str | None, typer.Option(help="By default 1,2,4, up to this device's cores.")] = None,
    detectors: Annotated[str | None, typer.Option(help="yunet, haar.")] = None,
    widths: Annotated[str | None, typer.Option(help="Pixels of a full scan; by default up to the clip's.")] = None,
    cadences: Annotated[str | None, typer.Option(help="Frames between full scans; by default up to 1 s.")] = None,
    max_frames: Annotated[int, typer.Option(min=1, help="Of the clip on which faces are compared.")] = 300,
    rounds: Annotated[
        int, typer.Option(min=1, max=1000, help="Of 30 frames that the last two settings run; fewer is quicker.")
    ] = 27,
    restart: Annotated[bool, typer.Option("--restart", help="Forget what an interrupted search measured.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write no profile.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write samples, machine and versions.")] = None,
) -> None:
    """Search for this device's best settings and keep them as its profile, which `run` then takes.

    Interrupted, it goes on where it stopped when it is started again.
    """
    if aim not in (None, "latency"):
        raise typer.BadParameter(f"{aim!r}; it is latency, or give --fps N", param_hint="--aim")
    if aim is not None and fps is not None:
        raise typer.BadParameter("give one of --aim and --fps", param_hint="--aim")
    from fer_edge.cli.screen import progress
    from fer_edge.edge_runtime import tune as search
    from fer_edge.edge_runtime.bundle import Bundle
    from fer_edge.edge_runtime.tune_score import Aim
    from fer_edge.edge_runtime.tune_search import Plan
    from fer_edge.edge_runtime.tune_space import Wishes

    wishes = Wishes(
        _words(engines),
        _words(precisions),
        _numbers("--threads", threads),
        _words(detectors),
        _numbers("--widths", widths),
        _numbers("--cadences", cadences),
        min_accuracy,
    )
    try:
        with progress("starting") as (bar, task):
            made, store = search.tune(
                Bundle.open(bundle),
                source,
                detector_model=detector_model,
                wishes=wishes,
                aim=Aim(fps),
                plan=Plan.of(min_found, rounds),
                max_frames=max_frames,
                restart=restart,
                step=lambda what: bar.update(task, description=what[:60], advance=1),
            )
        with store:
            _finish(made, store, dry_run, json_file)
    except KeyboardInterrupt:
        print(
            "fer-edge: stopped; what was measured is kept: the same command goes on from there, --restart begins anew",
            file=sys.stderr,
        )
        raise typer.Exit(130) from None


def _finish(made: dict[str, Any], store: "Store", dry_run: bool, json_file: Path | None) -> None:
    """Write what is to be written, print, and forget the single measurements once the profile is there.

    Raises:
        EngineError: the rate is not reached; the measurements stay, for another aim.
        OutputError: something cannot be written.
    """
    from fer_edge.devices.errors import EngineError
    from fer_edge.devices.files import write_json
    from fer_edge.devices.frame import redacted

    winner = made["winner"]
    made["made_at"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    made["command"] = ["fer-edge", *(redacted(word) for word in sys.argv[1:])]
    made["profile"] = None
    failed = made["aim"]["fps"] is not None and not winner["reached"]
    if not (failed or dry_run):
        made["profile"] = str(_write(made))
    if json_file is not None:
        write_json(json_file, made)
    print_tuning(made)
    if json_file is not None:
        print(f"samples and machine: {json_file}")
    if failed:
        raise EngineError(
            f"{made['aim']['fps']:g} frames a second are not reached here, so no profile was written; "
            "try a lower --fps, or --aim latency: what was measured is kept for it"
        )
    if not dry_run:
        store.remove()


def _write(made: dict[str, Any]) -> Path:
    from fer_edge.edge_runtime.device_profile import write_profile

    winner = made["winner"]
    service = next(row["service"] for row in made["tried"] if row["id"] == winner["id"])
    measured = {
        "aim": made["aim"]["text"],
        "source": made["source"]["name"],
        "p90_ms": _figure(service["p90"]),
        "accuracy": winner["accuracy"],
        "found": winner["found"],
        "why": winner["why"],
    }
    return write_profile(made["bound_to"], winner["settings"], measured, made["made_at"])


def print_tuning(made: dict[str, Any]) -> None:
    """The front, the winner and why, and how it was measured; within 80 columns but for sentences."""
    from fer_edge.cli.screen import table

    rows = {row["id"]: row for row in made["tried"]}
    winner, baseline = made["winner"], made["baseline"]
    names = made["front"] if winner["id"] in made["front"] else [winner["id"], *made["front"]]
    marked = [(name, "> " if name == winner["id"] else "  ") for name in names]
    if baseline is not None:
        marked.append((baseline, "= "))
    for_rate = made["aim"]["fps"] is not None
    table(
        f"{made['bundle']['name']} on {made['source']['name']}, for {made['aim']['text']}",
        ["  variant", "faces", "scan", "frames", "CPU ms" if for_rate else "p90 ms", "x winner", "acc %", "found %"],
        [_row(rows[name], mark, cpu=for_rate) for name, mark in marked],
    )
    worse = "takes more CPU time" if for_rate else "is slower"
    print("> the winner; = what run does by itself. The others are the Pareto front: none")
    print(f"{worse}, is less accurate and finds fewer faces than another one.")
    print("scan: width and frames from one to the next; x winner: in the same rounds")
    _print_winner(made, rows[winner["id"]])
    _print_how(made)


def _row(row: dict[str, Any], mark: str, *, cpu: bool) -> list[str]:
    p90 = _figure(row["service"]["p90"])
    return [
        f"{mark}{row['engine']}/{row['precision']} t{row['threads'] or '?'}",
        row["detector"],
        f"{row['detect_width']}/{row['scan_every']}",
        f"{row['service']['count']:,}",
        f"{row['cpu_ms']:.2f}" if cpu else "-" if p90 is None else f"{p90:.2f}",
        f"{row['over_winner']['ratio']:.2f}",
        "-" if row["accuracy"] is None else f"{100 * row['accuracy']:.2f}",
        f"{100 * row['found']:.1f}",
    ]


def _print_winner(made: dict[str, Any], row: dict[str, Any]) -> None:
    winner = made["winner"]
    print(f"\nwinner: {winner['id']}\nwhy: {winner['why']}")
    if winner["over_baseline"] is not None:
        over = winner["over_baseline"]
        what = "p90 latency" if made["aim"]["fps"] is None else "CPU time"
        interval = "" if over["low"] is None else f" ({over['low']:.2f} to {over['high']:.2f})"
        print(f"against run by itself: {over['ratio']:.2f}{interval} of its {what}")
    arrived = winner["open"]
    age = arrived["age"]["p90"]
    text = "-" if age is None else f"{age['ms']:.2f} ms ({age['low_ms']:.2f} to {age['high_ms']:.2f})"
    print(
        f"frames arriving at {arrived['fps']:g} a second: age p90 {text}, "
        f"{arrived['dropped']} of {arrived['frames']} dropped, {arrived['utilisation']:.0%} busy"
    )


def _print_how(made: dict[str, Any]) -> None:
    reference, measured, space = made["reference"], made["measured"], made["space"]
    print(
        f"faces: {reference['faces']} in {reference['frames']} frames by {reference['detector']}'s full scans of every "
        f"frame; at least {made['floors']['found']:.0%} are found"
    )
    print(
        f"measured: {measured['frames']:,} frames for {space['settings']} settings; all of them at length would be "
        f"{measured['exhaustive_frames']:,}"
    )
    for name, why in made["left_out"].items():
        if why != "not asked for":
            print(f"left out, {name}: {why}")
    if made["source"]["is_sample"]:
        print("the sample clip shows one near face; --source CLIP of your own camera says more")
    if made["profile"] is not None:
        print(f"profile: {made['profile']}\nfer-edge run takes it for this bundle; --no-profile ignores it")


def _figure(percentile: Any) -> float | None:
    return None if percentile is None else float(percentile["ms"])


def _words(text: str | None) -> list[str] | None:
    return None if text is None else [word.strip() for word in text.split(",") if word.strip()]


def _numbers(option: str, text: str | None) -> list[int] | None:
    words = _words(text)
    if words is None:
        return None
    if not all(word.isdigit() for word in words):
        raise typer.BadParameter(f"{text!r}; expected whole numbers such as 1,2", param_hint=option)
    return [int(word) for word in words]

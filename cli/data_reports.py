"""`fer-edge data explore` and `fer-edge data audit`: look at a cache; a page and the same numbers as JSON."""

import csv
import io
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from fer_edge.train.dataset import Dataset
    from fer_edge.train.duplicates import Duplicates, Rule

Cache = Annotated[Path, typer.Argument(metavar="CACHE", help="Data cache.")]
Out = Annotated[Path | None, typer.Option(metavar="DIR", help="Folder to write; by default beside the cache.")]
Force = Annotated[bool, typer.Option("--force", help="Replace DIR if it exists.")]
Distance = Annotated[int, typer.Option(help="Most bits of 64 in which near duplicates' perceptual hashes differ.")]
Likeness = Annotated[float, typer.Option(help="Least correlation of near duplicates' detail.")]
EXPLORED, AUDITED = "explore.json", "audit.json"


def explore(
    cache: Cache,
    out: Out = None,
    val_fraction: Annotated[float, typer.Option(help="Part set aside before classes are weighed.")] = 0.2,
    seed: Annotated[int, typer.Option(min=0, help="Of that part, and of the faces shown.")] = 0,
    force: Force = False,
) -> None:
    """See what a cache holds: counts, faces, grays, missing images, mean faces, class weights."""
    from fer_edge.cli.screen import table
    from fer_edge.devices.files import refuse_occupied
    from fer_edge.train.dataset import load_dataset
    from fer_edge.train.explore import explore as look
    from fer_edge.train.explore_page import explore_page

    out = _beside(cache, "explore", out)
    refuse_occupied(out, EXPLORED, force=force)
    data, start = load_dataset(cache), time.perf_counter()
    made = stamped({**look(data, val_fraction, seed), "seed": seed}, start)
    page = explore_page(made, data)
    _write(out, EXPLORED, made, {"explore.html": page}, force=force)
    weights, missing = made["class_weights"]["fit"], made["missing"]
    rows = [
        [name, *(f"{own[name]:,}" for own in made["counts"].values()), f"{weights['weights'][name]:.4f}"]
        for name in weights["weights"]
    ]
    table(f"{cache}: {made['data']['images']:,} faces", ["emotion", *made["counts"], "weight"], rows)
    print(
        f"weight: balanced, for the {weights['images']:,} images that are left with {val_fraction:.0%} for validation"
    )
    for split, names in missing["absent_emotions"].items():
        if names:
            print(f"{split} has no image of {', '.join(names)}")
    print(f"{missing['constant_images']:,} images of one single gray; of those, {missing['black_images']:,} are black")
    _written(out, "explore.html", EXPLORED)


def audit(
    cache: Cache,
    out: Out = None,
    distance: Distance = 12,
    likeness: Likeness = 0.7,
    force: Force = False,
) -> None:
    """Find duplicates, labels that contradict one another, blank images, and how far FER+ agrees."""
    from fer_edge.devices.files import refuse_occupied
    from fer_edge.train.audit import audit as examine
    from fer_edge.train.audit_page import audit_page, sentences
    from fer_edge.train.dataset import load_dataset

    out = _beside(cache, "audit", out)
    refuse_occupied(out, AUDITED, force=force)
    rule = rule_of(distance, likeness)
    data, start = load_dataset(cache), time.perf_counter()
    found = search(data, rule)
    made = stamped(examine(data, found), start)
    beside = {"audit.html": audit_page(made, data, found), "duplicates.csv": _rows_csv(data, found)}
    _write(out, AUDITED, made, beside, force=force)
    for sentence in sentences(made):
        print(sentence)
    if made["duplicates"]["across_splits"]["groups"]:
        print(f"next: fer-edge data clean {cache} --out CLEANED --across-splits")
    _written(out, "audit.html", AUDITED, "duplicates.csv")


def rule_of(distance: int, likeness: float) -> "Rule":
    """What counts as a near duplicate, by the command line."""
    from fer_edge.train.duplicates import Rule

    return Rule(distance, likeness)


def search(data: "Dataset", rule: "Rule") -> "Duplicates":
    """The duplicates, with a line on stderr while they are looked for."""
    from fer_edge.cli.screen import progress
    from fer_edge.train.duplicates import find_duplicates

    with progress("comparing all images", total=1) as (bar, task):
        found = find_duplicates(data.faces, rule)
        bar.update(task, completed=1)
    return found


def stamped(made: dict[str, Any], start: float) -> dict[str, Any]:
    """A report with when, how and where it was made."""
    from fer_edge.devices.machine import describe_machine

    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    seconds = round(time.perf_counter() - start, 1)
    command = ["fer-edge", *sys.argv[1:]]
    return {**made, "made_at": now, "command": command, "seconds": seconds, "machine": describe_machine()}


def _beside(cache: Path, what: str, out: Path | None) -> Path:
    return out or cache.with_name(f"{cache.resolve().name}-{what}")


def _write(out: Path, name: str, made: dict[str, Any], beside: dict[str, str], *, force: bool) -> None:
    from fer_edge.devices.files import replacing_folder, write_json

    with replacing_folder(out, name, force=force) as temporary:
        write_json(temporary / name, made)
        for other, text in beside.items():
            (temporary / other).write_text(text, encoding="utf-8")


def _rows_csv(data: "Dataset", found: "Duplicates") -> str:
    """Every image of a group: group, row in the cache, split, label."""
    from fer_edge.edge_runtime.vocabulary import EMOTIONS
    from fer_edge.train.dataset import SPLITS

    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["group", "row", "split", "label"])
    for number, rows in enumerate(found.groups()):
        writer.writerows([number, row, SPLITS[data.splits[row]], EMOTIONS[data.labels[row]]] for row in rows.tolist())
    return out.getvalue()


def _written(out: Path, page: str, *others: str) -> None:
    print(f"written: {', '.join(str(out / name) for name in (page, *others))}")
    print(f"{page} shows faces of the data")

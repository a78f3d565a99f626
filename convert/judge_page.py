"""The judgement as one HTML page that stands alone; every number in it is in the report.

Must not measure: it reads the report, and the faces of the flips from the data where they may be shown.
"""

from pathlib import Path
from typing import Any

from fer_edge.convert import judge_figures as draw
from fer_edge.convert import judge_sections as parts
from fer_edge.convert import judge_tables as tables
from fer_edge.convert.judge_gallery import MOST_SHOWN, pictures
from fer_edge.convert.judge_sections import listed, most_lost
from fer_edge.devices.files import replacing_file
from fer_edge.edge_runtime.html_page import (
    Kind,
    Raw,
    code,
    details,
    facts,
    figure,
    figures,
    gallery,
    join,
    note,
    page,
    paragraph,
    section,
    subheading,
    verdict,
)
from fer_edge.train.dataset import Dataset

SAME_LOGITS = 1e-3
"""A variant whose logits are within so much of the reference's is the same network; its details are left out."""


def write_page(path: Path, made: dict[str, Any], data: Dataset | None) -> None:
    """Write the page, whole or not at all; without `data` it shows no face.

    Raises:
        OutputError: the disk refuses.
    """
    text = judgement_page(made, data)
    with replacing_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def judgement_page(made: dict[str, Any], data: Dataset | None) -> str:
    """The page of a report of `fer-edge compare`; with `data`, which must be the report's, the faces of the flips."""
    reference, about = made["reference"], made["data"]
    others = {n: row for n, row in made["variants"].items() if row["verdict"] is not None}
    lossy = {n: row for n, row in others.items() if row["max_logit_difference"] > SAME_LOGITS}
    sections: list[object] = [headline(others, made["margin_pp"])]
    if others:
        sections += [_accuracy(made, others), _flips(made, others)]
    if lossy:
        sections += [_faces(made, lossy, data), parts.emotions(lossy, reference), parts.outputs(lossy, others)]
    if made["confidence"] is not None:
        sections.append(parts.confidence(made["confidence"], reference["name"], lossy))
    if made["robustness"] is not None and len(made["robustness"]["models"]) > 1:
        sections.append(parts.robustness(made["robustness"], reference["name"]))
    if made["diagnosis"]:
        from fer_edge.convert.diagnose_page import diagnosis_section  # brings what reads models

        sections += [diagnosis_section(found) for found in made["diagnosis"].values()]
    sections.append(_how(made))
    name = made["bundle"]["name"]
    lead = (
        f"{len(others)} variants of {name} against {reference['name']}, which names {reference['accuracy']:.2%} of "
        f"{about['images']:,} {about['split']} images of {about['source']} rightly"
    )
    return page(f"{name}: is int8 as good as float?", lead, sections, f"fer-edge compare, {made['made_at']}")


def headline(rows: dict[str, Any], margin_pp: float) -> Raw:
    """The box at the top: what is shown, of which variants."""
    worse = [name for name, row in rows.items() if not row["passes"]]
    open_ = [name for name, row in rows.items() if row["passes"] and not row["non_inferior"]]
    good = [name for name, row in rows.items() if row["passes"] and row["non_inferior"]]
    points = f"{margin_pp:g} points of accuracy"
    kind: Kind
    if worse:
        seen = _verb(worse, "fails: on these images it loses", "fail: on these images they lose")
        say, kind = f"{listed(worse)} {seen} more than {points}", "bad"
    elif open_:
        say, kind = f"{listed(open_)} {_verb(open_, 'is', 'are')} not shown to lose less than {points}", "warn"
    elif good:
        say, kind = f"{listed(good)} {_verb(good, 'loses', 'lose')} less than {points}", "good"
    else:
        return verdict("Nothing was compared", "unknown")
    rest = []
    if worse and open_:
        rest.append(paragraph(f"Not shown to lose less: {listed(open_)}."))
    if good and kind != "good":
        rest.append(paragraph(f"Shown to lose less: {listed(good)}."))
    return verdict(say, kind, *rest)


def _verb(names: list[str], one: str, many: str) -> str:
    return one if len(names) == 1 else many


def _accuracy(made: dict[str, Any], others: dict[str, Any]) -> Raw:
    margin = made["margin_pp"]
    return section(
        "Accuracy",
        figures(
            figure(
                draw.drops(others, margin),
                "Accuracy lost against float, with 95% intervals; right of the dashed line it is more than allowed.",
                "Forest plot of the accuracy lost by variant",
            ),
            figure(
                draw.changes(others),
                "Images whose label changed: what is lost is the orange bar less the blue one.",
                "Bars of the labels that changed, to right and to wrong",
            ),
        ),
        tables.accuracy(made["variants"], margin),
        note(
            f"Non-inferior: the whole interval is at or under {margin:g} points. Worse: the whole interval is above. "
            "Not shown: the margin lies within, and more images would be needed to say. The interval is Tango's score "
            "interval of paired images; its upper end is a one-sided test at 2.5%. “Loses too much” says that the loss "
            "that was seen, whatever its interval, is above the margin: then the command fails."
        ),
        note(
            f"Each of the {made['compared']} verdicts is about its own variant and is not adjusted for the others. Who "
            "picks the best looking of them should judge that one again on images that had no say."
        ),
        anchor="accuracy",
    )


def _flips(made: dict[str, Any], others: dict[str, Any]) -> Raw:
    return section(
        "Labels that changed",
        tables.flips(others),
        note(
            "McNemar's exact test asks whether flips from right to wrong and back are as likely; “Holm” is the same p "
            f"adjusted for {made['compared']} variants. A large p does not say that nothing is lost: the verdict does."
        ),
        anchor="labels",
    )


def _faces(made: dict[str, Any], lossy: dict[str, Any], data: Dataset | None) -> Raw | str:
    if data is None:
        return ""
    first = most_lost(lossy)
    drawn: list[Raw] = []
    for name in sorted(lossy, key=lambda name: name != first):
        for kind, words in (("right_to_wrong", "right → wrong"), ("wrong_to_right", "wrong → right")):
            flips, count = made["flipped"][name][kind], lossy[name][f"flips_{kind}"]
            title = f"{name}, {words}: {min(len(flips), MOST_SHOWN)} of {count:,}"
            if flips:
                faces = gallery(pictures(flips, data.faces))
                drawn.append(details(title, faces) if drawn else join(subheading(title), faces))
    return section(
        "Faces whose label changed",
        paragraph(
            "What float says with which confidence, what the variant says, and what the data says it is. First those "
            "of which float was surest: its best emotion was furthest ahead of the second."
        ),
        *drawn,
        anchor="faces",
    )


def _how(made: dict[str, Any]) -> Raw:
    machine, about = made["machine"], made["data"]
    pairs: list[tuple[str, object]] = [
        ("bundle", f"{made['bundle']['name']}, sha256 {made['bundle']['sha256'][:12]}"),
        ("data", f"{about['source']}, sha256 {about['sha256'][:12]}"),
        ("machine", machine["cpu"]),
        *((name, version) for name, version in made["versions"].items() if version is not None),
    ]
    missing = made["not_installed"]
    return section(
        "How it was made",
        paragraph(code(" ".join(made["command"]))),
        facts(pairs),
        *(
            note(f"{name}: {listed(layers)} in float, as asked of convert.")
            for name, layers in made["float_layers"].items()
        ),
        note(f"Not judged, does not run here: {listed(missing)}.") if missing else "",
        note("All numbers of this page are in the report: fer-edge compare --out FILE.json."),
        anchor="how",
    )

"""An evaluation as one HTML page that stands alone; every number in it is in evaluation.json.

Must not measure: it reads the JSON, and faces from the data where they may be shown.
"""

from pathlib import Path
from typing import Any

from fer_edge.devices.files import replacing_file
from fer_edge.edge_runtime.html_page import (
    Raw,
    code,
    details,
    facts,
    figure,
    figures,
    note,
    page,
    paragraph,
    section,
    table,
    verdict,
)
from fer_edge.train import eval_figures as draw
from fer_edge.train import eval_page_asked as asked
from fer_edge.train import eval_page_images as images
from fer_edge.train.eval_figures import percent, span
from fer_edge.train.eval_page_images import Faces, Made


def write_page(path: Path, made: Made, faces: Faces | None) -> None:
    """Write the page, whole or not at all; without `faces`, those of the data (N, 48, 48), it shows none.

    Raises:
        OutputError: the disk refuses.
    """
    text = evaluation_page(made, faces)
    with replacing_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def evaluation_page(made: Made, faces: Faces | None) -> str:
    """The page of what `fer-edge evaluate` found."""
    what, about = made["what"], made["data"]
    name = f"{what['name']}, {what['variant']}" if what["variant"] else what["name"]
    kind = "A training run" if what["kind"] == "run" else "A variant of a bundle"
    lead = f"{kind} of {what['model']}, judged on {about['images']:,} {about['split']} images of {about['source']}"
    parts = (
        *(
            _headline(made),
            _emotions(made),
            _confidence(made),
            asked.duplicates(made),
            asked.robustness(made),
            asked.views(made),
        ),
        *(
            images.looks(made, faces),
            images.wrong(made, faces),
            images.random(made, faces),
            _training(made),
            _cost(made),
            _how(made),
        ),
    )
    sections: list[object] = [part for part in parts if part is not None]
    return page(f"{name}: what it can do", lead, sections, f"fer-edge evaluate, {made['made_at']}")


def _headline(made: Made) -> Raw:
    low, high = made["accuracy_interval"]
    most, share = _always(made)
    worst, macro = made["worst_class"], made["macro"]
    says = f"{made['accuracy']:.2%} of the images are named rightly (95% interval {low:.2%} to {high:.2%})"
    better = low > share
    baseline = f"Naming every image {most} would be right on {share:.2%}" + (
        "." if better else ": this model is not shown to do better."
    )
    return verdict(
        says,
        "unknown" if better else "warn",
        paragraph(baseline),
        paragraph(
            f"Macro F1 {macro['f1']:.4f}, weighted F1 {made['weighted']['f1']:.4f}, calibration error "
            f"{made['confidence']['ece']:.4f}. Worst is {worst['name']}: {worst['recall']:.1%} of its images are found."
        ),
    )


def _always(made: Made) -> tuple[str, float]:
    """The most frequent class, and its share of the images."""
    supports = {name: row["support"] for name, row in made["by_class"].items()}
    most = max(supports, key=supports.__getitem__)
    return most, supports[most] / made["data"]["images"]


def _emotions(made: Made) -> object:
    rows = [
        [
            *(name, f"{row['support']:,}", percent(row["precision"]) or "never named", percent(row["recall"])),
            *(None if row["recall_interval"] is None else span(row["recall_interval"]), _four(row["f1"])),
        ]
        for name, row in made["by_class"].items()
    ]
    every = f"{made['data']['images']:,}"
    for name in ("macro", "weighted"):
        mean = made[name]
        rows.append([f"{name} mean", every, percent(mean["precision"]), percent(mean["recall"]), "", _four(mean["f1"])])
    left_out = made["data"]["left_out"]
    return section(
        "By emotion",
        figures(
            figure(
                draw.recalls(made), "Recall: the share of an emotion's images that are named so.", "Recall by emotion"
            ),
            figure(
                draw.confusion(made),
                "Images by true emotion (row) and by what they are named (column), shaded by share of the row.",
                "Confusion matrix",
            ),
        ),
        table(["emotion", "images", "precision", "recall", "95% interval", "F1"], rows, "Figures by emotion"),
        note(
            "Intervals are Wilson's. The macro mean counts each emotion alike, the weighted mean by its images; an "
            "emotion that is never named has no precision of its own and counts as 0 in the means."
        ),
        note(f"{left_out:,} images without a true emotion (FER+'s votes tie or name none) are left out.")
        if left_out
        else "",
        _more_than_half(made),
        anchor="emotions",
    )


def _more_than_half(made: Made) -> object:
    found = made["more_than_half"]
    if found is None or not found["images"]:
        return ""
    return note(
        f"Figures published of FER+ are of the images on which one emotion has more than half of the votes: "
        f"{percent(found['accuracy'], 2)} ({span(found['accuracy_interval'])}) of {found['images']:,} here."
    )


def _confidence(made: Made) -> object:
    of = made["confidence"]
    return section(
        "Confidence",
        figures(
            figure(
                draw.reliability(made),
                "On the diagonal the confidence is true; bars are 95% intervals (Wilson).",
                "Reliability diagram",
            ),
            facts(
                [
                    ("expected calibration error", _four(of["ece"])),
                    ("by chance, 95 of 100 stay under", _four(of["ece_if_calibrated"]["p95"])),
                    ("with bins of equal mass", _four(of["ece_equal_mass"])),
                    ("mean confidence", percent(of["mean_confidence"], 2)),
                    ("negative log-likelihood, nats", _four(of["nll"])),
                    ("Brier score", _four(of["brier"])),
                ]
            ),
        ),
        note(
            "The expected calibration error is the mean distance of confidence and accuracy in 15 bins. It is never 0: "
            "“by chance” is what a model whose confidence is true would show on as many images."
        ),
        anchor="confidence",
    )


def _training(made: Made) -> object | None:
    training = made["training"]
    if training is None:
        return None
    history, kept = training["history"], training["history"][training["best_epoch"] - 1]
    drawn: list[object] = []
    if training["phases"]:
        changes = " Dashed: the learning rate changes." if len(training["phases"]) > 1 else ""
        caption = (
            f"Orange: epoch {training['best_epoch']}, which is kept.{changes} The fitting curve is measured while "
            "fitting: with augmentation and dropout, where the recipe has them."
        )
        drawn.append(figures(figure(draw.curves(training), caption, "Learning curves")))
    recipe = [(name, _plain(value)) for name, value in training["recipe"].items()]
    return section(
        "Training",
        *drawn,
        facts(
            [
                ("epochs", f"{len(history)}, kept is {training['best_epoch']}"),
                ("took", f"{training['seconds']:,.0f} s"),
                ("validation accuracy", percent(kept.get("val_accuracy"), 2)),
                ("validation loss", _four(kept.get("val_loss"))),
            ]
        ),
        details("The recipe", facts(recipe)),
        anchor="training",
    )


def _cost(made: Made) -> object:
    took = made["latency_ms"]
    one = None if took is None else took["batch1"]
    pairs: list[tuple[str, object]] = [
        ("parameters", _whole(made["parameters"])),
        ("multiply-adds of one face", _whole(made["macs"])),
        ("model file, bytes", _whole(made["size_bytes"])),
        ("one face, median", None if one is None else f"{one['median']:.3g} ms"),
        ("one face, p90", None if one is None or one["p90"] is None else f"{one['p90']:.3g} ms"),
        ("a face of 256", None if took is None else f"{took['batch256_per_sample']:.3g} ms"),
    ]
    machine = made["machine"]
    runs = (
        ""
        if took is None or one is None
        else f" Medians of {one['runs']} and {took['batch256']['runs']} calls after warming up."
    )
    return section(
        "Size and time",
        facts(pairs),
        note(
            f"Measured with {made['what']['library']} on {machine['cpu']}, {machine['usable_cores']} cores.{runs} "
            "What a device needs from camera to label is measured by fer-edge bench."
        ),
        anchor="time",
    )


def _how(made: Made) -> object:
    about, what = made["data"], made["what"]
    trained = about["same_as_training"]
    pairs: list[tuple[str, object]] = [
        ("model", f"{what['model']}, identity {what['identity']}"),
        ("data", f"{about['source']}, sha256 {about['sha256'][:12]}"),
        *([("the run was trained on", "this data" if trained else "other data")] if trained is not None else []),
        ("machine", made["machine"]["cpu"]),
        *((name, version) for name, version in made["versions"].items() if version is not None),
    ]
    return section(
        "How it was made",
        paragraph(code(" ".join(made["command"]))),
        facts(pairs),
        note("All numbers of this page are in evaluation.json beside it; what each means is in docs/evaluate.md."),
        anchor="how",
    )


def _four(value: float | None) -> str | None:
    return None if value is None else f"{value:.4f}"


def _whole(value: int | None) -> str | None:
    return None if value is None else f"{value:,}"


def _plain(value: Any) -> str:
    """A value of a recipe; None is what is left to the model, not what was not measured."""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "the model's own" if value is None else str(value)

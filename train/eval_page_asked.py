"""Sections of an evaluation's page about what else the model was asked: bad faces, known ones, several views."""

from fer_edge.edge_runtime.html_page import element, figure, figures, join, note, section, table
from fer_edge.train import eval_figures as draw
from fer_edge.train.eval_figures import percent, span
from fer_edge.train.eval_page_images import Made


def robustness(made: Made) -> object | None:
    """Accuracy under noise, blur, wrong light, a covered face and JPEG; None where it was not measured."""
    rows = made["robustness"]
    if rows is None:
        return None
    cells = [
        [
            row["what"],
            join(percent(row["accuracy"], 2), element("small", span(row["accuracy_interval"]))),
            _points(row, made),
        ]
        for row in rows
    ]
    return section(
        "Under bad conditions",
        figures(
            figure(draw.robustness(made), "Accuracy with 95% intervals (Wilson).", "Accuracy under conditions"),
            table(
                ["condition", "accuracy", "change, pp"],
                cells,
                f"{rows[0]['images']:,} images under each condition, with 95% intervals",
            ),
        ),
        note(
            "Noise is Gaussian with a standard deviation in shares of the 255 grays, blur a Gaussian on the 48×48 "
            "face; less light comes with a sensor's own noise, more light is cut off at white. The gray square lies at "
            "a random place, another one for each face."
        ),
        anchor="robustness",
    )


def duplicates(made: Made) -> object | None:
    """Images that Training knows beside those that are new; None where there are no such ones."""
    found = made["duplicates"]
    if found is None or not found["known"]["images"]:
        return None
    names = {"known": "known: Training has a duplicate", "new": "new: it has none"}
    return section(
        "Known from Training",
        table(
            ["images", "how many", "accuracy", "95% interval"],
            [
                [names[kind], f"{row['images']:,}", percent(row["accuracy"], 2), span(row["accuracy_interval"])]
                for kind, row in found.items()
                if row["images"]
            ],
            "Accuracy on known and on new images",
        ),
        note(
            "A duplicate is the same photo, exact or with another crop, light or watermark, as “fer-edge data audit” "
            "finds it. A model that was fitted to it has seen the answer: the second row is what it does on new faces."
        ),
        anchor="known",
    )


def views(made: Made) -> object | None:
    """Mirrored faces and ten crops beside the one pass; None where they were not asked of."""
    rows = made["views"]
    if rows is None:
        return None
    once = {"what": "the face, once", "passes": 1} | {key: made[key] for key in ("accuracy", "accuracy_interval")}
    return section(
        "Asked several times",
        table(
            ["asked of", "passes", "accuracy", "95% interval"],
            [
                [row["what"], row["passes"], percent(row["accuracy"], 2), span(row["accuracy_interval"])]
                for row in (once, *rows)
            ],
            "Accuracy by number of passes",
        ),
        note(
            "By the mean probability. Ten crops are corners and middle of 44 of 48 pixels, enlarged again, and their "
            "mirror images, as published figures often have it. A device asks once: the first row is this model's."
        ),
        anchor="views",
    )


def _points(row: Made, made: Made) -> str:
    return f"{(row['accuracy'] - made['accuracy']) * 100:+.2f}".replace("-", "−")

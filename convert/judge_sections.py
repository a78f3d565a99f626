"""The parts of the judgement's page beside accuracy: by emotion, outputs, confidence, robustness."""

from typing import Any

from fer_edge.convert import judge_figures as draw
from fer_edge.convert import judge_tables as tables
from fer_edge.edge_runtime.html_page import (
    Raw,
    details,
    figure,
    figures,
    join,
    note,
    paragraph,
    section,
    subheading,
)

Rows = dict[str, dict[str, Any]]
"""By variant, its row of the report."""


def listed(names: list[str]) -> str:
    """Names as a phrase."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def emotions(lossy: Rows, reference: dict[str, Any]) -> Raw:
    """Recall, confusion, precision and F1; unfolded for the variant that loses most."""
    first = most_lost(lossy)
    parts = []
    for name in sorted(lossy, key=lambda name: name != first):
        drawn = _of_one(name, lossy[name], reference)
        parts.append(join(subheading(name), drawn) if name == first else details(name, drawn))
    return section(
        "By emotion",
        tables.macro_f1(lossy),
        *parts,
        note(
            "The intervals of F1 are percentiles of 10,000 paired resamples of the images; one of 0 to 0 says that no "
            "label changed in this sample. With seven emotions, a recall's p is adjusted after Holm."
        ),
        anchor="emotions",
    )


def outputs(lossy: Rows, others: Rows) -> Raw:
    """KL and logits."""
    same = [name for name in others if name not in lossy]
    return section(
        "Outputs",
        tables.outputs(others),
        figures(
            figure(
                draw.outputs(lossy, "kl", "KL divergence from float, nats"),
                "The share of the images on which the probabilities are at most so far from float's.",
                "Distribution of the KL divergence by image",
            ),
            figure(
                draw.outputs(lossy, "logit_difference", "largest difference of a logit"),
                "The share of the images on which no logit differs more from float's.",
                "Distribution of the largest difference of a logit by image",
            ),
        ),
        *(
            [note(f"{listed(same)}: the logits of the reference but for rounding; left out of the pictures.")]
            if same
            else []
        ),
        anchor="outputs",
    )


def confidence(made: dict[str, Any], reference: str, lossy: Rows) -> Raw:
    """Temperature, reliability, calibration error."""
    models = made["models"]
    fit, judged = made["fitted_on"], made["judged_on"]
    drawn = [
        figure(
            draw.reliability(name, models[name], reference, models[reference]),
            f"{name} (round, blue for int8) and {reference} (square). On the diagonal the confidence is true; bars are "
            "95% intervals (Wilson).",
            f"Reliability diagram of {name}",
        )
        for name in lossy
    ]
    return section(
        "Confidence",
        paragraph(
            f"The temperature is fitted on {fit['images']:,} images ({fit['what']}) and judged on {judged['images']:,} "
            f"others ({judged['what']}). It changes no label."
        ),
        figures(*drawn) if drawn else "",
        tables.confidence({name: of for name, of in models.items() if name in lossy or name == reference}),
        tables.confidence_rise({name: of for name, of in models.items() if name in lossy}) if lossy else "",
        note(
            f"The expected calibration error (ECE) is the mean distance of confidence and accuracy in {made['bins']} "
            "bins of equal width; “equal mass” takes bins of as many images each. It is never 0: “by chance” is what "
            "95 of 100 samples of a model whose confidence is true would stay under."
        ),
        anchor="confidence",
    )


def robustness(made: dict[str, Any], reference: str) -> Raw:
    """Noise, blur and darkness."""
    return section(
        "Noise, blur and darkness",
        figures(
            figure(
                draw.degraded_accuracy(made, reference),
                "Accuracy as the faces get worse.",
                "Accuracy under noise, blur and darkness",
            ),
            figure(
                draw.degraded_drops(made, reference),
                "What is lost against float on the very same pixels, with 95% intervals (Tango).",
                "Accuracy lost under noise, blur and darkness",
            ),
        ),
        tables.robustness(made, reference),
        note(
            "Noise is Gaussian with a standard deviation in shares of the 255 grays, blur a Gaussian on the 48×48 "
            "face, darkness a share of the light with a sensor's own noise on top. The intervals are not adjusted: of "
            "twenty, one leaves out 0 by chance."
        ),
        anchor="robustness",
    )


def most_lost(rows: Rows) -> str:
    """The variant that loses most accuracy."""
    return max(rows, key=lambda name: rows[name]["drop_pp"])


def _of_one(name: str, row: dict[str, Any], reference: dict[str, Any]) -> Raw:
    return join(
        figures(
            figure(
                draw.recalls(name, row, reference),
                "Recall: the share of an emotion's images that are named so, with 95% intervals (Wilson).",
                f"Recall by emotion, float and {name}",
            ),
            figure(
                draw.recall_drops(name, row),
                "Recall lost against float on the same images, with 95% intervals (Tango), not adjusted.",
                f"Recall lost by emotion, {name}",
            ),
            figure(
                draw.confusion(reference),
                f"{reference['name']}: images by true and named emotion, shaded by share of the row.",
                "Confusion of the float model",
            ),
            figure(
                draw.confusion_change(row, reference),
                f"{name} less float: images that it names more (blue) or fewer (orange).",
                f"How the confusion of {name} differs",
            ),
        ),
        tables.by_emotion(name, row, reference),
    )

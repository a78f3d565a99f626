"""The tables of the judgement's page: what stands in the report, formatted and nothing added."""

from typing import Any

from fer_edge.convert.judge_figures import signed, span
from fer_edge.edge_runtime.html_page import Raw, badge, join, table
from fer_edge.edge_runtime.vocabulary import EMOTIONS

Row = dict[str, Any]


def percent(value: float | None, digits: int = 2) -> str | None:
    """A share as a percentage; None stays None."""
    return None if value is None else f"{value:.{digits}%}"


def ends(interval: list[float] | None, digits: int = 1) -> str | None:
    """An interval of shares as percentages."""
    return None if interval is None else f"{interval[0]:.{digits}%} to {interval[1]:.{digits}%}"


def verdict_badge(row: Row) -> Raw:
    """The verdict with its colour; a variant whose loss was seen to be too great says so, too."""
    if row["verdict"] is None:
        return badge("the reference", "unknown")
    kind = "good" if row["non_inferior"] else "warn" if row["passes"] else "bad"
    said = badge(row["verdict"], kind)  # type: ignore[arg-type]
    return said if row["passes"] else join(said, " ", badge("loses too much", "bad"))


def accuracy(rows: dict[str, Row], margin_pp: float) -> Raw:
    """Accuracy, what is lost and the verdict."""
    columns = ("variant", "top-1", "95% interval", "lost, pp", "95% interval", "bootstrap", "verdict")
    return table(
        columns,
        [
            (
                name,
                percent(row["accuracy"]),
                ends(row["accuracy_interval"], 2),
                signed(row["drop_pp"]),
                span(row["drop_score_interval_pp"]),
                span(row["drop_interval_pp"]),
                verdict_badge(row),
            )
            for name, row in rows.items()
        ],
        f"Accuracy, and what is lost of it against float; the margin is {margin_pp:g} points",
        "lrrrrrl",
    )


def flips(rows: dict[str, Row]) -> Raw:
    """How many labels changed, which way, and whether chance explains it."""
    columns = ("variant", "agree", "changed", "right → wrong", "wrong → right", "wrong → wrong", "McNemar p", "Holm")
    return table(
        columns,
        [
            (
                name,
                percent(row["agreement"]),
                f"{row['flips']:,} of {row['images']:,}",
                *(f"{row[f'flips_{kind}']:,}" for kind in ("right_to_wrong", "wrong_to_right", "wrong_to_wrong")),
                f"{row['mcnemar_p']:.3f}",
                "–" if row["mcnemar_p_holm"] is None else f"{row['mcnemar_p_holm']:.3f}",
            )
            for name, row in rows.items()
        ],
    )


def by_emotion(name: str, row: Row, reference: Row) -> Raw:
    """Recall, precision and F1 of each emotion: float, the variant with its interval, and what is lost."""
    parts = []
    for figure in ("recall", "precision", "f1"):
        of = {"recall": "images", "precision": "named", "f1": "images"}[figure]
        title = figure.replace("f1", "F1")
        lost = figure != "precision"
        columns = ["emotion", of, "float", name, "95% interval", *(["lost, pp", "95% interval"] if lost else [])]
        if figure == "recall":
            columns += ["McNemar p", "Holm"]
        cells = [(e, row["classes"][e], reference["classes"][e]) for e in EMOTIONS]
        parts.append(
            table(
                columns,
                [
                    (
                        e,
                        f"{own[of]:,}",
                        percent(theirs[figure], 1),
                        percent(own[figure], 1),
                        ends(own[f"{figure}_interval"]),
                        *(_lost(own, figure) if lost else ()),
                        *(_p_values(own) if figure == "recall" else ()),
                    )
                    for e, own, theirs in cells
                ],
                f"{title[0].upper()}{title[1:]} by emotion, {name}",
            )
        )
    return join(*parts)


def _lost(cell: Row, figure: str) -> tuple[str | None, str | None]:
    drop, interval = cell[f"{figure}_drop_pp"], cell[f"{figure}_drop_interval_pp"]
    return None if drop is None else signed(drop), None if interval is None else span(interval)


def _p_values(cell: Row) -> tuple[str | None, str | None]:
    p, adjusted = cell["recall_mcnemar_p"], cell["recall_mcnemar_p_holm"]
    return None if p is None else f"{p:.3f}", None if adjusted is None else f"{adjusted:.3f}"


def macro_f1(rows: dict[str, Row]) -> Raw:
    """F1 as a mean over the emotions, and what is lost of it."""
    return table(
        ("variant", "macro F1", "95% interval", "lost, pp", "95% interval"),
        [
            (
                name,
                percent(row["macro_f1"]),
                ends(row["macro_f1_interval"], 2),
                signed(row["macro_f1_drop_pp"]),
                span(row["macro_f1_drop_interval_pp"]),
            )
            for name, row in rows.items()
        ],
        "Macro F1: each emotion counts alike, however many images it has",
    )


def outputs(rows: dict[str, Row]) -> Raw:
    """How far the outputs are from float's."""
    columns = ("variant", "mean KL", "p99 KL", "largest KL", "p99 of logit", "largest of logit")
    keys = ("mean_kl", "p99_kl", "max_kl", "p99_logit_difference", "max_logit_difference")
    return table(
        columns,
        [(name, *(None if row[key] is None else f"{row[key]:#.3g}" for key in keys)) for name, row in rows.items()],
        "KL divergence from float in nats, and an image's largest difference of a logit",
    )


def confidence(models: dict[str, Row]) -> Raw:
    """Temperature, calibration error and likelihood before and after it."""
    columns = (
        *("model", "temperature", "95% interval", "ECE before", "after", "by chance, up to"),
        *("equal mass before", "after", "NLL before", "after", "Brier before", "after"),
    )
    rows = []
    for name, of in models.items():
        before, after = of["before"], of["after"]
        low_high = of["temperature_interval"]
        pairs = [(before[key], None if after is None else after[key]) for key in ("ece", "ece_equal_mass")]
        scores = [(before[key], None if after is None else after[key]) for key in ("nll", "brier")]
        rows.append(
            (
                name,
                None if low_high is None else f"{of['temperature']:.3f}",
                None if low_high is None else f"{low_high[0]:.3f} to {low_high[1]:.3f}",
                *(percent(value) for value in pairs[0]),
                percent(before["ece_if_calibrated"]["p95"]),
                *(percent(value) for value in pairs[1]),
                *(None if value is None else f"{value:.4f}" for pair in scores for value in pair),
            )
        )
    return table(columns, rows, "Calibration error (ECE), negative log-likelihood (NLL, nats) and Brier score")


def confidence_rise(models: dict[str, Row]) -> Raw:
    """How much worse than float's a variant's confidence is, before and after each has its temperature."""
    columns = ("variant", "ECE, pp", "95% interval", "after, pp", "95% interval", "NLL", "95% interval")
    rows = []
    for name, of in models.items():
        if (before := of["rise_before"]) is None:
            continue
        after = of["rise_after"]
        low, high = before["nll_interval"]
        rows.append(
            (
                name,
                signed(before["ece"] * 100),
                span([end * 100 for end in before["ece_interval"]]),
                None if after is None else signed(after["ece"] * 100),
                None if after is None else span([end * 100 for end in after["ece_interval"]]),
                f"{before['nll']:+.4f}".replace("-", "−"),
                f"{low:+.4f} to {high:+.4f}".replace("-", "−"),
            )
        )
    return table(columns, rows, "How much greater than float's: calibration error before and after, NLL before")


def robustness(made: Row, reference: str) -> Raw:
    """The float's accuracy under each condition, and what each variant loses there."""
    others = [name for name in made["models"] if name != reference]
    rows = []
    for at, what in enumerate(made["conditions"]):
        lost = (made["models"][name][at] for name in others)
        rows.append(
            (
                what["what"],
                percent(made["models"][reference][at]["accuracy"]),
                *(f"{signed(row['drop_pp'])} ({span(row['drop_score_interval_pp'])})" for row in lost),
            )
        )
    columns = ("faces", reference, *(f"{name} lost, pp (95%)" for name in others))
    return table(columns, rows, "Accuracy on the same degraded pixels, and what is lost of it against float")

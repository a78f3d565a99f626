"""The tables of float against int8: what `convert` and `compare` share, what `compare` adds, and the gate's line."""

from collections.abc import Sequence
from textwrap import fill
from typing import Any


def print_judgement(made: dict[str, Any]) -> None:
    """Accuracy and drop with intervals; agreement, flips, McNemar and verdict; recall by emotion."""
    from fer_edge.cli.screen import table

    reference, data = made["reference"], made["data"]
    title = (
        f"against {reference['name']}, {reference['accuracy']:.2%} on {data['images']:,} {data['split']} images "
        f"of {data['source']}"
    )
    columns = ["variant", "top-1", "95% interval", "drop, pp", "95% interval"]
    table(title, columns, [_accuracy(name, row) for name, row in made["variants"].items()])
    columns = ["variant", "agree", "flips -/+/x", "McNemar p", "Holm", "verdict"]
    table(
        f"labels that flip: to wrong/to right/wrong to wrong; the margin is {reference['max_drop_pp']:g} pp",
        columns,
        [_flips(name, row) for name, row in made["variants"].items()],
    )
    _by_emotion(made, "recall")


def print_comparison(made: dict[str, Any]) -> None:
    """The judgement, and what `compare` adds: precision and F1, outputs, confidence, robustness."""
    from fer_edge.cli.screen import table

    print_judgement(made)
    for name in ("precision", "f1"):
        _by_emotion(made, name)
    columns = ["variant", "macro F1", "drop, pp", "95% interval", "mean KL", "p99 KL", "logit"]
    rows = [_outputs(name, row) for name, row in made["variants"].items()]
    table("macro F1; KL from float in nats; largest difference of a logit", columns, rows)
    _print_confidence(made["confidence"])
    if made["robustness"] is not None:
        _print_robustness(made["robustness"], made["reference"]["name"])
    for name, layers in made["float_layers"].items():
        print(f"{name}: {', '.join(layers)} in float, as asked of convert")
    if made["not_installed"]:
        print(f"not judged, does not run here: {', '.join(made['not_installed'])}")


def balance_line(put_in: dict[str, Any]) -> str:
    """What a balance does to the judging images: accuracy, mean recall, and the worst emotion's."""
    before, after, faces = put_in["before"], put_in["after"], put_in["chosen_on"]
    chosen = f", chosen on {faces['images']:,} validation faces" if faces else ""
    return (
        f"balance {put_in['tau']:g}{chosen}: accuracy {before['accuracy']:.2%} before, {after['accuracy']:.2%} after; "
        f"mean recall {before['mean_recall']:.1%} before, {after['mean_recall']:.1%} after; "
        f"worst {_worst(before)} before, {_worst(after)} after"
    )


def _worst(figures: dict[str, Any]) -> str:
    return f"{figures['worst_class']['name']} {figures['worst_class']['recall']:.1%}"


def temperature_line(put_in: dict[str, Any] | None) -> str:
    """What the logits were divided by, and what that does to the judging images' calibration error."""
    if put_in is None or put_in["value"] is None:
        return f"probabilities: as trained, {'no temperature was asked for' if put_in is None else put_in['why_not']}"
    low, high = put_in["interval"]
    before, after = put_in["before"], put_in["after"]
    return (
        f"probabilities: at temperature {put_in['value']:.3f} ({low:.3f} to {high:.3f}), fitted on "
        f"{put_in['fitted_on']['images']:,} validation faces"
        + (f"; calibration error {before['ece']:.4f} before, {after['ece']:.4f} after" if before else "")
    )


def gate_line(learned: dict[str, Any] | None) -> str:
    """When a face is uncertain, and what that does to validation faces."""
    if learned is None:
        return "gate: none, this is not the data that the run was trained on, so its validation faces are not known"
    least = learned["thresholds"]
    words = {
        "min_side_px": "under {:g} px",
        "min_brightness": "darker than {:.1f}",
        "min_sharpness": "less sharp than {:.4f}",
        "min_margin": "ahead by less than {:.3f}",
    }
    when = ", ".join(words[name].format(value) for name, value in least.items() if value is not None)
    found = learned["validation"]
    if not when:
        return f"gate: no face is uncertain; on {found['n']:,} validation faces, naming all is best"
    right = "none" if found["accuracy_covered"] is None else f"{found['accuracy_covered']:.1%}"
    return (
        f"gate: uncertain when {when}; of {found['n']:,} validation faces {found['coverage']:.1%} are named, "
        f"{right} of them rightly ({found['accuracy_all']:.1%} of all)"
    )


def _accuracy(name: str, row: dict[str, Any]) -> list[str]:
    low, high = row["accuracy_interval"]
    interval = _signed(row.get("drop_score_interval_pp") or row["drop_interval_pp"])
    return [name, f"{row['accuracy']:.2%}", f"{low:.2%}..{high:.2%}", f"{row['drop_pp']:+.2f}", interval]


def _flips(name: str, row: dict[str, Any]) -> list[str]:
    lost, won = row["flips_right_to_wrong"], row["flips_wrong_to_right"]
    adjusted = row.get("mcnemar_p_holm")
    return [
        name,
        f"{row['agreement']:.2%}",
        f"{lost}/{won}/{row['flips'] - lost - won}",
        f"{row['mcnemar_p']:.3f}",
        "-" if adjusted is None else f"{adjusted:.3f}",
        _verdict(row),
    ]


def _verdict(row: dict[str, Any]) -> str:
    """What is shown of the loss, and whether the loss that was seen fails."""
    if row.get("verdict", "") is None:
        return "the reference"
    said = row.get("verdict") or ("non-inferior" if row["non_inferior"] else "not shown")
    return str(said) if row["passes"] else f"{said}, FAILS"


def _by_emotion(made: dict[str, Any], figure: str) -> None:
    from fer_edge.cli.screen import table

    reference = made["reference"]
    emotions = list(reference["recall"])
    shown = {reference["name"]: reference, **{n: row for n, row in made["variants"].items() if row["flips"]}}
    rows = [
        [name, *(_percent(row["recall" if figure == "recall" else "classes"][e][figure]) for e in emotions)]
        for name, row in shown.items()
    ]
    if figure != "precision":
        rows.append(["images", *(f"{reference['recall'][e]['images']:,}" for e in emotions)])
    same = "" if len(shown) > len(made["variants"]) else "; without a flip it is the reference's"
    table(f"{figure.replace('f1', 'F1')} by emotion, %{same}", ["variant", *emotions], rows)


def _outputs(name: str, row: dict[str, Any]) -> list[str]:
    return [
        name,
        _percent(row["macro_f1"]) + "%",
        f"{row['macro_f1_drop_pp']:+.2f}",
        _signed(row["macro_f1_drop_interval_pp"]),
        f"{row['mean_kl']:.5f}",
        "-" if row["p99_kl"] is None else f"{row['p99_kl']:.5f}",
        f"{row['max_logit_difference']:.3f}",
    ]


def _print_confidence(made: dict[str, Any]) -> None:
    """Temperature, calibration error and likelihood before and after it."""
    from fer_edge.cli.screen import table

    rows = []
    for name, of in made["models"].items():
        before, after = of["before"], of["after"]
        ends = of["temperature_interval"]
        rows.append(
            [
                name,
                "-" if ends is None else f"{of['temperature']:.2f}",
                "-" if ends is None else f"{ends[0]:.2f}..{ends[1]:.2f}",
                *(_percent(part and part["ece"]) for part in (before, after)),
                _percent(before["ece_if_calibrated"]["p95"]),
                *("-" if part is None else f"{part['nll']:.4f}" for part in (before, after)),
            ]
        )
    fit, judged = made["fitted_on"], made["judged_on"]
    words = (
        f"Confidence. The temperature is fitted on {fit['images']:,} images ({fit['what']}) and judged on "
        f"{judged['images']:,} others ({judged['what']}). ECE, the calibration error, is in % with {made['bins']} "
        "bins; a model whose confidence is true shows up to the chance in 95 of 100 samples. NLL is in nats."
    )
    print(fill(words, 79))
    columns = ["model", "temp.", "95%", "ECE", "after", "chance", "NLL", "after"]
    table("", columns, rows)


def _print_robustness(made: dict[str, Any], reference: str) -> None:
    """The reference's accuracy under each condition, and what each variant loses there."""
    from fer_edge.cli.screen import table

    for names in _side_by_side([name for name in made["models"] if name != reference], 80 - 26 - len(reference)):
        rows = [
            [what["what"], f"{made['models'][reference][at]['accuracy']:.2%}"]
            + [_starred(made["models"][name][at]) for name in names]
            for at, what in enumerate(made["conditions"])
        ]
        table(
            "drop under noise, blur and darkness, pp (* 0 is not in the interval)", ["faces", reference, *names], rows
        )


def _side_by_side(names: list[str], width: int) -> list[list[str]]:
    """Names in groups whose columns fit into `width`, one at least in each."""
    groups: list[list[str]] = []
    for name in names:
        if groups and sum(len(other) + 2 for other in groups[-1]) + len(name) + 2 <= width:
            groups[-1].append(name)
        else:
            groups.append([name])
    return groups


def _starred(row: dict[str, Any]) -> str:
    low, high = row["drop_score_interval_pp"]
    return f"{row['drop_pp']:+.2f}{' ' if low <= 0 <= high else '*'}"


def _signed(interval: Sequence[float]) -> str:
    return f"{interval[0]:+.2f}..{interval[1]:+.2f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value * 100:.1f}"

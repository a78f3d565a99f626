"""The bench report as one self-contained HTML page: the verdict, then the figures, then what they rest on.

Made from the report's JSON (schema 2) alone; every figure on it is in the JSON. Measures nothing.
"""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fer_edge.devices.files import replacing_file
from fer_edge.edge_runtime import bench_claims as claims
from fer_edge.edge_runtime import bench_page_time, bench_page_work
from fer_edge.edge_runtime import bench_words as words
from fer_edge.edge_runtime import html_page as page
from fer_edge.edge_runtime.bench_words import Row
from fer_edge.edge_runtime.figure_style import style
from fer_edge.edge_runtime.html_page import Raw, Section

_SAMPLES = ("samples_ns", "stage_samples_ns", "age_samples_ns", "round_medians_ns")


def write_page(report: Mapping[str, Any], path: Path) -> None:
    """Write the page of a bench report, whole or not at all.

    Raises:
        ModuleNotFoundError: matplotlib is not installed (when this module is imported).
        OutputError: `path` cannot be written.
    """
    with style():
        made = as_html(report)
    with replacing_file(path) as temporary:
        temporary.write_text(made, encoding="utf-8")


def as_html(report: Mapping[str, Any]) -> str:
    """The page as text."""
    parts = [
        _verdict(report),
        *bench_page_time.sections(report),
        *bench_page_work.sections(report),
        *([_start(report)] if report["variants"] else []),
        _conditions(report),
        _raw(report),
    ]
    made_by = report["versions"].get("fer-edge")
    return page.page(
        f"Benchmark of {words.subject(report)}",
        f"{words.machine_name(report)}, {report['made_at'][:10]}",
        [part for part in parts if part is not None],
        page.join(
            f"Made from the JSON report of fer-edge{f' {made_by}' if made_by else ''} of {report['made_at']}. ",
            "Every figure on this page is in that report; intervals are 95%.",
        ),
    )


def _verdict(report: Row) -> Raw:
    said = _claims(report)
    context = page.lines(
        [
            ("Measured", words.how_line(report)),
            ("Machine", words.machine_line(report)),
            ("Conditions", words.conditions_line(report)),
        ]
    )
    busy = words.busy_sentence(report)
    cautions = [page.paragraph(page.badge("busy", "warn"), " ", busy)] if busy else []
    if not report["valid"]:
        return page.verdict(
            "INVALID: these figures do not describe this machine.",
            "bad",
            page.bullets(report["invalid_because"]),
            page.paragraph("As measured: ", " ".join(said)),
            *cautions,
            context,
        )
    pays = [row["int8"]["pays"] for row in report["variants"] if row["int8"] and row["precision"] == "int8"]
    kind: page.Kind = "good" if pays and all(pays) else "warn" if False in pays else "unknown"
    return page.verdict(said[0], kind, page.bullets(said[1:]), *cautions, context)


def _claims(report: Row) -> list[str]:
    """What is said first: who is fastest, then int8 over float; of the pipeline where that alone was measured."""
    runs = report["pipeline"]
    if not report["variants"]:
        ratios = [ratio for run in runs if (ratio := claims.run_ratio(runs, run)) is not None]
        return [claims.pipeline_sentence(report), *map(claims.ratio_sentence, ratios)]
    ratios = claims.headline_ratios(report)
    first = claims.fastest_sentence(report) or "Too few samples to rank the variants."
    return [first, *map(claims.ratio_sentence, ratios)]


def _start(report: Row) -> Section:
    cells = []
    for row in report["variants"]:
        start = row["start"] or dict.fromkeys(("import_ms", "load_ms", "first_ms", "peak_memory_bytes"))
        times = [None if start[key] is None else f"{start[key]:,.1f}" for key in ("import_ms", "load_ms", "first_ms")]
        cells.append(
            [row["id"], words.megabytes(row["file_bytes"]), *times, words.megabytes(start["peak_memory_bytes"])]
        )
    return page.section(
        "Start-up and memory",
        page.table(
            ["variant", "file, MB", "import, ms", "load, ms", "first call, ms", "peak memory, MB"],
            cells,
            "Each in a process of its own",
        ),
        anchor="start",
    )


def _conditions(report: Row) -> Section:
    machine, versions = report["machine"], report["versions"]
    memory = words.megabytes(machine["memory_bytes"])
    bundle = report["bundle"]
    return page.section(
        "Machine and conditions",
        page.facts(
            [
                ("Board", machine["board"] or "unknown"),
                ("Processor", machine["cpu"] or "unknown"),
                ("int8 instructions", ", ".join(machine["int8_features"]) or "none"),
                ("Usable cores", machine["usable_cores"]),
                ("Memory", None if memory is None else f"{memory} MB"),
                ("System", page.join(machine["system"], ", ", machine["machine"])),
                ("Python", machine["python"]),
                *((name, version or "not installed") for name, version in versions.items()),
                ("Timer overhead", f"{report['timer_overhead_ns']:,.0f} ns"),
            ]
        ),
        page.table(
            ["", "before", "during", "after"],
            words.conditions_rows(report),
            "Conditions",
        ),
        page.facts(
            [
                ("Command", page.code(shlex.join(report["command"]))),
                *([] if bundle is None else [("sha256 of the bundle", page.code(bundle["sha256"]))]),
            ]
        ),
        anchor="machine",
    )


def _raw(report: Row) -> Section:
    missing = words.not_measured(report)
    files = [
        [row["id"], row["file"], row["version"], row["device"], page.code(row["sha256"])] for row in report["variants"]
    ]
    return page.section(
        "What it rests on",
        page.paragraph("Not asked for or not to be had: ", ", ".join(missing), ".") if missing else "",
        page.details(
            "Files", page.table(["variant", "file", "engine's version", "device", "sha256"], files, align="lllll")
        )
        if files
        else "",
        page.details(
            page.join("The report ", page.element("span", "without its samples", class_="soft")),
            page.block(json.dumps(_without_samples(report), indent=1, ensure_ascii=False)),
            is_raw=True,
        ),
        anchor="raw",
    )


def _without_samples(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_samples(item) for key, item in value.items() if key not in _SAMPLES}
    return [_without_samples(item) for item in value] if isinstance(value, list) else value

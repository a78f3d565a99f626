"""The bench report as a page, as Markdown and on the terminal: nothing on them that is not in the JSON."""

import copy
import html
import json
import re
import shlex
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer_edge.cli.bench_screen import print_bench
from fer_edge.devices.errors import OutputError
from fer_edge.edge_runtime import bench_claims as claims
from fer_edge.edge_runtime import bench_figures
from fer_edge.edge_runtime.bench_markdown import as_markdown
from fer_edge.edge_runtime.bench_page import write_page
from fer_edge.edge_runtime.figure_style import style

CHROMIUM = Path("/usr/bin/chromium")
ROUNDS, ROUND_SAMPLES = 70, 10
PEAKS = {"int8": 410.0, "float32": 118.0}
MEDIAN_MS = {
    "tflite/int8": 0.412, "tflite/float32": 0.889, "onnx/int8": 0.951, "onnx/float32": 0.702,
    "openvino/int8": 0.388, "openvino/float32": 0.655,
}  # fmt: skip
LAYERS = [
    ("rescale", "MUL", 0, 9216), ("conv2d", "CONV_2D", 8_294_400, 94_000), ("conv2d_1", "CONV_2D", 21_233_664, 152_000),
    ("pool", "MAX_POOL_2D", 0, 92_160), ("conv2d_2", "CONV_2D", 10_616_832, 98_000), ("gap", "MEAN", 0, 18_432),
    ("dense", "FULLY_CONNECTED", 16_384, 17_000), ("logits", "FULLY_CONNECTED", 896, 1_100),
]  # fmt: skip


def latency(samples_ns: Any) -> dict[str, Any]:
    """The shape of the report: percentiles with a plausible interval, null where there are too few."""
    taken = np.sort(np.asarray(samples_ns))
    made: dict[str, Any] = {
        "count": len(taken),
        "mean_ms": float(taken.mean()) / 1e6,
        "min_ms": float(taken[0]) / 1e6,
        "max_ms": float(taken[-1]) / 1e6,
    }
    for percent, needed in {50: 11, 90: 64, 95: 130, 99: 662}.items():
        value = float(np.percentile(taken, percent)) / 1e6
        interval = {"ms": value, "low_ms": value * 0.992, "high_ms": value * 1.011}
        made[f"p{percent}"] = interval if len(taken) >= needed else None
    return made


def sampled(rng: np.random.Generator, median_ms: float, count: int = ROUNDS * ROUND_SAMPLES) -> list[int]:
    """Samples with a body of 2%, a slow drift and a few stalls of up to eight times."""
    drift = np.repeat(np.linspace(0.99, 1.02, ROUNDS), ROUND_SAMPLES)[:count]
    body = median_ms * 1e6 * drift * rng.lognormal(0, 0.02, count)
    stalls = rng.random(count) < 0.01
    return [int(ns) for ns in np.where(stalls, body * rng.uniform(1.5, 8, count), body)]


def an_int8(precision: str) -> dict[str, Any]:
    if precision != "int8":
        return {
            "verdict": "not int8", "operators_int8": 0, "operators_float": 8, "mac_share_int8": 0.0,
            "left_in_float": [], "instructions": ["VNNI"], "runs_in": {"float32": 8}, "pays": None,
            "why": "All 8 operators run in float32.",
        }  # fmt: skip
    return {
        "verdict": "partly int8", "operators_int8": 7, "operators_float": 1, "mac_share_int8": 0.9996,
        "left_in_float": ["dense FULLY_CONNECTED"], "instructions": ["VNNI"], "runs_in": {"int8": 7, "float32": 1},
        "pays": True,
        "why": "7 of 8 convolutions and matrix products of int8.tflite run in int8; this processor has VNNI for it; "
        "int8 pays here: it takes 0.46 of float32's time (0.46 to 0.47)",
    }  # fmt: skip


def operators(precision: str, total_ms: float) -> list[dict[str, Any]]:
    weights = [0.05, 0.24, 0.36, 0.04, 0.22, 0.03, 0.05, 0.01]
    return [
        {
            "name": name, "type": kind, "count": 1, "time_us": total_ms * 1000 * weight, "share": weight,
            "macs": macs, "bytes": size, "precision": "float32" if name == "dense" else precision,
        }
        for weight, (name, kind, macs, size) in zip(weights, LAYERS, strict=True)
    ]  # fmt: skip


def a_variant(rng: np.random.Generator, name: str, threads: int, batch: int, suffix: str) -> dict[str, Any]:
    engine, _, precision = name.partition("/")
    median_ms = MEDIAN_MS[name] * batch / threads**0.6
    samples = sampled(rng, median_ms)
    figures = latency(samples)
    return {
        "id": name + suffix, "variant": name, "engine": engine, "precision": precision, "threads": threads,
        "batch": batch, "version": "2.3.0", "device": "CPU", "file": f"{precision}.{engine}",
        "file_bytes": 402_188 if precision == "int8" else 1_512_004, "sha256": "ab" * 32,
        "start": {"import_ms": 61.0, "load_ms": 4.4, "first_ms": 1.9, "peak_memory_bytes": 61_415_424},
        "warmup": {"samples": 120, "stable": True}, "latency": figures, "cold": None,
        "faces_per_second": 1000 * batch / figures["mean_ms"], "energy": None,
        "round_medians_ns": [float(np.median(part)) for part in np.array(samples).reshape(ROUNDS, -1)],
        "samples_ns": samples, "stages": None, "operators": operators(precision, figures["mean_ms"]),
        "operators_note": None, "int8": an_int8(precision),
        "attained": {
            "gops": 20.1 / figures["mean_ms"], "intensity": 166.0 if precision == "int8" else 47.5,
            "attainable_gops": PEAKS[precision] * 0.8, "share": 20.1 / figures["mean_ms"] / PEAKS[precision],
            "bound": "compute", "bytes_from": "cache",
        },
    }  # fmt: skip


def a_ratio(mine: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    ratio = float(np.median(np.array(mine["round_medians_ns"]) / np.array(over["round_medians_ns"])))
    interval = [ratio * 0.985, ratio * 1.017]
    return {"variant": mine["id"], "over": over["id"], "time_ratio": ratio, "interval": interval, "rounds": ROUNDS}


def ratios_of(variants: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Over float32, over the fastest int8, over the fewest threads: as the report has them."""
    base = {(v["engine"], v["threads"], v["batch"]): v for v in variants if v["precision"] == "float32"}
    over_float = [(v, base[key]) for v in variants if (key := (v["engine"], v["threads"], v["batch"])) in base]
    int8 = [v for v in variants if v["precision"] == "int8" and v["threads"] == variants[0]["threads"]]
    first = min((v for v in int8 if v["batch"] == 1), key=lambda v: v["latency"]["mean_ms"])
    over_fastest = [(v, first) for v in int8 if v["batch"] == 1 and v["engine"] != first["engine"]]
    fewest = {(v["variant"], v["batch"]): v for v in reversed(variants)}
    over_threads = [(v, fewest[v["variant"], v["batch"]]) for v in variants]
    pairs = [*((v, over) for v, over in over_float if v["precision"] != "float32"), *over_fastest]
    return [
        a_ratio(v, over) for v, over in (*pairs, *((v, o) for v, o in over_threads if v["threads"] != o["threads"]))
    ]


CONDITIONS = {
    "temp_c": 48.3, "throttled": [], "throttled_since_boot": [], "clock_mhz": 2400.0, "governor": "ondemand",
    "load_average": [0.42, 0.31, 0.27],
}  # fmt: skip
UNKNOWN = dict.fromkeys(CONDITIONS)


def report(threads: tuple[int, ...] = (2,), batches: tuple[int, ...] = (1,), seed: int = 0) -> dict[str, Any]:
    """A schema-2 report of `--scope engine` in which everything was measured."""
    rng = np.random.default_rng(seed)
    variants = [
        a_variant(
            rng, name, t, b, (f" t{t}" if len(threads) > 1 else "") + (f" b{b}" if len(batches) > 1 else "")
        )
        for name in MEDIAN_MS for t in threads for b in batches
    ]  # fmt: skip
    return {
        "schema": 2, "made_at": "2026-11-21T12:00:00Z",
        "command": ["fer-edge", "bench", "--threads", ",".join(map(str, threads)), "--roofline", "--html", "b.html"],
        "bundle": {"name": "cnn-edge", "sha256": "cd" * 32, "path": "bundled"},
        "plan": {
            "scope": "engine", "min_seconds": 3.0, "min_samples": 700, "round_samples": ROUND_SAMPLES,
            "threads": list(threads), "batches": list(batches), "cores": None, "seed": 0,
        },
        "rounds": ROUNDS, "timer_overhead_ns": 61.0, "valid": True, "invalid_because": [],
        "conditions": {
            "before": CONDITIONS, "after": CONDITIONS | {"temp_c": 57.9},
            "during": {
                "samples": 14, "temp_c": {"min": 48.3, "max": 58.4}, "clock_mhz": {"min": 2390.0, "max": 2400.0},
                "throttled": [],
            },
        },
        "machine": {
            "machine": "aarch64", "system": "Linux 6.6.31", "libc": "glibc 2.36", "python": "3.11.2",
            "board": "Raspberry Pi 5 Model B Rev 1.0", "cpu": "ARM implementer 0x41 part 0xd0b",
            "cpu_flags": ["fp", "asimd", "asimddp"], "int8_features": ["dot product"], "usable_cores": 4,
            "memory_bytes": 8_453_144_576, "governor": "ondemand", "temp_c": 48.3, "load_average": [0.42, 0.31, 0.27],
        },
        "versions": {"fer-edge": "0.6.0", "ai-edge-litert": "2.3.0", "onnxruntime": "1.31.1", "openvino": None},
        "variants": variants, "ratios": ratios_of(variants), "skipped": {"onnx/float16": "the bundle has none"},
        "steady": None,
        "roofline": {
            "peaks": [
                {
                    "engine": engine, "precision": precision, "threads": 2, "peak_gops": peak, "bandwidth_gb_s": 11.4,
                    "cache_bandwidth_gb_s": 42.0, "cache_bytes": 2 << 20,
                    "matrix": "1024x1024x1024", "note": "",
                }
                for engine in ("tflite", "onnx", "openvino") for precision, peak in PEAKS.items()
            ]
        },
        "pipeline": [],
        "estimates": [
            {
                "board": board, "variant": f"tflite/{precision}", "engine": "tflite", "precision": precision,
                "threads": 4, "ms": ms, "low_ms": ms * 0.6, "high_ms": ms * 1.7, "basis": "4 anchors of this core",
            }
            for board, precision, ms in (("pi4", "int8", 3.1), ("pi4", "float32", 4.4), ("zero2w", "int8", 9.3))
        ],
        "instructions": [
            {
                "core": "A72", "boards": ["pi4"], "variant": "tflite/int8", "over": "tflite/float32", "ratio": 0.823,
                "instructions_a_mac": 0.292,
            }
        ],
    }  # fmt: skip


def small() -> dict[str, Any]:
    """The report of one engine: two variants."""
    made = report()
    kept = [row for row in made["variants"] if row["engine"] == "tflite"]
    return made | {"variants": kept, "ratios": ratios_of(kept)}


def a_pipeline(seed: int = 0) -> list[dict[str, Any]]:
    """One entry a variant, as `--scope pipeline` gives it."""
    rng, made = np.random.default_rng(seed), []
    for precision, infer_ms in (("int8", 0.41), ("float32", 0.89)):
        parts = {"capture": 1.2, "detect": 2.8, "preprocess": 0.2, "infer": infer_ms, "label": 0.3}
        samples = {name: sampled(rng, ms, 600) for name, ms in parts.items()}
        total = [int(ns) for ns in np.sum(list(samples.values()), axis=0)]
        age = [int(ns + 2e6) for ns in total[:148]]
        over = {"variant": "tflite/float32", "time_ratio": 0.93, "interval": [0.91, 0.95], "rounds": 20}
        made.append(
            {
                "source": "interview.mp4", "frame_size": [596, 336], "variant": f"tflite/{precision}",
                "engine": "tflite", "precision": precision, "threads": 2, "detector": "yunet", "scan_every": 15,
                "detect_width": 320,
                "closed": {
                    "frames": 600, "faces": 598, "rounds": 20, "round_frames": 30, "frames_per_second": 203.4,
                    "stages": {name: latency(ns) for name, ns in samples.items()} | {"total": latency(total)},
                    "samples_ns": total, "stage_samples_ns": samples,
                    "round_medians_ns": [float(np.median(part)) for part in np.array(total).reshape(20, -1)],
                    "over": over if precision == "int8" else None,
                },
                "open": {
                    "fps": 25.0, "frames": 150, "labelled": 148, "dropped": 2, "late": 0, "gaps": 0, "rounds": 2,
                    "age": latency(age), "age_samples_ns": age, "interval": latency(sampled(rng, 40, 146)),
                    "utilisation": 0.13,
                },
            }
        )  # fmt: skip
    return made


def minimal() -> dict[str, Any]:
    """A bare model file on a machine that says nothing: everything optional is null, twelve samples."""
    made = report()
    [variant] = [copy.deepcopy(v) for v in made["variants"] if v["id"] == "tflite/float32"]
    few = variant["samples_ns"][:12]
    variant |= {
        "latency": latency(few), "samples_ns": few, "round_medians_ns": [float(np.median(few))], "start": None,
        "operators": None, "int8": None, "attained": None, "warmup": {"samples": 3, "stable": False},
    }  # fmt: skip
    made["plan"] |= {"min_seconds": 0.0, "min_samples": 12}
    machine = dict.fromkeys(made["machine"]) | {
        "machine": "x86_64", "system": "Linux 6.1", "python": "3.11.2", "cpu_flags": [], "int8_features": [],
        "usable_cores": 1,
    }  # fmt: skip
    return made | {
        "bundle": None, "variants": [variant], "ratios": [], "skipped": {}, "rounds": 1, "machine": machine,
        "conditions": {
            "before": UNKNOWN, "after": UNKNOWN,
            "during": {"samples": 0, "temp_c": None, "clock_mhz": None, "throttled": None},
        },
        "steady": None, "roofline": None, "pipeline": [], "estimates": None,
        "instructions": None,
    }  # fmt: skip


def with_everything() -> dict[str, Any]:
    """A steady run that throttled, with a pipeline, stages and energy."""
    made = report() | {
        "valid": False, "invalid_because": ["throttling began: under-voltage", "the clock fell by 12%"],
        "pipeline": a_pipeline(),
        "steady": {"soak_seconds": 412.0, "slope_c_per_minute": 0.7, "reached": True, "temp_c": [48.3, 71.2]},
    }  # fmt: skip
    made["conditions"] = copy.deepcopy(made["conditions"])
    made["conditions"]["during"] |= {"throttled": ["under-voltage"], "clock_mhz": {"min": 1500.0, "max": 2400.0}}
    rng = np.random.default_rng(5)
    for variant in made["variants"]:
        variant["cold"] = latency(sampled(rng, MEDIAN_MS[variant["variant"]] * 0.94))
        variant["energy"] = {"meter": "rapl package-0", "mj_per_face": 4.31, "idle_w": 2.75}
        variant["stages"] = {
            stage: latency(sampled(rng, ms)) for stage, ms in (("crop", 0.05), ("infer", 0.4), ("softmax", 0.01))
        }
    return made


REPORTS = {
    "full": report, "everything": with_everything, "minimal": minimal, "sweep": lambda: report((1, 2), (1, 8)),
}  # fmt: skip
VOID = {"meta", "img", "br", "link"}


class Seen(HTMLParser):
    """What a browser is given: balanced elements, ids, what is loaded, the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "pre"):
            self.words.append(data)

    def all(self, name: str) -> list[str]:
        return [value for _, given in self.attributes if (value := given.get(name)) is not None]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every form of the report as a page."""
    folder, made = tmp_path_factory.mktemp("pages"), {}
    for name, make in REPORTS.items():
        made[name] = folder / f"{name}.html"
        write_page(make(), made[name])
    return made


@pytest.mark.parametrize("name", REPORTS)
def test_the_page_is_one_file_that_loads_nothing(pages: dict[str, Path], name: str) -> None:
    page = pages[name].read_text()
    seen = Seen(page)
    assert not seen.open
    assert not re.search(r"https?://", page)
    assert not [tag for tag, _ in seen.attributes if tag in ("script", "link", "iframe", "object")]
    assert all(value.startswith("data:") for value in seen.all("src"))
    ids = seen.all("id")
    assert len(ids) == len(set(ids))
    assert {link.removeprefix("#") for link in (*seen.all("href"), *seen.all("xlink:href"))} <= set(ids)
    assert page.count("<h1>") == 1
    assert len(page) < 2e6


@pytest.mark.parametrize("name", REPORTS)
def test_no_page_says_none_or_nan(pages: dict[str, Path], name: str) -> None:
    said = " ".join(Seen(pages[name].read_text()).words)
    assert not re.search(r"\b(None|nan|NaN|inf|null|True|False|dict|undefined)\b", said)


def figures_of(value: Any) -> Iterator[float]:
    """Every number of the report but the raw samples."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not key.endswith("samples_ns") and key != "round_medians_ns":
                yield from figures_of(item)
    elif isinstance(value, list):
        for item in value:
            yield from figures_of(item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield float(value)


def is_one_of(word: str, known: list[float]) -> bool:
    """Whether a number of the page is one of the report's: rounded, as a percentage or in MB, or to two digits."""
    shown, places = float(word.replace(",", "")), len(word.partition(".")[2])
    return any(
        round(value * unit, places) == shown or float(f"{value:.2g}") == shown
        for value in known
        for unit in (1, 100, 1e-6)
    )


CELL = re.compile(r"<t[dh][^>]*>(.*?)</t[dh]>", re.DOTALL)
NUMBER = re.compile(r"(?<![\w.,/-])\d[\d,]*(?:\.\d+)?(?![\w/])")


@pytest.mark.parametrize("name", REPORTS)
def test_every_figure_of_the_tables_and_the_verdict_is_in_the_json(pages: dict[str, Path], name: str) -> None:
    made, page = REPORTS[name](), pages[name].read_text()
    known = list(figures_of(made))
    strings = json.dumps({key: value for key, value in made.items() if key not in ("variants", "pipeline")})
    text = re.sub(r"<[^>]+>", " ", " ".join(CELL.findall(page)) + page[page.index('class="say"') : page.index("<nav")])
    shown = NUMBER.findall(html.unescape(text))
    strange = {word for word in shown if not is_one_of(word, known) and word not in strings}
    assert len(shown) > 20
    assert strange <= {"95", "1", "5", "15"}, "a figure that the report does not have"  # 95% interval; load's minutes


def test_the_page_says_who_is_fastest_first_and_int8_over_float(pages: dict[str, Path]) -> None:
    made, page = report(), pages["full"].read_text()
    best = next(row for row in made["variants"] if row["id"] == "openvino/int8")["latency"]["p50"]
    assert (
        f"openvino/int8 is the fastest: {best['ms']:.3f} ms a call (median, 95% interval {best['low_ms']:.3f} to "
        f"{best['high_ms']:.3f})." in page
    )
    slower = claims.float_ratios(made)["onnx/int8"]
    low, high = slower["interval"]
    said = f"onnx/int8 takes {slower['time_ratio']:.2f} ({low:.2f} to {high:.2f}) of onnx/float32&#x27;s time: slower."
    assert said in page
    assert page.index("is the fastest") < page.index("<nav") < page.index("<table")


@pytest.mark.parametrize(
    ("interval", "word"),
    [([0.9, 0.97], "faster"), ([1.01, 1.2], "slower"), ([0.98, 1.02], "no evidence of a difference")],
)
def test_a_ratio_is_called_what_its_interval_says(interval: list[float], word: str) -> None:
    row = {"variant": "a", "over": "b", "time_ratio": 1.0, "interval": interval, "rounds": 9}
    assert claims.ratio_sentence(row).endswith(f"of b's time: {word}.")


def test_a_near_tie_is_not_called_a_win() -> None:
    made = report()
    tie = next(row for row in made["ratios"] if (row["variant"], row["over"]) == ("tflite/int8", "openvino/int8"))
    assert claims.fastest_sentence(made).endswith("0.261).")
    tie["interval"] = [0.99, 1.01]  # the ratio within rounds decides, however far apart the medians are
    assert claims.fastest_sentence(made).endswith("; tflite/int8 cannot be told apart from it.")
    tie["interval"] = None  # no such ratio: the medians' own intervals do
    assert claims.fastest_sentence(made).endswith("0.261).")
    made["variants"][0]["latency"]["p50"]["low_ms"] = 0.26
    assert claims.fastest_sentence(made).endswith("; tflite/int8 cannot be told apart from it.")


def test_a_roof_that_is_none_is_called_so(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    made = report()
    assert claims.roof_sentence(made["variants"]) is None
    found = next(row for row in made["variants"] if row["id"] == "openvino/int8")["attained"]
    found["share"] = 2.01
    said = claims.roof_sentence(made["variants"])
    assert said is not None
    assert said.startswith("openvino/int8 (201%): faster than the roof.")
    print_bench(made)
    assert said in capsys.readouterr().out.replace("\n  ", " ")
    write_page(made, tmp_path / "over.html")
    assert said in html.unescape((tmp_path / "over.html").read_text())


def test_ratios_are_told_apart_by_what_they_are_over() -> None:
    groups = claims.ratio_groups(report((1, 2)))
    assert {relation: len(rows) for relation, rows in groups.items()} == {
        claims.OVER_FLOAT: 6, claims.OVER_FASTEST: 2, claims.OVER_THREADS: 6,
    }  # fmt: skip
    assert all(row["variant"].partition(" ")[0].endswith("int8") for row in groups[claims.OVER_FLOAT])
    assert [row["variant"] for row in claims.headline_ratios(report((1, 2)))] == [
        "tflite/int8 t2", "onnx/int8 t2", "openvino/int8 t2",
    ]  # fmt: skip


def test_a_ratio_without_interval_is_no_claim(tmp_path: Path, capsys: Any) -> None:
    made = small()
    for row in made["ratios"]:
        row["interval"] = None
    for row in made["variants"]:
        row["int8"] = None
    write_page(made, tmp_path / "b.html")
    page = (tmp_path / "b.html").read_text()
    ratio = made["ratios"][0]["time_ratio"]
    said = f"tflite/int8 takes {ratio:.2f} of tflite/float32's time: too few rounds for an interval."
    assert said in html.unescape(page)
    assert "bootstrap" not in page
    assert f"| {ratio:.2f} (no interval) |" in as_markdown(made)
    print_bench(made)
    assert said in capsys.readouterr().out.replace("\n  ", " ")


def test_the_minimal_report_says_what_it_has_not(pages: dict[str, Path]) -> None:
    page = pages["minimal"].read_text()
    assert page.count("too few samples") == 3  # p90, p95 and p99 of twelve
    assert "not measured" in page
    assert "Benchmark of float32.tflite" in page
    for anchor in ("int8", "operators", "roofline", "pipeline", "estimates", "steady", "sweep"):
        assert f'id="{anchor}"' not in page
    assert "Not asked for or not to be had: start-up, int8 verdicts, times of operators, roofline, thermal " in page
    assert "0.000" not in " ".join(CELL.findall(page))


def test_an_invalid_report_says_so_before_anything_else(pages: dict[str, Path], capsys: Any) -> None:
    made, page = with_everything(), pages["everything"].read_text()
    first = page[page.index("</header>") :][:300]
    assert "INVALID" in first
    assert "throttling began: under-voltage" in page[: page.index("<nav")]
    assert as_markdown(made).startswith("**INVALID:** throttling began: under-voltage; the clock fell by 12%.\n\n|")
    print_bench(made)
    said = capsys.readouterr().out.splitlines()
    assert said[0] == said[-1] == "INVALID: throttling began: under-voltage; the clock fell by 12%"
    assert "INVALID" not in pages["full"].read_text()


def test_names_from_files_are_only_ever_text(tmp_path: Path, capsys: Any) -> None:
    nasty = "<script>alert(1)</script>|[bold]x"
    made = small() | {"skipped": {nasty: nasty}, "invalid_because": [nasty], "valid": False, "pipeline": a_pipeline()}
    made["bundle"] = {"name": nasty, "sha256": nasty, "path": nasty}
    made["machine"] |= {"board": nasty, "cpu": nasty}
    made["command"] = ["fer-edge", f"{nasty}`"]
    made["pipeline"][0] |= {"source": nasty, "detector": nasty}
    made["variants"][0] |= {"id": nasty, "variant": nasty, "file": nasty, "operators_note": nasty}
    made["ratios"] = ratios_of(made["variants"])
    made["variants"][0]["int8"] |= {"why": nasty, "left_in_float": [nasty]}
    made["variants"][0]["operators"][2] |= {"name": nasty, "type": nasty}
    made["estimates"][0] |= {"board": nasty, "basis": nasty}
    write_page(made, tmp_path / "b.html")
    page = (tmp_path / "b.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;|[bold]x" in page
    assert not Seen(page).open
    markdown = as_markdown(made)
    *rest, command = markdown.strip().split("\n\n")
    assert not [block for block in rest if "<script" in block]
    assert command == "`` fer-edge '<script>alert(1)</script>|[bold]x`' ``"
    assert len({len(re.split(r"(?<!\\)\|", line)) for line in markdown.split("\n\n")[1].splitlines()}) == 1
    print_bench(made)
    assert "[bold]x" in capsys.readouterr().out


def test_every_call_is_in_the_picture_of_the_distributions() -> None:
    made = report()["variants"][0]
    body, far = [1_000_000 + at * 100 for at in range(700)], [4_000_000, 9_000_000, 90_000_000]
    made |= {"samples_ns": body + far, "latency": latency(body + far)}
    with style():
        drawn = bench_figures.distributions([made])
    assert drawn.count('<use xlink:href="#') == len(far)  # the other samples are the histogram
    assert "max 90.00 ms" in drawn


def test_a_page_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "b.html"
    path.write_text("old")
    broken = small()
    del broken["variants"][-1]["file_bytes"]
    with pytest.raises(KeyError):
        write_page(broken, path)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("b.html", "old")]


def test_a_page_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        write_page(minimal(), tmp_path / "file" / "b.html")


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("full", ["variant", "p50, ms (95%)"]),
        ("sweep", ["variant", "threads", "batch", "p50, ms (95%)"]),
        ("minimal", ["variant", "p50, ms (95%)"]),
        ("everything", ["variant", "p50, ms (95%)"]),
    ],
)
def test_the_markdown_is_a_table_a_line_of_conditions_and_the_command(name: str, columns: list[str]) -> None:
    made = REPORTS[name]()
    blocks = [
        block for block in as_markdown(made).rstrip("\n").split("\n\n") if not block.startswith(("**INVALID", "–"))
    ]
    rows = [line.strip("|").split(" | ") for line in blocks[0].splitlines()]
    assert [cell.strip() for cell in rows[0]][: len(columns)] == columns
    assert {len(row) for row in rows} == {len(rows[0])}
    assert len(rows) == 2 + len(made["variants"])
    assert set(rows[1][0].strip()) <= set(":-")
    assert blocks[-1] == f"`{shlex.join(made['command'])}`"
    assert "int8 instructions" in blocks[-2]
    assert len(blocks) == (4 if made["pipeline"] else 3)
    assert not re.search(r"\b(None|nan)\b", as_markdown(made))


def test_the_markdown_has_ratio_size_and_verdict_of_each_variant() -> None:
    made = report()
    row = next(row for row in made["variants"] if row["id"] == "tflite/int8")
    ratio = claims.float_ratios(made)["tflite/int8"]
    p50, (low, high) = row["latency"]["p50"], ratio["interval"]
    [line] = [line for line in as_markdown(made).splitlines() if line.startswith("| tflite/int8 ")]
    p90, p99 = (row["latency"][name]["ms"] for name in ("p90", "p99"))
    assert line == (
        f"| tflite/int8 | {p50['ms']:.3f} ({p50['low_ms']:.3f}–{p50['high_ms']:.3f}) | {p90:.3f} | {p99:.3f} "
        f"| {ratio['time_ratio']:.2f} ({low:.2f}–{high:.2f}) | {row['faces_per_second']:,.0f} | 0.40 | partly int8 |"
    )


@pytest.mark.parametrize("name", REPORTS)
def test_the_terminal_form_fits_into_80_columns(name: str, capsys: Any) -> None:
    made = REPORTS[name]()
    print_bench(made)
    said = capsys.readouterr().out
    assert max(len(line.rstrip()) for line in said.splitlines()) <= 80
    assert not re.search(r"\b(None|nan)\b", said)
    for row in made["variants"]:
        assert row["id"] in said
    assert bool(made["estimates"]) == ("ESTIMATE with its band, not measured" in said)
    for name_, why in made["skipped"].items():
        assert f"{name_} not measured: {why}" in said


def test_long_names_lose_the_least_important_columns_first(capsys: Any) -> None:
    made = report((1, 2, 4), (1, 16))
    for row in made["variants"]:
        row["id"] = row["id"].replace("openvino/int8", "openvino/dynamic-int8-of-another")
    made["ratios"] = ratios_of(made["variants"])
    print_bench(made)
    said = capsys.readouterr().out
    header = next(line for line in said.splitlines() if "variant, ms" in line)
    assert "p90" not in header
    assert "95% interval" in header
    assert max(len(line.rstrip()) for line in said.splitlines()) <= 80


def test_the_terminal_form_ends_with_what_it_all_says(capsys: Any) -> None:
    print_bench(report())
    last = capsys.readouterr().out.split("\n\n")[-1]
    assert last.startswith("openvino/int8 is the fastest")
    assert "tflite/int8: partly int8; 7 of 8 convolutions" in last.replace("\n  ", " ")


def test_an_estimate_that_could_not_be_made_is_said_and_not_drawn(tmp_path: Path, capsys: Any) -> None:
    made = small()
    none = {"ms": None, "low_ms": None, "high_ms": None, "basis": "no estimate: macs unknown"}
    made["estimates"] = [made["estimates"][0] | none]
    write_page(made, tmp_path / "b.html")
    page = (tmp_path / "b.html").read_text()
    section = page[page.index('id="estimates"') : page.index('id="start"')]
    assert "no estimate: macs unknown" in section
    assert section.count('<span class="none">no estimate</span>') == 1
    assert "<svg" not in section
    print_bench(made)
    assert "tflite/int8: no estimate: macs unknown (pi4)" in capsys.readouterr().out


@pytest.mark.parametrize(("load", "busy"), [(1.99, False), (2.0, True), (None, False)])
def test_a_busy_machine_is_said(tmp_path: Path, capsys: Any, load: float | None, busy: bool) -> None:
    made = small()
    made["conditions"]["before"] = CONDITIONS | {"load_average": None if load is None else [load, 1.0, 1.0]}
    write_page(made, tmp_path / "b.html")
    said = "The machine was busy: load 2.00 on 4 cores before the run."
    assert (said in (tmp_path / "b.html").read_text()) is busy
    print_bench(made)
    assert (said in capsys.readouterr().out.replace("\n  ", " ")) is busy


def test_a_pipeline_with_several_thread_counts_names_them(tmp_path: Path, capsys: Any) -> None:
    made = small() | {"pipeline": [run | {"threads": threads} for threads in (1, 2) for run in a_pipeline()]}
    made["pipeline"][0] |= {"scan_every": None, "detect_width": None}
    write_page(made, tmp_path / "b.html")
    assert (tmp_path / "b.html").read_text().count('<th scope="row" class="l">tflite/int8 t1</th>') == 2
    print_bench(made)
    said = capsys.readouterr().out.replace("\n  ", " ")
    assert "tflite/int8 t2 takes 0.93 (0.91 to 0.95) of tflite/float32 t2's time: faster." in said
    assert "| tflite/float32 t2 |" in as_markdown(made)


def test_counted_instructions_stand_beside_the_estimates(tmp_path: Path, capsys: Any) -> None:
    counted = {"core": "A76", "boards": ["pi5"], "variant": "tflite/int8", "over": "tflite/float32", "ratio": 0.357}
    made = small() | {"instructions": [counted | {"instructions_a_mac": 0.1334}]}
    write_page(made, tmp_path / "b.html")
    page = (tmp_path / "b.html").read_text()
    assert '<td class="r">0.36</td><td class="r">0.133</td>' in page[page.index('id="estimates"') :]
    print_bench(made)
    said = capsys.readouterr().out.replace("\n  ", " ")
    assert "instructions, counted under emulation: tflite/int8 takes 0.36 of tflite/float32's on A76 (pi5)" in said


def test_a_run_of_the_pipeline_alone_has_a_page(tmp_path: Path, capsys: Any) -> None:
    made = report() | {"variants": [], "ratios": [], "roofline": None, "estimates": None, "pipeline": a_pipeline()}
    for run in made["pipeline"]:
        run["open"] = None
    write_page(made, tmp_path / "b.html")
    page = (tmp_path / "b.html").read_text()
    middle = made["pipeline"][0]["closed"]["stages"]["total"]["p50"]
    said = (
        f"tflite/int8 takes {middle['ms']:.3f} ms from capture to label (median, 95% interval {middle['low_ms']:.3f} to"
    )
    assert said in page
    assert "tflite/int8 takes 0.93 (0.91 to 0.95) of tflite/float32&#x27;s time: faster." in page[: page.index("<nav")]
    assert "Open loop: not measured." in page
    assert as_markdown(made).startswith("| camera to label |")
    print_bench(made)
    assert "each frame as soon as the last is done" in capsys.readouterr().out


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        yield browser
        browser.close()


OVERFLOW = "document.documentElement.scrollWidth - window.innerWidth"
CUT_OFF = """() => [...document.querySelectorAll("svg text")].filter(text => {
  const own = text.getBoundingClientRect(), whole = text.ownerSVGElement.getBoundingClientRect();
  return own.left < whole.left - 3 || own.right > whole.right + 3;
}).map(text => text.textContent)"""
GROUND = "getComputedStyle(document.body).backgroundColor"
LABEL = 'getComputedStyle(document.querySelector("svg text")).fill'
OF_THEME = {"light": ("rgb(254, 254, 254)", "rgb(88, 100, 111)"), "dark": ("rgb(18, 22, 26)", "rgb(162, 174, 185)")}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_its_window_in_both_themes(
    chromium: Any, pages: dict[str, Path], width: int, scheme: str
) -> None:
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    tab, trouble = context.new_page(), []
    tab.on("console", lambda message: trouble.append(message.text))
    tab.on("pageerror", lambda error: trouble.append(str(error)))
    tab.on("request", lambda request: trouble.append(request.url) if not request.url.startswith("file:") else None)
    for path in pages.values():
        tab.goto(path.as_uri())
        assert tab.evaluate(OVERFLOW) <= 0
        assert tab.evaluate(CUT_OFF) == []
        assert (tab.evaluate(GROUND), tab.evaluate(LABEL)) == OF_THEME[scheme]
        assert tab.evaluate('document.querySelectorAll("details[open]").length') == 0
    context.close()
    assert trouble == []


def keys_of(value: Any, path: str = "") -> set[str]:
    """Every key's path; the rows of a list are one."""
    if isinstance(value, dict):
        named = path.endswith((".versions", ".skipped", ".runs_in", ".stages"))
        inner = set() if named else set().union(*(keys_of(item, f"{path}.{key}") for key, item in value.items()))
        return {path} | inner
    if isinstance(value, list):
        return {path}.union(*(keys_of(item, f"{path}[]") for item in value))
    return {path}


def test_a_real_report_has_the_form_of_the_drawn_one_and_its_page_comes_from_the_json_alone(
    cli: Any, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    short = ("--only", "tflite", "--min-seconds", "0", "--min-samples", "700", "--estimate", "pi4")
    done = cli("bench", *short, "--json", "b.json", "--html", "b.html", COLUMNS="80")
    assert done.returncode == 0, done.stderr
    made = json.loads((tmp_path / "b.json").read_text())
    drawn = small()
    unasked = {path for path in keys_of(drawn) if path.startswith((".roofline", ".variants[].attained"))}
    # What a machine without sensors does not tell.
    unknown = {path for path in keys_of(drawn) if path.startswith(".conditions") and path.count(".") > 1}
    if not made["machine"]["int8_features"]:  # a processor without dot products, whose lists are empty
        unknown |= {".machine.int8_features[]", ".variants[].int8.instructions[]"}
    assert keys_of(drawn) - keys_of(made) <= unasked | unknown
    assert keys_of(made) - keys_of(drawn) <= unknown | {".variants[].energy.meter"}

    write_page(made, tmp_path / "again.html")
    assert (tmp_path / "again.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert "is the fastest" in done.stdout or "cannot be told apart" in done.stdout
    assert max(len(line.rstrip()) for line in done.stdout.splitlines() if not line.startswith("written")) <= 80

"""Estimates for boards that are not here: planted truths, the band, reports, and the figures of the page."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer_edge.devices.boards import BOARDS, CORES, Board, board_called, find_boards
from fer_edge.devices.errors import DataError
from fer_edge.edge_runtime.anchors import SHIPPED_REPORTS, published, read_report, reported
from fer_edge.edge_runtime.bundle import BUNDLED, Bundle
from fer_edge.edge_runtime.cost_model import CostModel, Timing, Work, half_width
from fer_edge.edge_runtime.estimate import Fit, estimate, instruction_ratios
from fer_edge.edge_runtime.operators import list_operators
from fer_edge.train.zoo import MODELS

ROOT = Path(__file__).resolve().parents[1]
TRUTH = {"int8 A53": 0.3, "float32 A53": 0.5, "int8 A72": 0.6, "float32 A72": 0.7, "int8 A76": 0.4, "float32 A76": 0.8}
MEMORY, DEPTHWISE, THREADS = 0.3, 0.4, 0.9


def same_board(one: Timing, other: Timing) -> bool:
    return one.board.name == other.board.name


def work(precision: str, scale: float) -> tuple[Work, ...]:
    """A dense operator that computes, a depthwise one, and one that only moves."""
    size = {"int8": 1, "float32": 4}[precision]
    return (
        Work(int(50e6 * scale), int(2e5 * size * scale), precision),
        Work(20_000_000, 10_000 * size, precision, depthwise=True),
        Work(0, int(6e6 * size * scale), precision),
    )


def true_ms(board: Board, precision: str, threads: int, parts: tuple[Work, ...]) -> float:
    """The formula of docs/estimates.md, written out once more and slowly."""
    total = 0.0
    for part in parts:
        peak = {"int8": board.core.int8, "float32": board.core.float32}[precision]
        speed = TRUTH[f"{precision} {board.core.kind}"]
        if part.depthwise:
            peak, speed = min(peak, 8) if precision == "int8" else peak, speed * DEPTHWISE
        compute = part.macs / (peak * board.clock_mhz * 1e3 * threads**THREADS * speed)
        total += max(compute, part.bytes / (board.bandwidth_gb_s * 1e6 * MEMORY))
    return total


def planted(
    boards: list[Board], noise: Callable[[Board], float] = lambda board: 1.0, scales: tuple[float, ...] = (1.0, 4.0)
) -> list[Timing]:
    return [
        Timing(
            board, f"net{scale}", "xnnpack", threads, parts, true_ms(board, precision, threads, parts) * noise(board)
        )
        for board in boards
        for scale in scales
        for precision in ("int8", "float32")
        for threads in (1, 4)
        for parts in [work(precision, scale)]
    ]


THREE = [BOARDS["zero2w"], BOARDS["pi4"], BOARDS["pi5"]]


def test_the_fit_finds_planted_parameters_whatever_was_expected_of_them() -> None:
    """With noise of 1% the priors, which are 30% and more off, have nothing to say."""
    found = CostModel([replace(timing, noise=0.01) for timing in planted(THREE)]).parameters
    assert found["threads"] == pytest.approx(THREADS, abs=0.02)
    assert found["depthwise"] == pytest.approx(DEPTHWISE, rel=0.02)
    for name, value in TRUTH.items():
        # A speed and the factors on the time are told apart by their priors alone: what counts is how they combine.
        factor = (
            found[f"board {next(b.name for b in THREE if b.core.kind == name.split()[1])}"] * found["engine xnnpack"]
        )
        assert found[f"efficiency {name}"] / factor == pytest.approx(value, rel=0.05)
        assert found["memory"] / factor == pytest.approx(MEMORY, rel=0.05)


def test_the_fit_reproduces_what_it_was_planted_with() -> None:
    model = CostModel([replace(timing, noise=0.01) for timing in planted(THREE)])
    for timing in model.timings:
        assert model.predict_ms(replace(timing, ms=float("nan"))) == pytest.approx(timing.ms, rel=0.02)


def test_it_is_deterministic() -> None:
    assert CostModel(published()).parameters == CostModel(published()).parameters


def test_without_a_timing_for_a_core_the_expectation_is_used() -> None:
    model = CostModel(planted([BOARDS["pi4"]]))
    question = planted([BOARDS["pi5"]])[0]
    assert "efficiency int8 A76" not in model.parameters
    slow, memory = model.parameters["depthwise"], model.parameters["memory"]
    dense, depthwise, moved = question.work  # int8, one thread; half of the peak, as the prior has it
    computed = dense.macs / (32 * 2400e3 * 0.5) + depthwise.macs / (8 * 2400e3 * 0.5 * slow)
    expected = computed + moved.bytes / (17.1e6 * memory)
    assert model.predict_ms(question) == pytest.approx(expected * model.parameters["engine xnnpack"])


def test_more_multiply_adds_never_take_less_time() -> None:
    fit = Fit(published(), [])
    for board in BOARDS:
        for kind, precision in (("CONV_2D", "int8"), ("DEPTHWISE_CONV_2D", "int8"), ("CONV_2D", "float32")):
            times = []
            for macs in (0, 10**4, 10**5, 10**6, 10**7, 10**8, 10**9):
                row = {"name": "a", "type": kind, "macs": macs, "bytes": 10**6, "precision": precision}
                times.append(fit.row(BOARDS[board], f"tflite/{precision}", [row], 1)["ms"])
            assert times == sorted(times)
            assert times[-1] > 20 * times[0] > 0


def test_the_band_covers_held_out_boards_at_about_its_rate() -> None:
    """Simulated worlds with a factor of its own for each board: nine in ten of the boards left out lie in the band."""
    rng, hits, asked = np.random.default_rng(5), 0, 0
    cores = list(CORES.values())
    for _ in range(30):
        boards = [
            replace(BOARDS["pi4"], name=f"b{at}", core=cores[at % 3], clock_mhz=float(rng.uniform(900, 2600)))
            for at in range(11)
        ]
        factors = {board.name: float(np.exp(rng.normal(0, 0.2))) for board in boards}
        timings = planted(boards, lambda board, f=factors: f[board.name] * float(np.exp(rng.normal(0, 0.1))), (1.0,))
        known = [timing for timing in timings if timing.board.name not in ("b9", "b10")]
        model = CostModel(known)
        width = half_width(model.held_out(same_board))
        for timing in timings:
            if timing.board.name in ("b9", "b10"):
                hits += abs(np.log(timing.ms / model.predict_ms(timing))) <= width
                asked += 1
    assert asked == 240
    assert 0.80 <= hits / asked <= 0.98


def test_the_half_width_is_the_conformal_quantile() -> None:
    assert half_width(np.array([0.1, -0.2, 0.3, -0.4, 0.5, 0.6, 0.7, 0.8, 0.9])) == 0.9  # ceil(0.9 * 10) = the 9th
    assert half_width(np.arange(1, 20) / 10) == 1.8  # ceil(0.9 * 20) = the 18th of 19
    assert half_width(np.array([0.1, -0.2])) == 0.2  # too few for nine in ten: the largest


def test_a_held_out_timing_is_not_seen() -> None:
    timings = planted(THREE)
    wild = [replace(timing, ms=timing.ms * 3) if timing.board.name == "pi5" else timing for timing in timings]
    error = CostModel(wild).held_out(same_board) - CostModel(timings).held_out(same_board)
    of_pi5 = np.array([timing.board.name == "pi5" for timing in timings])
    assert error[of_pi5] == pytest.approx(np.log(3), abs=0.01)


def test_knowing_less_never_makes_the_band_narrower() -> None:
    fit = Fit(published(), [])
    network, board = fit.factor(("network",)), fit.factor(("network", "board"))
    engine, all_three = fit.factor(("network", "engine")), fit.factor(("network", "board", "engine"))
    assert 1.3 < network <= board <= all_three
    assert network <= engine <= all_three


def test_the_networks_of_the_published_latencies_have_their_known_size() -> None:
    macs = {timing.network: sum(part.macs for part in timing.work) for timing in published()}
    assert macs == {"mobilenet_v1": 568_740_352, "mobilenet_v2": 300_774_272}
    one = next(t for t in published() if t.board.name == "pi4" and t.ms == 24)
    assert (one.precision, one.threads, one.engine, one.board.clock_mhz) == ("int8", 4, "xnnpack", 1500)
    weights_and_first = 3 * 3 * 3 * 32 + 112 * 112 * 32 + 224 * 224 * 3
    assert one.work[0] == Work(112 * 112 * 864, weights_and_first, "int8")


def shipped_operators() -> dict[str, list[dict[str, Any]]]:
    bundle = Bundle.open()
    return {
        variant.name: list_operators(variant.engine, bundle.path / variant.files[0].file, variant.precision)
        for variant in bundle.variants
        if variant.engine == "tflite"
    }


def test_estimates_of_the_bundle_that_ships() -> None:
    rows = estimate(shipped_operators(), ["pi4", "pi5", "zero2w", "orin-nano"], reports=[])
    found = {(row["board"], row["variant"]): row for row in rows}
    assert len(found) == 8
    for row in rows:
        assert set(row) == {*("board", "variant", "engine", "precision", "threads", "ms", "low_ms", "high_ms", "basis")}
        assert 0 < row["low_ms"] < row["ms"] < row["high_ms"]
        assert row["high_ms"] / row["ms"] == pytest.approx(row["ms"] / row["low_ms"])
        assert row["threads"] == 4
        assert row["basis"].startswith("41 published latencies; 90% band for an unknown network")
    int8 = {board: found[board, "tflite/int8"]["ms"] for board in ("pi5", "orin-nano", "pi4", "zero2w")}
    assert list(int8.values()) == sorted(int8.values())
    assert all(found[board, "tflite/int8"]["ms"] < found[board, "tflite/float32"]["ms"] for board in int8)


def test_threads_are_no_more_than_cores() -> None:
    operators = {"tflite/int8": shipped_operators()["tflite/int8"]}
    used = {
        threads: estimate(operators, ["orin-nano"], threads=threads, reports=[])[0]["threads"]
        for threads in (None, 1, 6, 64)
    }
    assert used == {None: 4, 1: 1, 6: 6, 64: 6}


def test_what_is_not_counted_gives_no_estimate_and_says_why() -> None:
    rows = [{"name": "mystery", "type": "EINSUM", "macs": None, "bytes": 8, "precision": "float32"}]
    [row, empty] = estimate({"onnx/float32": rows, "tflite/int8": []}, ["pi4"], reports=[])
    assert (row["ms"], row["low_ms"], row["high_ms"]) == (None, None, None)
    assert row["basis"] == "no estimate: the multiply-adds of mystery are not known"
    assert (empty["ms"], empty["basis"]) == (None, "no estimate: it lists no operators")


def test_openvino_int8_is_another_thing_on_arm() -> None:
    [row] = estimate({"openvino/int8": shipped_operators()["tflite/int8"]}, ["pi5"], reports=[])
    assert row["ms"] is None
    assert "other precisions on Arm" in row["basis"]


def test_an_engine_without_latencies_has_a_wider_band() -> None:
    rows = shipped_operators()["tflite/int8"]
    lite, onnx = estimate({"tflite/int8": rows, "onnx/int8": rows}, ["pi4"], reports=[])
    assert onnx["high_ms"] / onnx["ms"] > lite["high_ms"] / lite["ms"]
    assert onnx["basis"].endswith("an unknown network and engine")


def test_an_unknown_board_is_one_sentence_with_those_that_are_known() -> None:
    expected = r"unknown board 'pi6'; known are pi3, pi4, pi5, zero2w, orin-nano, orin-nx, generic"
    with pytest.raises(DataError, match=expected):
        find_boards(["pi4", "pi6"])


@pytest.mark.parametrize(
    ("called", "name"),
    [
        ("Raspberry Pi 4 Model B Rev 1.4", "pi4"),
        ("Raspberry Pi 400 Rev 1.0", "pi4"),
        ("Raspberry Pi Compute Module 4 Rev 1.0", "pi4"),
        ("Raspberry Pi 5 Model B Rev 1.0", "pi5"),
        ("Raspberry Pi Zero 2 W Rev 1.0", "zero2w"),
        ("Raspberry Pi 3 Model B Plus Rev 1.3", "pi3"),
        ("NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super", "orin-nano"),
        ("NVIDIA Jetson Orin NX Engineering Reference Developer Kit", "orin-nx"),
        ("Raspberry Pi Zero W Rev 1.1", None),
        ("Standard PC (Q35 + ICH9, 2009)", None),
        (None, None),
    ],
)
def test_boards_are_found_by_their_own_names(called: str | None, name: str | None) -> None:
    board = board_called(called)
    assert (board and board.name) == name


def report(folder: Path, **changes: Any) -> Path:
    """A report of a Raspberry Pi 4 at 1500 MHz, with changes as `machine__board="…"`."""
    operators = [{**row, "time_us": 1.0} for row in shipped_operators()["tflite/int8"]]
    made: dict[str, Any] = {
        "schema": 2,
        "bundle": {"name": "cnn-edge", "sha256": "ab" * 32, "path": "."},
        "plan": {"scope": "engine"},
        "valid": True,
        "invalid_because": [],
        "machine": {"board": "Raspberry Pi 4 Model B Rev 1.4"},
        "conditions": {"during": {"clock_mhz": {"min": 1500.0, "max": 1500.0}}},
        "variants": [
            {
                "engine": "tflite", "precision": "int8", "threads": 4, "batch": 1, "sha256": "cd" * 32,
                "latency": {"p50": {"ms": 20.0, "low_ms": 19.9, "high_ms": 20.1}}, "operators": operators,
            }
        ],
    }  # fmt: skip
    for key, value in changes.items():
        *path, last = key.split("__")
        at = made
        for step in path:
            at = at[step]
        at[last] = value
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "r.json").write_text(json.dumps(made))
    return folder / "r.json"


def test_a_report_moves_the_fit_towards_it(tmp_path: Path) -> None:
    report(tmp_path)
    operators = {"tflite/int8": shipped_operators()["tflite/int8"]}
    [before] = estimate(operators, ["pi4"], reports=[])
    [after] = estimate(operators, ["pi4"], reports=[tmp_path])
    assert before["ms"] < after["ms"] < 20 * 1500 / 1800 + 0.1  # measured at 1500 MHz, asked for at 1800
    assert after["basis"].startswith("41 published latencies and 1 of boards' own reports;")


def test_a_report_brings_an_engine_of_its_own(tmp_path: Path) -> None:
    path = report(tmp_path)
    changed = json.loads(path.read_text())
    changed["variants"][0]["engine"] = "openvino"
    path.write_text(json.dumps(changed))
    [row] = estimate({"openvino/int8": shipped_operators()["tflite/int8"]}, ["pi5"], reports=[tmp_path])
    assert row["ms"] > 0
    assert "engine" not in row["basis"]


def test_users_own_reports_are_taken_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    shipped = len(Fit.of().measured)
    report(tmp_path / "fer-edge" / "reports")
    assert len(Fit.of().measured) == shipped + 1


def test_a_report_is_read(tmp_path: Path) -> None:
    [timing] = read_report(report(tmp_path))
    assert (timing.board.name, timing.board.clock_mhz, timing.engine, timing.threads) == ("pi4", 1500, "xnnpack", 4)
    assert (timing.ms, timing.network) == (20.0, "ab" * 32)
    assert sum(part.macs for part in timing.work) == MODELS[Bundle.open().name].macs
    [timing] = read_report(report(tmp_path, conditions__during__clock_mhz=None))
    assert timing.board.clock_mhz == BOARDS["pi4"].clock_mhz


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 1}, "is not a bench report of schema 2; run bench of this version again"),
        ({"valid": False, "invalid_because": ["throttling began"]}, r"is marked invalid \(throttling began\)"),
        ({"valid": False}, r"is marked invalid \(no reason given\)"),
        ({"plan__scope": "classify"}, "has the scope classify; the cost model needs --scope engine"),
        ({"machine__board": "Toaster"}, "is of the board 'Toaster'; known are Raspberry Pi 3 Model B"),
        ({"machine__board": None}, "is of the board None; known are"),
        ({"variants": []}, "holds no variant with a median and counted operators; run bench with --operators"),
        ({"variants": [{}]}, r"is not a report of schema 2: KeyError\('latency'\) is amiss"),
        ({"machine": 3}, "is not a report of schema 2: TypeError"),
    ],
)
def test_a_bad_report_is_one_sentence(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = report(tmp_path, **changes)
    with pytest.raises(DataError, match=message) as raised:
        reported([tmp_path])
    assert str(raised.value).startswith(str(path))
    assert "\n" not in str(raised.value)


def test_a_report_cut_short_is_one_sentence(tmp_path: Path) -> None:
    path = report(tmp_path)
    path.write_text(path.read_text()[:100])
    with pytest.raises(DataError, match="cannot be read as a bench report"):
        reported([tmp_path])


@pytest.mark.parametrize("ms", [0.0, -1.0, float("nan")])
def test_a_latency_that_cannot_be_is_refused(tmp_path: Path, ms: float) -> None:
    path = report(tmp_path)
    changed = json.loads(path.read_text())
    changed["variants"][0]["latency"]["p50"]["ms"] = ms
    path.write_text(json.dumps(changed))
    with pytest.raises(DataError, match="a latency that is not above zero"):
        read_report(path)


def test_reports_that_ship_can_all_be_used() -> None:
    assert len(Fit.of([SHIPPED_REPORTS]).anchors) == 41


def test_the_figures_of_the_page_are_the_computed_ones() -> None:
    tool = ROOT / "tools" / "estimate_tables.py"
    beside = os.environ | {"PYTHONPATH": str(tool.parent)}  # the tests run with the script's own folder off the path
    done = subprocess.run([sys.executable, tool], capture_output=True, text=True, timeout=120, env=beside, check=True)
    page = (ROOT / "docs" / "estimates.md").read_text(encoding="utf-8")
    between = page.split("<!-- tools/estimate_tables.py: begin -->")[1].split("<!-- end -->")[0]
    assert between.strip() == done.stdout.strip()


def test_instructions_stand_beside_the_very_files_that_were_counted() -> None:
    bundle = Bundle.open(BUNDLED)
    hashes = {variant.name: variant.files[0].sha256 for variant in bundle.variants}
    found = {row["core"]: row for row in instruction_ratios(hashes)}
    assert set(found) == {"A72", "A76"}
    assert found["A76"]["boards"] == ["pi5", "orin-nano", "orin-nx"]
    assert found["A72"]["boards"] == ["pi4"]
    assert found["A76"]["ratio"] < 0.5 < found["A72"]["ratio"] < 1
    assert instruction_ratios(hashes | {"tflite/int8": "0" * 64}) == []

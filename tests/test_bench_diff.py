"""Two bench reports against each other: planted changes, planted noise, and what is refused or warned of."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer_edge.edge_runtime import bench_stats
from fer_edge.edge_runtime.bench_diff import compare_reports
from fer_edge.edge_runtime.bench_report import read_report
from fer_edge.edge_runtime.bench_subject import BenchError

MS = 1e6


def run_of(seed: int, ms: float = 1.0, rounds: int = 70, apart: float = 0.01) -> list[float]:
    """Round medians of one run: where it lies is off by a per cent, neighbours are alike, the tail is heavy."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(0, 0.03, rounds)
    for at in range(1, rounds):
        shared[at] = 0.8 * shared[at - 1] + 0.6 * shared[at]
    noise = np.abs(rng.standard_t(3, rounds)) * 0.02
    return (ms * MS * np.exp(rng.normal(0, apart) + shared + noise)).tolist()


def report(**medians_ns: list[float]) -> dict[str, Any]:
    """The keys of a report that are read."""
    variants = [
        {
            "id": name.replace("_", "/"),
            "variant": name,
            "threads": 1,
            "batch": 1,
            "sha256": "a" * 64,
            "latency": {},
            "round_medians_ns": medians,
        }
        for name, medians in medians_ns.items()
    ]
    return {
        "schema": 2, "plan": {"scope": "engine", "cores": None, "threads": [1]}, "bundle": {"sha256": "b" * 64},
        "variants": variants,
        "machine": {"board": None, "cpu": "x", "machine": "x86_64", "system": "Linux 6.1", "usable_cores": 4,
                    "python": "3.11"},
        "conditions": {"before": {"governor": "ondemand"}, "after": {}, "during": {}},
        "versions": {"onnxruntime": "1.31.1"},
        "valid": True, "invalid_because": [], "pipeline": [], "ratios": [], "skipped": {},
    }  # fmt: skip


def verdicts(base: dict[str, Any], new: dict[str, Any], threshold: float = 5.0) -> dict[str, str]:
    return {row["variant"]: row["verdict"] for row in compare_reports([base], [new], threshold)["variants"]}


def test_a_fifth_slower_is_slower_a_fifth_faster_is_faster_and_the_same_is_neither(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bench_stats, "RESAMPLES", 500)
    wrong = []
    for seed in range(100):
        base = report(a_same=run_of(seed), a_slow=run_of(seed + 1000), a_fast=run_of(seed + 2000))
        new = report(a_same=run_of(seed + 3000), a_slow=run_of(seed + 4000, 1.2), a_fast=run_of(seed + 5000, 1 / 1.2))
        found = verdicts(base, new)
        assert (found["a/slow"], found["a/fast"]) == ("slower", "faster")
        wrong.append(found["a/same"] != "no evidence")
    assert sum(wrong) < 5


def test_a_stalled_round_changes_no_verdict() -> None:
    base, stalled = run_of(1), run_of(2)
    usual = compare_reports([report(a=base)], [report(a=stalled)], 5)["variants"][0]
    stalled[30] *= 50
    row = compare_reports([report(a=base)], [report(a=stalled)], 5)["variants"][0]
    assert row["verdict"] == usual["verdict"] == "no evidence"
    assert usual["interval"][0] <= row["time_ratio"] <= usual["interval"][1]


def test_the_threshold_is_what_counts_as_a_change() -> None:
    base, new = report(a=[1 * MS, 1.001 * MS] * 35), report(a=[1.08 * MS, 1.081 * MS] * 35)
    assert verdicts(base, new, 5) == {"a": "slower"}
    assert verdicts(base, new, 10) == {"a": "no evidence"}
    assert verdicts(new, base, 5) == {"a": "faster"}
    row = compare_reports([base], [new], 10)["variants"][0]
    assert row["within_threshold"]
    assert (row["base_ms"], row["new_ms"]) == (pytest.approx(1.0005), pytest.approx(1.0805))
    assert not compare_reports([base], [new], 5)["variants"][0]["within_threshold"]


def test_too_few_rounds_are_no_evidence() -> None:
    row = compare_reports([report(a=[MS] * 5)], [report(a=[9 * MS] * 5)], 5)["variants"][0]
    assert (row["verdict"], row["interval"], row["within_threshold"]) == ("no evidence", None, False)


def test_several_runs_bring_their_own_spread() -> None:
    """Log medians 0 and 0.02 against 0.30 and 0.32: each side's standard error is 0.01, two degrees of freedom."""
    sides = [[report(a=[np.exp(level) * MS] * 20) for level in levels] for levels in ((0, 0.02), (0.30, 0.32))]
    row = compare_reports(*sides, 5)["variants"][0]
    assert row["time_ratio"] == pytest.approx(np.exp(0.30))
    reach = 4.303 * np.sqrt(2) * 0.01
    assert np.log(row["interval"]) == pytest.approx([0.30 - reach, 0.30 + reach], abs=1e-9)
    assert row["verdict"] == "slower"

    wild = [[report(a=[np.exp(level) * MS] * 20) for level in levels] for levels in ((0, 0.2), (0.30, 0.5))]
    assert compare_reports(*wild, 5)["variants"][0]["verdict"] == "no evidence"
    with pytest.raises(BenchError, match="give several reports for both sides or for none"):
        compare_reports(sides[0], sides[1][:1], 5)


def test_variants_are_matched_by_id_and_the_others_are_named() -> None:
    base, new = report(a_x=run_of(0), a_y=run_of(1)), report(a_y=run_of(2), a_z=run_of(3))
    made = compare_reports([base], [new], 5)
    assert [row["variant"] for row in made["variants"]] == ["a/y"]
    assert (made["only_base"], made["only_new"]) == (["a/x"], ["a/z"])
    with pytest.raises(BenchError, match="no variant is in both: a/x against a/z"):
        compare_reports([report(a_x=run_of(0))], [report(a_z=run_of(0))], 5)


def test_pipelines_are_compared_too() -> None:
    row = {"source": "c.mp4", "variant": "a/int8", "detector": "haar", "threads": 1}
    base, new = report(), report()
    base["pipeline"] = [row | {"closed": {"round_medians_ns": run_of(1, 10)}}]
    new["pipeline"] = [row | {"closed": {"round_medians_ns": run_of(2, 15)}}]
    assert verdicts(base, new) == {"c.mp4 haar t1 a/int8": "slower"}


def test_what_else_differs_is_warned_of() -> None:
    base = report(a=run_of(0))
    new = copy.deepcopy(base)
    assert compare_reports([base], [new], 5)["warnings"] == []
    new["machine"]["cpu"] = "y"
    new["plan"]["cores"] = [0]
    new["conditions"]["before"]["governor"] = "performance"
    new["bundle"] = None
    new["versions"] = {"onnxruntime": "1.32.0"}
    new["variants"][0] |= {"threads": 2, "sha256": "c" * 64}
    new |= {"valid": False, "invalid_because": ["throttling began: under-voltage"]}
    assert compare_reports([base], [new], 5)["warnings"] == [
        "cpu differs: x and y",
        "governor differs: ondemand and performance",
        "cores that it ran on differs: None and [0]",
        "bundle differs: bbbbbbbbbbbb and none",
        "onnxruntime differs: 1.31.1 and 1.32.0",
        "threads of a differs: 1 and 2",
        "sha256 of a differs: aaaaaaaaaaaa and cccccccccccc",
        "new is INVALID: throttling began: under-voltage",
    ]
    new["plan"]["scope"] = "classify"
    with pytest.raises(BenchError, match="different things: --scope classify and engine"):
        compare_reports([base], [new], 5)


def test_when_all_changed_by_the_same_it_was_likely_the_machine() -> None:
    base = report(a=run_of(0, apart=0), b=run_of(1, 2, apart=0), c=run_of(2, 3, apart=0))
    new = report(a=run_of(3, 1.3, apart=0), b=run_of(4, 2.6, apart=0), c=run_of(5, 3.9, apart=0))
    [warning] = compare_reports([base], [new], 5)["warnings"]
    assert warning.startswith("all variants changed by about the same")
    new = report(a=run_of(3, 1.3, apart=0), b=run_of(4, 4, apart=0), c=run_of(5, 3.9, apart=0))
    assert compare_reports([base], [new], 5)["warnings"] == []


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "cannot be read as a bench report (No such file or directory)"),
        ("{", "cannot be read as a bench report (no JSON)"),
        ("[]", "is no report of fer-edge bench --json"),
        ('{"schema": 1, "variants": []}', "has schema 1, this version reads 2; measure again"),
        ('{"schema": 2, "variants": []}', "is no whole bench report"),
    ],
)
def test_what_is_no_report_is_refused(tmp_path: Path, content: str | None, sentence: str) -> None:
    path = tmp_path / "r.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(BenchError) as refused:
        read_report(path)
    assert sentence in str(refused.value)


def test_the_exit_code_tells_ci(cli, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(report(tflite_int8=run_of(0), onnx_int8=run_of(1))))
    (tmp_path / "b.json").write_text(json.dumps(report(tflite_int8=run_of(2, 1.5), onnx_int8=run_of(3))))
    done = cli("bench", "diff", "a.json", "b.json")
    assert done.returncode == 3, done.stderr
    assert "slower" in done.stdout
    assert "no evidence" in done.stdout
    done = cli("bench", "diff", "a.json", "b.json", "--threshold", "80")
    assert done.returncode == 0
    done = cli("bench", "diff", "b.json", "a.json", "--json")
    assert done.returncode == 0
    assert [row["verdict"] for row in json.loads(done.stdout)["variants"]] == ["faster", "no evidence"]
    done = cli("bench", "diff", "a.json", "nowhere.json")
    assert done.returncode == 1
    assert done.stderr == "fer-edge: nowhere.json cannot be read as a bench report (No such file or directory)\n"
    done = cli("bench", "diff", "a.json", "b.json", "--base", "a.json", "--new", "b.json", "--new", "b.json")
    assert done.returncode == 3

"""Counting the ARM build's instructions: encodings, arithmetic and the page; counting itself needs root and QEMU."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fer_edge.edge_runtime.bundle import BUNDLED, Bundle
from fer_edge.edge_runtime.estimate import estimate
from fer_edge.edge_runtime.operators import list_operators

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "docs" / "boards" / "instructions.json"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("instructions", ROOT / "tools" / "instructions.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["instructions"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RESULT.read_text())
    return found


def kind_of(word: int) -> str:
    """As tools/insn.c tells kinds apart: the first row of its table that fits."""
    rows = re.findall(r"\{0x(\w{8}), 0x(\w{8}), (\w+)\}", (ROOT / "tools" / "insn.c").read_text())
    assert len(rows) == 9
    for mask, value, kind in rows:
        if word & int(mask, 16) == int(value, 16):
            return str(kind)
    return "ALL"


@pytest.mark.parametrize(
    ("word", "text", "kind"),
    [
        (0x4E829420, "sdot v0.4s, v1.16b, v2.16b", "DOT"),
        (0x4F82E020, "sdot v0.4s, v1.16b, v2.4b[0]", "DOT"),
        (0x4FA2E820, "sdot v0.4s, v1.16b, v2.4b[3]", "DOT"),
        (0x6F82E020, "udot v0.4s, v1.16b, v2.4b[0]", "DOT"),
        (0x0E228020, "smlal v0.8h, v1.8b, v2.8b", "INT_MLA"),
        (0x4E228020, "smlal2 v0.8h, v1.16b, v2.16b", "INT_MLA"),
        (0x0E22C020, "smull v0.8h, v1.8b, v2.8b", "INT_MLA"),
        (0x0F422020, "smlal v0.4s, v1.4h, v2.h[0]", "INT_MLA"),
        (0x0F42A020, "smull v0.4s, v1.4h, v2.h[0]", "INT_MLA"),
        (0x4E22CC20, "fmla v0.4s, v1.4s, v2.4s", "FLOAT_MLA"),
        (0x4F821020, "fmla v0.4s, v1.4s, v2.s[0]", "FLOAT_MLA"),
        (0x3DC00020, "ldr q0, [x1]", "MEMORY"),
        (0xA9BF7BFD, "stp x29, x30, [sp, #-16]!", "MEMORY"),
        (0x4E228420, "add v0.16b, v1.16b, v2.16b", "ALL"),
        (0x4E22D420, "fadd v0.4s, v1.4s, v2.4s", "ALL"),
        (0x8B020020, "add x0, x1, x2", "ALL"),
        (0xD65F03C0, "ret", "ALL"),
    ],
)
def test_instructions_are_told_apart(word: int, text: str, kind: str) -> None:
    assert kind_of(word) == kind, text


def test_the_words_are_what_an_assembler_makes_of_the_texts(tmp_path: Path) -> None:
    assembler = shutil.which("aarch64-linux-gnu-as")
    if assembler is None:
        pytest.skip("binutils-aarch64-linux-gnu is not installed")
    [table] = [mark for mark in test_instructions_are_told_apart.pytestmark if mark.name == "parametrize"]
    rows = table.args[1]
    (tmp_path / "a.s").write_text("".join(f"{text}\n" for _, text, _ in rows))
    subprocess.run([assembler, "-march=armv8.2-a+dotprod", "-o", tmp_path / "a.o", tmp_path / "a.s"], check=True)
    listed = subprocess.run(
        ["aarch64-linux-gnu-objdump", "-d", tmp_path / "a.o"], capture_output=True, text=True, check=True
    )
    made = [int(word, 16) for word in re.findall(r"^\s*[0-9a-f]+:\s+([0-9a-f]{8})\s", listed.stdout, re.MULTILINE)]
    assert made == [word for word, _, _ in rows]


def test_the_plugin_compiles_without_a_warning(tmp_path: Path) -> None:
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("gcc is not installed")
    source = ROOT / "tools" / "insn.c"
    command = [compiler, "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-o", tmp_path / "insn.so", source]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_setup_script_is_a_script() -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    subprocess.run([bash, "-n", ROOT / "tools" / "arm_lab.sh"], check=True)


MARKS = """all 1000 dot 10 int_mla 2 float_mla 3 memory 100
all 1500 dot 30 int_mla 2 float_mla 3 memory 180
all 2001 dot 50 int_mla 2 float_mla 3 memory 260
"""


def test_instructions_of_an_inference_lie_between_two_marks(tool: ModuleType) -> None:
    marks = tool.parse_marks(MARKS)
    assert marks[0] == {"all": 1000, "dot": 10, "int_mla": 2, "float_mla": 3, "memory": 100}
    first, second = tool.per_inference(marks, 10)
    assert first == {"all": 50.0, "dot": 2.0, "int_mla": 0.0, "float_mla": 0.0, "memory": 8.0}
    assert second["all"] == 50.1


@pytest.mark.parametrize("text", ["all 1\n", "dot 1 all 2 int_mla 3 float_mla 4 memory 5\n"])
def test_another_plugins_output_is_refused(tool: ModuleType, text: str) -> None:
    with pytest.raises(tool.ToolError, match="expected counts of all, dot, int_mla, float_mla, memory"):
        tool.parse_marks(text)


def rounds(*totals: float) -> list[dict[str, float]]:
    return [{"all": total, "dot": 70.0, "int_mla": 0.0, "float_mla": 0.0, "memory": 20.0} for total in totals]


def test_a_row_is_the_mean_of_its_rounds(tool: ModuleType) -> None:
    variant = Bundle.open(BUNDLED).variants[1]
    row = tool.row_of("A76", variant, rounds(100.0, 100.5), 1000, 1.0)
    assert (row["instructions"], row["instructions_a_mac"], row["spread"]) == (100, 0.1, 0.005)
    assert (row["variant"], row["sha256"]) == ("tflite/int8", variant.files[0].sha256)
    assert row["by_kind"] == {"dot": 70, "int_mla": 0, "float_mla": 0, "memory": 20}


def test_rounds_that_disagree_are_refused(tool: ModuleType) -> None:
    variant = Bundle.open(BUNDLED).variants[1]
    with pytest.raises(tool.ToolError, match=r"tflite/int8 on A76: the rounds differ by 2.0%; 1% is expected"):
        tool.row_of("A76", variant, rounds(100.0, 102.0), 1000, 1.0)


def test_ratios_need_both_precisions(tool: ModuleType) -> None:
    rows = [
        {"core": "A72", "variant": "tflite/float32", "instructions": 200},
        {"core": "A72", "variant": "tflite/int8", "instructions": 150},
        {"core": "A76", "variant": "tflite/int8", "instructions": 50},
    ]
    assert tool.ratios(rows) == [{"core": "A72", "int8_over_float32": 0.75}]


def test_the_least_time_is_that_of_the_busiest_kind(tool: ModuleType) -> None:
    kinds = {"dot": 4_800_000, "int_mla": 0, "float_mla": 2_400_000, "memory": 9}
    assert tool.least_ms({"core": "A76", "by_kind": kinds}) == pytest.approx(1.0)  # 2.4 million cycles at 2400 MHz
    kinds = {"dot": 0, "int_mla": 3_600_000, "float_mla": 0, "memory": 9}
    assert tool.least_ms({"core": "A72", "by_kind": kinds}) == pytest.approx(2.0)  # 3.6 million at 1800 MHz


def test_a_cores_cpuinfo_is_read_as_that_core(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    from fer_edge.devices import machine

    for name, (part, features) in {"A72": ("0xd08", ()), "A76": ("0xd0b", ("dot product",))}.items():
        text = tool.CORES[name].cpuinfo()
        monkeypatch.setattr(machine, "read_text", lambda path, text=text: text)
        called, flags = machine.cpu_info()
        assert called == f"ARM implementer 0x41 part {part}"
        assert machine.int8_features(flags) == features


def test_the_result_is_of_the_bundle_that_ships(result: dict[str, Any]) -> None:
    bundle = Bundle.open(BUNDLED)
    shipped = {variant.name: variant for variant in bundle.variants}
    assert {(row["core"], row["variant"]) for row in result["rows"]} == {
        (core, variant) for core in ("A72", "A76") for variant in ("tflite/int8", "tflite/float32")
    }
    for row in result["rows"]:
        variant = shipped[row["variant"]]
        assert row["sha256"] == variant.files[0].sha256
        rows = list_operators("tflite", bundle.path / variant.files[0].file, variant.precision)
        assert row["macs"] == sum(operator["macs"] for operator in rows)
        assert row["spread"] < 0.01
        assert row["labels_as_expected"] == 1
    assert json.loads((ROOT / "devices" / "instructions.json").read_text()) == result


def test_the_result_is_plausible(result: dict[str, Any]) -> None:
    """An FMLA does four multiply-adds, an SDOT sixteen: what was counted cannot do the work in fewer."""
    by = {(row["core"], row["variant"]): row for row in result["rows"]}
    for core in ("A72", "A76"):
        row = by[core, "tflite/float32"]
        assert row["macs"] <= 4 * row["by_kind"]["float_mla"] < 1.01 * row["macs"]
    dot, without = by["A76", "tflite/int8"], by["A72", "tflite/int8"]
    assert dot["macs"] <= 16 * dot["by_kind"]["dot"] < 1.1 * dot["macs"]
    assert without["by_kind"]["dot"] == 0
    assert without["macs"] <= 8 * without["by_kind"]["int_mla"] < 1.1 * without["macs"]


def test_the_page_shows_the_result(tool: ModuleType, result: dict[str, Any]) -> None:
    page = (ROOT / "docs" / "boards.md").read_text(encoding="utf-8")
    between = page.split("<!-- tools/instructions.py: begin -->")[1].split("<!-- end -->")[0]
    assert between.strip() == tool.markdown(result).strip()


def test_no_estimate_lies_under_what_its_multiply_adds_take(tool: ModuleType, result: dict[str, Any]) -> None:
    """Two views that share nothing but the clock: the fit to others' networks, and the instructions of ours."""
    bundle = Bundle.open(BUNDLED)
    operators = {
        variant.name: list_operators("tflite", bundle.path / variant.files[0].file, variant.precision)
        for variant in bundle.variants
        if variant.engine == "tflite"
    }
    estimated = {
        (row["board"], row["variant"]): row for row in estimate(operators, ["pi4", "pi5"], threads=1, reports=[])
    }
    for row in result["rows"]:
        board = tool.CORES[row["core"]].board
        assert estimated[board, row["variant"]]["ms"] > tool.least_ms(row)
        assert estimated[board, row["variant"]]["ms"] < 3 * tool.least_ms(row)

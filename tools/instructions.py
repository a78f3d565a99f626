"""Counts the instructions of one inference of the ARM build, int8 and float32, on a Cortex-A72 and a Cortex-A76.

    sudo .venv/bin/python tools/instructions.py

Emulated milliseconds mean nothing, but QEMU executes the very instructions that the board would, and their number
repeats within 1%. LiteRT's own aarch64 package runs under qemu-user; `tools/insn.c` writes down the count after the
warm-up and after each round, and the difference is free of start and imports. `tools/arm_lab.sh` sets it all up from
nothing, on Debian as root, in `--scratch` and never in the checkout. Writes docs/boards/instructions.json, and the same
as devices/instructions.json, which the package ships; prints the table of docs/boards.md.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from fer_edge import __version__
from fer_edge.devices.boards import BOARDS
from fer_edge.devices.files import write_json
from fer_edge.edge_runtime.bundle import GOLDEN_FILE, Bundle, Variant
from fer_edge.edge_runtime.operators import list_operators

ROOT = Path(__file__).resolve().parents[1]
RESULTS = (ROOT / "docs" / "boards" / "instructions.json", ROOT / "devices" / "instructions.json")
TOLERANCE = 0.01
KINDS = ("all", "dot", "int_mla", "float_mla", "memory")
WARMUP, ROUNDS = 3, 2


@dataclass(frozen=True, slots=True)
class Core:
    """A core as QEMU calls it, and what /proc/cpuinfo of a board with it says: LiteRT's kernels are chosen by that.

    `a_cycle` is how many of a kind the core starts in a cycle at most: general knowledge of the cores, not looked up.
    """

    qemu: str
    board: str
    part: str
    features: str
    a_cycle: dict[str, int]

    def cpuinfo(self) -> str:
        """One processor of it."""
        fields = {
            "processor": "0", "Features": self.features, "CPU implementer": "0x41", "CPU architecture": "8",
            "CPU variant": "0x0", "CPU part": self.part, "CPU revision": "1",
        }  # fmt: skip
        return "".join(f"{key}\t: {value}\n" for key, value in fields.items()) + "\n"


CORES = {
    "A72": Core("cortex-a72", "pi4", "0xd08", "fp asimd evtstrm crc32 cpuid", {"int_mla": 1, "float_mla": 1}),
    "A76": Core(
        "cortex-a76",
        "pi5",
        "0xd0b",
        "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp",
        {"dot": 2, "int_mla": 1, "float_mla": 2},
    ),
}


class ToolError(Exception):
    """What the person at the machine can mend, in one sentence."""


def main() -> None:
    """Set up what is missing, count, write and print."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--scratch", type=Path, default=cache / "fer-edge" / "arm", help="folder of the emulated system"
    )
    parser.add_argument("--bundle", type=Path, help="by default the one that ships")
    parser.add_argument("--out", type=Path, help="by default the two that the checkout keeps")
    parser.add_argument("--inferences", type=int, default=50, help="in a round")
    parser.add_argument("--repeats", type=int, default=2, help="processes for each count, of two rounds each")
    arguments = parser.parse_args()
    try:
        if arguments.inferences < 1 or arguments.repeats < 2:
            raise ToolError("expected at least 1 --inferences and 2 --repeats")
        bundle, scratch = Bundle.open(arguments.bundle), arguments.scratch.resolve()
        subprocess.run([ROOT / "tools" / "arm_lab.sh", scratch, sys.executable], check=True, stdin=subprocess.DEVNULL)
        report = measure(scratch, bundle, arguments.inferences, arguments.repeats)
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
    except ToolError as error:
        sys.exit(f"instructions.py: {error}")
    for path in [arguments.out] if arguments.out else RESULTS:
        write_json(path, report)
    print(markdown(report))


def measure(lab: Path, bundle: Bundle, inferences: int, repeats: int) -> dict[str, Any]:
    """The report: instructions an inference by core and variant, every round kept."""
    rows, versions = [], {}
    for core in CORES:
        for variant in bundle.variants:
            if variant.engine != "tflite" or variant.precision not in ("int8", "float32"):
                continue
            rounds = []
            for _ in range(repeats):
                print(f"counting {variant.name} on {core}", file=sys.stderr, flush=True)
                marks, said = count(lab, CORES[core], bundle, variant, [WARMUP] + [inferences] * ROUNDS)
                if not said["delegate"]:
                    raise ToolError(f"{variant.name} ran without XNNPACK on {core}, so its count means nothing")
                rounds += per_inference(marks, inferences)
            versions = {key: said[key] for key in ("ai-edge-litert", "numpy", "python")}
            rows.append(row_of(core, variant, rounds, macs_of(bundle, variant), said["labels_as_expected"]))
    if not rows:
        raise ToolError(f"bundle {bundle.name!r} has no tflite/int8 and no tflite/float32")
    return {
        "schema": 1,
        "made_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "command": ["tools/instructions.py", f"--inferences={inferences}", f"--repeats={repeats}"],
        "bundle": {"name": bundle.name, "sha256": bundle.sha256},
        "versions": {"fer-edge": __version__, "qemu": qemu_version()} | versions,
        "threads": 1,
        "inferences": inferences,
        "rows": rows,
        "ratios": ratios(rows),
    }


def count(
    lab: Path, core: Core, bundle: Bundle, variant: Variant, counts: list[int]
) -> tuple[list[dict[str, int]], dict[str, Any]]:
    """Run tools/inferences.py on an emulated `core`: the counts at its marks, and what it printed."""
    cpuinfo, counted = lab / "cpuinfo", lab / "counts"
    cpuinfo.write_text(core.cpuinfo())
    counted.unlink(missing_ok=True)
    python = sorted((lab / "root").glob("usr/bin/python3.[0-9]*"))[0]
    # In a mount namespace of its own, so that the machine's /proc/cpuinfo stays as it is for everybody else.
    shell = 'mount --bind "$1" /proc/cpuinfo && shift && exec "$@"'
    printed = run(
        *("nice", "-n", "5", "unshare", "-m", "sh", "-c", shell, "sh", str(cpuinfo)),
        *("qemu-aarch64", "-L", str(lab / "root"), "-cpu", core.qemu, "-plugin", f"{lab / 'insn.so'},out={counted}"),
        *(str(python), str(ROOT / "tools" / "inferences.py")),
        *(str(bundle.path / variant.files[0].file), str(variant.precision)),
        *(str(bundle.path / GOLDEN_FILE), variant.name, *map(str, counts)),
        env={"PYTHONPATH": str(lab / "site"), "PYTHONHASHSEED": "0"},
    )
    if not counted.exists():
        raise ToolError(f"the plugin left no counts; it is written for QEMU 7.2 to 8.2, and here is {qemu_version()}")
    marks = parse_marks(counted.read_text())
    if len(marks) != len(counts):
        raise ToolError(f"the plugin saw {len(marks)} marks, and {len(counts)} were made")
    return marks, json.loads(printed.strip().splitlines()[-1])


def parse_marks(text: str) -> list[dict[str, int]]:
    """What the plugin wrote: a line `kind count kind count …` for each mark."""
    marks = []
    for line in text.splitlines():
        words = line.split()
        marks.append(dict(zip(words[::2], map(int, words[1::2]), strict=True)))
        if tuple(marks[-1]) != KINDS:
            raise ToolError(f"the plugin wrote {line!r}; expected counts of {', '.join(KINDS)}")
    return marks


def per_inference(marks: list[dict[str, int]], inferences: int) -> list[dict[str, float]]:
    """Instructions an inference by kind, for each round between two marks."""
    return [{kind: (after[kind] - before[kind]) / inferences for kind in KINDS} for before, after in pairwise(marks)]


def row_of(
    core: str, variant: Variant, rounds: list[dict[str, float]], macs: int, labels_as_expected: float
) -> dict[str, Any]:
    """One variant on one core; raises ToolError when the rounds disagree by more than 1%."""
    totals = [found["all"] for found in rounds]
    spread = (max(totals) - min(totals)) / min(totals)
    if spread > TOLERANCE:
        raise ToolError(f"{variant.name} on {core}: the rounds differ by {100 * spread:.1f}%; 1% is expected")
    mean = {kind: round(statistics.fmean(found[kind] for found in rounds)) for kind in KINDS}
    return {
        "core": core, "qemu_cpu": CORES[core].qemu, "variant": variant.name, "sha256": variant.files[0].sha256,
        "macs": macs, "instructions": mean["all"], "by_kind": {kind: mean[kind] for kind in KINDS[1:]},
        "instructions_a_mac": round(mean["all"] / macs, 4), "rounds": [round(total) for total in totals],
        "spread": round(spread, 5), "labels_as_expected": labels_as_expected,
    }  # fmt: skip


def ratios(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """int8 over float32 on each core that has both."""
    found = {(row["core"], row["variant"]): row["instructions"] for row in rows}
    return [
        {"core": core, "int8_over_float32": round(found[core, "tflite/int8"] / found[core, "tflite/float32"], 4)}
        for core in dict.fromkeys(row["core"] for row in rows)
        if (core, "tflite/int8") in found and (core, "tflite/float32") in found
    ]


def macs_of(bundle: Bundle, variant: Variant) -> int:
    """Multiply-adds of one inference."""
    rows = list_operators("tflite", bundle.path / variant.files[0].file, variant.precision)
    return sum(row["macs"] for row in rows)


def markdown(report: dict[str, Any]) -> str:
    """The tables of docs/boards.md."""
    lines = [
        "| core | variant | million instructions | for each MAC | dot | int8 to 16 | float | memory | at best |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in report["rows"]:
        kinds = (f"{100 * row['by_kind'][kind] / row['instructions']:.0f}%" for kind in KINDS[1:])
        total, each = f"{row['instructions'] / 1e6:.2f}", f"{row['instructions_a_mac']:.3f}"
        best = f"{least_ms(row):.1f} ms on {CORES[row['core']].board}"
        lines.append(f"| {row['core']} | {row['variant']} | {total} | {each} | {' | '.join(kinds)} | {best} |")
    lines += ["", "| core | instructions, int8 over float32 |", "|---|---|"]
    lines += [f"| {row['core']} | {row['int8_over_float32']:.2f} |" for row in report["ratios"]]
    return "\n".join(lines)


def least_ms(row: dict[str, Any]) -> float:
    """Milliseconds that the multiply-adds alone take on one core of the board, were everything else free."""
    core = CORES[row["core"]]
    cycles = max(row["by_kind"][kind] / a_cycle for kind, a_cycle in core.a_cycle.items())
    return cycles / (BOARDS[core.board].clock_mhz * 1e3)


def qemu_version() -> str:
    """As `qemu-aarch64 --version` says it, the number alone."""
    found = re.search(r"version (\S+)", run("qemu-aarch64", "--version"))
    return found[1] if found else "unknown"


def run(*command: str, env: dict[str, str] | None = None) -> str:
    """What the command prints; raises ToolError with its last line when it fails."""
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | (env or {}), stdin=subprocess.DEVNULL
    )
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or f"exit {done.returncode}").splitlines()[-1]
        raise ToolError(f"{command[0]} failed: {last}")
    return done.stdout


if __name__ == "__main__":
    main()

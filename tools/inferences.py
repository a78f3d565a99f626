"""Labels faces with one model and marks where; `tools/instructions.py` runs it emulated and counts between the marks.

python tools/inferences.py MODEL PRECISION GOLDEN VARIANT COUNT [COUNT ...]
"""

import contextlib
import json
import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from fer_edge.edge_runtime.engines import start
from fer_edge.edge_runtime.vocabulary import Precision

MARK = 0x494E534E
"""No process has this number; tools/insn.c knows the question about it."""


def mark() -> None:
    """Have the plugin write down the instructions so far."""
    with contextlib.suppress(ProcessLookupError):
        os.getpgid(MARK)


def main() -> None:
    """One face at a time, one thread, COUNT by COUNT, over and over the faces of GOLDEN; the first are the warm-up."""
    model, precision, golden, variant, *counts = sys.argv[1:]
    with np.load(golden) as arrays:
        faces, expected = arrays["faces"], arrays[f"logits/{variant}"].argmax(axis=1)
    engine: Any = start("tflite", Path(model), Precision(precision), threads=1)
    as_expected: list[bool] = []
    for count in counts:
        for _ in range(int(count)):
            at = len(as_expected) % len(faces)
            as_expected.append(bool(engine.infer(faces[at : at + 1]).argmax() == expected[at]))
        mark()
    # Without /proc/cpuinfo, or with the host's, XNNPACK is off and nobody says so.
    operators = [row["op_name"] for row in engine._lite._get_ops_details()]
    made = {
        "labels_as_expected": sum(as_expected) / len(as_expected),
        "delegate": "DELEGATE" in operators,
        "ai-edge-litert": version("ai-edge-litert"),
        "numpy": np.__version__,
        "python": sys.version.split()[0],
    }
    print(json.dumps(made))


if __name__ == "__main__":
    main()

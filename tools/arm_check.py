"""What tests/test_arm.py asks of an emulated board, in one process: a photo's label, memory, XNNPACK, crops.

python tools/arm_check.py FOLDER writes `photo.jsonl` there and prints JSON; `crops()` is asked of this machine, too.
"""

import hashlib
import json
import os
import platform
import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

HEAVY = ("tensorflow", "keras", "sklearn", "jax", "torch", "onnxruntime", "openvino")
"""No start of the int8 TFLite may need them."""


def main() -> None:
    """The photo comes first: the memory that it takes is that of a fresh process."""
    folder = Path(sys.argv[1])
    python = peak_bytes()
    status = run_photo(folder / "photo.jsonl")
    print(
        json.dumps(
            {
                "machine": platform.machine(),
                "status": status,
                "peak_bytes": {"python": python, "photo": peak_bytes()},
                "imported": [name for name in HEAVY if name in sys.modules],
                "installed": [name for name in HEAVY if find_spec(name) is not None],
                "delegate": has_delegate(),
                "crops": crops(),
            }
        )
    )


def run_photo(out: Path) -> int:
    """`fer-edge run PHOTO` in this process; its exit code."""
    from fer_edge.cli.main import main as fer_edge
    from fer_edge.edge_runtime.sample_clip import SAMPLE_PHOTO

    sys.argv = ["fer-edge", "run", str(SAMPLE_PHOTO), "--jsonl", str(out)]
    printed = os.dup(1)
    os.dup2(2, 1)  # stdout is for our JSON alone
    try:
        fer_edge()
    except SystemExit as ended:
        return int(ended.code or 0)
    finally:
        sys.stdout.flush()
        os.dup2(printed, 1)
    return 0


def peak_bytes() -> int:
    """The most memory that this process had; emulated, that is QEMU's own with the board's."""
    found = re.search(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return 1024 * int(found[1])


def has_delegate() -> bool:
    """Whether XNNPACK took the shipped int8 model over; LiteRT goes on without a word where it does not."""
    from fer_edge.edge_runtime.bundle import Bundle
    from fer_edge.edge_runtime.engines import open_engine

    engine: Any = open_engine(Bundle.open(), "tflite", threads=1)
    return any(operator["op_name"] == "DELEGATE" for operator in engine._lite._get_ops_details())


def crops() -> dict[str, str]:
    """By the side of a square face, a hash of what `face_pixels` makes of it: noise and a photo, inside and over the
    border, and the photo's own gray values."""
    import cv2
    import numpy as np

    from fer_edge.edge_runtime.preprocess import face_pixels
    from fer_edge.edge_runtime.sample_clip import SAMPLE_PHOTO

    photo = cv2.imread(str(SAMPLE_PHOTO))
    gray = cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY)
    noise = np.random.default_rng(0).integers(0, 256, gray.shape, np.uint8)
    made = {"photo": hashlib.sha256(gray.tobytes()).hexdigest()}
    # Beside many sides those that float sums were seen to round differently.
    for side in [*range(1, 160), *range(160, 500, 13), 224, 253, 352, 442, 448, 487]:
        digest = hashlib.sha256()
        for frame in (gray, noise):
            for left, top in ((7, 5), (-(side // 3), -(side // 4)), (frame.shape[1] - (side + 1) // 2, 11)):
                digest.update(face_pixels(frame, (left, top, left + side, top + side)).tobytes())
        made[str(side)] = digest.hexdigest()
    return made


if __name__ == "__main__":
    main()

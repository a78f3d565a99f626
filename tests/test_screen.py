"""What a terminal of 80 columns shows, which is what a Pi is seen through."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def _on_a_terminal(code: str) -> str:
    """What Python prints on a real terminal of 80 columns, without its colours."""
    import re

    ours, theirs = pty.openpty()
    environment = os.environ | {"COLUMNS": "80", "LINES": "40", "TERM": "xterm"}
    process = subprocess.Popen([sys.executable, "-P", "-c", code], stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    seen = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # Linux says so when the other end is closed
            break
        if not part:
            break
        seen += part
    assert process.wait() == 0, seen.decode()
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", seen.decode()).replace("\r", "")


def test_the_judgement_fits_80_columns_whole() -> None:
    report = json.loads((ROOT / "docs" / "model" / "report.json").read_text())
    report["variants"]["tflite/dynamic-int8"] = report["variants"]["onnx/int8"]
    row = report["variants"]["tflite/int8"]
    low, high = row["drop_score_interval_pp"]
    flips = f"{row['flips_right_to_wrong']}/{row['flips_wrong_to_right']}"
    judged = (f"{row['accuracy']:.2%}", f"{low:+.2f}..{high:+.2f}", flips)
    show = "from fer_edge.cli.judgement import print_judgement as show"
    code = f"import json\n{show}\nshow(json.loads({json.dumps(report)!r}))"
    shown = _on_a_terminal(code)
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= 80
    assert "…" not in shown
    for word in ("surprise", *judged, "non-inferior", "tflite/dynamic-int8"):
        assert word in shown

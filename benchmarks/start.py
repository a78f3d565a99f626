"""Time from process start to the first label on a photo, and the process's peak memory; the median of several runs.

python benchmarks/start.py PHOTO [--runs 15]
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

PEAK = """
import sys
from fer_edge.cli.main import main
from fer_edge.devices.machine import peak_memory_bytes
try:
    main()
except SystemExit:
    pass
print("peak", peak_memory_bytes())
"""


def first_label_s(photo: str) -> float:
    """Seconds until the line with the first face is read."""
    begun = time.perf_counter()
    command = [sys.executable, "-P", "-m", "fer_edge", "run", photo]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if " at " in line and line.startswith("  "):
                taken = time.perf_counter() - begun
                process.stdout.read()
                return taken
    raise SystemExit(f"no face was found in {photo}")


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photo")
    parser.add_argument("--runs", type=int, default=15)
    args = parser.parse_args()
    first_label_s(args.photo)  # the first one reads the libraries from the disk
    taken = sorted(first_label_s(args.photo) for _ in range(args.runs))
    command = [sys.executable, "-P", "-c", PEAK, "run", args.photo]
    peak = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1]
    print(
        json.dumps(
            {"runs": args.runs, "median_s": statistics.median(taken), "fastest_s": taken[0], "slowest_s": taken[-1]}
            | {"peak_memory_bytes": int(peak)}
        )
    )


if __name__ == "__main__":
    main()

"""What people would use instead, side by side: accuracy, time a face and a frame, first label, memory, size.

    python benchmarks/peers.py --setup                       make an environment for each package (pip; gigabytes)
    python benchmarks/peers.py CLIP --data CACHE [--json FILE] [--markdown FILE]

Every package lives in its own virtual environment and process, on the same core, and takes turns with the others in
shuffled rounds over the same faces and the same frames; times are compared within rounds. What is not there is "not
installed", what cannot run says why; neither is ever a number.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fer_edge.devices.errors import FerEdgeError, SourceError
from fer_edge.devices.files import replacing_file, write_json
from fer_edge.devices.machine import describe_machine
from fer_edge.edge_runtime.bundle import Bundle
from fer_edge.train.dataset import load_dataset

sys.path.insert(0, str(Path(__file__).parent))  # not there by itself under PYTHONSAFEPATH
from peers_report import as_markdown, row

ROOT = Path(__file__).resolve().parents[1]
WORKER = Path(__file__).with_name("peer_worker.py")
VENVS = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "fer-edge" / "peers"
FACES_A_TURN, FRAMES_A_TURN = 64, 8
STARTS = 3
"""Of each package: the first reads its files from the disk, so the median counts."""
OURS = "fer-edge int8"
FAILED, MISSING = "failed", "not installed"


@dataclass(frozen=True)
class Peer:
    """A name, the environment that it lives in and what pip installs there, and the model file a bare engine needs."""

    name: str
    venv: str
    requirements: tuple[str, ...]
    model: str | None = None


PEERS = (
    Peer(OURS, "fer-edge", (str(ROOT),)),
    Peer("fer-edge float32", "fer-edge", (str(ROOT),)),
    Peer("LiteRT int8, bare", "litert", (f"ai-edge-litert=={version('ai-edge-litert')}", "numpy"), "int8.tflite"),
    Peer("ONNX Runtime int8, bare", "onnxruntime", (f"onnxruntime=={version('onnxruntime')}",), "int8.onnx"),
    Peer("OpenVINO int8, bare", "openvino", (f"openvino=={version('openvino')}",), "int8.xml"),
    Peer("fer", "fer", ("fer==25.10.3",)),
    Peer("deepface", "deepface", ("deepface[api]==0.0.103",)),
    Peer("hsemotion-onnx", "hsemotion-onnx", ("hsemotion-onnx==0.3.1",)),
)


@dataclass(eq=False)
class Turns:
    """A started peer and what it has answered."""

    peer: Peer
    process: subprocess.Popen[str]
    start: dict[str, Any]
    labels: list[str | None] = field(default_factory=list)
    found: list[int] = field(default_factory=list)
    face_ns: list[list[int]] = field(default_factory=list)
    frame_ns: list[list[int]] = field(default_factory=list)
    peak_memory_bytes: int | None = None

    def end(self) -> None:
        """Stop the process."""
        self.process.kill()
        self.process.wait()

    def ask(self, what: str, low: int, high: int) -> dict[str, Any] | None:
        """One turn's answer; None when the peer is gone."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps({"do": what, "rows": [low, high]}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return None
        line = self.process.stdout.readline()
        answer: dict[str, Any] | None = json.loads(line) if line else None
        if answer:
            self.peak_memory_bytes = answer["peak_memory_bytes"]
        return answer


def set_up(venvs: Path) -> None:
    """Make what is missing of the environments; one that pip cannot fill is said and left out."""
    for venv, requirements in {p.venv: p.requirements for p in PEERS}.items():
        if (venvs / venv / "bin" / "python").exists():
            continue
        print(f"{venv}: pip install {' '.join(requirements)}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", venvs / venv], check=True)
        pip = [venvs / venv / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "install", "-q"]
        done = subprocess.run([*pip, *requirements], check=False, capture_output=True, text=True)
        if done.returncode:
            print(f"{venv}: pip failed: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)


def installed_bytes(python: Path) -> int:
    """What pip put into an environment, without pip itself and without compiled caches."""
    where = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    site = Path(where.stdout.strip())
    own = ("pip", "pip-", "_distutils_hack", "distutils-precedence.pth")
    return sum(
        path.stat().st_size
        for path in site.rglob("*")
        if path.is_file() and path.suffix != ".pyc" and not path.relative_to(site).parts[0].startswith(own)
    )


def start(peer: Peer, venvs: Path, folder: Path, core: int) -> Turns | dict[str, str]:
    """A started peer, or why there is none."""
    python = venvs / peer.venv / "bin" / "python"
    if not python.exists():
        return {"status": MISSING}
    if peer.model is not None and not (folder / peer.model).exists():
        return {"status": f"the bundle has no {peer.model}"}
    process = subprocess.Popen(
        [python, "-P", WORKER, peer.name, folder, str(time.monotonic_ns())],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"},
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )  # fmt: skip
    assert process.stdout is not None
    line = process.stdout.readline()
    began = json.loads(line) if line else {"failed": f"ended with status {process.wait()}"}
    if FAILED in began:
        process.kill()
        process.wait()
        return {"status": f"{FAILED}: {began[FAILED]}"}
    return Turns(peer, process, began)


def take_turns(started: list[Turns], faces: int, frames: int, seed: int = 0) -> dict[str, str]:
    """Shuffled rounds until every face and frame is labelled; peers that died on the way, with the reason."""
    died: dict[str, str] = {}
    shuffle = random.Random(seed).shuffle
    face_turns = [(low, min(low + FACES_A_TURN, faces)) for low in range(0, faces, FACES_A_TURN)]
    frame_turns = [(low, min(low + FRAMES_A_TURN, frames)) for low in range(0, frames, FRAMES_A_TURN)]
    for number in range(max(len(face_turns), len(frame_turns))):
        shuffle(started)
        for turns in list(started):
            work = [("faces", face_turns)] + [("frames", frame_turns)] * turns.start["finds_faces"]
            for what, plan in work:
                if number >= len(plan):
                    continue
                answer = turns.ask(what, *plan[number])
                if answer is None:
                    died[turns.peer.name] = f"{FAILED}: ended with status {turns.process.wait()} while it was measured"
                    started.remove(turns)
                    break
                if what == "faces":
                    turns.labels += answer["labels"]
                    turns.face_ns.append(answer["ns"])
                else:
                    turns.found += [len(labels) for labels in answer["labels"]]
                    turns.frame_ns.append(answer["ns"])
        print(f"round {number + 1}", end="\r", file=sys.stderr, flush=True)
    return died


def read_clip(clip: Path, most: int) -> np.ndarray:
    """Frames (N, H, W, 3) uint8 of a clip.

    Raises:
        SourceError: it cannot be read.
    """
    video, frames = cv2.VideoCapture(str(clip)), []
    while len(frames) < most:
        more, frame = video.read()
        if not more:
            break
        frames.append(frame)
    video.release()
    if not frames:
        raise SourceError(f"{clip} cannot be read as a clip; give a video file")
    return np.stack(frames)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """The report: a row a peer."""
    data = load_dataset(args.data)
    rows = data.held_out("test")[: args.images]
    clip, bundle = read_clip(args.clip, args.frames), Bundle.open(args.bundle)
    report: dict[str, Any] = {}
    first_ms: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "faces.npy", np.asarray(data.faces[rows]))
        np.save(folder / "frames.npy", clip)
        for listed in (f for v in bundle.variants for f in v.files):
            (folder / listed.file).symlink_to(bundle.path.resolve() / listed.file)
        started: list[Turns] = []
        try:
            for peer in PEERS:
                print(f"starting {peer.name}", file=sys.stderr)
                for at in range(STARTS):
                    begun = start(peer, args.venvs, folder, args.core)
                    if not isinstance(begun, Turns):
                        report[peer.name] = begun
                        break
                    first_ms.setdefault(peer.name, []).append(begun.start["first_label_ms"])
                    if at == STARTS - 1:
                        started.append(begun)
                    else:
                        begun.end()
            everyone = list(started)
            report |= {who: {"status": why} for who, why in take_turns(started, len(rows), len(clip)).items()}
        finally:
            for turns in started:
                turns.end()
    base = next((t for t in everyone if t.peer.name == OURS), None)
    for turns in everyone:
        size = installed_bytes(args.venvs / turns.peer.venv / "bin" / "python")
        turns.start["first_label_ms"] = float(np.median(first_ms[turns.peer.name]))
        report.setdefault(turns.peer.name, row(turns, data.labels[rows], base, size))
    return {
        "schema": 1,
        "clip": {"name": args.clip.name, "frames": len(clip), "size": list(clip.shape[2:0:-1])},
        "data": {"source": data.source, "split": "test", "images": len(rows)},
        "bundle": {"name": bundle.name, "sha256": bundle.sha256},
        "core": args.core,
        "machine": describe_machine(),
        "peers": {peer.name: report[peer.name] for peer in PEERS},
    }


def main() -> int:
    """Set up, or measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path, nargs="?", help="video whose frames everybody labels")
    parser.add_argument("--data", type=Path, default=Path("data/fer2013"), help="cache whose test faces are labelled")
    parser.add_argument("--bundle", type=Path, help="whose files the bare engines run; by default the shipped one")
    parser.add_argument("--images", type=int, help="only so many faces")
    parser.add_argument("--frames", type=int, default=240, help="at most so many frames")
    parser.add_argument("--core", type=int, default=min(os.sched_getaffinity(0)), help="that everybody runs on")
    parser.add_argument("--venvs", type=Path, default=VENVS, help="folder of the environments")
    parser.add_argument("--setup", action="store_true", help="make the environments that are missing")
    parser.add_argument("--json", type=Path, help="write the report")
    parser.add_argument("--markdown", type=Path, help="write the table")
    args = parser.parse_args()
    args.venvs = args.venvs.absolute()  # the peers start in another folder
    if args.setup:
        set_up(args.venvs)
    if args.clip is None:
        return 0 if args.setup else parser.error("give a CLIP, or --setup")
    try:
        report = measure(args)
    except FerEdgeError as error:
        print(error, file=sys.stderr)
        return 1
    if args.json:
        write_json(args.json, report)
    if args.markdown:
        with replacing_file(args.markdown) as temporary:
            temporary.write_text(as_markdown(report), encoding="utf-8")
    print(as_markdown(report), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())

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
from fer_edge.edge_runtime.vocabulary import EMOTIONS
from fer_edge.train.dataset import load_dataset

ROOT = Path(__file__).resolve().parents[1]
WORKER = Path(__file__).with_name("peer_worker.py")
VENVS = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "fer-edge" / "peers"
FACES_A_TURN, FRAMES_A_TURN = 64, 8
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


def ratio(theirs: list[list[int]], base: list[list[int]], seed: int = 0) -> dict[str, Any] | None:
    """Median of the ratios of round medians, with its 95% bootstrap interval over rounds."""
    if not theirs or not base:
        return None
    ratios = np.array([np.median(a) / np.median(b) for a, b in zip(theirs, base, strict=False)])
    medians = np.median(np.random.default_rng(seed).choice(ratios, (2000, len(ratios))), axis=1)
    low, high = np.percentile(medians, (2.5, 97.5))
    return {"ratio": float(np.median(ratios)), "interval": [float(low), float(high)]}


def row(turns: Turns, labels: np.ndarray, base: Turns | None, size: int) -> dict[str, Any]:
    """What the report says of one peer."""
    right = np.array([EMOTIONS.index(w) if w in EMOTIONS else -1 for w in turns.labels]) == labels[: len(turns.labels)]

    def median_ms(taken: list[list[int]]) -> float | None:
        return float(np.median(np.concatenate(taken))) / 1e6 if taken else None

    return {
        "status": "measured",
        "faces": len(right),
        "accuracy": float(right.mean()),
        "face_p50_ms": median_ms(turns.face_ns),
        "face_over_ours": ratio(turns.face_ns, base.face_ns) if base else None,
        "frames": len(turns.found) or None,
        "frames_with_a_face": float(np.mean(np.array(turns.found) > 0)) if turns.found else None,
        "frame_p50_ms": median_ms(turns.frame_ns),
        "frame_mean_ms": float(np.mean(np.concatenate(turns.frame_ns))) / 1e6 if turns.frame_ns else None,
        "frame_over_ours": ratio(turns.frame_ns, base.frame_ns) if base else None,
        "first_label_ms": turns.start["first_label_ms"],
        "peak_memory_bytes": turns.peak_memory_bytes,
        "installed_bytes": size,
        "requirements": [r for r in turns.peer.requirements if r != str(ROOT)] or ["fer-edge, this checkout"],
    }


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """The report: a row a peer."""
    data = load_dataset(args.data)
    rows = data.held_out("test")[: args.images]
    clip, bundle = read_clip(args.clip, args.frames), Bundle.open(args.bundle)
    report: dict[str, Any] = {}
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
                begun = start(peer, args.venvs, folder, args.core)
                if isinstance(begun, Turns):
                    started.append(begun)
                else:
                    report[peer.name] = begun
            everyone = list(started)
            report |= {who: {"status": why} for who, why in take_turns(started, len(rows), len(clip)).items()}
        finally:
            for turns in started:
                turns.process.kill()
                turns.process.wait()
    base = next((t for t in everyone if t.peer.name == OURS), None)
    for turns in everyone:
        size = installed_bytes(args.venvs / turns.peer.venv / "bin" / "python")
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


def as_markdown(report: dict[str, Any]) -> str:
    """The table for people; `-` is what a peer does not do, a sentence is why one has no figures."""
    head = (
        "| package | top-1, PublicTest | a face, ms | of ours | a frame, ms | of ours | frames with a face "
        "| first label, s | memory, MB | installed, MB |"
    )
    lines, absent = [head, "|---" * 10 + "|"], []
    for name, r in report["peers"].items():
        if r["status"] != "measured":
            absent.append(f"- {name}: {r['status']}")
            continue
        cells = [
            name, f"{r['accuracy']:.1%}", f"{r['face_p50_ms']:.2f}", _times(r["face_over_ours"]),
            _plain(r["frame_mean_ms"]), _times(r["frame_over_ours"]), _share(r["frames_with_a_face"]),
            f"{r['first_label_ms'] / 1000:.2f}", f"{r['peak_memory_bytes'] / 1e6:,.0f}",
            f"{r['installed_bytes'] / 1e6:,.0f}",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", *absent]).strip() + "\n"


def _times(found: dict[str, Any] | None) -> str:
    return "-" if found is None else f"{found['ratio']:.2f} ({found['interval'][0]:.2f} to {found['interval'][1]:.2f})"


def _plain(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


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

"""One package in its own process and environment: labels faces and frames when `peers.py` says so, and times each call.

Started by peers.py with the package's own Python; needs nothing but NumPy, OpenCV and the package. Speaks JSON lines on
standard input and output; what the package itself prints goes to standard error.

    python peer_worker.py NAME FOLDER SPAWNED_NS    FOLDER holds faces.npy, frames.npy and, for bare engines, the models
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

FPS = 25
EMOTIONS = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
OTHERS_WORDS = {
    "anger": "angry", "happiness": "happy", "sadness": "sad", "surprised": "surprise", "disgusted": "disgust",
    "fearful": "fear",
}  # fmt: skip
Label = str | None
ByFace = Callable[[np.ndarray], Label]
"""A face (48, 48) uint8 gray to its label."""
ByFrame = Callable[[np.ndarray], list[Label]]
"""A frame (H, W, 3) uint8 BGR to the labels of the faces found."""


def ours(precision: str) -> tuple[ByFace, ByFrame]:
    """fer-edge as `run` uses it: the newest frame, faces followed between full scans, the bundle that ships."""
    from fer_edge.devices.frame import Frame
    from fer_edge.edge_runtime.bundle import Bundle
    from fer_edge.edge_runtime.labeller import Labeller

    bundle = Bundle.open()
    labeller = Labeller(bundle, still=False, engine="tflite", precision=precision, threads=1, gate=False)
    seen = 0

    def by_face(face: np.ndarray) -> Label:
        return EMOTIONS[int(labeller.engine.infer(face[None])[0].argmax())]

    def by_frame(bgr: np.ndarray) -> list[Label]:
        nonlocal seen
        import cv2

        now = time.perf_counter_ns()
        media_ns = seen * 1_000_000_000 // FPS  # labels are steadied by the clip's time, not by how fast it is read
        frame = Frame(cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY), bgr, seen, now, t_media_ns=media_ns)
        seen += 1
        return [p.label for p in labeller.observe(frame, now).predictions]

    return by_face, by_frame


def bare_litert(folder: Path) -> tuple[ByFace, None]:
    """The interpreter as its own documentation uses it, quantizing and dequantizing in NumPy."""
    from ai_edge_litert.interpreter import Interpreter

    lite = Interpreter(model_path=str(folder / "int8.tflite"), num_threads=1)
    lite.allocate_tensors()
    entry, result = lite.get_input_details()[0], lite.get_output_details()[0]
    scale, zero_point = entry["quantization"]

    def by_face(face: np.ndarray) -> Label:
        pixels = np.clip(np.rint(face / scale) + zero_point, -128, 127).astype(np.int8)
        lite.set_tensor(entry["index"], pixels[None, :, :, None])
        lite.invoke()
        return EMOTIONS[int(lite.get_tensor(result["index"])[0].argmax())]

    return by_face, None


def bare_onnxruntime(folder: Path) -> tuple[ByFace, None]:
    """ONNX Runtime's session on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.x64quantprecision", "1")  # right labels without VNNI, too
    session = onnxruntime.InferenceSession(str(folder / "int8.onnx"), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def by_face(face: np.ndarray) -> Label:
        return EMOTIONS[int(session.run(None, {name: face[None, :, :, None]})[0][0].argmax())]

    return by_face, None


def bare_openvino(folder: Path) -> tuple[ByFace, None]:
    """OpenVINO's compiled model on one thread, with the latency hint."""
    import openvino

    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": "1"}
    model = openvino.Core().compile_model(str(folder / "int8.xml"), "CPU", settings)

    def by_face(face: np.ndarray) -> Label:
        return EMOTIONS[int(model(face[None, :, :, None])[0][0].argmax())]

    return by_face, None


def fer_package() -> tuple[ByFace, ByFrame]:
    """`fer` with its defaults; the 48x48 crops are tight already, so they get no offsets."""
    import cv2
    from fer.fer import FER

    crops, frames = FER(offsets=(0, 0)), FER()

    def by_face(face: np.ndarray) -> Label:
        found = crops.detect_emotions(cv2.cvtColor(face, cv2.COLOR_GRAY2BGR), face_rectangles=[(0, 0, 48, 48)])
        return _best(found[0]["emotions"])

    def by_frame(bgr: np.ndarray) -> list[Label]:
        return [_best(face["emotions"]) for face in frames.detect_emotions(bgr)]

    return by_face, by_frame


def deepface_package() -> tuple[ByFace, ByFrame]:
    """`deepface` with its defaults; crops skip its detector."""
    import cv2
    from deepface import DeepFace

    def labels(bgr: np.ndarray, backend: str) -> list[Label]:
        found = DeepFace.analyze(
            bgr, actions=["emotion"], detector_backend=backend, enforce_detection=False, silent=True
        )
        return [_best(face["emotion"]) for face in found if face["face_confidence"] > 0 or backend == "skip"]

    return lambda face: labels(cv2.cvtColor(face, cv2.COLOR_GRAY2BGR), "skip")[0], lambda bgr: labels(bgr, "opencv")


def hsemotion_package() -> tuple[ByFace, None]:
    """`hsemotion-onnx`, its default network; it has no face detector. Contempt, which FER-2013 lacks, is left out."""
    import urllib.request  # noqa: F401 - the package uses it and imports urllib alone

    import cv2
    from hsemotion_onnx.facial_emotions import HSEmotionRecognizer

    network = HSEmotionRecognizer()
    names = [_word(name) for _, name in sorted(network.idx_to_class.items())]

    def by_face(face: np.ndarray) -> Label:
        _, scores = network.predict_emotions(cv2.cvtColor(face, cv2.COLOR_GRAY2RGB), logits=True)
        return _best({name: score for name, score in zip(names, scores, strict=False) if name in EMOTIONS})

    return by_face, None


def _best(scores: dict[str, float]) -> Label:
    return _word(max(scores, key=lambda name: scores[name]))


def _word(name: str) -> str:
    return OTHERS_WORDS.get(name.lower(), name.lower())


def open_peer(name: str, folder: Path) -> tuple[ByFace, ByFrame | None]:
    """The two functions of a peer; whatever its own libraries raise goes up."""
    makers: dict[str, Callable[[], tuple[ByFace, ByFrame | None]]] = {
        "fer-edge int8": lambda: ours("int8"),
        "fer-edge float32": lambda: ours("float32"),
        "LiteRT int8, bare": lambda: bare_litert(folder),
        "ONNX Runtime int8, bare": lambda: bare_onnxruntime(folder),
        "OpenVINO int8, bare": lambda: bare_openvino(folder),
        "fer": fer_package,
        "deepface": deepface_package,
        "hsemotion-onnx": hsemotion_package,
    }
    return makers[name]()


def _frames(folder: Path, low: int, high: int) -> np.ndarray:
    """Some frames of the clip; the others stay on the disk, else the clip would count as the peer's memory."""
    return np.array(np.load(folder / "frames.npy", mmap_mode="r")[low:high])


def _first_label(by_frame: ByFrame, folder: Path) -> Label:
    """The first label of the clip: a package that wants to see a face twice is given the next frame."""
    at = 0
    while len(frame := _frames(folder, at, at + 1)):
        if labels := by_frame(frame[0]):
            return labels[0]
        at += 1
    return None


def _timed(call: Callable[[np.ndarray], Any], items: np.ndarray) -> tuple[list[Any], list[int]]:
    answers, taken = [], []
    for item in items:
        begun = time.perf_counter_ns()
        answer = call(item)
        taken.append(time.perf_counter_ns() - begun)
        answers.append(answer)
    return answers, taken


def _peak_memory_bytes() -> int | None:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None


def main(name: str, folder: Path, spawned_ns: int) -> None:
    """Start the peer, say how long its first label took, then work through the orders."""
    say = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not mix with the answers
    faces = np.load(folder / "faces.npy")

    def answer(**values: Any) -> None:
        print(json.dumps(values), file=say, flush=True)

    try:
        by_face, by_frame = open_peer(name, folder)
        first = _first_label(by_frame, folder) if by_frame else by_face(faces[0])
    except (Exception, SystemExit) as error:
        # Whatever a stranger's package raises, a download that is refused above all, is the result here.
        why = " ".join(str(error).split())[:300].replace(str(Path.home()), "~")
        answer(failed=f"{type(error).__name__}: {why}")
        return
    answer(first_label_ms=(time.monotonic_ns() - spawned_ns) / 1e6, first=first, finds_faces=by_frame is not None)
    for line in sys.stdin:
        order = json.loads(line)
        low, high = order["rows"]
        if order["do"] == "faces":
            labels, taken = _timed(by_face, faces[low:high])
        else:
            assert by_frame is not None
            labels, taken = _timed(by_frame, _frames(folder, low, high))
        answer(labels=labels, ns=taken, peak_memory_bytes=_peak_memory_bytes())


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))

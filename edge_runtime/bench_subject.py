"""What a bench measures: models out of a bundle or bare files, and each of them started as a chain of timed stages.

Owns which files are measured under which name, and what goes into them. Must not know rounds, statistics or reports.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_edge.devices.errors import EngineError, FerEdgeError
from fer_edge.devices.files import sha256_of
from fer_edge.edge_runtime.bare_model import engine_of, open_bare, read_signature
from fer_edge.edge_runtime.bundle import Bundle
from fer_edge.edge_runtime.engines import EngineSpec, check_known, start
from fer_edge.edge_runtime.operator_row import is_heavy
from fer_edge.edge_runtime.operators import list_operators
from fer_edge.edge_runtime.preprocess import Scratch, face_pixels
from fer_edge.edge_runtime.probe import probe_import
from fer_edge.edge_runtime.sample_clip import SAMPLE_PHOTO
from fer_edge.edge_runtime.vocabulary import FACE_SIDE, Precision, softmax

SCOPES = ("engine", "classify", "pipeline")
_WORDS = {
    "fp32": Precision.FLOAT32, "float32": Precision.FLOAT32, "f32": Precision.FLOAT32,
    "fp16": Precision.FLOAT16, "float16": Precision.FLOAT16, "f16": Precision.FLOAT16,
    "int8": Precision.INT8, "i8": Precision.INT8,
}  # fmt: skip
_BOXES = 64
_BOX_SIDES = (48, 200)
"""Of the faces that `classify` cuts out, in pixels: from across a room to close by."""
Stage = tuple[str, Callable[[Any], Any]]


class BenchError(FerEdgeError):
    """A measurement that cannot be made, or a report that cannot be read."""


@dataclass(frozen=True)
class Model:
    """A model file in one engine. `name` is `tflite/int8`, with the file behind it where two files share that.

    `faces` says whether it takes our faces; `margin` is that of the crop.
    """

    name: str
    engine: str
    precision: Precision
    file: Path
    bytes: int
    sha256: str
    faces: bool
    margin: float = 0.0


@dataclass(eq=False)
class Subject:
    """A started model. A call hands an input through the stages, each taking what the one before gave."""

    spec: EngineSpec
    batch: int
    stages: list[Stage]
    inputs: list[Any]
    close: Callable[[], None]


def models_of_bundle(bundle: Bundle, only: str | None) -> list[Model]:
    """The bundle's variants, or those that `only` (engine, precision or engine/precision) names.

    Raises:
        BenchError: it names none.
    """
    models = [
        Model(
            v.name, v.engine, v.precision, bundle.file(v), sum(f.bytes for f in v.files), v.files[0].sha256,
            True, bundle.face_margin,
        )
        for v in bundle.variants
    ]  # fmt: skip
    return _chosen(models, only)


def models_of_files(files: Sequence[Path], precision: Precision | None, only: str | None) -> list[Model]:
    """Bare files. Their precision is the one given, else the one that their names say, else what they compute in.

    Raises:
        EngineError: a file that is missing or no engine's, or one that its engine does not take.
        BenchError: `only` names none.
    """
    for engine in dict.fromkeys(engine_of(file) for file in files):
        check_known(engine)
        if (why := probe_import(engine)) is not None:  # a library that crashes must not take the bench with it
            raise EngineError(why)
    models = [_of_file(file, precision) for file in dict.fromkeys(files)]
    shared = Counter(model.name for model in models)
    names = [f"{m.name} {m.file.name}" if shared[m.name] > 1 else m.name for m in models]
    still = Counter(names)
    named = [
        replace(model, name=f"{model.name} {model.file}" if still[name] > 1 else name)
        for model, name in zip(models, names, strict=True)
    ]
    return _chosen(named, only)


def _chosen(models: list[Model], only: str | None) -> list[Model]:
    wanted = [m for m in models if only is None or only in (m.engine, m.precision, f"{m.engine}/{m.precision}")]
    if not wanted:
        have = ", ".join(dict.fromkeys(f"{m.engine}/{m.precision}" for m in models))
        raise BenchError(f"nothing to measure: no variant is called {only!r}; there are {have}")
    return wanted


def _of_file(file: Path, precision: Precision | None) -> Model:
    engine = engine_of(file)
    said = precision or claimed_precision(file.stem) or _found_precision(engine, file)
    companion = file.with_suffix(".bin")
    size = file.stat().st_size + (companion.stat().st_size if engine == "openvino" else 0)
    ours = read_signature(engine, file).is_ours(engine, said)
    return Model(f"{engine}/{said}", engine, said, file, size, sha256_of(file), ours)


def claimed_precision(stem: str) -> Precision | None:
    """What a file's name says: `mobilenet_int8`, `model-fp16`, `dynamic-int8`; None where it says nothing or two."""
    words = [word for word in re.split(r"[^a-z0-9]+", stem.lower()) if word]
    said = {_WORDS[word] for word in words if word in _WORDS}
    if "dynamic" in words and said == {Precision.INT8}:
        return Precision.DYNAMIC_INT8
    return said.pop() if len(said) == 1 else None


def _found_precision(engine: str, file: Path) -> Precision:
    """What most of its multiply-adds run in; float32 where none is counted."""
    sums: Counter[str] = Counter()
    for row in list_operators(engine, file, Precision.INT8):  # said to be int8, none is refused
        if is_heavy(row):
            sums[row["precision"]] += row["macs"] or 1
    most = sums.most_common(1)
    return Precision(most[0][0]) if most and most[0][0] in list(Precision) else Precision.FLOAT32


def open_subject(model: Model, scope: str, threads: int, batch: int | None, faces: NDArray[np.uint8]) -> Subject:
    """Start a model for measuring.

    Args:
        model: what to start.
        scope: `engine` (infer alone) or `classify` (crop, infer, softmax and label).
        threads: of the engine.
        batch: faces a call; None is 1, or what the file has.
        faces: (K, 48, 48) uint8 that take turns as input of the engine.

    Raises:
        EngineError: the engine or the model cannot do that.
    """
    if not model.faces:
        if scope == "classify":
            raise EngineError(
                f"{model.file} takes no faces (48, 48), so there is nothing to classify; use --scope engine"
            )
        bare = open_bare(model.engine, model.file, model.precision, threads, batch)
        return Subject(bare.spec, bare.batch, [("infer", bare.run)], list(bare.inputs), lambda: None)
    engine, size = start(model.engine, model.file, model.precision, threads), batch or 1
    if scope == "engine":
        return Subject(engine.spec, size, [("infer", engine.infer)], _batches(faces, size), engine.close)
    crop, boxes = _cropping(size, model.margin)
    stages: list[Stage] = [("crop", crop), ("infer", engine.infer), ("softmax", _label)]
    return Subject(engine.spec, size, stages, boxes, engine.close)


def _batches(faces: NDArray[np.uint8], size: int) -> list[NDArray[np.uint8]]:
    """Batches (size, 48, 48) in which every face comes up, each in memory of its own."""
    count = max(4, len(faces) // size)
    return [faces[np.arange(at * size, (at + 1) * size) % len(faces)] for at in range(count)]


def _cropping(size: int, margin: float) -> tuple[Callable[[Any], NDArray[np.uint8]], list[Any]]:
    """The stage that cuts faces out of the sample photo, and the boxes: drawn once, the same for every variant."""
    gray = cv2.imread(str(SAMPLE_PHOTO), cv2.IMREAD_GRAYSCALE)
    if gray is None:
        raise EngineError(f"{SAMPLE_PHOTO} is missing; reinstall fer-edge")
    photo = np.asarray(gray, np.uint8)
    height, width = photo.shape
    rng = np.random.default_rng(0)
    corners = []
    for side in rng.integers(_BOX_SIDES[0], min(_BOX_SIDES[1], height, width), _BOXES, endpoint=True):
        x, y = rng.integers(0, width - side, endpoint=True), rng.integers(0, height - side, endpoint=True)
        corners.append((int(x), int(y), int(x + side), int(y + side)))
    boxes = [[corners[(at * size + k) % _BOXES] for k in range(size)] for at in range(max(4, _BOXES // size))]
    out, scratch = np.zeros((size, FACE_SIDE, FACE_SIDE), np.uint8), Scratch()

    def crop(wanted: list[tuple[int, int, int, int]]) -> NDArray[np.uint8]:
        for box, face in zip(wanted, out, strict=True):
            face_pixels(photo, box, margin, face, scratch)
        return out

    return crop, boxes


def _label(logits: NDArray[np.float32]) -> NDArray[np.intp]:
    return softmax(logits).argmax(axis=1)

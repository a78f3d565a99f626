"""Reads a bundle, the only thing that travels to a device, and refuses it before the first frame if anything is off.

Owns the schema of bundle.json. Must not know how a bundle is made.
"""

import hashlib
import json
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_edge.devices.errors import BundleError
from fer_edge.edge_runtime.preprocess import PREPROCESSING_ID
from fer_edge.edge_runtime.quality import Gate
from fer_edge.edge_runtime.quantization import Quantization
from fer_edge.edge_runtime.vocabulary import EMOTIONS, FACE_SIDE, Precision

SCHEMA = 1
MANIFEST = "bundle.json"
BUNDLED = Path(__file__).parent / "bundled"
"""The bundle that ships inside the package, and that is taken where none is named."""
SHIPPED = {"flagship": BUNDLED, "tiny": BUNDLED.with_name("bundled_tiny")}
"""All that ship, by name."""
GOLDEN_FILE = "golden.npz"
REPORT_FILE = "report.json"


@dataclass(frozen=True, slots=True)
class BundleFile:
    """A file of the bundle: its name, sha256 in hex, and size."""

    file: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Variant:
    """One model file for one engine in one precision, with the accuracy that was measured for it.

    `accuracy` is top-1 as a fraction of the judged images; `flips` counts images whose label differs from the float
    model's. Both are None where nothing was measured. `files` holds the model first, then companions (OpenVINO's .bin).
    `float_layers` are those that an int8 variant was asked to leave in float.
    """

    engine: str
    precision: Precision
    files: tuple[BundleFile, ...]
    quantization: tuple[Quantization, Quantization] | None
    accuracy: float | None
    flips: int | None
    operators: dict[str, int] = field(default_factory=dict)
    float_layers: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """`tflite/int8` and the like."""
        return f"{self.engine}/{self.precision}"


@dataclass(frozen=True, eq=False)
class Golden:
    """Faces (K, 48, 48) uint8 and, by variant name, the logits (K, 7) float32 expected of them."""

    faces: NDArray[np.uint8]
    logits: dict[str, NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class Bundle:
    """A bundle whose manifest holds and whose files are present and unaltered.

    `gate` says which faces are labelled `uncertain`; None in bundles whose maker had no faces to learn it from.
    """

    path: Path
    name: str
    face_margin: float
    variants: tuple[Variant, ...]
    manifest: dict[str, Any]
    sha256: str
    gate: Gate | None = None

    @classmethod
    def open(cls, path: Path | str | None = None) -> "Bundle":
        """Read and check a bundle folder, or a .ferpack (the same folder zipped); None is the first that ships.

        Raises:
            BundleError: unknown schema, missing or altered file, a path that leaves the folder, or a manifest whose
                labels, input or preprocessing this runtime does not serve.
        """
        where = bundle_path(path)
        if not where.is_file():
            return cls._open_folder(where)
        from fer_edge.edge_runtime.ferpack import unpack

        folder = unpack(where)
        try:
            return cls._open_folder(folder)
        except BundleError:  # what was unpacked earlier may have been damaged since
            return cls._open_folder(unpack(where, again=True))

    @classmethod
    def _open_folder(cls, folder: Path) -> "Bundle":
        manifest, digest = _read_manifest(folder)
        try:
            _check_contract(manifest, folder)
            variants = tuple(_variant(v) for v in manifest["variants"])
            others = [_file(manifest["golden"]), _file(manifest["report"])]
            gate = _gate(manifest, folder)
            bundle = cls(folder, manifest["name"], float(manifest["face_margin"]), variants, manifest, digest, gate)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise BundleError(
                f"{folder / 'bundle.json'} is not a valid manifest ({type(error).__name__}: {error})"
            ) from error
        for listed in [f for v in variants for f in v.files] + others:
            _check_file(folder, listed)
        _check_roles(folder, variants, others)
        return bundle

    def file(self, variant: Variant) -> Path:
        """Path of the variant's model."""
        return self.path / variant.files[0].file

    def find(self, engine: str, precision: Precision) -> Variant:
        """The variant for an engine in a precision.

        Raises:
            BundleError: the bundle has none; the message lists what it has.
        """
        for variant in self.variants:
            if variant.engine == engine and variant.precision == precision:
                return variant
        have = ", ".join(v.name for v in self.variants)
        raise BundleError(f"bundle {self.name!r} has no {engine}/{precision}; it has {have}")

    def golden(self) -> Golden:
        """The golden vectors.

        Raises:
            BundleError: the file does not hold what it should.
        """
        try:
            with np.load(self.path / GOLDEN_FILE, allow_pickle=False) as arrays:
                logits = {key.removeprefix("logits/"): arrays[key] for key in arrays.files if key.startswith("logits/")}
                golden = Golden(arrays["faces"], logits)
        except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as error:
            raise BundleError(f"{self.path / GOLDEN_FILE} cannot be read ({error})") from error
        k = golden.faces.size // FACE_SIDE**2
        if golden.faces.shape != (k, FACE_SIDE, FACE_SIDE) or golden.faces.dtype != np.uint8:
            raise BundleError(
                f"golden faces: expected (K, 48, 48) uint8, got {golden.faces.shape} {golden.faces.dtype}"
            )
        for name, values in golden.logits.items():
            if values.shape != (k, len(EMOTIONS)):
                raise BundleError(f"golden logits of {name}: expected ({k}, {len(EMOTIONS)}), got {values.shape}")
        return golden


def bundle_path(given: Path | str | None) -> Path:
    """Where a bundle lies: None is the first that ships, and a bare name that is no path here the one so called."""
    if given is None:
        return BUNDLED
    return SHIPPED[str(given)] if str(given) in SHIPPED and not Path(given).exists() else Path(given)


def is_bundle(path: Path | str) -> bool:
    """Whether a bundle lies there, a folder or a .ferpack, rather than something else or nothing."""
    where = bundle_path(path)
    try:
        return where.is_file() or (where / MANIFEST).is_file()
    except OSError:  # no path at all: too long a name
        return False


def _read_manifest(folder: Path) -> tuple[dict[str, Any], str]:
    path = folder / MANIFEST
    if not folder.exists():
        raise BundleError(
            f"{folder} does not exist; make a bundle with: fer-edge convert RUN --int8, or name one that ships: "
            f"{', '.join(SHIPPED)}"
        )
    try:
        raw = path.read_bytes()
        manifest = json.loads(raw)
    except FileNotFoundError:
        raise BundleError(f"{folder} is not a bundle (no bundle.json)") from None
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{path} cannot be read as JSON ({error})") from error
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        got = manifest.get("schema") if isinstance(manifest, dict) else type(manifest).__name__
        raise BundleError(f"{path} has schema {got!r}, this version reads {SCHEMA}; update fer-edge or convert again")
    return manifest, hashlib.sha256(raw).hexdigest()


def _check_contract(manifest: dict[str, Any], folder: Path) -> None:
    expected = {
        "labels": list(EMOTIONS),
        "input": {"shape": [FACE_SIDE, FACE_SIDE], "dtype": "uint8"},
        "preprocessing": PREPROCESSING_ID,
    }
    for key, value in expected.items():
        if manifest[key] != value:
            raise BundleError(f"{folder}: {key} is {manifest[key]!r}, this runtime serves {value!r}")
    if not manifest["variants"]:
        raise BundleError(f"{folder}: the bundle lists no variants")
    if not 0 <= float(manifest["face_margin"]) <= 1:
        raise BundleError(f"{folder}: face_margin {manifest['face_margin']} is outside 0..1")


def _gate(manifest: dict[str, Any], folder: Path) -> Gate | None:
    """The gate, which older bundles lack."""
    if manifest.get("gate") is None:
        return None
    try:
        return Gate.from_dict(manifest["gate"])
    except ValueError as error:
        raise BundleError(f"{folder}: the gate in bundle.json does not hold: {error}") from error


def _variant(entry: dict[str, Any]) -> Variant:
    files = (_file(entry), *(_file(companion) for companion in entry["companions"]))
    q = entry["quantization"]
    pair = None if q is None else (Quantization(**q["input"]), Quantization(**q["output"]))
    return Variant(
        entry["engine"], Precision(entry["precision"]), files, pair,
        entry["accuracy"], entry["flips"], dict(entry.get("operators", {})), _names(entry.get("float_layers", [])),
    )  # fmt: skip


def _names(listed: Any) -> tuple[str, ...]:
    """The layers left in float, which older bundles lack."""
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise ValueError(f"float_layers is {listed!r}, not a list of names")
    return tuple(listed)


def _file(entry: dict[str, Any]) -> BundleFile:
    return BundleFile(str(entry["file"]), str(entry["sha256"]), int(entry["bytes"]))


def _check_file(folder: Path, listed: BundleFile) -> None:
    inside = PurePosixPath(listed.file)
    if inside.is_absolute() or ".." in inside.parts or "\\" in listed.file:
        raise BundleError(f"{folder}: file {listed.file!r} leaves the bundle; refusing it")
    path = folder / listed.file
    try:
        size = path.stat().st_size if path.is_file() else None
    except OSError as error:
        raise BundleError(f"{folder}: a file name in the manifest is impossible ({error.strerror})") from error
    if size is None:
        raise BundleError(f"{folder}: {listed.file} is missing; copy the whole bundle again")
    if not path.resolve().is_relative_to(folder.resolve()):
        raise BundleError(f"{folder}: {listed.file} is a link out of the bundle; refusing it")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != listed.sha256 or size != listed.bytes:
        raise BundleError(
            f"{folder}: {listed.file} was altered or cut short (sha256 {found[:12]}, not {listed.sha256[:12]})"
        )


def _check_roles(folder: Path, variants: tuple[Variant, ...], others: list[BundleFile]) -> None:
    """What an engine opens by name, beside what the manifest lists, must be what the manifest lists."""
    if [listed.file for listed in others] != [GOLDEN_FILE, REPORT_FILE]:
        raise BundleError(f"{folder}: golden and report must be {GOLDEN_FILE} and {REPORT_FILE}")
    for variant in variants:
        model, *companions = (listed.file for listed in variant.files)
        wanted = [str(PurePosixPath(model).with_suffix(".bin"))] if variant.engine == "openvino" else []
        if companions != wanted:
            raise BundleError(f"{folder}: {model} must list the companions {wanted}, not {companions}")

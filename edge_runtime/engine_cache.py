"""Where TensorRT's compiled engines lie, and what one is good for: this model, these versions, this GPU. Runs none.

Compiling takes a minute or more, so it is done when a release is deployed, by `fer-edge doctor`, and never at the first
frame: a run without its engine is an error that says what to run.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from fer_edge.devices.files import sha256_of
from fer_edge.edge_runtime.state_folder import state_home

BUILD = "FER_EDGE_BUILD_ENGINES"
"""Set to 1 for a process that may compile what is missing; `doctor` sets it for the ones that it starts."""
MARKER = "made_for.json"
"""Written last: a folder without it is no cache."""


@dataclass(frozen=True, slots=True)
class MadeFor:
    """All that a compiled engine depends on; if one of them differs, it is another engine."""

    model_sha256: str
    precision: str
    max_batch: int
    onnxruntime: str
    tensorrt: str
    gpu: str
    compute_capability: str

    @property
    def key(self) -> str:
        """Name of its folder."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:32]

    @property
    def folder(self) -> Path:
        """Where it lies, or would."""
        return state_home() / "tensorrt" / self.key

    @property
    def is_there(self) -> bool:
        """Whether it was compiled, whole, for just this."""
        try:
            told = json.loads((self.folder / MARKER).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return bool(told == asdict(self)) and bool(engines_in(self.folder))

    def write_marker(self, folder: Path) -> None:
        """Say that `folder` is whole."""
        (folder / MARKER).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")


def made_for(
    model: Path,
    precision: str,
    max_batch: int,
    *,
    onnxruntime: str,
    tensorrt: str,
    gpu: str,
    capability: tuple[int, int],
) -> MadeFor:
    """What an engine of this model has to be made for here."""
    at = f"{capability[0]}.{capability[1]}"
    return MadeFor(sha256_of(model), precision, max_batch, onnxruntime, tensorrt, gpu, at)


def engines_in(folder: Path) -> dict[str, int]:
    """Compiled engines of a folder: size by name."""
    return {path.name: path.stat().st_size for path in sorted(folder.glob("*.engine"))}


def may_build() -> bool:
    """Whether this process was asked to compile what is missing."""
    return os.environ.get(BUILD) == "1"

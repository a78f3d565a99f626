"""Where YuNet's model file comes from: it is known by its hash, fetched once, and kept in the user's cache."""

import os
import shutil
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from fer_edge.devices.errors import EngineError, OutputError
from fer_edge.devices.files import replacing_file, sha256_of

_TIMEOUT_S = 30


@dataclass(frozen=True, slots=True)
class DetectorModel:
    """A model file that is not shipped: its address, hash and licence."""

    file: str
    url: str
    sha256: str
    size_bytes: int
    licence: str


MODELS = {
    "yunet": DetectorModel(
        "face_detection_yunet_2026may.onnx",
        "https://github.com/opencv/opencv_zoo/raw/main/models/face_detection_yunet/face_detection_yunet_2026may.onnx",
        "ebafce4e3c118d6554634be5c27ab333b4c047a9a8c3faf1d7cf93101c22f0f0",
        229738,
        "MIT",
    )
}


def cached_path(name: str) -> Path:
    """Where the fetched file lies, or would: below $XDG_CACHE_HOME or ~/.cache."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "fer-edge" / MODELS[name].file


def fetch(name: str, source: str | None = None) -> Path:
    """Put a model into the cache, from its home, from another address, or from a file; gives its path.

    Raises:
        EngineError: no such model, no network, or what came is not the file that is known.
        OutputError: the cache cannot be written.
    """
    if name not in MODELS:
        raise EngineError(f"unknown model {name!r}; choose one of {', '.join(MODELS)}")
    model, target = MODELS[name], cached_path(name)
    if source is None and target.is_file() and sha256_of(target) == model.sha256:
        return target
    source = source or model.url
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error.strerror}") from error
    with replacing_file(target) as temporary:
        _copy(source, temporary, model)
        found = sha256_of(temporary)
        if found != model.sha256:
            raise EngineError(
                f"{source} is not the {name} that is known (sha256 {found[:12]}…, expected {model.sha256[:12]}…)"
            )
    return target


def _copy(source: str, target: Path, model: DetectorModel) -> None:
    if "://" not in source:
        if not Path(source).is_file():
            raise EngineError(f"{source} does not exist")
        shutil.copyfile(source, target)
        return
    try:
        with urllib.request.urlopen(source, timeout=_TIMEOUT_S) as answer, target.open("wb") as file:
            file.write(answer.read(4 * model.size_bytes))  # a wrong page must not fill the disk
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise EngineError(
            f"cannot fetch {source} ({reason}); on a machine with a network get {model.file}, copy it here, "
            f"and run: fer-edge models fetch yunet --from {model.file}"
        ) from error

"""Camera to label on the device. Public names are imported when first used, so that importing this costs nothing."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fer_edge.edge_runtime.bundle import Bundle, Variant
    from fer_edge.edge_runtime.engines import Engine, open_engine
    from fer_edge.edge_runtime.pipeline import Pipeline
    from fer_edge.edge_runtime.preprocess import face_pixels
    from fer_edge.edge_runtime.vocabulary import EMOTIONS, Face, Observation, Precision, Prediction

_HOME = {
    "EMOTIONS": "vocabulary",
    "Bundle": "bundle",
    "Engine": "engines",
    "Face": "vocabulary",
    "Observation": "vocabulary",
    "Pipeline": "pipeline",
    "Precision": "vocabulary",
    "Prediction": "vocabulary",
    "Variant": "bundle",
    "face_pixels": "preprocess",
    "open_engine": "engines",
}

__all__ = [
    "EMOTIONS",
    "Bundle",
    "Engine",
    "Face",
    "Observation",
    "Pipeline",
    "Precision",
    "Prediction",
    "Variant",
    "face_pixels",
    "open_engine",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__

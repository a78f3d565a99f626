"""Every model by name: what it is, how large, and what was published of it. Imports no framework.

Parameters and MACs are those of the default recipe; tests build each network and count them again.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["keras", "sklearn", "autoencoder", "ensemble"]


@dataclass(frozen=True)
class Entry:
    """One model. `macs` are multiply-adds of one face; `published_accuracy` is a share of the test images."""

    name: str
    kind: Kind
    what: str
    parameters: int | None
    macs: int | None
    published_accuracy: float | None = None
    published_note: str = ""

    @property
    def module(self) -> str:
        """The module of `train/` that builds it."""
        return _MODULES.get(self.name, "net_cnn")


_MODULES = {
    "mlp": "net_sequence", "lstm": "net_sequence", "vit": "net_sequence",
    "unet": "net_unet", "unet-se": "net_unet",
    "mini-xception": "net_xception", "resnet50": "net_resnet", "autoencoder": "net_autoencoder",
    "flagship": "net_flagship", "tiny": "net_flagship", "vgg10": "net_teachers", "resnet12": "net_teachers",
    "dlib-resnet": "net_faces",
}  # fmt: skip

_ENTRIES = (
    Entry("logreg", "sklearn", "StandardScaler, PCA(300), multinomial logistic regression", 700_219, 693_300, 0.3275),
    Entry("random-forest", "sklearn", "100 trees of unbounded depth on flattened pixels", None, None, 0.4540),
    Entry("mlp", "keras", "2304-512-256-128-7, dropout 0.3", 1_345_287, 1_344_384, 0.2842),
    Entry("lstm", "keras", "LSTM(128) over 48 rows, dense 64", 99_335, 4_334_016, 0.4121),
    Entry("cnn-basic", "keras", "32-64-128, dense 128, dropout 0.4", 683_527, 22_487_936, 0.5486),
    Entry("cnn", "keras", "32-64-128-256, dropout 0.2, dense 256", 981_159, 33_105_664, 0.6174),
    Entry("cnn-small", "keras", "64-32-16 unpadded, dense 128, dropout 0.5", 57_527, 9_675_904, 0.5036),
    Entry("cnn-double", "keras", "pairs of 32, 64, 128, then 256; dense 512-256", 1_900_071, 97_527_552, 0.5548),
    Entry("cnn-wide", "keras", "64, 128 (5×5), 256, 512 (5×5); dense 512-256-128-64", 6_313_671, 282_255_808, 0.6799),
    Entry("unet", "keras", "64-128-256 and back, channel attention, pooled by level", 2_026_247, 888_581_504, 0.6478),
    Entry("unet-se", "keras", "residual, dilated, squeeze-excite, spatial attention", 2_142_174, 340_559_680, 0.5999),
    Entry("vit", "keras", "patches of 8, 4 blocks of 8 heads, dim 64", 605_127, 27_578_816, 0.3026),
    Entry("resnet50", "keras", "at 224 px, global max pooling, dense 256", 24_115_079, 3_856_451_328, 0.6780),
    Entry(
        "mini-xception", "keras", "separable convolutions, 64 px", 58_423, 10_163_392, 0.654,
        "measured with the weights of the package fer, docs/peers.md",
    ),
    Entry("cnn-edge", "keras", "stem of 32, pairs of 64, 128, 256, global pooling", 1_232_807, 96_282_368),
    Entry("flagship", "keras", "16, three each of 32, 80, 176; under 1 MB in int8; ships", 850_471, 58_144_976),
    Entry("tiny", "keras", "8, pairs of 16, 32, three of 64; under 150 KB in int8; ships", 111_151, 7_465_408),
    Entry("vgg10", "keras", "pairs of 32, 64, 128, three of 256; to teach others", 1_767_207, 138_684_160),
    Entry("resnet12", "keras", "stem of 32, residual blocks of 64, 128, 256; to teach others", 2_689_447, 184_690_432),
    Entry("dlib-resnet", "keras", "dlib's, at 112 px, has seen faces before; to teach others", 5_584_039, 148_083_744),
    Entry("autoencoder", "autoencoder", "reconstruction, to find outliers", 75_425, 27_869_184),
    Entry("ensemble", "ensemble", "averaged logits of --members", None, None),
)  # fmt: skip
MODELS: dict[str, Entry] = {entry.name: entry for entry in _ENTRIES}

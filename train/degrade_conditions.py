"""The conditions under which a model is judged, as values: what is done to the faces, and how much of it."""

from dataclasses import dataclass

import numpy as np

from fer_edge.train.degrade import Faces, brightened, compressed, darkened, defocused, noisy, occluded


@dataclass(frozen=True, slots=True)
class Condition:
    """What is done to the faces, how much of it, and in words.

    `level` is, by `kind`: of `noise` the standard deviation as a part of 255 grays; of `blur` the sigma in pixels; of
    `dark` and `bright` what the light is multiplied with; of `occlusion` the side of a gray square as a part of the
    face's; of `jpeg` the quality, 1 to 100. `none` leaves the faces as they are.
    """

    kind: str
    level: float
    what: str

    def apply(self, faces: Faces, rng: np.random.Generator) -> Faces:
        """Faces (N, 48, 48) uint8 under it; only noise, darkness and occlusion draw from `rng`."""
        match self.kind:
            case "none":
                return faces
            case "noise":
                return noisy(faces, self.level, rng)
            case "blur":
                return defocused(faces, self.level)
            case "dark":
                return darkened(faces, self.level, rng)
            case "bright":
                return brightened(faces, self.level)
            case "occlusion":
                return occluded(faces, self.level, rng)
            case "jpeg":
                return compressed(faces, int(self.level))
        raise ValueError(f"unknown condition {self.kind!r}")


AS_THEY_ARE = Condition("none", 0.0, "as they are")


def noise(level: float) -> Condition:
    """Gaussian noise of this standard deviation, of the full range."""
    return Condition("noise", level, f"noise, sd {level:g} of range")


def blur(sigma_px: float) -> Condition:
    """A Gaussian blur."""
    return Condition("blur", sigma_px, f"blur, sigma {sigma_px:g} px")


def dark(exposure: float) -> Condition:
    """So much of the light, with a sensor's noise."""
    return Condition("dark", exposure, f"{exposure:.0%} of the light")


def bright(factor: float) -> Condition:
    """Too much light."""
    return Condition("bright", factor, f"{factor:.0%} of the light")


def occlusion(share: float) -> Condition:
    """A gray square that covers a part of the face."""
    return Condition("occlusion", share, f"gray square, {share:.0%} of the side")


def jpeg(quality: int) -> Condition:
    """A compressed picture."""
    return Condition("jpeg", quality, f"JPEG, quality {quality}")

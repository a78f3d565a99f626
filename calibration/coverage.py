"""What a choice of images covers: classes, pixel range, brightness. Read before trusting a calibration."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fer_edge.edge_runtime.vocabulary import EMOTIONS
from fer_edge.train.dataset import Dataset


def coverage(data: Dataset, rows: Sequence[int]) -> dict[str, Any]:
    """Counts by emotion, lowest and highest pixel, and the spread of mean brightness (0 to 255) over the images."""
    chosen = np.array(rows)
    faces = np.asarray(data.faces[chosen])
    means = faces.reshape(len(faces), -1).mean(axis=1)
    low, middle, high = np.percentile(means, (5, 50, 95))
    counts = np.bincount(data.labels[chosen], minlength=len(EMOTIONS))
    return {
        "counts": {emotion: int(k) for emotion, k in zip(EMOTIONS, counts, strict=True)},
        "pixel_range": [int(faces.min()), int(faces.max())],
        "brightness": {"p5": round(float(low), 1), "p50": round(float(middle), 1), "p95": round(float(high), 1)},
    }

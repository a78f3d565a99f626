"""How far a variant's outputs are from the float reference's, image by image, whatever the label: KL and logits.

Pure functions of logits.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_edge.edge_runtime.vocabulary import softmax

SHARES = (*(at / 20 for at in range(20)), 0.99, 0.999, 1.0)
"""Of the images; the distributions are given at these."""
IMAGES_FOR_P99 = 100
"""With fewer there is no image beyond the 99th percentile."""


def kl_by_image(reference: NDArray[np.float32], variant: NDArray[np.float32]) -> NDArray[np.float64]:
    """Kullback-Leibler divergence (N,) of the variant's probabilities from the reference's, in nats.

    1e-12 is added to each probability, so that the divergence stays finite where one is 0.
    """
    p, q = softmax(reference.astype(np.float64)), softmax(variant.astype(np.float64))
    return (p * (np.log(p + 1e-12) - np.log(q + 1e-12))).sum(1)


def by_image(reference: NDArray[np.float32], variant: NDArray[np.float32]) -> dict[str, Any]:
    """Mean, p99 and largest KL, p99 and largest difference of a logit, and both distributions.

    Args:
        reference: (N, 7) logits of the float model.
        variant: (N, 7) logits of the variant.
    """
    kl = kl_by_image(reference, variant)
    off = np.abs(variant.astype(np.float64) - reference).max(1)
    return {
        "mean_kl": float(kl.mean()),
        "p99_kl": _p99(kl),
        "max_kl": float(kl.max()),
        "p99_logit_difference": _p99(off),
        "max_logit_difference": float(off.max()),
        "distribution": {
            "shares": list(SHARES),
            "kl": np.quantile(kl, SHARES).tolist(),
            "logit_difference": np.quantile(off, SHARES).tolist(),
        },
    }


def _p99(values: NDArray[np.float64]) -> float | None:
    return float(np.quantile(values, 0.99)) if len(values) >= IMAGES_FOR_P99 else None

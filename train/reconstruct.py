"""How badly an autoencoder reproduces each face. The one file of `data clean` that needs Keras."""

import numpy as np
from numpy.typing import NDArray

from fer_edge.devices.errors import RunError
from fer_edge.train.feed import predicted
from fer_edge.train.models import load_network
from fer_edge.train.run_folder import RunFolder

_FACES_AT_ONCE = 1024


def reconstruction_errors(run: RunFolder, faces: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean squared error (N,) of a finished autoencoder on faces (N, 48, 48) uint8, in grays of 0 to 1.

    Raises:
        RunError: its file is damaged, or it gives no faces.
    """
    network = load_network(run.finished_model())
    if tuple(network.output_shape[1:]) != (*faces.shape[1:], 1):
        raise RunError(f"{run.path} gives {network.output_shape}, expected faces (N, 48, 48, 1)")
    errors = np.empty(len(faces))
    for at in range(0, len(faces), _FACES_AT_ONCE):
        some = np.asarray(faces[at : at + _FACES_AT_ONCE])[..., None]
        said = predicted(network, some)
        errors[at : at + _FACES_AT_ONCE] = np.mean((said - some.astype(np.float32) / 255) ** 2, axis=(1, 2, 3))
    return errors

"""ResNet50 (He et al. 2016) as Keras ships it, with a head of ours; weights from ImageNet, a file or none."""

from pathlib import Path

import keras
from keras import layers

from fer_edge.devices.errors import RunError
from fer_edge.train.net_layers import NetOptions, logits, resized

SIDE = 224
TRAINABLE = 0.4
"""Share of the backbone's layers, from the top, that are trained where its weights were learned elsewhere."""
IMAGENET_MEAN_BGR = (103.939, 116.779, 123.68)


def resnet50(x: keras.KerasTensor, options: NetOptions) -> keras.KerasTensor:
    """Three channels at 224 px, the backbone, global max pooling, dense 256, batch norm, dropout 0.5.

    Raises:
        RunError: the weights cannot be had.
    """
    x = resized(x, options, SIDE)
    x = layers.Concatenate()([x, x, x])
    x = layers.Rescaling(255.0, offset=[-mean for mean in IMAGENET_MEAN_BGR], name="imagenet_means")(x)
    backbone = _backbone(x.shape[1:], options.weights)
    share = options.trainable if options.trainable is not None else TRAINABLE if options.weights else 1.0
    frozen = round((1 - share) * len(backbone.layers))
    for layer in backbone.layers[:frozen]:
        layer.trainable = False
    x = layers.Dense(256, activation="relu")(layers.GlobalMaxPooling2D()(backbone(x)))
    x = layers.Dropout(options.rate(0.5))(layers.BatchNormalization()(x))
    return logits(x, options)


def _backbone(shape: tuple[int, ...], weights: str | Path | None) -> keras.Model:
    if weights is not None and weights != "imagenet" and not Path(weights).is_file():
        raise RunError(f"weights {str(weights)!r} are neither none, imagenet nor a file")
    try:
        return keras.applications.ResNet50(include_top=False, weights=weights, input_shape=shape, name="resnet50")
    except Exception as error:
        # Keras raises a bare Exception when a download fails, and whatever h5py says when a file is another network's.
        if type(error) is not Exception and not isinstance(error, OSError | ValueError | KeyError):
            raise
        said = str(error).splitlines()[0][:200]
        if weights == "imagenet":
            raise RunError(
                f"ImageNet's weights cannot be downloaded ({said}); give --set weights=FILE, or --set weights=none"
            ) from error
        raise RunError(f"{weights} holds no weights of ResNet50 without its top ({said})") from error

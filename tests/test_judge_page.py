"""The judgement's page: what it says, that its numbers are the report's, and that no face gets into it unasked."""

import html
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from fer_edge.convert import compare as comparing
from fer_edge.convert.compare import Plan, compare_bundle
from fer_edge.convert.judge_gallery import MOST_SHOWN, pictures
from fer_edge.convert.judge_page import headline, judgement_page, write_page
from fer_edge.edge_runtime.bundle import Bundle, BundleFile, Variant
from fer_edge.edge_runtime.gray_png import gray_png
from fer_edge.edge_runtime.vocabulary import Precision
from fer_edge.train.dataset import Dataset
from fer_edge.train.synth import synthetic_dataset

Report = dict[str, Any]


def variant(name: str) -> Variant:
    engine, _, precision = name.partition("/")
    return Variant(engine, Precision(precision), (BundleFile("m", "0" * 64, 1),), None, None, None)


@pytest.fixture(scope="module")
def data() -> Dataset:
    """Drawn faces, all of them held out, a third with any label; the source's name is hostile."""
    drawn = synthetic_dataset(420, 0)
    labels = drawn.labels.copy()
    labels[::3] = np.random.default_rng(1).integers(0, 7, 140)
    return Dataset(drawn.faces, labels, np.full(420, 2, np.uint8), None, "<script>a & b</script>", "0" * 64)


@pytest.fixture(scope="module")
def made(data: Dataset) -> Report:
    """The report of three models that are one matrix, one of them with noise on it, as JSON brings it back."""
    rng = np.random.default_rng(0)
    pixels = data.faces.reshape(420, -1) / 255 - 0.5
    weights = np.linalg.lstsq(pixels, np.eye(7)[data.labels], rcond=0.03)[0] * 5

    def start(engine: str, model: Path, precision: Precision, threads: int | None = None) -> Any:
        off = rng.normal(0, 0.05, weights.shape) if precision == Precision.INT8 else 0

        def infer(faces: NDArray[np.uint8]) -> NDArray[np.float32]:
            return ((faces.reshape(len(faces), -1) / 255 - 0.5) @ (weights + off)).astype(np.float32)

        return SimpleNamespace(infer=infer, close=lambda: None)

    names = ("tflite/float32", "tflite/int8", "onnx/float32")
    bundle = Bundle(Path("b"), "tiny", 0.03, tuple(map(variant, names)), {"training_run": None}, "f" * 64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparing, "start", start)
        patch.setattr(comparing, "runs_here", lambda *_: True)
        report = compare_bundle(data, bundle, Plan(), lambda _: None)
    report |= {"made_at": "2026-11-21T12:00:00Z", "command": ["fer-edge", "compare", "b"]}
    assert report["variants"]["tflite/int8"]["flips_right_to_wrong"] > 3
    assert report["variants"]["tflite/int8"]["flips_wrong_to_right"] > 3
    return json.loads(json.dumps(report, allow_nan=False))


@pytest.fixture(scope="module")
def page(made: Report, data: Dataset) -> str:
    return judgement_page(made, data)


@pytest.fixture(scope="module")
def bare(made: Report) -> str:
    return judgement_page(made, None)


def text_of(page: str) -> str:
    """What is read: without style and tags."""
    page = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    return html.unescape(re.sub(r"<[^>]*>", " ", page))


# Every number of the page is in the report


def numbers_in(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [x for inner in value.values() for x in numbers_in(inner)]
    if isinstance(value, list):
        return [x for inner in value for x in numbers_in(inner)]
    return [float(value)] if isinstance(value, int | float) and not isinstance(value, bool) else []


def written(number: float) -> set[str]:
    """A number in every form that the page's tables write: counts, shares, points, and figures of some digits."""
    forms = {f"{number:,.0f}", f"{number:g}", f"{number:#.3g}", f"{number:.3f}", f"{number:.4f}", f"{number:.2f}"}
    forms |= {f"{number:.{digits}%}" for digits in (0, 1, 2)}
    forms |= {f"{number:+.2f}", f"{number:+.4f}", f"{number * 100:+.2f}"}
    return {form.replace("-", "−") for form in forms}


def test_every_number_of_the_tables_is_in_the_report(page: str, made: Report) -> None:
    known = {form for number in numbers_in(made) for form in written(number)}
    cells = [
        html.unescape(re.sub(r"<[^>]*>", " ", cell))
        for table in re.findall(r"<tbody>(.*?)</tbody>", page, flags=re.DOTALL)
        for cell in re.findall(r"<td[^>]*>(.*?)</td>", table, flags=re.DOTALL)
    ]
    found = [word for cell in cells for word in re.findall(r"[+−]?\d[\d,]*\.?\d*(?:e-?\d+)?%?", cell)]
    assert len(found) > 250
    assert [word for word in found if word not in known] == []


def test_the_check_sees_a_number_that_is_not_there(made: Report) -> None:
    known = {form for number in numbers_in(made) for form in written(number)}
    assert "98.7654%" not in known
    assert "+77.77" not in known


def test_the_same_report_gives_the_same_page(made: Report, bare: str) -> None:
    assert judgement_page(json.loads(json.dumps(made)), None) == bare


# What it shows


def test_the_page_stands_alone_and_is_escaped(page: str) -> None:
    assert "<script" not in page
    assert "&lt;script&gt;a &amp; b" in page
    for word in ("src=", "href="):
        targets = re.findall(rf'{word}"([^"]*)"', page)
        assert all(target.startswith(("#", "data:image/png;base64,")) for target in targets), targets[:3]
    assert "url(http" not in page
    assert page.count("<svg") == 11


def test_all_parts_are_there(page: str) -> None:
    text = text_of(page)
    for heading in (
        *("Accuracy", "Labels that changed", "Faces whose label changed", "By emotion", "Outputs", "Confidence"),
        *("Noise, blur and darkness", "How it was made"),
    ):
        assert heading in text
    assert "onnx/float32: the logits of the reference but for rounding" in text
    assert "fer-edge compare b" in text
    assert "nan" not in text.lower().split()


def test_without_images_there_is_no_face(made: Report, page: str, bare: str) -> None:
    assert "data:image/png" not in bare
    assert "Faces whose label changed" not in bare
    assert page.count("data:image/png") == sum(
        min(MOST_SHOWN, len(made["flipped"]["tflite/int8"][kind])) for kind in ("right_to_wrong", "wrong_to_right")
    )


def test_a_face_is_shown_as_it_is_with_what_was_said(made: Report, data: Dataset) -> None:
    flips = made["flipped"]["tflite/int8"]["right_to_wrong"]
    png, caption, alt = pictures(flips, data.faces)[0]
    decoded = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(decoded, data.faces[flips[0]["row"]])
    assert caption.startswith(f"{flips[0]['reference']} {flips[0]['reference_confidence']:.0%} → {flips[0]['variant']}")
    assert caption.endswith(f"is {flips[0]['label']}")
    assert str(flips[0]["row"]) in alt


def test_no_more_than_the_cap_are_shown(data: Dataset) -> None:
    flip = {
        "row": 1, "label": "sad", "reference": "sad", "reference_confidence": 0.5,
        "variant": "fear", "variant_confidence": 0.4,
    }  # fmt: skip
    assert len(pictures([flip] * 50, data.faces)) == MOST_SHOWN == 24


@pytest.mark.parametrize("shape", [(48, 48), (3, 5), (1, 1)])
def test_png(shape: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    decoded = cv2.imdecode(np.frombuffer(gray_png(picture), np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(decoded, picture)


# The verdict


def row(passes: bool, non_inferior: bool) -> Report:
    return {"passes": passes, "non_inferior": non_inferior}


@pytest.mark.parametrize(
    ("rows", "kind", "said"),
    [
        ({"a": row(True, True)}, "good", "a loses less than 0.5 points of accuracy"),
        ({"a": row(True, True), "b": row(True, True)}, "good", "a and b lose less than 0.5 points of accuracy"),
        ({"a": row(True, True), "b": row(True, False)}, "warn", "b is not shown to lose less than 0.5 points"),
        (
            {"a": row(True, False), "b": row(False, False)},
            "bad",
            "b fails: on these images it loses more than 0.5 points",
        ),
        ({}, "unknown", "Nothing was compared"),
    ],
)
def test_the_headline(rows: dict[str, Report], kind: str, said: str) -> None:
    box = headline(rows, 0.5)
    assert f'class="verdict {kind}"' in box
    assert said in box


def test_a_variant_that_loses_too_much_says_so_whatever_its_verdict(made: Report) -> None:
    bad = json.loads(json.dumps(made))
    bad["variants"]["tflite/int8"] |= {"passes": False, "non_inferior": False, "verdict": "not shown"}
    text = judgement_page(bad, None)
    assert "tflite/int8 fails: on these images it loses more than 0.5 points of accuracy" in text
    assert "loses too much" in text


def test_what_was_not_measured_is_left_out(made: Report) -> None:
    models = {
        name: {**of, "temperature": None, "temperature_interval": None, "after": None, "rise_after": None}
        for name, of in made["confidence"]["models"].items()
    }
    less = {**made, "robustness": None, "confidence": {**made["confidence"], "models": models}}
    text = text_of(judgement_page(less, None))
    assert "Noise, blur and darkness" not in text
    assert "not measured" in text


def test_an_emotion_without_images_is_not_measured(data: Dataset, made: Report) -> None:
    less = json.loads(json.dumps(made))
    for of in (less["reference"], *less["variants"].values()):
        of["classes"]["disgust"] = dict.fromkeys(of["classes"]["disgust"]) | {"images": 0, "named": 0, "hits": 0}
    assert "not measured" in text_of(judgement_page(less, None))


def test_a_diagnosis_is_a_section(made: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    from fer_edge.convert import diagnose_page
    from fer_edge.edge_runtime.html_page import section

    monkeypatch.setattr(diagnose_page, "diagnosis_section", lambda of: section(f"Diagnosis of {of['variant']}"))
    with_one = {**made, "diagnosis": {"tflite/int8": {"variant": "tflite/int8"}}}
    assert "<h2>Diagnosis of tflite/int8</h2>" in judgement_page(with_one, None)


def test_the_reference_alone(made: Report) -> None:
    alone = {**made, "variants": {"tflite/float32": made["variants"]["tflite/float32"]}, "compared": 0}
    alone["flipped"] = {"tflite/float32": made["flipped"]["tflite/float32"]}
    assert "Nothing was compared" in judgement_page(alone, None)


def test_the_file_is_written_whole(made: Report, tmp_path: Path) -> None:
    write_page(tmp_path / "deep" / "page.html", made, None)
    assert (tmp_path / "deep" / "page.html").read_text(encoding="utf-8").endswith("</html>\n")
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["page.html"]

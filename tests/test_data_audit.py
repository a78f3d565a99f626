"""`data audit`: planted duplicates, contradictions and blank images are found, and in untouched data there are none."""

import csv
import itertools
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from fer_edge.devices.errors import DataError
from fer_edge.edge_runtime.vocabulary import EMOTIONS
from fer_edge.train.audit import audit, leaks
from fer_edge.train.audit_page import audit_page, is_sound
from fer_edge.train.dataset import SPLITS, VOTE_COLUMNS, Dataset, build_dataset, save_dataset
from fer_edge.train.duplicates import Rule, find_duplicates, is_blank, likeness
from fer_edge.train.phash import close_pairs, perceptual_hashes

Faces = NDArray[np.uint8]
TRAIN, TEST = range(140), range(140, 210)


def field(seed: int, sigma: float) -> NDArray:
    """Random structures of one size, mean 0 and deviation 1: no two seeds show the same."""
    noise = np.random.default_rng(seed).normal(size=(48, 48))
    smooth = cv2.GaussianBlur(noise, (0, 0), sigma)
    return (smooth - smooth.mean()) / smooth.std()


def photo(seed: int, contrast: float = 50) -> Faces:
    shape, detail = field(seed, 4), field(seed + 1000, 1.2)
    return np.clip(np.rint(128 + contrast * (0.8 * shape + 0.6 * detail)), 0, 255).astype(np.uint8)


def near(face: Faces) -> Faces:
    """The same photo by another path: cut a pixel aside, lighter, less contrast, through JPEG."""
    moved = np.roll(face, 1, 1)
    lit = np.clip(moved.astype(float) * 0.8 + 30, 0, 255).astype(np.uint8)
    return cv2.imdecode(cv2.imencode(".jpg", lit, [cv2.IMWRITE_JPEG_QUALITY, 70])[1], cv2.IMREAD_GRAYSCALE)


def made_of(changes: dict[int, Faces | int], votes: NDArray[np.uint8] | None = None) -> Dataset:
    """210 photos, 140 of them Training; the label of row k is k modulo 7."""
    faces = np.stack([photo(seed) for seed in range(210)])
    for row, face in changes.items():
        faces[row] = face
    splits = np.repeat([SPLITS.index("train"), SPLITS.index("test")], [140, 70]).astype(np.uint8)
    return build_dataset(faces, (np.arange(210) % 7).astype(np.uint8), splits, votes, "photos")


@pytest.fixture(scope="module")
def planted() -> Dataset:
    dim = np.clip(128 + np.random.default_rng(1).normal(0, 2, (48, 48)), 0, 255).astype(np.uint8)
    return made_of(
        {
            140: photo(0),  # an exact copy across splits, same label
            141: near(photo(1)),  # a near one across splits, same label
            9: photo(2),  # within Training, same label
            11: near(photo(3)),  # within Training, labels 4 and 3
            148: near(photo(1)),  # a third of its group, same label
            20: 0,
            21: 77,
            150: dim,
        }
    )


def test_every_close_pair_is_found_as_by_brute_force() -> None:
    rng = np.random.default_rng(0)
    flips = np.where(rng.random((331, 64)) < 0.12, np.uint64(1) << np.arange(64, dtype=np.uint64), np.uint64(0))
    hashes = np.bitwise_xor.reduce(flips, axis=1) ^ np.uint64(0x9E3779B97F4A7C15)
    pairs, bits = close_pairs(hashes, 12)
    expected = {
        (i, j): (int(hashes[i]) ^ int(hashes[j])).bit_count()
        for i, j in itertools.combinations(range(331), 2)
        if (int(hashes[i]) ^ int(hashes[j])).bit_count() <= 12
    }
    assert len(expected) > 1000
    assert dict(zip(map(tuple, pairs.tolist()), bits.tolist(), strict=True)) == expected
    assert len(pairs) == len(expected)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_hashes_have_few_pairs(count: int) -> None:
    pairs, bits = close_pairs(np.zeros(count, np.uint64), 0)
    assert pairs.tolist() == ([[0, 1]] if count == 2 else [])
    assert len(bits) == len(pairs)


def test_a_hash_has_half_its_bits_and_does_not_see_light() -> None:
    faces = np.stack([photo(seed, 30) for seed in range(20)])
    ramp = np.linspace(-20, 20, 48)
    lit = np.clip(faces * 0.7 + 25 + ramp[:, None], 0, 255).astype(np.uint8)
    hashes, others = perceptual_hashes(faces), perceptual_hashes(lit)
    assert np.bitwise_count(hashes).tolist() == [32] * 20
    assert np.bitwise_count(hashes ^ others).max() <= 4
    assert len(np.unique(hashes)) == 20


def test_an_untouched_cache_is_sound() -> None:
    data = made_of({})
    found = find_duplicates(data.faces)
    assert found.pairs.shape == (0, 2)
    assert found.groups() == []
    made = audit(data, found)
    assert is_sound(made)
    assert made["duplicates"]["groups"] == made["blank"]["blank_images"] == 0
    assert "No held-out image has a duplicate in Training" in audit_page(stamp(made), data, found)


def stamp(made: dict) -> dict:
    return {**made, "command": ["fer-edge"], "made_at": "now", "seconds": 1.0, "machine": {"cpu": "a"}}


def test_planted_duplicates_are_found_and_nothing_else(planted: Dataset) -> None:
    found = find_duplicates(planted.faces)
    assert [group.tolist() for group in found.groups()] == [[0, 140], [1, 141, 148], [2, 9], [3, 11]]
    assert sorted(found.pairs[found.is_exact].tolist()) == [[0, 140], [2, 9], [141, 148]]
    assert (found.pairs[:, 0] < found.pairs[:, 1]).all()
    assert leaks(planted, found).tolist() == [0, 1]
    assert found.tried.sum() == found.tried[:, 7:].sum() == (~found.is_exact).sum() == 2
    repeated = audit(planted, found)["duplicates"]
    assert (repeated["groups"], repeated["images"], repeated["extra_images"]) == (4, 9, 5)
    assert repeated["group_sizes"] == {"2": 3, "3": 1}
    across = repeated["across_splits"]
    assert (across["groups"], across["train_images"], across["train_images_exact"]) == (2, 2, 1)
    assert across["held_out_images"] == {"test": 3}
    assert {name for name, count in across["train_images_by_emotion"].items() if count} == set(EMOTIONS[:2])


def test_planted_labels_that_disagree_are_found(planted: Dataset) -> None:
    torn = audit(planted, find_duplicates(planted.faces))["duplicates"]["labels_disagree"]
    assert (torn["groups"], torn["images"], torn["groups_across_splits"], torn["groups_exact"]) == (1, 2, 0, 0)
    assert torn["groups_by_pair_of_labels"] == {"happy, neutral": 1}
    exact = made_of({8: photo(0), 15: photo(0), 30: photo(23)})  # 0 against 1 and 1; 2 and 2
    torn = audit(exact, find_duplicates(exact.faces))["duplicates"]["labels_disagree"]
    assert (torn["groups"], torn["groups_exact"], torn["minority_images"]) == (1, 1, 1)


def test_planted_blank_images_are_found_and_are_no_near_duplicates(planted: Dataset) -> None:
    made = audit(planted, find_duplicates(planted.faces))["blank"]
    assert made["rows"] == [20, 21, 150]
    assert (made["blank_images"], made["constant_images"]) == (3, 2)
    assert made["by_split"] == {"train": 2, "test": 1}


def test_blank_images_of_the_same_bytes_are_exact_copies() -> None:
    data = made_of({20: 0, 150: 0, 151: 1})
    assert [group.tolist() for group in find_duplicates(data.faces).groups()] == [[20, 150]]


@pytest.mark.parametrize("contrast", [6.0, 40.0])
def test_alike_in_the_coarse_is_not_the_same_photo(contrast: float) -> None:
    """Two of the same shape and light, whose hashes are close: their detail keeps them apart, at low contrast too."""
    coarse = field(0, 6)
    faces = np.stack([np.rint(128 + contrast * (coarse + 0.2 * field(seed, 1))) for seed in (1, 2)]).astype(np.uint8)
    assert not is_blank(faces).any()
    pairs, _ = close_pairs(perceptual_hashes(faces), 20)
    assert pairs.tolist() == [[0, 1]]
    assert len(find_duplicates(faces, Rule(distance=20)).pairs) == 0
    again = np.stack([faces[0], np.roll(faces[0], 1, 1)])
    assert find_duplicates(again, Rule(distance=20)).pairs.tolist() == [[0, 1]]


def test_likeness_does_not_depend_on_contrast_and_sees_shifts() -> None:
    faces = np.stack([photo(0), photo(0, 25), np.roll(photo(0), (2, -2), (0, 1)), photo(1), np.full((48, 48), 9)])
    alike = likeness(faces.astype(np.uint8), np.array([[0, 1], [0, 2], [0, 3], [0, 4]]))
    assert alike[0] > 0.99
    assert alike[1] > 0.9
    assert alike[2] < 0.5
    assert alike[3] == 0


def test_what_is_linked_over_a_third_is_one_group() -> None:
    faces = np.stack([photo(0), photo(1), near(photo(0)), photo(0)])
    assert [group.tolist() for group in find_duplicates(faces).groups()] == [[0, 2, 3]]


@pytest.mark.parametrize(("distance", "alike"), [(64, 0.7), (-1, 0.7), (12, 1.1)])
def test_a_rule_that_is_none_is_refused(distance: int, alike: float) -> None:
    with pytest.raises(DataError, match="expected a"):
        Rule(distance, alike)


def test_agreement_with_fer_plus_is_counted_by_label() -> None:
    votes = np.zeros((210, len(VOTE_COLUMNS)), np.uint8)
    votes[:, VOTE_COLUMNS.index("happiness")] = 10
    votes[7, :] = 0  # label 0, nobody votes: no majority
    votes[14, VOTE_COLUMNS.index("anger")] = 10  # label 0, a tie: none
    votes[21, VOTE_COLUMNS.index("unknown")] = 10  # label 0, unknown as often: none
    votes[28] = np.eye(10, dtype=np.uint8)[VOTE_COLUMNS.index("anger")] * 9  # label 0: agrees
    data = made_of({}, votes)
    made = audit(data, find_duplicates(data.faces))["fer_plus"]
    assert made["by_label"]["happy"]["agree"] == made["by_label"]["happy"]["judged"] == 30
    angry = made["by_label"]["angry"]
    assert (angry["images"], angry["judged"], angry["agree"]) == (30, 27, 1)
    assert angry["majority"] == dict.fromkeys(EMOTIONS, 0) | {"angry": 1, "happy": 26}
    assert (made["judged"], made["agree"]) == (207, 31)
    assert made["by_split"]["test"] == {"judged": 70, "agree": 10}


def test_the_command_writes_page_numbers_and_rows(cli, tmp_path: Path, planted: Dataset) -> None:
    save_dataset(planted, tmp_path / "cache")
    done = cli("data", "audit", "cache", "--out", "found")
    assert done.returncode == 0, done.stderr
    made = json.loads((tmp_path / "found" / "audit.json").read_text())
    found = find_duplicates(planted.faces)
    assert made["schema"] == 1
    assert made["fer_plus"] is None
    assert {key: made[key] for key in ("duplicates", "blank")} == {
        key: audit(planted, found)[key] for key in ("duplicates", "blank")
    }
    assert (tmp_path / "found" / "audit.html").read_text() == audit_page(made, planted, found)
    with (tmp_path / "found" / "duplicates.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["row"] for row in rows] == ["0", "140", "1", "141", "148", "2", "9", "3", "11"]
    assert rows[1] == {"group": "0", "row": "140", "split": "test", "label": "angry"}
    assert "2 images of Training (1.4%) are the same photo as one of 3 held-out images; 1 are exact" in done.stdout
    assert "next: fer-edge data clean cache --out CLEANED --across-splits" in done.stdout
    assert str(tmp_path) not in (tmp_path / "found" / "audit.json").read_text()


def test_the_figures_of_the_docs_are_those_of_the_report() -> None:
    docs = Path(__file__).resolve().parents[1] / "docs"
    made, words = json.loads((docs / "data" / "audit.json").read_text()), (docs / "data.md").read_text(encoding="utf-8")
    assert sum(made["data"]["splits"].values()) == made["data"]["images"] == 32298
    repeated, votes = made["duplicates"], made["fer_plus"]
    across, torn = repeated["across_splits"], repeated["labels_disagree"]
    for row in (
        f"| same photo as another image | {repeated['images']:,} | {repeated['groups']:,} |",
        f"the same photo as one of PublicTest | {across['train_images']:,} (3.7%) | {across['groups']} |",
        f"| of those, exact copies | {across['train_images_exact']} | |",
        f"the same photo as one of Training | {across['held_out_images']['test']} (16.6%) | {across['groups']} |",
        f"| the same photo with different labels | {torn['images']} | {torn['groups']} |",
        f"| blank | {made['blank']['blank_images']} | |",
        f"FER+ agrees with {votes['agree'] / votes['judged']:.1%}** of the labels of the {votes['judged']:,} images",
        *(f"{name} {own['agree'] / own['judged']:.1%}" for name, own in votes["by_label"].items()),
    ):
        assert row in words
    for bits in ("10", "12"):
        tried = np.array(repeated["tried_by_bits_and_tenth_of_likeness"][bits])
        assert f"| {bits} | {tried[:4].sum():,} | {' | '.join(f'{count:,}' for count in tried[4:])} |" in words


def test_a_stricter_rule_pairs_no_drawn_faces() -> None:
    """Drawn faces are one drawing with other muscles; photos' 0.7 is too little for them."""
    from fer_edge.train.synth import synthetic_dataset

    faces = synthetic_dataset(140, 0).faces
    assert len(find_duplicates(faces, Rule(likeness=0.95)).pairs) == 0

"""What a network is fed with: targets, weights, changes to faces, and parts of a batch for several machines."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from fer_edge.devices.errors import DataError
from fer_edge.train.augment import draw_changes
from fer_edge.train.balance import class_weights
from fer_edge.train.batches import TrainingBatches
from fer_edge.train.dataset import SPLITS, VOTE_COLUMNS, Dataset, build_dataset, load_dataset, save_dataset
from fer_edge.train.recipe import Recipe
from fer_edge.train.recipes import recipe_for
from fer_edge.train.split import fit_and_val_rows, fit_part
from fer_edge.train.synth import synthetic_dataset
from fer_edge.train.targets import class_names, majority, targets, truth

PLAIN = {"rotation_deg": 0.0, "shift": 0.0, "zoom": 0.0, "flip": False}


@pytest.fixture(scope="module")
def drawn() -> Dataset:
    return synthetic_dataset(140, 1)


def recipe(**values: object) -> Recipe:
    made = recipe_for("cnn", **{"batch_size": 16, **values})
    assert isinstance(made, Recipe)
    return made


def batches(data: Dataset, asked: Recipe, shard: tuple[int, int] = (0, 1)) -> TrainingBatches:
    rows, wanted = targets(data, data.rows("train"), asked)
    return TrainingBatches(data, rows, wanted, asked, shard)


def every(of: TrainingBatches) -> list[tuple[np.ndarray, ...]]:
    return [of[at] for at in range(len(of))]


def voted(rows: list[dict[str, int]], labels: list[int]) -> Dataset:
    """Blank faces with the votes given."""
    n = len(rows)
    votes = np.array([[row.get(name, 0) for name in VOTE_COLUMNS] for row in rows], np.uint8)
    faces = np.arange(n, dtype=np.uint8)[:, None, None] * np.ones((1, 48, 48), np.uint8)
    return Dataset(faces, np.array(labels, np.uint8), np.zeros(n, np.uint8), votes, "votes", "0")


@pytest.mark.parametrize(
    "values", [{}, {"mixup": 0.4}, {"contrast": 0.2, "erase": 0.4, "shear": 0.1, "blur": 1.0, "noise": 0.1}]
)
def test_a_batch_hangs_on_seed_epoch_and_number_alone(values: dict, drawn: Dataset) -> None:
    one, again, other = (batches(drawn, recipe(seed=seed, **values)) for seed in (5, 5, 6))
    again.set_epoch(3)
    assert not np.array_equal(again[0][0], one[0][0])
    again.set_epoch(0)
    assert all(np.array_equal(a, b) for a, b in zip(one[2], again[2], strict=True))
    assert not np.array_equal(one[2][0], other[2][0])


@pytest.mark.parametrize(
    "values", [{"noise": 0.2}, {"mixup": 0.4}, {"erase": 0.4, "class_weights": True, "oversample": True}]
)
def test_machines_together_see_the_batch_that_one_would_have_seen(values: dict, drawn: Dataset) -> None:
    asked = recipe(**values)
    whole, parts = batches(drawn, asked), [batches(drawn, asked, (at, 3)) for at in range(3)]
    for number in range(len(whole)):
        for field, wanted in enumerate(whole[number]):
            parts_of_it = [part[number][field] for part in parts]
            assert len({len(part) for part in parts_of_it}) == 1
            again = parts[0].repeats(len(wanted))
            assert np.array_equal(np.concatenate(parts_of_it), np.concatenate([wanted] * again))


def test_without_changes_every_face_comes_once_with_its_label(drawn: Dataset) -> None:
    seen = every(batches(drawn, recipe(**PLAIN)))
    faces = np.concatenate([x for x, _ in seen])[..., 0]
    labels = np.concatenate([y for _, y in seen]).argmax(1)
    rows = drawn.rows("train")
    known = {drawn.faces[row].tobytes(): drawn.labels[row] for row in rows}
    assert len(faces) == len(rows)
    assert {face.tobytes(): label for face, label in zip(faces, labels, strict=True)} == known


def test_the_cache_is_read_and_not_written(tmp_path, drawn: Dataset) -> None:
    """Faces come from the file, batch by batch; what is done to them is done to a copy."""
    save_dataset(drawn, tmp_path / "cache")
    data = load_dataset(tmp_path / "cache")
    assert isinstance(data.faces, np.memmap)
    made = batches(data, recipe(erase=0.5, contrast=0.3))
    assert made._faces is data.faces, "the faces were copied"
    every(made)
    assert np.array_equal(data.faces, drawn.faces)


def test_mixup_blends_faces_and_targets_alike(drawn: Dataset) -> None:
    plain, mixed = (batches(drawn, recipe(**PLAIN, mixup=alpha)) for alpha in (0.0, 1.0))
    x, y = mixed[0]
    assert np.allclose(y.sum(axis=1), 1)
    blended = (y.max(axis=1) < 0.999) & (y.max(axis=1) > 0)
    assert blended.any()
    faces, labels = plain[0]
    share = y[blended].max()
    first = int(np.flatnonzero(blended)[0])
    candidates = [
        np.rint(s * faces[first].astype(float) + (1 - s) * faces[other].astype(float))
        for other in range(len(faces))
        for s in (share, 1 - share)
    ]
    assert min(np.abs(x[first] - c).max() for c in candidates) <= 1
    assert labels.max() == 1


def test_rare_emotions_weigh_more_or_come_as_often() -> None:
    labels = np.repeat(np.arange(7), [30, 2, 20, 40, 30, 30, 20]).astype(np.uint8)
    data = build_dataset(
        np.random.default_rng(0).integers(0, 256, (len(labels), 48, 48)).astype(np.uint8),
        labels, np.full(len(labels), SPLITS.index("train"), np.uint8), None, source="uneven",
    )  # fmt: skip
    weighed = every(batches(data, recipe(class_weights=True)))
    weights, truth_of = np.concatenate([b[2] for b in weighed]), np.concatenate([b[1] for b in weighed]).argmax(1)
    assert weights[truth_of == 1][0] == pytest.approx(len(labels) / (7 * 2))
    assert [weights[truth_of == label].sum() for label in range(7)] == pytest.approx([len(labels) / 7] * 7)
    often = np.concatenate([b[1] for b in every(batches(data, recipe(oversample=True)))]).sum(axis=0)
    assert often.tolist() == [40] * 7


def test_balanced_class_weights_are_the_published_ones() -> None:
    """Of the 22,968 images that are 80% of FER-2013's Training."""
    counts = [3196, 349, 3278, 5772, 3972, 3864, 2537]
    assert sum(counts) == 22_968
    assert class_weights(np.array(counts)).round(4).tolist() == [
        1.0266, 9.4016, 1.0010, 0.5685, 0.8261, 0.8492, 1.2933,
    ]  # fmt: skip
    assert class_weights(np.array([3, 0, 1])).tolist() == pytest.approx([4 / 9, 0, 4 / 3])


VOTES: list[tuple[str, dict[str, int], list[float] | None, str | None]] = [
    ("clear", {"happiness": 10}, [0, 0, 0, 1, 0, 0, 0, 0], "happy"),
    ("a single vote is a slip", {"sadness": 9, "fear": 1}, [0, 0, 0, 0, 0, 1, 0, 0], "sad"),
    ("two emotions", {"sadness": 6, "neutral": 4}, [0, 0, 0, 0, 0.4, 0.6, 0, 0], "sad"),
    ("a tie is learned from, not judged", {"sadness": 5, "neutral": 5}, [0, 0, 0, 0, 0.5, 0.5, 0, 0], None),
    ("unknown counts less and goes", {"anger": 6, "unknown": 4}, [1, 0, 0, 0, 0, 0, 0, 0], "angry"),
    ("unknown counts most", {"anger": 4, "unknown": 6}, None, None),
    ("unknown counts as many", {"anger": 5, "unknown": 5}, None, None),
    ("not a face", {"NF": 10}, None, None),
    ("nothing but slips", {"anger": 1, "fear": 1, "happiness": 1}, None, None),
    ("contempt", {"contempt": 7, "anger": 3}, [0.3, 0, 0, 0, 0, 0, 0, 0.7], "contempt"),
]


@pytest.mark.parametrize("case", VOTES, ids=lambda case: case[0])
def test_what_becomes_of_votes_over_eight_emotions(case: tuple) -> None:
    _, votes, wanted, name = case
    data = voted([{"surprise": 10}, votes], [6, 0])
    kept, shares = targets(data, np.arange(2), recipe(labels="votes-8"))
    judged, classes = majority(data, np.arange(2), 8)
    assert (1 in kept) == (wanted is not None)
    if wanted is not None:
        assert shares[1] == pytest.approx(wanted)
    assert (1 in judged) == (name is not None)
    if name is not None:
        assert class_names(8)[classes[1]] == name


def test_with_seven_emotions_contempt_is_as_unknown() -> None:
    data = voted([{"contempt": 7, "anger": 3}, {"contempt": 3, "anger": 7}], [0, 0])
    kept, shares = targets(data, np.arange(2), recipe(labels="votes"))
    assert kept.tolist() == [1]
    assert shares.tolist() == [[1, 0, 0, 0, 0, 0, 0]]
    # Judged by FER-2013's own labels all the same: seven classes stay comparable with every other model.
    assert truth(data, np.arange(2), recipe(labels="votes"))[0].tolist() == [0, 1]


def test_votes_and_labels_share_a_target() -> None:
    data = voted([{"sadness": 6, "neutral": 4}], [2])
    _, shares = targets(data, np.arange(1), recipe(labels="votes", vote_share=0.5))
    assert shares[0] == pytest.approx([0, 0, 0.5, 0, 0.2, 0.3, 0])


def test_data_without_votes_has_none_to_learn_from(drawn: Dataset) -> None:
    with pytest.raises(DataError, match="the data has no FER\\+ votes"):
        targets(drawn, drawn.rows("train"), recipe(labels="votes"))


def test_a_copy_of_a_validation_face_is_not_fitted_to(drawn: Dataset) -> None:
    doubled = build_dataset(
        np.concatenate([drawn.faces, drawn.faces]), np.tile(drawn.labels, 2), np.tile(drawn.splits, 2), None, "twice"
    )
    fit, val = fit_and_val_rows(doubled, 0.2, 0)
    assert not {doubled.faces[r].tobytes() for r in fit} & {doubled.faces[r].tobytes() for r in val}
    part = fit_part(doubled, fit, 0.25, 0)
    assert set(part) < set(fit)
    assert set(doubled.labels[part]) == set(range(7))


def noise_of(before: np.ndarray, after: np.ndarray) -> float:
    return float((after.astype(np.float64) - before)[(before > 100) & (before < 155)].std())


LEVELS = {"flip": True, "blur": 2.0}
CHANGES: dict[str, Callable[[np.ndarray, np.ndarray], bool]] = {
    "flip": lambda before, after: np.array_equal(after, before[:, ::-1]) or np.array_equal(after, before),
    "erase": lambda before, after: 0 < (before != after).mean() < 0.3 or np.array_equal(after, before),
    "blur": lambda before, after: (
        np.abs(np.diff(after.astype(int))).mean() <= np.abs(np.diff(before.astype(int))).mean()
    ),
    "noise": lambda before, after: noise_of(before, after) < 0.4 * 255,
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_does_what_its_name_says(name: str, drawn: Dataset) -> None:
    asked = dataclasses.replace(recipe(**PLAIN), **{name: LEVELS.get(name, 0.4)})
    drawn_changes = draw_changes(asked, 40, 48, np.random.default_rng(0))
    changed = [drawn_changes.apply(at, drawn.faces[at]) for at in range(40)]
    assert all(CHANGES[name](drawn.faces[at], face) for at, face in enumerate(changed))
    if name == "noise":
        assert max(noise_of(drawn.faces[at], face) for at, face in enumerate(changed)) > 0.1 * 255
    moved = sum(not np.array_equal(drawn.faces[at], face) for at, face in enumerate(changed))
    assert 8 < moved < 32, "about half"


def test_nothing_asked_for_changes_nothing(drawn: Dataset) -> None:
    changes = draw_changes(recipe(**PLAIN), 5, 48, np.random.default_rng(0))
    assert all(np.array_equal(changes.apply(at, drawn.faces[at]), drawn.faces[at]) for at in range(5))


def test_a_shift_moves_by_no_more_than_it_may() -> None:
    dot = np.zeros((48, 48), np.uint8)
    dot[23:25, 23:25] = 255
    changes = draw_changes(recipe(**(PLAIN | {"shift": 0.25})), 50, 48, np.random.default_rng(0))
    offsets = []
    for at in range(50):
        ys, xs = np.nonzero(changes.apply(at, dot))
        offsets.append((ys.mean() - 23.5, xs.mean() - 23.5))
    assert np.abs(offsets).max() <= 12.6
    assert np.abs(offsets).max() > 9

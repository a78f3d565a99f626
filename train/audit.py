"""What is wrong with a data set, in numbers: repeated images, labels that contradict one another, blank images, and how
far FER+'s ten people agree with the labels. Must not draw, and removes nothing (`clean` does).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_edge.edge_runtime.vocabulary import EMOTIONS
from fer_edge.train.dataset import SPLITS, Dataset
from fer_edge.train.duplicates import BLANK_DEVIATION, MOST_SHIFT, Duplicates, Rows, is_blank
from fer_edge.train.targets import class_names, majority

SCHEMA = 1
_CLASSES = len(EMOTIONS)


def audit(data: Dataset, found: Duplicates) -> dict[str, Any]:
    """The audit as JSON: numbers only, no image and no path.

    Args:
        data: the cache.
        found: its duplicates, as `find_duplicates` gives them.
    """
    return {
        "schema": SCHEMA,
        "data": describe_data(data),
        "rule": {
            "hash": "pHash, 64 bits",
            "most_bits": found.rule.distance,
            "least_likeness": found.rule.likeness,
            "most_shift_px": MOST_SHIFT,
            "blank_deviation": BLANK_DEVIATION,
        },
        "duplicates": _duplicates(data, found),
        "blank": _blank(data),
        "fer_plus": None if data.votes is None else _fer_plus(data),
    }


def describe_data(data: Dataset) -> dict[str, Any]:
    """Which data a report is about."""
    return {
        "source": data.source,
        "sha256": data.sha256,
        "images": len(data.faces),
        "splits": {split: len(data.rows(split)) for split in SPLITS if len(data.rows(split))},
    }


def leaks(data: Dataset, found: Duplicates) -> Rows:
    """Rows of Training that have a duplicate in a held-out split, ascending."""
    return np.sort(np.concatenate([np.empty(0, np.int64), *(_in_train(data, g) for g in crossing(data, found))]))


def crossing(data: Dataset, found: Duplicates) -> list[Rows]:
    """The groups that have images in Training and in a held-out split."""
    return [g for g in found.groups() if 0 < len(_in_train(data, g)) < len(g)]


def contradicting(data: Dataset, found: Duplicates) -> list[Rows]:
    """The groups whose images do not all have the same label."""
    return [g for g in found.groups() if len(np.unique(data.labels[g])) > 1]


def by_emotion(labels: NDArray[np.uint8]) -> dict[str, int]:
    """How many of each emotion."""
    return dict(zip(EMOTIONS, np.bincount(labels, minlength=_CLASSES).tolist(), strict=True))


def _in_train(data: Dataset, rows: Rows) -> Rows:
    return rows[data.splits[rows] == SPLITS.index("train")]


def _duplicates(data: Dataset, found: Duplicates) -> dict[str, Any]:
    groups, torn, across = found.groups(), contradicting(data, found), crossing(data, found)
    leaking, sizes = leaks(data, found), [len(group) for group in groups]
    return {
        "exact_pairs": int(found.is_exact.sum()),
        "near_pairs": int((~found.is_exact).sum()),
        "tried_by_bits_and_tenth_of_likeness": {
            str(bits): counts.tolist() for bits, counts in enumerate(found.tried) if counts.any()
        },
        **_sizes(groups),
        "group_sizes": {str(k): sizes.count(k) for k in sorted(set(sizes))},
        "across_splits": {
            **_sizes(across),
            "train_images": len(leaking),
            "train_images_exact": int(np.isin(leaking, _exactly_leaking(data, found)).sum()),
            "train_images_by_emotion": by_emotion(data.labels[leaking]),
            "held_out_images": {
                split: int(sum((data.splits[g] == SPLITS.index(split)).sum() for g in across))
                for split in SPLITS[1:]
                if len(data.rows(split))
            },
        },
        "labels_disagree": {
            **_sizes(torn),
            "groups_across_splits": sum(len(np.unique(data.splits[g])) > 1 for g in torn),
            "groups_exact": _torn_exactly(data, found),
            "minority_images": int(sum(len(g) - np.bincount(data.labels[g]).max() for g in torn)),
            "groups_by_pair_of_labels": _pairs_of_labels(data, torn),
        },
    }


def _sizes(groups: list[Rows]) -> dict[str, int]:
    images = sum(map(len, groups))
    return {"groups": len(groups), "images": images, "extra_images": images - len(groups)}


def _exactly_leaking(data: Dataset, found: Duplicates) -> Rows:
    """Rows of Training whose very bytes are in a held-out split."""
    faces, train = np.asarray(data.faces), SPLITS.index("train")
    rows = np.unique(found.pairs[found.is_exact])
    held_out = {faces[row].tobytes() for row in rows if data.splits[row] != train}
    return np.array([r for r in rows if data.splits[r] == train and faces[r].tobytes() in held_out], np.int64)


def _torn_exactly(data: Dataset, found: Duplicates) -> int:
    """Sets of images with the same bytes and not the same label; a pair leads each copy to the first of its set."""
    first, copy = found.pairs[found.is_exact].T
    return len(np.unique(first[data.labels[first] != data.labels[copy]]))


def _pairs_of_labels(data: Dataset, torn: list[Rows]) -> dict[str, int]:
    """How many groups hold two emotions; a group of three counts for three pairs. Most frequent first."""
    counts: dict[str, int] = {}
    for group in torn:
        labels = np.unique(data.labels[group])
        for at, one in enumerate(labels):
            for other in labels[at + 1 :]:
                name = f"{EMOTIONS[one]}, {EMOTIONS[other]}"
                counts[name] = counts.get(name, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _blank(data: Dataset) -> dict[str, Any]:
    rows = np.flatnonzero(is_blank(data.faces))
    constant = rows[[len(np.unique(data.faces[row])) == 1 for row in rows]] if len(rows) else rows
    return {
        "blank_images": len(rows),
        "constant_images": len(constant),
        "by_split": {s: int((data.splits[rows] == SPLITS.index(s)).sum()) for s in SPLITS if len(data.rows(s))},
        "by_emotion": by_emotion(data.labels[rows]),
        "rows": rows.tolist(),
    }


def _fer_plus(data: Dataset) -> dict[str, Any]:
    """By label, what most of FER+'s people see; by `targets.majority`, over the seven emotions."""
    rows, seen = majority(data, np.arange(len(data.faces)), _CLASSES)
    table = np.zeros((_CLASSES, _CLASSES), np.int64)
    np.add.at(table, (data.labels[rows], seen), 1)
    images = np.bincount(data.labels, minlength=_CLASSES)
    judged = table.sum(axis=1)
    same = data.labels[rows] == seen
    return {
        "images": len(data.faces),
        "judged": len(rows),
        "agree": int(same.sum()),
        "by_split": {
            split: {"judged": int(own.sum()), "agree": int((same & own).sum())}
            for split in SPLITS
            if len(data.rows(split))
            for own in [data.splits[rows] == SPLITS.index(split)]
        },
        "by_label": {
            name: {
                "images": int(images[at]),
                "judged": int(judged[at]),
                "agree": int(table[at, at]),
                "majority": dict(zip(class_names(_CLASSES), table[at].tolist(), strict=True)),
            }
            for at, name in enumerate(EMOTIONS)
        },
    }

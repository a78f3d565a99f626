"""How well FER-2013's labels are foretold: by FER+'s ten voters, by networks, and by both; and by the copies' labels.

    python tools/label_chance.py data/fer2013 runs/flagship runs/flagship-2

On the clean validation faces, which no run has seen: a multinomial regression, cross-validated in five parts. Then how
often the label of a test image is the one that most of its duplicates in Training have, which is what memory can give.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fer_edge.devices.errors import FerEdgeError
from fer_edge.train.dataset import Dataset, load_dataset
from fer_edge.train.duplicates import find_duplicates
from fer_edge.train.expected import vote_features
from fer_edge.train.intervals import wilson
from fer_edge.train.predictor import open_run
from fer_edge.train.run_folder import RunFolder
from fer_edge.train.split import clean_rows, split_of

FRACTION = 0.1
"""Of the flagship's recipe."""


def foretold(known: NDArray[np.float64], labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether each label (N,) is the likeliest one by what is known (N, F) of its image, never fitted on that image."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.05, max_iter=2000))
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    return np.asarray(cross_val_predict(model, known, labels, cv=folds) == labels)


def of_copies(data: Dataset) -> NDArray[np.bool_]:
    """For each test image with duplicates in Training, whether most of these have its label."""
    group, train = find_duplicates(data.faces).group, data.rows("train")
    labels: dict[int, list[int]] = {}
    for row in train[group[train] >= 0]:
        labels.setdefault(int(group[row]), []).append(int(data.labels[row]))
    rows = [row for row in data.rows("test") if group[row] in labels]
    return np.array([np.bincount(labels[int(group[row])]).argmax() == data.labels[row] for row in rows], bool)


def lines(data: Dataset, runs: list[RunFolder]) -> list[str]:
    """A line for each way to foretell.

    Raises:
        DataError: the data has no votes.
        RunError: a run is unfinished.
    """
    rows = clean_rows(data, FRACTION)[1]
    labels, votes = data.labels[rows], vote_features(data, rows)
    made = [_line("FER+'s voters", foretold(votes, labels))]
    if runs:
        said = np.concatenate([_logits(data, rows, run) for run in runs], axis=1)
        made.append(_line(f"{len(runs)} networks", foretold(said, labels)))
        made.append(_line("both", foretold(np.concatenate([votes, said], axis=1), labels)))
    return [*made, _line("the copies in Training, test images", of_copies(data))]


def _logits(data: Dataset, rows: NDArray[np.int64], run: RunFolder) -> NDArray[np.float32]:
    recipe = run.recipe()
    if recipe.validation == "stratified" or recipe.val_fraction != FRACTION:
        raise SystemExit(f"{run.path} may know the clean validation faces ({split_of(recipe)}); leave it out")
    network, faces = open_run(run), np.asarray(data.faces[rows])
    return network.logits(faces) + network.logits(faces[:, :, ::-1])


def _line(what: str, right: NDArray[np.bool_]) -> str:
    if not len(right):
        return f"{what}: there are none"
    low, high = wilson(int(right.sum()), len(right))
    return f"{what}: {right.mean():.2%} of {len(right):,} labels ({low:.2%} to {high:.2%})"


def main() -> None:
    """Read and print."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("cache", type=Path)
    asked.add_argument("runs", type=Path, nargs="*", help="folders of finished runs, validated clean")
    given = asked.parse_args()
    try:
        print("\n".join(lines(load_dataset(given.cache), [RunFolder(path) for path in given.runs])))
    except FerEdgeError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()

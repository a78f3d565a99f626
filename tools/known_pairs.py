"""How far one model is ahead of another on all images, and on those of which Training has no duplicate.

    fer-edge evaluate --variant tflite/int8 --data data/fer2013 --out evaluation/shipped
    fer-edge evaluate bundles/mine --variant tflite/int8 --data data/fer2013 --out evaluation/mine
    python tools/known_pairs.py data/fer2013 evaluation/shipped evaluation/mine

Paired by image, out of the `predictions` of two evaluation.json: Tango's 95% interval, exact McNemar p.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_edge.train.dataset import Dataset, load_dataset
from fer_edge.train.eval_known import known_rows
from fer_edge.train.intervals import mcnemar_exact, score_interval_pp


def lines(data: Dataset, one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """A line for all images and one for the new ones.

    Args:
        data: the cache that both were evaluated on.
        one: an evaluation.json; how far it is ahead is what is said.
        other: another, on the same images.
    """
    for made in (one, other):
        if made["data"]["sha256"] != data.sha256:
            raise SystemExit(f"{made['what']['name']} was evaluated on other data")
    rows = np.array(one["predictions"]["rows"])
    if one["predictions"]["rows"] != other["predictions"]["rows"]:
        raise SystemExit("the two were evaluated on other images; give both the same --split")
    ours, theirs = _right(one), _right(other)
    known = known_rows(data, rows)
    return [_line(what, ours[which], theirs[which]) for what, which in (("all", np.ones_like(known)), ("new", ~known))]


def _right(made: dict[str, Any]) -> NDArray[np.bool_]:
    return np.array(made["predictions"]["predicted"]) == np.array(made["predictions"]["labels"])


def _line(what: str, ours: NDArray[np.bool_], theirs: NDArray[np.bool_]) -> str:
    ahead, behind = int((ours & ~theirs).sum()), int((~ours & theirs).sum())
    low, high = score_interval_pp(ahead, behind, len(ours))
    points = 100 * (ahead - behind) / len(ours)
    return (
        f"{what}: {len(ours):,} images, {ours.mean():.2%} against {theirs.mean():.2%}, {points:+.2f} points "
        f"({low:+.2f} to {high:+.2f}), p {mcnemar_exact(ahead, behind):.3f}"
    )


def main() -> None:
    """Read and print."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("cache", type=Path)
    asked.add_argument("evaluations", type=Path, nargs=2, help="folders")
    given = asked.parse_args()
    if missing := [str(folder) for folder in given.evaluations if not (folder / "evaluation.json").is_file()]:
        raise SystemExit(f"no evaluation.json in {', '.join(missing)}; make it with fer-edge evaluate")
    one, other = (json.loads((f / "evaluation.json").read_text(encoding="utf-8")) for f in given.evaluations)
    print("\n".join(lines(load_dataset(given.cache), one, other)))


if __name__ == "__main__":
    main()

"""What augmentation costs in training time: epochs with and without it, in turn, in one process.

    python tools/augmentation_cost.py CACHE --model cnn --part 0.05 --pairs 3

The ratio is of medians; single figures of a machine that does other work are worth nothing.
"""

import argparse
import statistics
import time
from pathlib import Path

from fer_edge.train.quietly import keras_quietly

NOTHING = {"rotation_deg": 0.0, "shift": 0.0, "zoom": 0.0, "shear": 0.0, "flip": False, "contrast": 0.0, "erase": 0.0}
ALL = {"rotation_deg": 15.0, "shift": 0.1, "zoom": 0.1, "flip": True, "contrast": 0.2, "erase": 0.3}


def main() -> None:
    """Measure and print."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("cache", type=Path)
    asked.add_argument("--model", default="cnn")
    asked.add_argument("--part", type=float, default=0.05, help="of the images to fit on")
    asked.add_argument("--pairs", type=int, default=3)
    asked.add_argument("--threads", type=int, default=0)
    given = asked.parse_args()
    keras_quietly(given.threads)
    from fer_edge.train.dataset import load_dataset
    from fer_edge.train.feed import untuned
    from fer_edge.train.fit import batches_of
    from fer_edge.train.objective import compiled
    from fer_edge.train.recipe import Recipe
    from fer_edge.train.recipes import recipe_for

    data = load_dataset(given.cache)
    seconds: dict[str, list[float]] = {"with": [], "without": []}
    model = None
    fed = {}
    for name, values in (("with", ALL), ("without", NOTHING)):
        recipe = recipe_for(given.model, train_fraction=given.part, **values)
        if not isinstance(recipe, Recipe):
            asked.error(f"{given.model} is not trained on batches")
        fed[name] = batches_of(data, recipe)[0]
        model = model or compiled(recipe)
    for pair in range(given.pairs + 1):
        for name, batches in fed.items():
            batches.set_epoch(pair)
            start = time.perf_counter()
            model.fit(untuned(batches), epochs=1, shuffle=False, verbose=0)
            if pair:  # the first of each builds the graph
                seconds[name].append(time.perf_counter() - start)
    with_it, without = (statistics.median(seconds[name]) for name in ("with", "without"))
    print(f"{given.model}, {len(fed['with'])} batches an epoch: ", end="")
    print(f"{with_it:.2f} s with augmentation, {without:.2f} s without, ratio {with_it / without:.3f}")


if __name__ == "__main__":
    main()

"""How a sweep searches and where it runs: metric, early stopping, cores, cluster. Checked when read."""

from dataclasses import dataclass
from typing import Any

from fer_edge.train.sweep_toml import Section

HIGHER_IS_BETTER = {"val_accuracy": True, "val_loss": False, "int8_accuracy": True}
"""Every metric, and which way it goes."""
_SEARCH = ("metric", "early_stopping", "grace_epochs", "reduction", "concurrency", "cores", "gpus", "max_trials")
_RUN = ("address", "retries", "object_store_mb")


@dataclass(frozen=True)
class Search:
    """[search]. `concurrency` None is as many trials at a time as there are cores for.

    With `early_stopping` "asha" (Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning") a trial is
    judged after `grace_epochs` epochs and after each `reduction`-fold of that; the best of `reduction` goes on.
    """

    metric: str = "val_accuracy"
    early_stopping: str = "none"
    grace_epochs: int = 3
    reduction: int = 3
    concurrency: int | None = None
    cores: int = 1
    gpus: float = 0.0
    max_trials: int = 1000


@dataclass(frozen=True)
class Where:
    """[run]. `address` "local" starts Ray on this machine, anything else joins a cluster that runs.

    `retries` is how often a trial whose process died is started again, on a cluster on another machine.
    """

    address: str = "local"
    retries: int = 0
    object_store_mb: int = 128


def search_of(section: Section) -> Search:
    """[search] as a value.

    Raises:
        ConfigError: an unknown key, a value out of range, or one that nothing would heed.
    """
    section.check_keys(_SEARCH)
    metric = section.choice("metric", tuple(HIGHER_IS_BETTER), "val_accuracy")
    stopping = section.choice("early_stopping", ("none", "asha"), "none")
    for key in ("grace_epochs", "reduction"):
        if stopping == "none" and key in section.values:
            raise section.error(key, 'does nothing without early_stopping = "asha"')
    if stopping == "asha" and metric == "int8_accuracy":
        raise section.error("early_stopping", "needs a metric of every epoch: choose val_accuracy or val_loss")
    return Search(
        metric,
        stopping,
        section.number("grace_epochs", int, 3, 1, 10_000),
        section.number("reduction", int, 3, 2, 100),
        section.number("concurrency", int, None, 1, 100_000),
        section.number("cores", int, 1, 1, 1024),
        section.number("gpus", float, 0.0, 0, 64),
        section.number("max_trials", int, 1000, 1, 1_000_000),
    )


def where_of(section: Section) -> Where:
    """[run] as a value.

    Raises:
        ConfigError: an unknown key or a value out of range.
    """
    section.check_keys(_RUN)
    address = section.one("address", str, "local")
    if not address:
        raise section.error("address", 'is empty; give "local", "auto" or an address as "head:6379"')
    if address.startswith("ray://"):
        raise section.error("address", f'is {address!r}; start the sweep on a machine of the cluster, with "auto"')
    if address != "local" and "object_store_mb" in section.values:
        raise section.error("object_store_mb", 'is the cluster\'s own affair; it goes with address = "local"')
    # Ray refuses less than 75 MB.
    megabytes: Any = section.number("object_store_mb", int, 128, 80, 1_000_000)
    return Where(address, section.number("retries", int, 0, 0, 100), megabytes)

"""Which variants of one run are compared with which; how is `bench_stats`'. Must not know engines' libraries."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from fer_edge.edge_runtime.bench_stats import paired_ratio
from fer_edge.edge_runtime.vocabulary import Precision


class Timed(NamedTuple):
    """What of a variant decides with which others it is compared, and its median call of each round."""

    id: str
    name: str
    engine: str
    precision: str
    threads: int
    batch: int
    round_medians_ns: Sequence[float]

    @property
    def median_ns(self) -> float:
        """Over the rounds."""
        return float(np.median(self.round_medians_ns))


def ratios(rows: Sequence[Timed], seed: int) -> list[dict[str, Any]]:
    """Ratios of time of all pairs that a reader asks for, each pair once.

    Returns:
        `{"variant", "over", "time_ratio", "interval", "rounds"}` each (see `paired_ratio`): first each variant over its
        engine's float32, then int8 of each engine over the fastest int8, then more threads over the fewest, then files
        of the same engine and precision over the first; all else alike.
    """
    pairs = [*_over_float(rows), *_over_fastest_int8(rows), *_over_fewest_threads(rows), *_over_first_file(rows)]
    return [
        {"variant": mine.id, "over": base.id, **paired_ratio(mine.round_medians_ns, base.round_medians_ns, seed)}
        for mine, base in {(mine.id, base.id): (mine, base) for mine, base in pairs}.values()
    ]


def ratio_over_float(row: Timed, rows: Sequence[Timed], found: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Of the ratios found, the one of a variant over its float32; None without one, or without an interval."""
    base = _float_of(row, rows)
    wanted = (row.id, base and base.id)
    return next((r for r in found if (r["variant"], r["over"]) == wanted and r["interval"] is not None), None)


def _float_of(row: Timed, rows: Sequence[Timed]) -> Timed | None:
    """The first float32 of the same engine, threads and batch; None for a float32."""
    same = (row.engine, Precision.FLOAT32, row.threads, row.batch)
    found = next((r for r in rows if (r.engine, r.precision, r.threads, r.batch) == same), None)
    return None if row.precision == Precision.FLOAT32 else found


def _over_float(rows: Sequence[Timed]) -> Iterator[tuple[Timed, Timed]]:
    for row in rows:
        base = _float_of(row, rows)
        if base is not None:
            yield row, base


def _over_fastest_int8(rows: Sequence[Timed]) -> Iterator[tuple[Timed, Timed]]:
    int8 = [row for row in rows if row.precision == Precision.INT8]
    for setting in dict.fromkeys((row.threads, row.batch) for row in int8):
        alike = [row for row in int8 if (row.threads, row.batch) == setting]
        fastest = min(alike, key=lambda row: row.median_ns)
        yield from ((row, fastest) for row in alike if row.engine != fastest.engine)


def _over_fewest_threads(rows: Sequence[Timed]) -> Iterator[tuple[Timed, Timed]]:
    for alike in _groups(rows, lambda row: (row.name, row.batch)):
        fewest = min(alike, key=lambda row: row.threads)
        yield from ((row, fewest) for row in alike if row.threads > fewest.threads)


def _over_first_file(rows: Sequence[Timed]) -> Iterator[tuple[Timed, Timed]]:
    for alike in _groups(rows, lambda row: (row.engine, row.precision, row.threads, row.batch)):
        yield from ((row, alike[0]) for row in alike[1:])


def _groups(rows: Sequence[Timed], key: Any) -> list[list[Timed]]:
    groups: dict[Any, list[Timed]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return list(groups.values())

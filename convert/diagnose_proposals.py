"""Proposes what to convert again with: every fix is tried in the emulation, and ranked by what it wins back.

Evidence says why a fix might help; only the trial says whether it does.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fer_edge.calibration.calibration_set import CalibrationFaces, draw
from fer_edge.convert import diagnose_fixes as fixes
from fer_edge.convert.diagnose_evidence import Rows, evidence
from fer_edge.convert.diagnose_fixes import Fix
from fer_edge.convert.diagnose_trials import Judge, Outcome, won_back
from fer_edge.convert.diagnose_verdict import alike
from fer_edge.train.dataset import Dataset

USEFUL_SHARE = 0.25
"""Of the loss, that a fix must win back to be proposed."""
CALIBRATION = 512
"""Images that `fer-edge convert` draws where it is given no calibration set."""
Suspects = list[dict[str, str | None]]
"""Points to leave in float together, and which part of each is to blame."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Which images a variant was calibrated on, as far as the bundle says: drawn with this count and seed."""

    data: Dataset
    count: int
    seed: int

    @classmethod
    def of(cls, identity: str | None, data: Dataset) -> "Calibration":
        """From the id in bundle.json, `<data>-s<seed>-n<count>`; of other data or without one what convert draws."""
        most = len(data.rows("train"))
        held, _, rest = (identity or "").partition("-s")
        seed, _, count = rest.partition("-n")
        if held and data.sha256.startswith(held) and seed.isdigit() and count.isdigit():
            return cls(data, min(int(count), most), int(seed))
        return cls(data, min(CALIBRATION, most), 0)

    @property
    def more(self) -> int:
        """How many images a second calibration should see."""
        return min(max(CALIBRATION, 2 * self.count), len(self.data.rows("train")))

    def faces(self, count: int) -> CalibrationFaces:
        """So many of them, drawn with the same seed."""
        return CalibrationFaces(self.data, draw(self.data, count, self.seed))


def propose(
    judge: Judge,
    now: Fix,
    whole: Outcome,
    suspects: Suspects,
    points: Rows,
    calibration: Calibration,
    step: Callable[[str], None],
    *,
    choose: bool,
) -> list[dict[str, Any]]:
    """Fixes with their evidence and what they win back, the best first.

    Args:
        judge: the images.
        now: the variant as it is.
        whole: its outcome.
        suspects: what to leave in float.
        points: the report's rows, with what was measured of signals and weights.
        calibration: which images the variant saw.
        step: called with what is being done.
        choose: whether one is to be recommended.
    """
    tried: dict[str, tuple[Fix, Outcome]] = {}

    def attempt(fix: Fix) -> None:
        if fix.name not in tried:
            step(f"trying: {fix.name}")
            fix = fixes.with_rounded_biases(fix, now.scheme)
            tried[fix.name] = fix, judge.trial(fix.scheme, fix.parts, fix.graph)

    step("calibrating anew")
    for fix in _candidates(now, suspects, calibration):
        attempt(fix)
    if "per channel" in tried:
        ranges = [pair for pair in tried.values() if pair[0].name.startswith("ranges") or pair[0].calibrate]
        best, _ = min(ranges, key=lambda pair: float(pair[1].kl.mean()))
        attempt(fixes.per_channel(best))
    made = [_row(judge, whole, fix, outcome, points, len(tried)) for fix, outcome in tried.values()]
    made.sort(key=lambda row: row["emulated"]["kl"])
    taken = _recommended(judge, whole, made, {name: outcome for name, (_, outcome) in tried.items()})
    if choose and taken is not None:
        taken["recommended"] = True
    return made


def _row(judge: Judge, whole: Outcome, fix: Fix, outcome: Outcome, points: Rows, tests: int) -> dict[str, Any]:
    return {
        "fix": fix.name,
        "options": fixes.options_of(fix.recipe),
        "calibrate_count": fix.calibrate,
        "commands": fix.commands(),
        "slower": fix.slower,
        **evidence(fix, points),
        "emulated": won_back(judge, whole, outcome, tests),
        "recommended": False,
    }


def _recommended(
    judge: Judge, whole: Outcome, made: list[dict[str, Any]], outcomes: dict[str, Outcome]
) -> dict[str, Any] | None:
    """Of the fixes that help, and that cannot be told from the best: one that costs the device nothing, for which there
    is evidence, and with the fewest options."""
    useful = [
        row
        for row in made
        if row["emulated"]["significant"] and (row["emulated"]["share_of_loss"] or 0) >= USEFUL_SHARE
    ]
    if not useful:
        return None
    best, loss = outcomes[useful[0]["fix"]].kl, float(whole.kl.mean())
    equal = [row for row in useful if alike(judge, outcomes[row["fix"]].kl, best, loss)]
    order = list(outcomes)
    return min(equal, key=lambda r: (r["slower"], not r["indicated"], len(r["options"]), order.index(r["fix"])))


def _candidates(now: Fix, suspects: Suspects, calibration: Calibration) -> list[Fix]:
    faces = list(calibration.faces(calibration.count))
    found = [fixes.per_channel(now)] if now.recipe.per_tensor else []
    seen = fixes.histograms(now.graph, faces)
    found += fixes.other_ranges(now, seen)
    more = list(calibration.faces(calibration.more))
    found.append(fixes.calibrated_again(now, fixes.histograms(now.graph, more), calibration.more))
    even = fixes.equalized(now, faces, seen)
    found += [even] if even is not None else []
    for group in suspects:
        names = {reader for name, part in group.items() for reader in _to_leave(now, name, part)}
        if 0 < len(names) < len(now.graph.layers):
            found.append(fixes.in_float(now, [name for name in now.graph.layers if name in names]))
    return found


def _to_leave(now: Fix, name: str, part: str | None) -> list[str]:
    """The layers that must be float to be rid of what a part of a point does."""
    if part == "weights" and name in now.graph.layers:
        return [name]
    return fixes.to_free_range(now.graph, name)

"""Finds the best of many settings with few measurements: parts first, then successive halving over whole settings.

Finding faces and running the model come one after the other, so their times add up: each half is measured once, alone,
and says which of all combinations could win. Those then run from frame to label, in shuffled rounds over the same
frames: a few rounds each; the best third goes on for longer, and so on (successive halving, Jamieson and Talwalkar
2016, "Non-stochastic best arm identification and hyperparameter optimization"). Only what ran as a whole can win.

Measures through a `Meter` alone, which remembers (tune_store), so that an interrupted search goes on where it stopped.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from fer_edge.devices.errors import EngineError
from fer_edge.edge_runtime.agreement import Agreement
from fer_edge.edge_runtime.tune_score import Aim, Comparison, Round, Tried, compared, cpu_ms, front
from fer_edge.edge_runtime.tune_space import Candidate, Looking, Running, Space
from fer_edge.edge_runtime.vocabulary import Face

_SECOND_CHANCES = 2
T = TypeVar("T")


@dataclass(slots=True)
class Looked:
    """Looking for faces alone: its times, and the faces it found of those that a full scan of every frame finds."""

    times: Round
    agreement: Agreement

    @property
    def found(self) -> float:
        """The floor's figure, 0 to 1: the smaller of recall and precision, so that phantoms do not buy faces."""
        recall, precision = self.agreement.recall, self.agreement.precision
        return min(1.0 if recall is None else recall, 1.0 if precision is None else precision)


class Meter(Protocol):
    """What can be measured. Rounds are numbered; every candidate's round of one number is on the same frames."""

    def reference(self) -> list[list[Face]]:
        """Faces by frame of the clip, as a full scan of every frame finds them."""
        ...

    def look(self, looking: Looking, wanted: Sequence[Sequence[Face]]) -> Looked:
        """Look for faces in the clip's first frames, those of `wanted`."""
        ...

    def infer(self, running: Running) -> Round:
        """Run the model alone, a face a sample."""
        ...

    def turns(self, candidates: Sequence[Candidate], begin: int, end: int) -> Iterator[tuple[Candidate, int, Round]]:
        """From frame to label in turns, rounds `begin` to `end` (exclusive), each as soon as it is done."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """How the search spends its measurements.

    `rungs`: how many candidates are in a rung, and up to which round they are measured; each rung's rounds count on.
    Where the last two are neither told apart nor equal by then, they go on up to round `longest`. A setting whose
    figure is beyond `worth` times the best one's is not measured for what else it does better.
    """

    min_found: float = 0.95
    short_frames: int = 60
    keep_lookings: int = 12
    rungs: tuple[tuple[int, int], ...] = ((12, 3), (4, 9), (2, 27))
    longest: int = 54
    worth: float = 4.0

    @classmethod
    def of(cls, min_found: float, rounds: int) -> "Plan":
        """Halving by three up to `rounds` for the last two, and up to twice that where they are not told apart."""
        rungs = ((12, max(1, rounds // 9)), (4, max(1, rounds // 3)), (2, rounds))
        return cls(min_found, rungs=rungs, longest=2 * rounds)


@dataclass(slots=True)
class Outcome:
    """What was found. `tried` holds all that ran as a whole, the baseline (what `run` does by itself) among them.

    `over_winner` compares each of them with the winner on the rounds that both took part in: times of rounds that were
    measured minutes apart compare the machine's mood. `front` goes by it, among those that miss the rate no more.
    """

    winner: Candidate
    runner_up: Candidate | None
    against_runner_up: Comparison | None
    missed: float
    over_winner: dict[Candidate, Comparison]
    tried: dict[Candidate, Tried]
    looked: dict[Looking, Looked]
    inferred: dict[Running, Round]
    front: list[Candidate]
    baseline: Candidate | None = None
    hopeless: dict[Looking, str] = field(default_factory=dict)


class Search:
    """One search; `find` does it.

    Args:
        space: what may be chosen; nothing else can win.
        meter: measures.
        aim: what is best.
        plan: see there.
        baseline: what the winner is compared with; measured with the others, cannot win.
        step: told what is being done.
    """

    def __init__(
        self, space: Space, meter: Meter, aim: Aim, plan: Plan, baseline: Candidate | None, step: Callable[[str], None]
    ) -> None:
        self._space, self._meter, self._aim, self._plan, self._baseline = space, meter, aim, plan, baseline
        self._step = step
        self._wanted: list[list[Face]] = []
        self._hopeless: dict[Looking, str] = {}
        self._inferred: dict[Running, Round] = {}
        self._tried: dict[Candidate, Tried] = {}

    def find(self) -> Outcome:
        """Search.

        Raises:
            EngineError: no setting finds enough faces, or the clip has none.
        """
        self._wanted = self._meter.reference()
        if not any(self._wanted):
            raise EngineError("no face was found in the clip; give --source a clip with faces")
        for running in self._space.runnings:
            self._step(f"model: {running}")
            self._inferred[running] = self._meter.infer(running)
        looked = self._lookings()
        candidates = [Candidate(running, looking) for running in self._space.runnings for looking in looked]
        alive = self._revived(self._halved(candidates, looked))
        if self._baseline is not None and self._baseline.looking not in looked:
            looked[self._baseline.looking] = self._meter.look(self._baseline.looking, self._wanted)
        winner, second, difference = self._chosen(alive, looked)
        over_winner = {c: self._compared(c, winner) for c in self._tried}
        missed = self._score(winner)[0]
        pareto = front(
            [c for c in self._tried if c != self._baseline and self._score(c)[0] <= missed],
            lambda c: (over_winner[c].ratio, -self._accuracy(c), -looked[c.looking].found),
        )
        return Outcome(
            winner,
            second,
            difference,
            missed,
            over_winner,
            self._tried,
            looked,
            self._inferred,
            pareto,
            self._baseline,
            self._hopeless,
        )

    def _lookings(self) -> dict[Looking, Looked]:
        """Those that find enough faces and could win: all on the first frames, the better ones on the whole clip."""
        wanted, least = sum(map(len, self._wanted)), self._plan.min_found
        short: dict[Looking, Looked] = {}
        for looking in self._space.lookings:
            self._step(f"faces: {looking}")
            looked = self._meter.look(looking, self._wanted[: self._plan.short_frames])
            # Even if it found every face of the rest:
            best = 1 - (looked.agreement.wanted - looked.agreement.found) / wanted
            if best < least:
                self._hopeless[looking] = f"finds {best:.1%} of the faces at most"
            else:
                short[looking] = looked
        waiting, good = list(short), dict[Looking, Looked]()
        while waiting and not good:  # the better ones; where none of them finds enough, the next
            kept = self._kept(waiting, self._plan.keep_lookings, lambda k: self._look_costs(short[k]))
            waiting = [looking for looking in waiting if looking not in kept]
            for looking in kept:
                self._step(f"faces, all frames: {looking}")
                looked = self._meter.look(looking, self._wanted)
                if looked.found < least:
                    self._hopeless[looking] = f"finds {looked.found:.1%} of the faces"
                else:
                    good[looking] = looked
        if not good:
            raise EngineError(
                f"no setting finds {least:.0%} of the faces that a full scan of every frame finds; "
                "lower --min-found, allow more --widths, or smaller --cadences"
            )
        return good

    def _halved(self, candidates: list[Candidate], looked: dict[Looking, Looked]) -> list[Candidate]:
        """Those that are left after the last rung."""

        def costs(c: Candidate) -> tuple[float, ...]:
            score = self._score(c) if c in self._tried else self._aim.score([self._predicted(c, looked[c.looking])])
            return (*score, -self._accuracy(c), -looked[c.looking].found)

        alive, begin = candidates, 0
        for keep, end in self._plan.rungs:
            alive = self._kept(alive, keep, costs, spread=begin == 0)
            self._run(alive, begin, end)
            begin = end
        if self._is_open(alive) and begin < self._plan.longest:
            self._run(alive, begin, self._plan.longest)
        return alive

    def _revived(self, alive: list[Candidate]) -> list[Candidate]:
        """Where those that are left miss the rate, settings that went earlier and kept up run against them once more.

        A full scan that is just short enough at first is too long once the board is warm, or somebody else works.
        """
        for _ in range(_SECOND_CHANCES):
            best = min(alive, key=self._score)
            gone = [c for c in self._tried if c not in alive and c != self._baseline]
            back = [c for c in sorted(gone, key=self._score) if self._score(c)[0] < self._score(best)[0]][:2]
            if not back:
                break
            alive = [best, *back]
            at = 1 + max(number for tried in self._tried.values() for number in tried.by_number)
            self._run(alive, at, at + self._plan.rungs[-1][1])
        return alive

    def _run(self, alive: list[Candidate], begin: int, end: int) -> None:
        """One rung: these and the baseline take turns."""
        running = alive + ([self._baseline] if self._baseline is not None else [])
        self._step(f"{len(running)} settings from frame to label, rounds {begin + 1} to {end}")
        for candidate, number, taken in self._meter.turns(running, begin, end):
            self._tried.setdefault(candidate, Tried()).by_number[number] = taken
        for candidate in running:
            self._tried[candidate].rungs += 1

    def _is_open(self, alive: list[Candidate]) -> bool:
        """Whether the best two are neither told apart nor equal."""
        best = sorted(alive, key=self._score)[:2]
        if len(best) < 2 or self._score(best[0])[0] != self._score(best[1])[0]:
            return False
        return not self._compared(best[0], best[1]).is_settled

    def _chosen(
        self, alive: list[Candidate], looked: dict[Looking, Looked]
    ) -> tuple[Candidate, Candidate | None, Comparison | None]:
        """The best; of those that are as good, the one that is more accurate, finds more, or takes less CPU time."""

        def merit(c: Candidate) -> tuple[float, ...]:
            return -self._accuracy(c), -looked[c.looking].found, cpu_ms(self._tried[c].rounds)

        best, *others = sorted(alive, key=self._score)
        reached = self._score(best)[0]
        equal = [c for c in others if self._score(c)[0] == reached and self._compared(c, best).is_as_good]
        winner = min([best, *equal], key=merit)
        second = next((c for c in (best, *others) if c != winner), None)
        return winner, second, None if second is None else self._compared(winner, second)

    def _score(self, candidate: Candidate) -> tuple[float, float]:
        return self._aim.score(self._tried[candidate].rounds)

    def _compared(self, mine: Candidate, theirs: Candidate) -> Comparison:
        return compared(self._aim, self._tried[mine].by_number, self._tried[theirs].by_number)

    def _kept(
        self, items: list[T], keep: int, costs: Callable[[T], tuple[float, ...]], *, spread: bool = True
    ) -> list[T]:
        """The best by their costs in order; with `spread`, half of the places are for the front, best first.

        A setting that is slower and finds more, or is more accurate, belongs to the answer, too.
        """
        ordered = sorted(items, key=costs)
        if not spread or not ordered:
            return ordered[:keep]
        sure = ordered[: (keep + 1) // 2]
        limit = self._plan.worth * costs(ordered[0])[1]
        pareto = [item for item in front(items, costs) if item not in sure and costs(item)[1] <= limit]
        return [*sure, *pareto, *(item for item in ordered if item not in sure and item not in pareto)][:keep]

    def _look_costs(self, looked: Looked) -> tuple[float, ...]:
        return (*self._aim.score([looked.times]), -looked.found)

    def _predicted(self, candidate: Candidate, looked: Looked) -> Round:
        """The two halves, one after the other, with as many faces a frame as the clip has."""
        faces = sum(map(len, self._wanted)) / len(self._wanted)
        inferred = self._inferred[candidate.running]
        calls = len(inferred.service_ns)
        middle_ns = sorted(inferred.service_ns)[calls // 2]
        frames = len(looked.times.service_ns)
        return Round(
            [round(ns + faces * middle_ns) for ns in looked.times.service_ns],
            round(looked.times.cpu_ns + frames * faces * inferred.cpu_ns / calls),
        )

    def _accuracy(self, candidate: Candidate) -> float:
        return self._space.accuracy[candidate.running.variant]

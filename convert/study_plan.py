"""What a calibration study compares, checked when built, before anything heavy is imported."""

from collections.abc import Sequence
from dataclasses import dataclass

from fer_edge.calibration.ranges import METHODS
from fer_edge.calibration.study_sets import BALANCES, DEFAULT_COUNTS
from fer_edge.convert.target import Target, target_of
from fer_edge.devices.errors import ConversionError


@dataclass(frozen=True)
class StudyPlan:
    """What is compared; `images` limits the validation images, `percentile` counts for that method alone.

    Every balance is tried with the first method; all other methods on the first balance alone.
    """

    counts: tuple[int, ...] = DEFAULT_COUNTS
    seeds: int = 5
    methods: tuple[str, ...] = METHODS
    balances: tuple[str, ...] = BALANCES
    percentile: float = 99.99
    images: int | None = None
    target: Target | None = None

    def __post_init__(self) -> None:
        if len(self.counts) < 2 or list(self.counts) != sorted(set(self.counts)):
            raise ConversionError(f"--counts takes two or more numbers that rise, got {listed(self.counts)}")
        for words, known, option in ((self.methods, METHODS, "--methods"), (self.balances, BALANCES, "--balances")):
            if not words or len(set(words)) != len(words) or not set(words) <= set(known):
                raise ConversionError(f"{option} takes some of {', '.join(known)}, each once; got {listed(words)}")
        if self.seeds < 1 or (self.images is not None and self.images < 1):
            raise ConversionError("--seeds and --images are 1 or more")
        if not 50 < self.percentile <= 100:
            raise ConversionError(f"--percentile {self.percentile:g} is not over 50 and at most 100; 99.99 is usual")

    @classmethod
    def of(
        cls,
        *,
        counts: str,
        methods: str,
        balances: str,
        seeds: int,
        percentile: float,
        images: int | None,
        target: str | None,
    ) -> "StudyPlan":
        """From the command line's words; those with an s are comma-separated.

        Raises:
            ConversionError: a word is unknown, or no number.
        """
        try:
            numbers = tuple(int(word) for word in _words(counts))
        except ValueError:
            raise ConversionError(f"--counts takes numbers, comma-separated, got {counts!r}") from None
        return cls(numbers, seeds, _words(methods), _words(balances), percentile, images, target_of(target))


def listed(words: Sequence[object]) -> str:
    """For messages."""
    return ",".join(map(str, words)) or "nothing"


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())

"""What `convert` is asked to make: formats, precisions, the processor meant, how int8 is made, what judges it.

Checked when built, before anything heavy is imported. Must not know how any of it is done.
"""

from dataclasses import dataclass

from fer_edge.convert.quantization_recipe import PLAIN, QuantizationRecipe
from fer_edge.convert.score import check_margin
from fer_edge.convert.target import Target, target_of
from fer_edge.devices.errors import ConversionError
from fer_edge.edge_runtime.engines import check_known, judge_of, refused
from fer_edge.edge_runtime.vocabulary import Precision

_HAS = {"tflite": tuple(Precision), "tensorrt": (Precision.INT8, Precision.FLOAT16)}
"""Precisions of a format; the others have float32 and int8."""


@dataclass(frozen=True)
class Order:
    """What is to be made, the processor meant, how int8 is made, what judges it, and what is put into the logits.

    A format is an engine, made in all `precisions` that it has, or `engine/precision` for that one alone.
    """

    formats: tuple[str, ...] = ("tflite", "onnx", "openvino")
    precisions: tuple[Precision, ...] = (Precision.FLOAT32, Precision.INT8)
    target: Target | None = None
    split: str = "test"
    max_drop_pp: float = 0.5
    recipe: QuantizationRecipe = PLAIN
    temperature: bool = True
    balance: float | None = 0.0
    """None: as much as costs the validation faces nothing."""

    def __post_init__(self) -> None:
        for engine, precision in self.variants():
            check_known(judge_of(engine))
            if (why_not := refused(engine, precision)) is not None:
                # What cannot run here cannot be judged here either.
                raise ConversionError(f"give --to without {engine}/{precision} on this processor: {why_not}")
        if not self.formats:
            raise ConversionError("no format was asked for; --to takes tflite, onnx, openvino, tensorrt")
        check_margin(self.max_drop_pp)
        if self.balance is not None and not 0 <= self.balance <= 1:  # so written, NaN is refused too
            raise ConversionError(f"--balance {self.balance:g} is outside 0..1; give 0.25, for example, or auto")
        if self.recipe != PLAIN and not any(precision == Precision.INT8 for _, precision in self.variants()):
            raise ConversionError(
                f"{self.recipe} is about int8, and no int8 was asked for; leave it out, or add --int8"
            )

    @classmethod
    def of(
        cls,
        to: str,
        *,
        int8: bool,
        float16: bool,
        dynamic_int8: bool,
        target: str | None,
        split: str,
        max_drop_pp: float,
        recipe: QuantizationRecipe,
        temperature: bool = True,
        balance: str = "0",
    ) -> "Order":
        """From the command line's words; `to` is comma-separated.

        Raises:
            ConversionError, EngineError: a word is unknown, or an engine is not installed.
        """
        precisions = [Precision.FLOAT32]
        precisions += [Precision.INT8] * int8 + [Precision.FLOAT16] * float16 + [Precision.DYNAMIC_INT8] * dynamic_int8
        formats = tuple(word for word in to.split(",") if word)
        return cls(
            formats, tuple(precisions), target_of(target), split, max_drop_pp, recipe, temperature, _balance(balance)
        )

    def variants(self) -> list[tuple[str, Precision]]:
        """Engine and precision of each file, in order, of those precisions that the format has."""
        made = []
        for word in self.formats:
            engine, _, alone = word.partition("/")
            precisions = (_precision(alone),) if alone else self.precisions
            made += [(engine, p) for p in precisions if p in _HAS.get(engine, (Precision.FLOAT32, Precision.INT8))]
        return list(dict.fromkeys(made))


def _balance(word: str) -> float | None:
    if word == "auto":
        return None
    try:
        return float(word)
    except ValueError:
        raise ConversionError(f"--balance {word!r} is neither a number from 0 to 1 nor auto") from None


def _precision(word: str) -> Precision:
    if word not in list(Precision):
        raise ConversionError(f"unknown precision {word!r} in --to; choose one of {', '.join(Precision)}")
    return Precision(word)

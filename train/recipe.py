"""How a network is trained, as a value: loads, validates and prints without Keras.

Every field carries its limits and a line of help, so that the command line, a sweep and a run folder cannot differ.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, Self, get_args, get_type_hints

from fer_edge.devices.errors import RunError

LABELS = ("fer2013", "votes", "votes-8", "expected")


def _number(default: float | None, low: float, high: float, says: str) -> Any:
    """A field from `low` to `high`; a default of None means that it may be left to the network."""
    return dataclasses.field(default=default, metadata={"range": (low, high), "help": says})


def _choice(default: str, allowed: tuple[str, ...], says: str) -> Any:
    return dataclasses.field(default=default, metadata={"choices": allowed, "help": says})


def _other(default: Any, says: str) -> Any:
    return dataclasses.field(default=default, metadata={"help": says})


def _validation() -> Any:
    says = "clean: no photo of it nor of the test images, exact or near, is fitted on; apart: none of it"
    return _choice("stratified", ("stratified", "clean", "apart"), says)


class RecipeJson:
    """What every kind of recipe does with JSON and with its limits. Holds nothing."""

    __slots__ = ()

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            _check(field, getattr(self, field.name))

    def to_json(self) -> dict[str, Any]:
        """A dictionary that `from_json` takes back, with the types that it has after a file."""
        values = dataclasses.asdict(self)  # type: ignore[call-overload]
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """The recipe of a run folder.

        Raises:
            RunError: a key that this version does not know, or a value out of range.
        """
        unknown = sorted(set(values) - {field.name for field in dataclasses.fields(cls)})  # type: ignore[arg-type]
        if unknown:
            raise RunError(f"recipe has unknown keys: {', '.join(unknown)}")
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


@dataclass(frozen=True)
class Recipe(RecipeJson):
    """Everything that decides the training of a network besides the data.

    `schedule` "plateau" multiplies the rate by `plateau_factor` after `plateau_patience` epochs without a lower
    validation loss; "cosine" falls from `learning_rate` to 1% of it over `epochs`; "hold" stays until the last
    `fall_epochs`, and then falls as cosine does; all after `warmup_epochs`.
    """

    model: str
    epochs: int = _number(50, 1, 10_000, "at most this many epochs")
    batch_size: int = _number(32, 1, 8192, "images a step")
    optimizer: str = _choice("adam", ("adam", "adamw", "sgd"), "how the weights are moved; sgd has Nesterov momentum")
    learning_rate: float = _number(1e-3, 1e-9, 10, "learning rate at the start, after the warm-up")
    weight_decay: float = _number(0.0, 0, 1, "decoupled decay of kernels, a step")
    sharpness: float = _number(
        0.0, 0, 10, "sgd: radius in which each step looks for a worse place (SAM); twice the time"
    )
    l2: float = _number(0.0, 0, 1, "penalty on squared kernels, in the loss")
    schedule: str = _choice("plateau", ("plateau", "cosine", "constant", "hold"), "how the rate falls")
    fall_epochs: int = _number(10, 1, 10_000, "hold: last epochs, in which the rate falls")
    warmup_epochs: int = _number(0, 0, 10_000, "epochs in which the rate rises")
    plateau_factor: float = _number(0.5, 0.01, 1, "what the rate is multiplied with on a plateau")
    plateau_patience: int = _number(3, 1, 10_000, "epochs that make a plateau")
    stop_patience: int = _number(7, 0, 10_000, "epochs without a better one before stopping; 0: never")
    average: float = _number(0.0, 0, 0.99999, "momentum a step of averaged weights, which are judged and kept; 0: none")
    choose: str = _choice("val_loss", ("val_loss", "val_accuracy", "last"), "which epoch is kept")
    loss: str = _choice("cross-entropy", ("cross-entropy", "focal"), "what is minimized")
    focal_gamma: float = _number(2.0, 0, 10, "how much focal loss leaves easy images alone")
    label_smoothing: float = _number(0.0, 0, 0.9, "share of the target that is spread over all emotions")
    class_weights: bool = _other(False, "weigh rare emotions more")
    oversample: bool = _other(False, "repeat rare emotions until all have as many images")
    mixup: float = _number(0.0, 0, 10, "alpha of MixUp; 0: none")
    labels: str = _choice(
        "fer2013", LABELS, "FER-2013's, FER+ votes over 7 or 8 emotions, or what is to expect by votes and teachers"
    )
    vote_share: float = _number(1.0, 0, 1, "share of the votes in the target, the rest is FER-2013's label")
    mixed_precision: bool = _other(False, "compute in bfloat16, keep weights in float32")
    rotation_deg: float = _number(15.0, 0, 180, "rotation either way, degrees")
    shift: float = _number(0.1, 0, 0.9, "shift either way, of the side")
    zoom: float = _number(0.1, 0, 0.9, "zoom either way, of 1")
    shear: float = _number(0.0, 0, 0.9, "shear either way, of the side")
    flip: bool = _other(True, "mirror half of the faces")
    contrast: float = _number(0.0, 0, 0.9, "contrast and brightness either way, of 1")
    erase: float = _number(0.0, 0, 0.9, "largest erased rectangle, of the side; half of the faces get one")
    blur: float = _number(0.0, 0, 8, "largest sigma of a blur in pixels of 48; half of the faces get one")
    noise: float = _number(0.0, 0, 0.5, "largest standard deviation of noise, of 255 grays; half of the faces get some")
    small_epochs: int = _number(0, 0, 10_000, "first epochs, which see faces of small_side")
    small_side: int = _number(32, 16, 48, "pixels of the faces in small_epochs; the network must take any side")
    teachers: tuple[str, ...] = _other((), "folders of finished runs, which say what each view of a face is")
    teacher_share: float = _number(0.7, 0, 1, "share of what the teachers say in the loss, the rest is the labels'")
    teacher_temperature: float = _number(3.0, 0.1, 100, "by which the teachers' logits and the pupil's are softened")
    teacher_cache: str | None = _other(None, "folder that keeps what the teachers said, for the next pupil")
    start: str | None = _other(
        None, "finished runs of this network, whose mean weights it begins with, or a bundle of it"
    )
    quantization_aware: str | None = _other(None, "folder of a finished run, to train on under the rounding of int8")
    standardize: bool = _other(False, "each face to mean 0 and deviation 1, inside the network")
    dropout: float | None = _number(None, 0, 0.95, "all dropout rates; by default the network's own")
    image_side: int | None = _number(None, 32, 512, "side to which faces are enlarged inside the network")
    weights: str | None = _other(None, "of the backbone: none, imagenet or dlib by network, or a file")
    trainable: float | None = _number(None, 0, 1, "share of the backbone's layers, from the top, that are trained")
    train_fraction: float = _number(1.0, 0.001, 1, "part of the images to fit on, stratified")
    val_fraction: float = _number(0.1, 0.01, 0.5, "part of Training kept for validation")
    validation: str = _validation()
    seed: int = _number(0, 0, 2**32 - 1, "of weights, validation split, augmentation and dropout")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.warmup_epochs >= max(2, self.epochs + 1):
            raise RunError(f"warmup_epochs {self.warmup_epochs} is more than epochs {self.epochs}")
        if self.sharpness and self.optimizer != "sgd":
            raise RunError(f"sharpness {self.sharpness:g} goes with optimizer sgd, not {self.optimizer}")
        if self.small_epochs >= self.epochs:
            raise RunError(f"small_epochs {self.small_epochs} leave none of epochs {self.epochs} for whole faces")
        if self.schedule == "hold" and self.warmup_epochs + self.fall_epochs > self.epochs:
            both = f"warmup_epochs {self.warmup_epochs} and fall_epochs {self.fall_epochs}"
            raise RunError(f"{both} are more than epochs {self.epochs}")

    @property
    def class_count(self) -> int:
        """Logits of the network: 8 with FER+'s contempt, else 7."""
        return 8 if self.labels == "votes-8" else 7

    @property
    def asks_of_views(self) -> bool:
        """Whether its teachers are asked of each view of a face; for expected labels they are, once, of the face."""
        return bool(self.teachers) and self.labels != "expected"


@dataclass(frozen=True)
class ClassicalRecipe(RecipeJson):
    """Everything that decides the fitting of a scikit-learn model besides the data."""

    model: str
    components: int = _number(300, 1, 2304, "logreg: principal components kept")
    iterations: int = _number(2000, 1, 1_000_000, "logreg: at most this many steps of lbfgs")
    tolerance: float = _number(1e-3, 1e-9, 1, "logreg: when lbfgs stops")
    inverse_penalty: float = _number(1.0, 1e-9, 1e9, "logreg: scikit-learn's C")
    trees: int = _number(100, 1, 100_000, "random-forest: trees")
    depth: int | None = _number(None, 1, 10_000, "random-forest: deepest a tree may grow; by default unbounded")
    class_weights: bool = _other(False, "weigh rare emotions more")
    train_fraction: float = _number(1.0, 0.001, 1, "part of the images to fit on, stratified")
    val_fraction: float = _number(0.1, 0.01, 0.5, "part of Training kept for validation")
    validation: str = _validation()
    seed: int = _number(0, 0, 2**32 - 1, "of the validation split and of the model")
    choose = "last"


@dataclass(frozen=True)
class EnsembleRecipe(RecipeJson):
    """Finished runs whose logits are averaged. `members` are their folders; their weights are copied."""

    model: str = "ensemble"
    members: tuple[str, ...] = _other((), "run folders")
    val_fraction: float = _number(0.1, 0.01, 0.5, "part of Training kept for validation")
    validation: str = _validation()
    seed: int = _number(0, 0, 2**32 - 1, "of the validation split")
    choose = "last"

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.members) < 2:
            raise RunError(f"an ensemble needs two members or more, got {len(self.members)}; give --members RUN,RUN")


AnyRecipe = Recipe | ClassicalRecipe | EnsembleRecipe


def _check(field: dataclasses.Field, value: Any) -> None:
    name, about = field.name, field.metadata
    if value is None and field.default is None:
        return
    if "range" in about:
        low, high = about["range"]
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise RunError(f"{name} {value} is outside {low}..{high}")
    if "choices" in about and value not in about["choices"]:
        raise RunError(f"{name} {value!r} is unknown; choose one of {', '.join(about['choices'])}")
    if isinstance(field.default, bool) and not isinstance(value, bool):
        raise RunError(f"{name} {value!r} is neither true nor false")


def parse_value(kind: type, name: str, text: str) -> Any:
    """The value of a recipe's field out of text, as `--set NAME=VALUE` has it.

    Raises:
        RunError: the recipe has no such field, or the text is not of its type.
    """
    hints = get_type_hints(kind)
    names = [f.name for f in dataclasses.fields(kind) if f.name != "model"]
    if name not in names:
        raise RunError(f"the recipe has no {name!r}; it has {', '.join(names)}")
    kinds = get_args(hints[name]) or (hints[name],)
    if Ellipsis in kinds:
        return tuple(filter(None, text.split(",")))
    if text.lower() == "none" and type(None) in kinds and name != "weights":
        return None
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    try:
        if bool in kinds:
            return words[text.lower()]
        return (int if int in kinds else float if float in kinds else str)(text)
    except (KeyError, ValueError):
        wanted = "true or false" if bool in kinds else "a whole number" if int in kinds else "a number"
        raise RunError(f"{name} {text!r} is not {wanted}") from None

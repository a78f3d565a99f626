"""The processor whose int8 kernels a quantized model is made for."""

from enum import StrEnum

from fer_edge.devices.errors import ConversionError
from fer_edge.devices.machine import cpu_info, int8_features


class Target(StrEnum):
    """Its name, as on the command line."""

    ARM = "arm"
    X86_VNNI = "x86-vnni"
    X86 = "x86"


def this_target() -> Target:
    """The target that this machine is."""
    _, flags = cpu_info()
    if "asimd" in flags or "neon" in flags:
        return Target.ARM
    return Target.X86_VNNI if "VNNI" in int8_features(flags) else Target.X86


def target_of(word: str | None) -> Target | None:
    """The target of that name; None for none.

    Raises:
        ConversionError: there is no such target.
    """
    if word is not None and word not in list(Target):
        raise ConversionError(f"unknown --target {word!r}; choose one of {', '.join(Target)}")
    return Target(word) if word else None

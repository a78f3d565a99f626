"""Which board this is, what a deployment sets there, what it cannot do: `profiles.toml`, applied to what it answers.

A profile says what suits every board of a kind; `edge_runtime/device_profile.py` holds what `tune` measured on one.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from fer_edge.devices.board_facts import BoardFacts
from fer_edge.devices.boards import BOARDS, CORES, Board
from fer_edge.devices.errors import DataError

PROFILES = Path(__file__).with_name("profiles.toml")
ANY_ENGINE = "any"
_MIB = 2**20
_MOST_OF_MEMORY = 0.6
"""The service never gets more of a board's memory than this part: camera and system need theirs."""
_ARM_32 = ("armv8l", "armv7l", "armv6l")


@dataclass(frozen=True, slots=True)
class Cannot:
    """What does not go, why, and what to do; `engine` ("any": all) and `precision` where it rules variants out.

    `when` is what must hold of the board for it, all of it; {} is always.
    """

    what: str
    reason: str
    fix: str | None
    engine: str | None
    precision: str | None
    when: Mapping[str, Any]

    def rules_out(self, engine: str, precision: str) -> bool:
        """Whether a variant does not go because of it."""
        return self.engine in (engine, ANY_ENGINE) and self.precision in (None, precision)

    def as_dict(self) -> dict[str, Any]:
        """For JSON, without the condition."""
        return {name: getattr(self, name) for name in ("what", "reason", "fix", "engine", "precision")}


@dataclass(frozen=True, slots=True)
class Profile:
    """One table of profiles.toml, which explains each key; None is what it leaves out.

    `machine` is what wheels are built for; `cannot` all that may not go on such a board, see `Match.cannot`.
    """

    name: str
    title: str
    machine: str
    core: str | None
    cores: int | None
    board: Board | None
    memory_mib: tuple[int, ...]
    memory_max_bytes: int | None
    throttle_from_c: float | None
    throttle_hard_c: float | None
    engine: str
    precision: str
    threads: int | None
    detector: str
    detect_width: int
    camera: str
    engines: tuple[str, ...]
    compatible: tuple[str, ...]
    by_name: bool
    machines: tuple[str, ...]
    cannot: tuple[Cannot, ...]

    @property
    def dot_product(self) -> bool | None:
        """Whether its core has the int8 dot product; None where boards.py does not know the core."""
        return CORES[self.core].int8 >= 32 if self.core in CORES else None

    def defaults(self) -> dict[str, Any]:
        """What a deployment sets, by RunConfig's names; `source` is the camera, threads None is measured at start."""
        names = ("engine", "precision", "threads", "detector", "detect_width")
        return {"source": self.camera} | {name: getattr(self, name) for name in names}

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        limits = ("machine", "core", "cores", "dot_product", "memory_max_bytes", "throttle_from_c", "throttle_hard_c")
        return {
            "name": self.name,
            "title": self.title,
            **{name: getattr(self, name) for name in limits},
            "memory_mib": list(self.memory_mib),
            "defaults": self.defaults(),
            "engines": list(self.engines),
        }


@dataclass(frozen=True, slots=True)
class Match:
    """What a board was taken for: the profile, why, in sentences, and what of its `cannot` applies to this one."""

    profile: Profile
    because: tuple[str, ...]
    cannot: tuple[Cannot, ...]
    facts: BoardFacts

    @property
    def memory_max_bytes(self) -> int | None:
        """The profile's limit of the service, or less on a board that has less memory than most of its kind."""
        limit, memory = self.profile.memory_max_bytes, self.facts.memory_bytes
        return limit if limit is None or memory is None else min(limit, int(memory * _MOST_OF_MEMORY))

    def why_not(self, engine: str, precision: str) -> Cannot | None:
        """What rules this variant out here; None where nothing is known against it."""
        known = next((each for each in self.cannot if each.rules_out(engine, precision)), None)
        if known is None and engine not in self.profile.engines:
            why, instead = f"the profile {self.profile.name} does not offer it", ", ".join(self.profile.engines)
            return Cannot(f"run {engine}", why, f"use {instead}", engine, None, {})
        return known

    def as_dict(self) -> dict[str, Any]:
        """For JSON: the profile, and what is said of this board."""
        return self.profile.as_dict() | {
            "memory_max_bytes": self.memory_max_bytes,
            "because": list(self.because),
            "cannot": [each.as_dict() for each in self.cannot],
        }


@cache
def load_profiles() -> dict[str, Profile]:
    """All profiles by name, in the order in which they are tried."""
    import tomllib

    tables = tomllib.loads(PROFILES.read_text(encoding="utf-8"))
    of_all = [_cannot(each) for each in tables.pop("cannot")]
    return {name: _profile(name, table, of_all) for name, table in tables.items()}


def find_profile(name: str) -> Profile:
    """The profile of this name.

    Raises:
        DataError: there is none.
    """
    profiles = load_profiles()
    if name not in profiles:
        raise DataError(f"there is no profile {name!r}; choose one of {', '.join(profiles)}")
    return profiles[name]


def recognise(facts: BoardFacts, named: str | None = None) -> Match:
    """The profile of a board.

    Args:
        facts: what it answers.
        named: the profile that the user chose in place of the one that fits.

    Raises:
        DataError: there is no profile of that name, or none for such a machine.
    """
    if named is not None:
        profile, because = find_profile(named), f"{named} was chosen by name"
    else:
        profile, because = _fitting(facts)
    told = facts if facts.machine else replace(facts, machine=profile.machine)
    applies = tuple(each for each in profile.cannot if _holds(each.when, told))
    return Match(profile, (because, *_seen(profile, facts)), applies, facts)


def _profile(name: str, table: dict[str, Any], of_all: list[Cannot]) -> Profile:
    board = BOARDS[table.pop("board")] if "board" in table else None
    known = board is not None and board.matches is not None  # the generic board is a guess at the slowest one
    own = [_cannot(each) for each in table.pop("cannot", [])]
    limit = table.pop("memory_max_mib", None)
    optional = {"throttle_from_c": None, "throttle_hard_c": None, "threads": None, "by_name": False}
    lists = {key: tuple(table.pop(key, ())) for key in ("memory_mib", "engines", "compatible", "machines")}
    core, cores = table.pop("core", None), table.pop("cores", None)
    return Profile(
        **optional | lists | table,
        name=name,
        machine=(lists["machines"] or ("aarch64",))[0],
        core=board.core.name if board and known else core,
        cores=board.cores if board and known else cores,
        board=board,
        memory_max_bytes=None if limit is None else limit * _MIB,
        cannot=(*own, *of_all),
    )


def _cannot(table: dict[str, Any]) -> Cannot:
    return Cannot(**{"fix": None, "engine": None, "precision": None, "when": {}} | table)


def _fitting(facts: BoardFacts) -> tuple[Profile, str]:
    profiles = load_profiles().values()
    for profile in profiles:
        for entry in facts.compatible:
            if any(re.fullmatch(pattern, entry) for pattern in profile.compatible):
                return profile, f"the device tree's compatible has {entry}"
    for profile in profiles:
        pattern = profile.board.matches if profile.board and profile.by_name else None
        if facts.model and pattern and re.search(pattern, facts.model, re.IGNORECASE):
            return profile, f"it calls itself {facts.model}"
    for profile in profiles:
        if facts.machine in profile.machines:
            return profile, f"the machine is {facts.machine}, and neither its name nor compatible is a known board's"
    raise DataError(
        f"there is no profile for {f'a machine {facts.machine}' if facts.machine else 'a board that tells nothing'}; "
        f"there are {', '.join(load_profiles())}"
    )


def _seen(profile: Profile, facts: BoardFacts) -> list[str]:
    """What core and memory say to the choice; a core that is another board's is said, not acted upon."""
    said = []
    if facts.core is not None:
        as_expected = profile.core in (None, facts.core)
        said.append(
            f"its core is an {facts.core}"
            + (
                f" ({_int8(facts)})"
                if as_expected
                else f", and a {profile.title} has an {profile.core}: not the board it says it is, or an emulator"
            )
        )
    if facts.memory_bytes is not None:
        said.append(f"it has {facts.memory_bytes / 2**30:.1f} GiB of memory" + _odd_memory(profile, facts.memory_bytes))
    return said


def _int8(facts: BoardFacts) -> str:
    if facts.has_dot_product is None:
        return "it does not tell its int8 instructions"
    have = [name for name, has in (("dot product", facts.has_dot_product), ("i8mm", facts.has_i8mm)) if has]
    return "with " + " and ".join(have) if have else "without dot product"


def _odd_memory(profile: Profile, memory_bytes: int) -> str:
    if profile.memory_mib and memory_bytes > max(profile.memory_mib) * _MIB:
        return f", more than a {profile.title} is sold with"
    return ""


def _holds(when: Mapping[str, Any], facts: BoardFacts) -> bool:
    """Whether all conditions hold; one on something that the board did not tell does not."""
    return all(_CONDITIONS[name](facts, value) for name, value in when.items())


def _bits(facts: BoardFacts) -> int | None:
    return 32 if facts.machine in _ARM_32 else facts.userland_bits


def _older(version: str | None, than: str) -> bool:
    found = re.search(r"\d+(\.\d+)*", version or "")
    return found is not None and _numbers(found[0]) < _numbers(than)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(word) for word in version.split(".")[:2])


def _machine(facts: BoardFacts) -> str | None:
    return "aarch64" if facts.machine == "arm64" else facts.machine


_CONDITIONS: dict[str, Any] = {
    "machine": lambda facts, value: _machine(facts) == value,
    "userland_bits": lambda facts, value: _bits(facts) == value,
    "memory_below_mib": lambda facts, value: facts.memory_bytes is not None and facts.memory_bytes < value * _MIB,
    "python_below": lambda facts, value: _older(facts.python, value),
    "glibc_below": lambda facts, value: (facts.libc or "").startswith("glibc") and _older(facts.libc, value),
    "os_id": lambda facts, value: facts.os_id in value,
    "os_version": lambda facts, value: facts.os_version == value,
}

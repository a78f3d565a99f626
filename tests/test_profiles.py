"""Which board is which, and what it cannot do: from what boards answer, as it lies in `tests/boards/`."""

import json
import tomllib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fer_edge.cli.devices import profile_lines
from fer_edge.devices.board_facts import (
    CORE_NAMES,
    FACT_FILES,
    BoardFacts,
    facts_from_dict,
    facts_from_files,
    read_facts,
)
from fer_edge.devices.boards import BOARDS, CORES, board_called
from fer_edge.devices.errors import DataError
from fer_edge.devices.profiles import PROFILES, find_profile, load_profiles, recognise
from fer_edge.edge_runtime import doctor
from fer_edge.edge_runtime.config import RunConfig
from fer_edge.edge_runtime.engines import ENGINES

FIXTURES = sorted((Path(__file__).parent / "boards").glob("*.json"))
NAMES = (
    *("zero2w", "pi3", "pi4", "pi5", "jetson-nano", "jetson-orin-agx", "jetson-orin-nx", "jetson-orin-nano"),
    *("aarch64", "x86-64"),
)


def fixture(name: str) -> dict[str, Any]:
    return json.loads((Path(__file__).parent / "boards" / f"{name}.json").read_text())


def facts_of(name: str, **other: Any) -> BoardFacts:
    told = fixture(name)
    return facts_from_files(told["files"], **told["asked"] | other)


def lay_out(told: dict[str, Any], root: Path) -> Path:
    """The fixture's files below `root`, as they lie on the board."""
    for name, text in told["files"].items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(text.encode())
    return root


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_a_board_is_recognised_by_what_it_answers(path: Path, tmp_path: Path) -> None:
    told = fixture(path.stem)
    read = read_facts(lay_out(told, tmp_path))
    assert replace(read, **told["asked"]) == facts_of(path.stem)
    by_probe = facts_from_dict(json.loads(json.dumps(facts_of(path.stem).as_dict())) | {"disk_free_bytes": 1})
    assert by_probe == facts_of(path.stem)
    match = recognise(by_probe)
    assert match.profile.name == told["profile"]
    assert not [reason for reason in match.because if "emulator" in reason or "more than" in reason]


def test_every_profile_has_a_fixture_and_says_where_it_is_from() -> None:
    assert tuple(load_profiles()) == NAMES
    assert {fixture(path.stem)["profile"] for path in FIXTURES} == set(NAMES)
    for path in FIXTURES:
        told = fixture(path.stem)
        assert told["source"] == "recorded" or "not recorded" in told["source"]
        assert set(told["files"]) <= set(FACT_FILES)


def test_the_facts_of_a_pi_4() -> None:
    facts = facts_of("pi4")
    assert facts.model == "Raspberry Pi 4 Model B Rev 1.4"
    assert facts.compatible == ("raspberrypi,4-model-b", "brcm,bcm2711")
    assert (facts.core, facts.has_dot_product, facts.has_i8mm, facts.cores) == ("A72", False, False, 4)
    assert facts.memory_bytes == 3885396 * 1024
    assert (facts.os_id, facts.os_version, facts.python, facts.libc) == ("debian", "12", "3.11.2", "glibc 2.36")
    assert facts_of("jetson-orin-nano").l4t == "36.4.7"
    assert facts_of("x86-64").core is None


def test_the_tree_is_found_where_proc_has_no_link_to_it(tmp_path: Path) -> None:
    tree = tmp_path / "sys/firmware/devicetree/base"
    tree.mkdir(parents=True)
    (tree / "model").write_bytes(b"Raspberry Pi 5 Model B Rev 1.0\0")
    assert recognise(read_facts(tmp_path)).profile.name == "pi5"


@pytest.mark.parametrize(
    ("model", "compatible", "expected"),
    [
        ("Raspberry Pi 400 Rev 1.0", ("raspberrypi,400", "brcm,bcm2711"), "pi4"),
        ("Raspberry Pi Compute Module 5 Rev 1.0", ("raspberrypi,5-compute-module", "brcm,bcm2712"), "pi5"),
        ("Raspberry Pi 3 Model A Plus Rev 1.0", ("raspberrypi,3-model-a-plus", "brcm,bcm2837"), "pi3"),
        ("Raspberry Pi Zero 2 W Rev 1.0", (), "zero2w"),
        ("Raspberry Pi 4 Model B Rev 1.4", ("linux,dummy-virt",), "pi4"),
        ("Somebody's carrier", ("some,carrier+p3767-0001", "nvidia,p3767-0001", "nvidia,tegra234"), "jetson-orin-nx"),
        ("Somebody's carrier", ("nvidia,p3768-0000+p3767-0004",), "jetson-orin-nano"),
        ("Somebody's Orin", ("some,board", "nvidia,tegra234"), "jetson-orin-nano"),
        ("", ("nvidia,p3737-0000+p3701-0008", "nvidia,tegra234"), "jetson-orin-agx"),
        ("Jetson-TX1", ("nvidia,p2371-2180", "nvidia,tegra210"), "jetson-nano"),
        ("NVIDIA Jetson Orin Nano", (), "aarch64"),
        ("NVIDIA Jetson AGX Xavier", ("nvidia,galen", "nvidia,tegra194"), "aarch64"),
    ],
)
def test_relatives_are_told_apart(model: str, compatible: tuple[str, ...], expected: str) -> None:
    assert recognise(BoardFacts(model=model or None, compatible=compatible, machine="aarch64")).profile.name == expected


def test_it_says_why() -> None:
    assert recognise(facts_of("pi4")).because == (
        "the device tree's compatible has raspberrypi,4-model-b",
        "its core is an A72 (without dot product)",
        "it has 3.7 GiB of memory",
    )
    assert recognise(facts_of("pi5")).because[1] == "its core is an A76 (with dot product)"
    assert recognise(BoardFacts(machine="x86_64")).because == (
        "the machine is x86_64, and neither its name nor compatible is a known board's",
    )
    named = recognise(facts_of("pi4"), "pi5")
    assert named.because[0] == "pi5 was chosen by name"
    assert "and a Raspberry Pi 5 has an A76" in named.because[1]
    small = recognise(replace(facts_of("zero2w"), memory_bytes=2 * 2**30))
    assert small.because[-1] == "it has 2.0 GiB of memory, more than a Raspberry Pi Zero 2 W is sold with"


CASES = [
    # board, other answers, engine, precision, what stands in the reason or None
    ("pi4", {}, "tflite", "int8", None),
    ("pi4", {"userland_bits": 32}, "tflite", "int8", "no LiteRT, ONNX Runtime or OpenVINO is built for it"),
    ("pi4", {"machine": "armv7l", "userland_bits": None}, "onnx", "float32", "is built for it"),
    ("pi3-32bit", {}, "tflite", "float32", "is built for it"),
    ("pi4", {}, "openvino", "int8", "wrong labels"),
    ("pi4", {}, "openvino", "float32", None),
    ("pi4", {"libc": "glibc 2.31"}, "openvino", "float32", "glibc 2.35"),
    ("zero2w", {}, "openvino", "float32", "512 MB"),
    ("zero2w", {}, "onnx", "int8", None),
    ("jetson-nano", {}, "tflite", "int8", "Python 3.11"),
    ("jetson-nano", {"python": "3.11.2", "libc": "glibc 2.36"}, "tflite", "int8", None),
    ("jetson-nano", {"python": "3.11.2", "libc": "glibc 2.36"}, "tensorrt", "int8", "Maxwell"),
    ("jetson-orin-nano", {}, "tflite", "int8", "Python 3.11"),
    ("jetson-orin-nano", {"python": "3.12.3"}, "tflite", "int8", None),
    ("x86-64", {}, "openvino", "int8", None),
    ("x86-64", {}, "tensorrt", "int8", "does not offer it"),
    ("jetson-orin-agx", {}, "tensorrt", "int8", None),
    ("jetson-nano", {"python": "3.11.2", "libc": "glibc 2.36"}, "tensorrt", "float16", None),
]


@pytest.mark.parametrize(("board", "other", "engine", "precision", "reason"), CASES)
def test_what_does_not_go_is_said_with_its_reason(
    board: str, other: dict[str, Any], engine: str, precision: str, reason: str | None
) -> None:
    why_not = recognise(facts_of(board, **other)).why_not(engine, precision)
    assert (why_not is None) == (reason is None), why_not
    assert reason is None or reason in why_not.reason


def test_what_the_board_did_not_tell_rules_nothing_out() -> None:
    assert not recognise(BoardFacts(machine="x86_64")).cannot
    (alone,) = recognise(BoardFacts(), "pi5").cannot
    assert (alone.engine, alone.precision) == ("openvino", "int8")


def test_numpy_and_picamera2_on_bookworm_alone() -> None:
    told = {name: [c.what for c in recognise(facts_of(name)).cannot] for name in ("pi4", "pi5", "x86-64")}
    assert "use picamera2 with numpy 2" in told["pi4"]
    assert "use picamera2 with numpy 2" not in told["pi5"] + told["x86-64"]


def test_the_service_leaves_memory_to_the_system() -> None:
    assert recognise(facts_of("pi4")).memory_max_bytes == 384 * 2**20
    small = recognise(replace(facts_of("pi3"), memory_bytes=400 * 2**20))
    assert small.memory_max_bytes == 240 * 2**20
    for profile in load_profiles().values():
        if profile.memory_mib:
            assert profile.memory_max_bytes <= 0.6 * min(profile.memory_mib) * 2**20 or profile.name == "pi3"


def test_profiles_and_the_cost_models_boards_agree() -> None:
    for profile in load_profiles().values():
        if profile.board is None:
            assert board_called(profile.title) is None or profile.core is None, (
                f"{profile.name} stands in boards.py, too"
            )
            continue
        assert BOARDS[profile.board.name] is profile.board
        if profile.board.matches:
            assert (profile.core, profile.cores) == (profile.board.core.name, profile.board.cores)
            assert board_called(fixture(profile.name)["files"]["proc/device-tree/model"]) is profile.board
            assert facts_of(profile.name).has_dot_product is profile.dot_product
    named = {p.board.name for p in load_profiles().values() if p.board}
    assert named == set(BOARDS)
    assert set(CORES) <= set(CORE_NAMES.values())


def test_defaults_are_what_run_takes_and_the_engine_is_offered() -> None:
    for profile in load_profiles().values():
        config = RunConfig(**profile.defaults())
        assert config.source.split(":")[0] in ("picamera2", "argus", "v4l2")
        assert config.engine == profile.engines[0]
        assert set(profile.engines) <= set(ENGINES)
        assert recognise(BoardFacts(), profile.name).why_not(config.engine, config.precision) is None


def test_a_board_without_a_profile_and_a_profile_without_a_board() -> None:
    with pytest.raises(DataError, match="no profile for a machine riscv64; there are zero2w, pi3"):
        recognise(BoardFacts(machine="riscv64"))
    with pytest.raises(DataError, match="a board that tells nothing"):
        recognise(BoardFacts())
    with pytest.raises(DataError, match="no profile 'pi6'; choose one of zero2w, pi3, pi4"):
        find_profile("pi6")


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"memory_bytes": "1 GB"}, 'memory_bytes is "1 GB"; expected a whole number'),
        ({"model": 4}, "model is 4; expected a text"),
        ({"compatible": "raspberrypi,4-model-b"}, "expected a list of texts"),
        ({"userland_bits": True}, "userland_bits is true; expected a whole number"),
    ],
)
def test_a_probe_that_brings_something_else_is_refused(told: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        facts_from_dict(told)


def test_this_machine_can_be_read() -> None:
    facts = read_facts()
    assert facts.userland_bits == 64
    assert facts.python is not None
    assert facts.cores is not None
    assert recognise(facts).because


def test_the_table_says_every_key_and_nothing_twice() -> None:
    tables = tomllib.loads(PROFILES.read_text())
    for name, table in tables.items():
        if name != "cannot":
            assert "board" not in table or not {"core", "cores"} & set(table), f"{name}: its core stands in boards.py"
            assert table.get("by_name") is None or "board" in table


def table_of_profiles() -> str:
    """The table of docs/devices.md."""
    rows = [
        "| profile | board | core | camera | default | MiB for the service | throttles from | engines |",
        "|" + "---|" * 8,
    ]
    for p in load_profiles().values():
        core = f"{p.cores} × {p.core}{', dot product' if p.dot_product else ''}" if p.core else "any"
        threads = "as many as help" if p.threads is None else p.threads
        default = f"{p.engine}/{p.precision}, threads: {threads}, {p.detector} {p.detect_width} wide"
        heat = "–" if p.throttle_from_c is None else f"{p.throttle_from_c:g} °C"
        limit = p.memory_max_bytes // 2**20
        engines = ", ".join(p.engines)
        rows.append(f"| `{p.name}` | {p.title} | {core} | `{p.camera}` | {default} | {limit} | {heat} | {engines} |")
    return "\n".join(rows)


def test_the_page_has_every_profile() -> None:
    text = (Path(__file__).parents[1] / "docs" / "devices.md").read_text()
    shown = text.partition("<!-- profiles: begin -->\n")[2].partition("\n<!-- profiles: end -->")[0]
    assert shown == table_of_profiles()


def test_the_screen_says_it_in_80_columns() -> None:
    lines = list(profile_lines(recognise(facts_of("pi4"))))
    assert max(map(len, lines)) <= 80
    assert lines[:3] == [
        "profile      pi4 (Raspberry Pi 4)",
        "because      the device tree's compatible has raspberrypi,4-model-b",
        "             its core is an A72 (without dot product)",
    ]
    text = " ".join(" ".join(lines).split())
    assert "default picamera2:0, tflite/int8, as many threads as help, haar at 320 wide" in text
    assert "limits 384 MiB for the service, throttles from 80 °C" in text
    assert "cannot run int8 in OpenVINO on ARM: it computes" in text


def test_devices_shows_this_boards_profile(cli) -> None:
    expected = recognise(read_facts())
    done = cli("devices")
    assert done.returncode == 0, done.stderr
    assert f"profile      {expected.profile.name} ({expected.profile.title})" in done.stdout
    told = json.loads(cli("devices", "--json").stdout)
    assert told["profile"] == expected.as_dict()
    assert set(told) == {"board", "profile", "cameras"}


def test_devices_records_what_a_board_answers(cli, tmp_path: Path) -> None:
    done = cli("devices", "--record", "mine.json")
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "mine.json").read_text())
    assert told["source"] == "recorded"
    assert facts_from_files(told["files"], **told["asked"]) == read_facts()
    again = cli("devices", "--record", "mine.json")
    assert again.returncode == 1
    assert "mine.json exists already" in again.stderr
    assert cli("devices", "--record", "mine.json", "--force").returncode == 0


def test_doctor_names_the_profile(cli) -> None:
    expected = recognise(read_facts())
    done = cli("doctor", "--json")
    found = {each["subject"]: each for each in json.loads(done.stdout)}
    assert found["profile"]["state"] == "ok"
    assert found["profile"]["text"].startswith(f"{expected.profile.name} ({expected.profile.title}): ")


def test_doctor_says_which_variants_do_not_go_and_refuses_none() -> None:
    variants = [("tflite", "int8"), ("openvino", "float32"), ("openvino", "int8")]
    bundle: Any = SimpleNamespace(
        variants=[SimpleNamespace(engine=e, precision=p, name=f"{e}/{p}") for e, p in variants]
    )
    (one,) = doctor.ruled_out(recognise(facts_of("pi4")), bundle)
    assert (one.subject, one.state) == ("pi4", "note")
    assert one.text.startswith("this board cannot run int8 in OpenVINO on ARM: ")
    assert one.text.endswith("(openvino/int8)")
    (every,) = doctor.ruled_out(recognise(facts_of("pi3-32bit")), bundle)
    assert every.text.endswith("(tflite/int8, openvino/float32, openvino/int8)")
    assert every.state == "note"
    assert not list(doctor.ruled_out(recognise(facts_of("x86-64")), bundle))


def test_doctor_knows_a_board_that_nobody_described(monkeypatch) -> None:
    monkeypatch.setattr(doctor, "read_facts", lambda: BoardFacts(machine="riscv64"))
    for finding in doctor.examine(None):
        if finding.subject == "profile":
            assert (finding.state, finding.fix) == (
                "note",
                "fer-edge devices --record FILE, for whoever adds this board",
            )
            return
    pytest.fail("there is no finding about the profile")

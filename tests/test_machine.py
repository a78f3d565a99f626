"""What a machine says of itself, from recorded answers of real boards."""

import pytest

from fer_edge.devices import machine

PI5 = """processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
CPU part\t: 0xd0b

Model\t\t: Raspberry Pi 5 Model B Rev 1.0
"""
PI4 = PI5.replace(" asimddp", "").replace("0xd0b", "0xd08").replace("Pi 5 Model B Rev 1.0", "Pi 4 Model B Rev 1.4")
XEON = "processor\t: 0\nmodel name\t: Intel(R) Xeon(R) Processor\nflags\t\t: sse avx2 avx512_vnni amx_int8\n"


@pytest.mark.parametrize(
    ("cpuinfo", "cpu", "board", "int8"),
    [
        (PI5, "ARM implementer 0x41 part 0xd0b", "Raspberry Pi 5 Model B Rev 1.0", ("dot product",)),
        (PI4, "ARM implementer 0x41 part 0xd08", "Raspberry Pi 4 Model B Rev 1.4", ()),
        (XEON, "Intel(R) Xeon(R) Processor", None, ("VNNI", "AMX")),
    ],
)
def test_boards_are_told_apart(monkeypatch, cpuinfo: str, cpu: str, board: str | None, int8: tuple[str, ...]) -> None:
    monkeypatch.setattr(machine, "read_text", lambda path: cpuinfo if path == "/proc/cpuinfo" else None)
    name, flags = machine.cpu_info()
    assert name == cpu
    assert machine.board_name() == board
    assert machine.int8_features(flags) == int8


def test_the_device_tree_has_the_first_word(monkeypatch) -> None:
    answers = {"/proc/device-tree/model": "Jetson Orin Nano", "/proc/cpuinfo": PI5}
    monkeypatch.setattr(machine, "read_text", lambda path: answers.get(str(path)))
    assert machine.board_name() == "Jetson Orin Nano"


def test_the_trailing_nul_of_the_device_tree_is_cut(tmp_path) -> None:
    (tmp_path / "model").write_bytes(b"Raspberry Pi 4 Model B Rev 1.4\x00")
    assert machine.read_text(tmp_path / "model") == "Raspberry Pi 4 Model B Rev 1.4"
    assert machine.read_text(tmp_path / "none") is None


def test_peak_memory_is_this_processs() -> None:
    peak = machine.peak_memory_bytes()
    assert peak is not None
    assert 10e6 < peak < 10e9

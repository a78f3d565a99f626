"""Conditions and energy meters on fixture trees that answer as the real machines do, and pinning to cores."""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from fer_edge.devices.conditions import read_conditions, throttling_began
from fer_edge.devices.cores import parse_cores, pinned
from fer_edge.devices.energy import find_meter, parse_tegrastats, tegrastats_gauge
from fer_edge.devices.errors import EngineError
from fer_edge.devices.jetson_power import JetsonPower, parse_nvpmodel, read_jetson_power
from fer_edge.devices.machine import core_numbers
from fer_edge.edge_runtime.bench_energy import energy_rows
from fer_edge.edge_runtime.bench_watch import Watch
from fer_edge.edge_runtime.bench_words import conditions_line

CORE = core_numbers()[0]


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


# A Raspberry Pi 4 under load: sysfs as of Linux 6.6; get_throttled's bits are documented at
# https://www.raspberrypi.com/documentation/computers/os.html#get_throttled.
PI = {
    "sys/class/thermal/thermal_zone0/temp": "61341\n",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "50000\n",
    f"sys/devices/system/cpu/cpu{CORE}/cpufreq/scaling_cur_freq": "1800000\n",
    f"sys/devices/system/cpu/cpu{CORE}/cpufreq/scaling_governor": "ondemand\n",
    "proc/loadavg": "0.52 0.31 0.18 2/214 1873\n",
}


def test_conditions_of_a_pi(tmp_path: Path) -> None:
    found = read_conditions(tree(tmp_path, PI))
    assert found.as_dict() == {
        "temp_c": 61.341, "throttled": [], "throttled_since_boot": ["under-voltage", "throttled"],
        "clock_mhz": 1800.0, "governor": "ondemand", "load_average": [0.52, 0.31, 0.18],
    }  # fmt: skip


def test_what_nobody_tells_is_none_and_not_zero(tmp_path: Path) -> None:
    assert set(read_conditions(tmp_path).as_dict().values()) == {None}


def test_throttling_that_began_is_a_bit_that_was_not_set_before(tmp_path: Path) -> None:
    before = read_conditions(tree(tmp_path, PI))
    firmware = "sys/devices/platform/soc/soc:firmware/get_throttled"
    after = read_conditions(tree(tmp_path, PI | {firmware: "e0008\n"}))
    assert after.throttled == ("soft temperature limit",)
    assert throttling_began(before, before) == []
    assert throttling_began(before, after) == ["frequency capped", "soft temperature limit"]


def test_x86_and_jetson_count_their_throttling(tmp_path: Path) -> None:
    """x86: Linux, drivers/thermal/intel/therm_throt.c. Jetson Orin: soctherm's hwmon, Jetson Linux Developer Guide."""
    folder = f"sys/devices/system/cpu/cpu{CORE}/thermal_throttle"
    counters = {f"{folder}/core_throttle_count": "0\n", f"{folder}/package_throttle_count": "3\n"}
    jetson = {"sys/class/hwmon/hwmon2/name": "soctherm_oc\n", "sys/class/hwmon/hwmon2/oc3_event_cnt": "0\n"}
    before = read_conditions(tree(tmp_path, counters | jetson))
    assert before.throttled is None
    assert before.throttled_since_boot == ("processor package too hot",)
    after = read_conditions(
        tree(tmp_path, {f"{folder}/package_throttle_count": "5\n", "sys/class/hwmon/hwmon2/oc3_event_cnt": "1\n"})
    )
    assert throttling_began(before, after) == ["over-current 3", "processor package too hot"]


# RAPL: Linux, Documentation/power/powercap/powercap.rst; from a laptop with one package.
def rapl(energy_uj: int) -> dict[str, str]:
    zone = "sys/class/powercap/intel-rapl:0"
    return {
        f"{zone}/name": "package-0\n", f"{zone}/energy_uj": f"{energy_uj}\n",
        f"{zone}/max_energy_range_uj": "262143328850\n",
        "sys/class/powercap/intel-rapl:0:0/name": "core\n",
        "sys/class/powercap/intel-rapl:0:0/energy_uj": "1\n",
        "sys/class/powercap/intel-rapl:1/name": "psys\n",
        "sys/class/powercap/intel-rapl:1/energy_uj": "1\n",
    }  # fmt: skip


def test_rapl_counts_packages_alone_and_wraps_around(tmp_path: Path) -> None:
    meter = find_meter(tree(tmp_path, rapl(262_143_000_000)))
    assert meter is not None
    assert meter.name == "rapl package-0"
    assert meter.joules(0) == 0
    tree(tmp_path, rapl(262_143_300_000))
    assert meter.joules(1) == pytest.approx(0.3)
    tree(tmp_path, rapl(1_000_000))  # 28,850 µJ to the largest, one to 0, a joule from there
    assert meter.joules(2) == pytest.approx(0.3 + 1.028851)


def test_two_packages_are_summed_up(tmp_path: Path) -> None:
    second = {f"sys/class/powercap/intel-rapl:2/{name}": value for name, value in
              (("name", "package-1"), ("energy_uj", "500"), ("max_energy_range_uj", "9999999"))}  # fmt: skip
    meter = find_meter(tree(tmp_path, rapl(0) | second))
    assert meter is not None
    assert meter.name == "rapl package-0+package-1"
    meter.joules(0)
    tree(tmp_path, rapl(2_000_000) | {"sys/class/powercap/intel-rapl:2/energy_uj": "1000500"})
    assert meter.joules(1) == pytest.approx(3.0)


def test_rapl_that_root_alone_may_read_is_no_meter_and_the_reason_is_said_once(tmp_path: Path) -> None:
    tree(tmp_path, rapl(5))
    (tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj").unlink()
    (tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj").mkdir()  # unreadable for root, too
    said: list[str] = []
    assert find_meter(tmp_path, said.append) is None
    assert len(said) == 1
    assert "root alone may read RAPL" in said[0]
    assert "intel-rapl:*/energy_uj" in said[0]


def test_no_meter_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    assert find_meter(tmp_path, said.append) is None
    assert said == ["no energy meter found: no INA chip, no RAPL, no tegrastats"]


def test_an_ina226_gives_microwatts_and_is_integrated(tmp_path: Path) -> None:
    """Linux, Documentation/hwmon/ina2xx.rst: in0 the shunt in mV, in1 the bus in mV, curr1 in mA, power1 in µW."""
    chip = "sys/class/hwmon/hwmon1"
    board = {f"{chip}/name": "ina226\n", f"{chip}/in0_input": "4\n", f"{chip}/in1_input": "5096\n",
             f"{chip}/curr1_input": "812\n", f"{chip}/power1_input": "4150000\n",
             "sys/class/hwmon/hwmon0/name": "cpu_thermal\n"}  # fmt: skip
    meter = find_meter(tree(tmp_path, board))
    assert meter is not None
    assert meter.name == "ina226"
    assert meter.joules(10.0) == 0
    assert meter.joules(10.5) == pytest.approx(4.15 / 2)
    tree(tmp_path, {f"{chip}/power1_input": "6150000\n"})
    assert meter.joules(11.5) == pytest.approx(4.15 / 2 + 5.15)
    (tmp_path / chip / "power1_input").unlink()
    assert meter.joules(12.0) is None
    tree(tmp_path, {f"{chip}/power1_input": "6150000\n"})
    assert meter.joules(12.5) is None  # a hole is not filled up


def test_an_ina219_without_power_is_volts_times_amperes(tmp_path: Path) -> None:
    chip = "sys/class/hwmon/hwmon0"
    meter = find_meter(
        tree(tmp_path, {f"{chip}/name": "ina219", f"{chip}/in1_input": "5000", f"{chip}/curr1_input": "800"})
    )
    assert meter is not None
    meter.joules(0)
    assert meter.joules(2) == pytest.approx(8.0)


def ina3221(*labels: str) -> dict[str, str]:
    """Linux, Documentation/hwmon/ina3221.rst; labels as a Jetson Orin Nano gives them, with JetPack 6."""
    chip = "sys/class/hwmon/hwmon3"
    files = {f"{chip}/name": "ina3221\n", f"{chip}/in7_label": "sum of shunt voltages\n"}
    for number, label in enumerate(labels, 1):
        files |= {f"{chip}/in{number}_label": f"{label}\n", f"{chip}/in{number}_input": "4920\n",
                  f"{chip}/curr{number}_input": f"{1000 * number}\n"}  # fmt: skip
    return files


def test_a_jetson_is_measured_by_its_total_rail(tmp_path: Path) -> None:
    meter = find_meter(tree(tmp_path, ina3221("VDD_CPU_GPU_CV", "VDD_IN", "VDD_SOC")))
    assert meter is not None
    assert meter.name == "ina3221 VDD_IN"
    meter.joules(0)
    assert meter.joules(1) == pytest.approx(4.92 * 2)


def test_rails_of_which_none_is_the_total_are_no_meter(tmp_path: Path) -> None:
    said: list[str] = []
    assert find_meter(tree(tmp_path, ina3221("VDD_GPU_SOC", "VDD_CPU_CV")), said.append) is None
    assert said[0].startswith("energy is not measured: of the rails VDD_GPU_SOC, VDD_CPU_CV none is the board's")


def test_two_meters_of_which_nobody_says_what_they_see_are_none(tmp_path: Path) -> None:
    chips = {
        f"sys/class/hwmon/hwmon{at}/{name}": value
        for at in (0, 1)
        for name, value in (("name", "ina219"), ("power1_input", "1000000"))
    }
    said: list[str] = []
    assert find_meter(tree(tmp_path, chips), said.append) is None
    assert "nothing says which of ina219, ina219 feeds the board" in said[0]


@pytest.mark.parametrize(
    ("line", "watts"),
    [
        (  # Jetson Orin Nano, JetPack 6
            "11-21-2026 12:00:00 RAM 2452/7620MB (lfb 2x4MB) SWAP 0/3810MB (cached 0MB) CPU [3%@1510,off,0%@1510] "
            "EMC_FREQ 0%@2133 GR3D_FREQ 0%@[611] cpu@48.8C soc0@47.9C gpu@48.1C tj@48.8C "
            "VDD_IN 5080mW/5110mW VDD_CPU_GPU_CV 842mW/851mW VDD_SOC 1403mW/1403mW",
            5.08,
        ),
        (  # Jetson Nano, JetPack 4
            "RAM 1903/3964MB (lfb 30x4MB) IRAM 0/252kB(lfb 252kB) CPU [12%@1479,3%@1479,0%@1479,0%@1479] "
            "EMC_FREQ 1%@1600 GR3D_FREQ 0%@76 APE 25 PLL@41C CPU@44C PMIC@100C GPU@42.5C AO@50C thermal@43.25C "
            "POM_5V_IN 2700/2650 POM_5V_GPU 0/0 POM_5V_CPU 329/300",
            2.7,
        ),
        ("RAM 2452/7620MB CPU [3%@1510] VDD_GPU_SOC 2000mW/2000mW VDD_CPU_CV 400mW/400mW", None),
        ("", None),
    ],
)
def test_tegrastats_lines(line: str, watts: float | None) -> None:
    assert parse_tegrastats(line) == watts


def test_tegrastats_is_read_while_it_runs_and_none_when_it_has_ended() -> None:
    says = "print('VDD_IN 5000mW/5000mW', flush=True); print('VDD_IN 7000mW/6000mW', flush=True); input()"
    meter = tegrastats_gauge([sys.executable, "-c", f"import time; {says.replace('input()', 'time.sleep(60)')}"])
    assert meter is not None
    spent = [meter.joules(0) or 0.0]
    while len(spent) < 2 or spent[-1] - spent[-2] != 7.0:  # a second at 5 W each, until the second line has come
        spent.append(meter.joules(len(spent)) or 0.0)
    meter.close()
    meter.close()
    assert meter.joules(len(spent)) is None
    assert tegrastats_gauge(["/nowhere/tegrastats"]) is None
    assert tegrastats_gauge([sys.executable, "-c", "print('RAM 1/2MB')"]) is None


class FakeMeter:
    """Ten watts, and five more for each call under way."""

    name = "fake"

    def __init__(self) -> None:
        self.spent, self.closed = 0.0, False

    def joules(self, now_s: float) -> float | None:
        return self.spent

    def close(self) -> None:
        self.closed = True


def test_energy_is_that_of_each_lanes_own_turn() -> None:
    meter, now = FakeMeter(), [0]

    def takes(ms: float, watts: float):
        def take(calls: int, clock: object) -> None:
            now[0] += int(calls * ms * 1e6)
            meter.spent += calls * ms / 1000 * watts

        return take

    def sleep(seconds: float) -> None:
        now[0] += int(seconds * 1e9)
        meter.spent += seconds * 10

    lanes = [(takes(2, 15), 2e6, 1), (takes(4, 20), 4e6, 8)]
    rows = energy_rows(lanes, lambda what: None, print, find=lambda say: meter, clock_ns=lambda: now[0], sleep=sleep)
    assert rows == [
        {"meter": "fake", "mj_per_face": pytest.approx(30.0), "idle_w": pytest.approx(10.0)},
        {"meter": "fake", "mj_per_face": pytest.approx(10.0), "idle_w": pytest.approx(10.0)},
    ]
    assert meter.closed


def test_without_a_meter_energy_is_none() -> None:
    said: list[str] = []

    def find(say) -> None:
        say("no meter")

    assert energy_rows([(print, 1.0, 1)], lambda what: None, said.append, find=find) == [None]
    assert said == ["no meter"]


@pytest.mark.parametrize(
    ("text", "cores"), [("0", [0]), ("0-2", [0, 1, 2]), ("3,0-1", [0, 1, 3]), (" 1 , 1-2 ", [1, 2]), ("2-2", [2])]
)
def test_cores_as_words(text: str, cores: list[int]) -> None:
    assert parse_cores(text) == cores


@pytest.mark.parametrize("text", ["", "a", "1-", "-1", "3-1", "0,,1", "0;1"])
def test_no_cores_as_words(text: str) -> None:
    with pytest.raises(ValueError, match="expected cores like 0-1,3"):
        parse_cores(text)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux alone pins")
def test_pinning_holds_for_every_thread_and_is_taken_back() -> None:
    import threading

    before, release, seen = os.sched_getaffinity(0), threading.Event(), dict[str, set[int]]()
    ready = threading.Event()

    def old() -> None:
        ready.set()
        release.wait()
        seen["old"] = os.sched_getaffinity(0)

    thread = threading.Thread(target=old)
    thread.start()
    ready.wait()
    with pinned([CORE]):
        assert os.sched_getaffinity(0) == {CORE}
        release.set()
        thread.join()
        new = threading.Thread(target=lambda: seen.update(new=os.sched_getaffinity(0)))
        new.start()
        new.join()
    assert seen == {"old": {CORE}, "new": {CORE}}
    assert os.sched_getaffinity(0) == before
    with pytest.raises(ZeroDivisionError), pinned([CORE]):
        raise ZeroDivisionError
    assert os.sched_getaffinity(0) == before


def test_cores_that_are_not_there_are_refused() -> None:
    with pytest.raises(EngineError, match="core 4095 cannot be used here; usable are"), pinned([CORE, 4095]):
        pass


# A Jetson Orin Nano, written after public documentation (Jetson Linux Developer Guide), not recorded.
ORIN_GPU = {
    "proc/device-tree/compatible": "nvidia,p3768-0000+p3767-0005\0nvidia,p3767-0005\0nvidia,tegra234\0",
    "sys/class/devfreq/17000000.gpu/cur_freq": "305999872\n",
    "sys/class/devfreq/17000000.gpu/min_freq": "305999872\n",
    "sys/class/devfreq/17000000.gpu/max_freq": "624750000\n",
    "sys/class/devfreq/15340000.vic/cur_freq": "115200000\n",
}


def test_a_jetsons_power_mode_and_gpu_clock(tmp_path: Path) -> None:
    root = tree(tmp_path, ORIN_GPU)
    assert read_jetson_power(root, "NV Power Mode: 15W\n0\n") == JetsonPower("15W", 305.999872, 624.75, False)
    pinned = read_jetson_power(tree(tmp_path, {"sys/class/devfreq/17000000.gpu/min_freq": "624750000\n"}), "")
    assert pinned == JetsonPower(None, 305.999872, 624.75, True)
    assert read_jetson_power(tmp_path / "elsewhere") is None


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("NV Power Mode: MAXN\n0\n", "MAXN"),
        ("NVPM VERB: Current mode: NV Power Mode: 25W\n1\n", "25W"),
        ("NV Fan Mode:quiet\nNV Power Mode: MODE_15W_6CORE\n2\n", "MODE_15W_6CORE"),
        ("NVPM ERROR: failed to read PARAM", None),
        ("", None),
    ],
)
def test_nvpmodels_answer(text: str, mode: str | None) -> None:
    assert parse_nvpmodel(text) == mode


def test_a_report_has_the_power_mode_and_a_change_of_it_does_not_hold(tmp_path: Path) -> None:
    calm = read_conditions(tmp_path)
    orin = JetsonPower("15W", 306.0, 624.75, False)

    def watched(*answers: JetsonPower | None) -> dict:
        told = iter(answers)
        watch = Watch(lambda: calm, read_power=lambda: next(told))
        watch.finish()
        return watch.report()

    same = watched(orin, orin)
    assert same["valid"]
    assert same["conditions"]["after"]["jetson"] == {
        "power_mode": "15W", "gpu_clock_mhz": 306.0, "gpu_clock_max_mhz": 624.75, "clocks_pinned": False,
    }  # fmt: skip
    assert conditions_line(same).endswith("; power mode 15W; GPU at 306 MHz")
    schema = json.loads((Path(__file__).parents[1] / "docs" / "bench.schema.json").read_text())
    of_conditions = jsonschema.Draft202012Validator({"$ref": "#/$defs/conditions", "$defs": schema["$defs"]})
    of_conditions.validate(same["conditions"]["after"])
    with pytest.raises(jsonschema.ValidationError):
        of_conditions.validate(same["conditions"]["after"] | {"jetson": {"power_mode": 15}})
    changed = watched(orin, replace(orin, power_mode="MAXN"))
    assert changed["invalid_because"] == ["the power mode changed from 15W to MAXN"]
    elsewhere = watched(None, None)
    assert "jetson" not in elsewhere["conditions"]["before"]

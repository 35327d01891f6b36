from pathlib import Path

import pytest

from budgetc.runtime.device_facts import facts, power_mode, sample, throttled_by

NANO = {
    "proc/device-tree/model": "NVIDIA Jetson Nano Developer Kit\0",
    "proc/cpuinfo": "processor\t: 0\nmodel name\t: ARMv8 Processor rev 1 (v8l)\nFeatures\t: fp asimd crc32\n",
    "proc/meminfo": "MemTotal:        4059712 kB\nMemAvailable:    2000000 kB\n",
    "proc/loadavg": "0.50 0.40 0.30 1/200 1234\n",
    "etc/machine-id": "0123456789abcdef\n",
    "etc/os-release": 'NAME="Ubuntu"\nPRETTY_NAME="Ubuntu 18.04.6 LTS"\n',
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1479000\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "schedutil\n",
    "sys/class/devfreq/57000000.gpu/cur_freq": "921600000\n",
    "sys/class/thermal/thermal_zone0/type": "CPU-therm\n",
    "sys/class/thermal/thermal_zone0/temp": "48500\n",
    "sys/class/thermal/thermal_zone1/temp": "not ready\n",
    "sys/class/thermal/cooling_device0/type": "pwm-fan\n",
    "sys/class/thermal/cooling_device0/cur_state": "2\n",
    "sys/class/thermal/cooling_device1/type": "cpu-balanced\n",
    "sys/class/thermal/cooling_device1/cur_state": "1\n",
}


@pytest.fixture
def nano(tmp_path: Path) -> str:
    """The files of a board, as far as they are asked for."""
    for name, text in NANO.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(tmp_path)


def test_what_stays(nano: str) -> None:
    """Names, memory and governors; the machine's id only as a digest."""
    found = facts(nano)
    expected = {"model": "NVIDIA Jetson Nano Developer Kit", "cpu": "ARMv8 Processor rev 1 (v8l)",
                "features": "asimd crc32 fp", "memory_bytes": 4059712 * 1024, "system": "Ubuntu 18.04.6 LTS",
                "governors": ["schedutil"]}  # fmt: skip
    assert {name: found[name] for name in expected} == expected
    assert len(found["machine_id"]) == 16 and "0123456789" not in found["machine_id"]


def test_what_changes(nano: str) -> None:
    """Clocks, temperatures and load; a fan is no throttling, a slowed processor is."""
    found = sample(nano)
    assert found["clocks_mhz"] == {"57000000.gpu": 921.6, "cpu0": 1479.0}
    assert found["temperatures_c"] == {"CPU-therm": 48.5}
    assert found["load_average"] == [0.5, 0.4, 0.3]
    assert "cpu-balanced" in found["throttled_by"] and "pwm-fan" not in found["throttled_by"]


def test_a_machine_that_says_nothing(tmp_path: Path) -> None:
    """Empty, not an error."""
    assert sample(str(tmp_path))["temperatures_c"] == {}
    assert facts(str(tmp_path))["machine_id"] == ""


@pytest.mark.parametrize(
    ("said", "mode"), [("NV Power Mode: MAXN\n0\n", "MAXN"), ("NVPM WARN: x\nNV Power Mode: 5W\n1\n", "5W"), ("", "")]
)
def test_power_modes(said: str, mode: str) -> None:
    """As nvpmodel prints them."""
    assert power_mode(said) == mode


@pytest.mark.parametrize(
    ("said", "found"),
    [("throttled=0x0\n", []), ("throttled=0x50000\n", []), ("throttled=0x50005\n", ["firmware 0x50005"]), ("no\n", [])],
)
def test_the_firmwares_word(said: str, found: list[str]) -> None:
    """Only what it says of now."""
    assert throttled_by({}, said) == found

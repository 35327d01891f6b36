from pathlib import Path

import pytest

from budgetc.load.cpu import host_cpu, weight_levels_for


@pytest.mark.parametrize(
    ("machine", "flags", "levels"),
    [
        ("x86_64", ("avx2",), 63),
        ("x86_64", (), 63),
        ("x86_64", ("avx2", "avx_vnni"), 127),
        ("x86_64", ("avx512_vnni",), 127),
        ("AMD64", ("avx512vnni",), 127),
        ("aarch64", ("asimd", "asimddp"), 127),
        ("aarch64", ("asimd",), 127),
        ("arm64", (), 127),
        ("riscv64", (), 63),
    ],
)
def test_levels_follow_from_machine_and_flags(machine: str, flags: tuple[str, ...], levels: int) -> None:
    """Full range only where the kernel is known not to saturate."""
    found, reason = weight_levels_for(machine, flags)
    assert found == levels
    assert reason


def test_flags_are_read_from_both_spellings(tmp_path: Path) -> None:
    """x86 lists `flags`, ARM lists `Features`."""
    (tmp_path / "x86").write_text("processor\t: 0\nflags\t\t: fpu avx2 avx_vnni\n")
    (tmp_path / "arm").write_text("Features\t: fp asimd asimddp\n")
    assert "avx_vnni" in host_cpu(tmp_path / "x86")[1]
    assert "asimddp" in host_cpu(tmp_path / "arm")[1]


def test_a_system_without_cpuinfo_has_no_flags(tmp_path: Path) -> None:
    """Nothing is assumed."""
    assert host_cpu(tmp_path / "none")[1] == frozenset()

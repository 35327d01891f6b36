"""The picture of Pareto fronts: valid SVG, the right points, words that cannot break it."""

import xml.etree.ElementTree as ET

import pytest

from budgetc.report.fronts import Series, draw_fronts

SVG = "{http://www.w3.org/2000/svg}"
CPU = Series("cpu", ((1000.0, 0.8), (2000.0, 0.9), (3000.0, 0.85), (4000.0, 0.95)), ((2000.0, 0.9),))
GPU = Series("gpu", ((1500.0, 0.7),), ())


def circles(text: str, kind: str) -> list[ET.Element]:
    return [one for one in ET.fromstring(text).iter(f"{SVG}circle") if one.get("class") == kind]


def test_a_front_is_what_no_other_point_beats() -> None:
    """From small to large; the candidate that is larger and worse than another is left out."""
    assert CPU.front() == [(1000.0, 0.8), (2000.0, 0.9), (4000.0, 0.95)]


def test_every_candidate_is_drawn() -> None:
    """Beaten ones faintly, the front with what it is on hover, chosen ones in a ring; dots stand in the legend."""
    text = draw_fronts([CPU, GPU], title="two targets")
    assert len(circles(text, "faint")) == 1 + 1
    assert len(circles(text, "on")) == 3 + 1 + 2
    assert len(circles(text, "chosen")) == 1 + 1
    hovered = {one.text for one in ET.fromstring(text).iter(f"{SVG}title")}
    assert "cpu: 2.0 KiB, AUROC 0.9000" in hovered


def test_everything_lies_inside_the_picture() -> None:
    """Also where there is one point only, at the edge of what an AUROC can be."""
    for series in (
        [CPU, GPU],
        [Series("one", ((5e6, 1.0),), ((5e6, 1.0),))],
        [Series("none right", ((10.0, 0.0),), ())],
    ):
        for circle in ET.fromstring(draw_fronts(series, title="t")).iter(f"{SVG}circle"):
            assert 0 <= float(circle.get("cx", "-1")) <= 900
            assert 0 <= float(circle.get("cy", "-1")) <= 600


def test_axes_say_what_they_show() -> None:
    """Name and unit; every tick is a number."""
    words = [one.text or "" for one in ET.fromstring(draw_fronts([CPU], title="t")).iter(f"{SVG}text")]
    assert any("size" in word for word in words)
    assert any("AUROC" in word for word in words)
    assert {"0.80", "0.95", "1 KiB"} <= set(words)


def test_light_and_dark() -> None:
    """One file for both: colors follow what the reader prefers."""
    text = draw_fronts([CPU], title="t")
    assert "prefers-color-scheme:dark" in text
    assert "currentColor" in text


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", 'a"b', "a & b"])
def test_names_cannot_break_out(name: str) -> None:
    """Names come from files of others."""
    text = draw_fronts([Series(name, CPU.points, ())], title=name)
    root = ET.fromstring(text)
    assert not list(root.iter(f"{SVG}script"))
    assert name in [one.text for one in root.iter(f"{SVG}text")]


def test_nothing_to_draw() -> None:
    """Said in words."""
    assert "no candidate was scored" in draw_fronts([Series("cpu", (), ())], title="t")

"""Size against AUROC of every candidate."""

from dataclasses import replace

from budgetc.report.charts.pareto import Bounds, Dot, draw_pareto
from tests.report.charts.reading import number, of_class, read, texts

DOTS = [
    Dot("small", 20_000, 0.90, 1.0, chosen=True),
    Dot("good", 90_000, 0.96, 3.0),
    Dot("beaten", 95_000, 0.91, 2.0),
    Dot("priced", 50_000, None, 2.0),
    Dot("baseline", 4_000_000, 0.97, 9.0, baseline=True),
]
BOUNDS = Bounds(size=900_000, auroc=0.88)


def test_every_trained_candidate_is_a_dot() -> None:
    """Rings mark what was chosen and where it came from; what was only priced is a tick."""
    svg = draw_pareto(DOTS, BOUNDS, latency="latency")
    dots = of_class(svg, "circle", "dot")
    assert len(dots) == 4
    assert len(of_class(svg, "circle", "ring")) == 4  # two in the legend
    assert (of_class(svg, "path", "rug")[0].get("d") or "").count("M") == 1
    assert len({one.get("r") for one in dots}) == 2


def test_the_label_names_the_choice() -> None:
    """And what there was to choose from."""
    label = read(draw_pareto(DOTS, BOUNDS, latency="latency")).get("aria-label") or ""
    assert label.startswith("4 of 5 candidates were trained; chosen: small: 19.5 KiB, AUROC 0.9000, 1 ms")


def test_colors_follow_latency() -> None:
    """The fastest first, the slowest last; unknown ones have a color of their own."""
    svg = draw_pareto([*DOTS, Dot("unknown", 30_000, 0.8)], BOUNDS, latency="latency")
    classes = {(one.find("title").text or "").split(":")[0]: one.get("class") for one in of_class(svg, "circle", "dot")}  # type: ignore[union-attr]  # each has one
    assert classes["small"] == "dot q0" and classes["baseline"] == "dot q4" and classes["unknown"] == "dot q"


def test_everything_lies_inside() -> None:
    """Also limits beyond all candidates, a single one, and an AUROC of 1."""
    for dots in (DOTS, [Dot("one", 1.0, 1.0)], [replace(one, auroc=0.0) for one in DOTS]):
        svg = draw_pareto(dots, Bounds(size=9e9, auroc=0.99), latency="latency")
        assert all(0 <= number(one, "cx") <= 480 and 0 <= number(one, "cy") <= 390 for one in read(svg).iter("circle"))


def test_thousands_do_not_all_say_their_name() -> None:
    """The front does; the page stays small."""
    many = [Dot(f"candidate {n}", 1e5 + n, 0.7 + (n % 97) / 1000, 1 + n % 7) for n in range(5000)]
    svg = draw_pareto([*DOTS, *many], BOUNDS, latency="latency")
    named = [one for one in of_class(svg, "circle", "dot") if one.find("title") is not None]
    assert 0 < len(named) < 50
    assert len(svg) < 600_000


def test_nothing_trained_is_no_chart() -> None:
    """Rather than empty axes."""
    assert draw_pareto([DOTS[3]], BOUNDS, latency="latency") == ""


def test_limits_are_named() -> None:
    """Those that the budget has."""
    assert {"size limit", "AUROC floor"} <= set(texts(draw_pareto(DOTS, BOUNDS, latency="latency")))
    assert not {"size limit", "AUROC floor"} & set(texts(draw_pareto(DOTS, Bounds(), latency="latency")))

"""The page as Chromium shows it: both themes, a desk and a phone."""

import html
import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from budgetc.report.html import render_html
from tests.report.example import candidates, exhibits, hostile, make_report, shown

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium, chromium-browser or google-chrome on the PATH")
MEASURE = """
frame => {
const page = frame.contentDocument, view = page.defaultView;
const rgb = text => { const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number); return {c: [r, g, b], a}; };
const light = c => { const [r, g, b] = c.map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
                     return .2126 * r + .7152 * g + .0722 * b; };
const behind = node => { for (; node; node = node.parentElement) {
    const found = rgb(view.getComputedStyle(node).backgroundColor); if (found.a > 0) return found.c; }
  return [255, 255, 255]; };
const faint = [], cut = [];
for (const node of page.querySelectorAll("body *")) {
  if (![...node.childNodes].some(part => part.nodeType === 3 && part.data.trim())) continue;
  if (!node.getClientRects().length) continue;
  const style = view.getComputedStyle(node), ink = light(rgb(node.closest("svg") ? style.fill : style.color).c);
  const paper = light(behind(node)), ratio = (Math.max(ink, paper) + .05) / (Math.min(ink, paper) + .05);
  if (ratio < 4.5 && !node.closest("title")) faint.push(`${node.textContent.slice(0, 30)} ${ratio.toFixed(2)}`);
}
for (const text of page.querySelectorAll("svg.chart text")) {
  const box = text.getBBox(), whole = text.ownerSVGElement.viewBox.baseVal;
  if (!text.getClientRects().length) continue;
  if (box.x < -1 || box.y < -1 || box.x + box.width > whole.width + 1 || box.y + box.height > whole.height + 1)
    cut.push(text.textContent);
}
return {wide: page.documentElement.scrollWidth, paper: behind(page.body), faint, cut,
  broken: [...page.images].filter(image => !image.naturalWidth).length};
}"""


WIDTHS = (1280, 390)


@dataclass(frozen=True)
class Seen:
    """What the browser made of a page."""

    wide: int
    paper: list[int]
    faint: list[str]
    cut: list[str]
    broken: int


def look(pages: Sequence[tuple[str, int]], folder: Path, *, dark: bool = False) -> tuple[list[Seen], list[str]]:
    """Load (page, width) each in a frame, details open, and measure it from outside, for the pages run no script.

    Returns:
        What was seen of each, and what was said on the console.
    """
    frames = "".join(
        f'<iframe srcdoc="{html.escape(page.replace("<details>", "<details open>"))}" '
        f'style="width:{width}px;height:900px;border:0"></iframe>'
        for page, width in pages
    )
    script = (
        f"onload = () => {{ document.title = JSON.stringify([...document.querySelectorAll('iframe')].map({MEASURE})) }}"
    )
    wrapper = folder / "wrapper.html"
    wrapper.write_text(f"<!doctype html><meta charset=utf-8>{frames}<script>{script}</script>", encoding="utf-8")
    assert BROWSER is not None
    line = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}",
        "--window-size=1400,1000", "--enable-logging=stderr", "--v=0", "--virtual-time-budget=5000",
        f"--blink-settings=preferredColorScheme={0 if dark else 1}", "--dump-dom", wrapper.as_uri(),
    ]  # fmt: skip
    ended = subprocess.run(line, capture_output=True, text=True, timeout=120, check=True)
    title = re.search(r"<title>(.*?)</title></head>", ended.stdout, re.DOTALL)
    assert title is not None, ended.stderr
    console = [said for said in ended.stderr.splitlines() if "CONSOLE" in said]
    return [Seen(**one) for one in json.loads(html.unescape(title[1]))], console


def pages() -> dict[str, str]:
    pictures = [shown(), shown("best")]
    few = candidates()
    many = tuple(
        few[number % len(few)].model_copy(update={"id": f"{number:010x}", "fate": "trained"}) for number in range(600)
    )
    stopped = make_report(artifact=None, comparison=None, chosen=None, verdict=None, complete=False)
    return {
        "full": render_html(make_report(exhibits=exhibits()), pictures),
        "hostile": render_html(hostile(), pictures),
        "stopped": render_html(stopped),
        "vae on a device": render_html(
            make_report(exhibits=exhibits(kind="predicted"), detector="vae"), [shown(maps=False)]
        ),
        "many candidates": render_html(make_report(exhibits=exhibits(), candidates=(*few, *many))),
    }


@pytest.fixture(scope="module", params=[False, True], ids=["light", "dark"])
def seen(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Seen]]:
    """Every page at every width, in one theme."""
    asked = {f"{name}, {width} px": (page, width) for name, page in pages().items() for width in WIDTHS}
    found, console = look(list(asked.values()), tmp_path_factory.mktemp("look"), dark=request.param)
    assert console == []
    assert all((sum(one.paper) < 3 * 64) is request.param for one in found), "the page follows the reader's theme"
    yield dict(zip(asked, found, strict=True))


def test_no_page_scrolls_sideways(seen: dict[str, Seen]) -> None:
    """At a desk and on a phone; wide tables scroll in a box of their own. Nothing is said on the console."""
    assert {name: one.wide for name, one in seen.items() if one.wide > int(name.split(", ")[1].split()[0])} == {}


def test_words_are_legible(seen: dict[str, Seen]) -> None:
    """Contrast of at least 4.5 to 1 (WCAG 2.2, AA), in charts too, where no word leaves its chart."""
    assert {name: one.faint for name, one in seen.items() if one.faint} == {}
    assert {name: one.cut for name, one in seen.items() if one.cut} == {}


def test_every_picture_is_in_the_page(seen: dict[str, Seen]) -> None:
    """None is missing, and there are pictures at all."""
    assert {name: one.broken for name, one in seen.items() if one.broken} == {}


def test_the_console_would_tell(tmp_path: Path) -> None:
    """The tests above can fail: a page that reaches out or runs a script is caught by its own policy."""
    page = render_html(make_report())
    broken = page.replace("<main>", '<main><img src="https://example.invalid/x.png"><script>1</script>')
    _, console = look([(broken, 900)], tmp_path)
    assert len(console) >= 2

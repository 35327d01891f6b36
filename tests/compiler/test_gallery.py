"""Which pictures are shown, and how a map lies over one."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from budgetc.candidate import score_split
from budgetc.compiler.gallery import Judged, gallery, mask_of, overlaid
from budgetc.core.plan import Fp16
from budgetc.report.pictures import Shown
from budgetc.store.run_directory import RunDirectory
from tests.compiler.showing import case, masked


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[tuple[Shown, ...], Judged]]:
    """The gallery of a small STFPM, and what it was chosen from."""
    folder = tmp_path_factory.mktemp("gallery")
    with RunDirectory.open(folder / "run") as run:
        found = case(run, "stfpm", Fp16(), data=masked(folder))
        shop = found.search.shop
        judged = [
            Judged(written, score_split(written, shop, "confirmation"))
            for written in (found.baseline, found.confirmed.written)
        ]
        yield gallery(shop.dataset, *judged), judged[1]


def test_every_kind_holds_what_it_says(shown: tuple[tuple[Shown, ...], Judged]) -> None:
    """By label and by the side of the threshold; no picture twice, at most three of a kind."""
    pictures, judged = shown
    for one in pictures:
        above = one.scores[1] > judged.written.threshold
        assert (one.defect != "good") is (one.kind in ("missed", "worst", "best"))
        assert above is (one.kind in ("false alarm", "worst", "best"))
    assert len({one.file for one in pictures}) == len(pictures)
    assert max(sum(one.kind == kind for one in pictures) for kind in {one.kind for one in pictures}) <= 3


def test_pictures_are_whole_images(shown: tuple[tuple[Shown, ...], Judged]) -> None:
    """Of the size of the network's input here, since that is small; the same for both maps."""
    for one in shown[0]:
        assert one.maps is not None
        for uri in (one.picture, *one.maps):
            head, data = uri.split(",")
            assert head == "data:image/jpeg;base64"
            assert Image.open(io.BytesIO(base64.b64decode(data))).size == (32, 32)


def test_a_map_colors_what_passes_the_threshold() -> None:
    """Clear below half of it, red from twice of it on."""
    plain = np.full((2, 2, 3), 100, np.uint8)
    found = overlaid(plain, np.array([[0.0, 0.4], [1.0, 9.0]], np.float32), threshold=1.0)
    assert found[0].tolist() == [[100, 100, 100], [100, 100, 100]]
    red, green, _ = found[1, 1].astype(int)
    assert red - green > 120
    assert found[1, 0, 2] < 100


@pytest.mark.parametrize("threshold", [0.0, -1.0])
def test_a_threshold_that_is_no_scale(threshold: float) -> None:
    """Then the largest value of the map is."""
    heat = np.array([[0.0, 2.0]], np.float32)
    found = overlaid(np.full((1, 2, 3), 100, np.uint8), heat, threshold)
    assert found[0, 0].tolist() == [100, 100, 100] != found[0, 1].tolist()


def test_a_mask_has_the_size_of_the_picture(tmp_path: Path) -> None:
    """And is there for anomalies that have one only."""
    data = masked(tmp_path)
    masks = [mask_of(data, sample, (16, 16)) for sample in data.samples["confirmation"]]
    assert [mask is None for mask in masks] == [True, False] * 4
    assert all(mask.shape == (16, 16) and mask.any() for mask in masks if mask is not None)

"""Samples of motion: which frames they are made of."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from budgetc.core.dataset import SPLITS, Dataset, Motion
from budgetc.errors import InputRejected
from budgetc.load.datasets import load_dataset, load_test_part
from budgetc.load.motion import as_read_by
from budgetc.runtime.flow import new_stream, to_frame
from tests.load.clips import draw_clip, draw_clips, jumping, swaying
from tests.load.drawing import draw_category

MOTION = Motion((24, 32), (26, 34), 6, 3.4)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_clips(tmp_path_factory.mktemp("clips"))


def _numbers(dataset: Dataset, split: str, scene: str) -> list[int]:
    samples = next(dataset.samples[name] for name in SPLITS if name == split)
    return [int(Path(one.file).name[:4]) for one in samples if f"/{scene}/" in one.file]


def test_the_first_frames_of_every_stretch_are_no_samples(clips: Path) -> None:
    """A sample has six frames of its own scene and split before it."""
    plain, moving = load_dataset(clips), as_read_by(load_dataset(clips), MOTION)
    for split, scene in (("train", "road"), ("calibration", "road"), ("confirmation", "road"), ("selection", "bumps")):
        assert _numbers(moving, split, scene) == _numbers(plain, split, scene)[6:]
    assert moving.channels == 12


def test_clips_hold_the_frames_before_the_first_sample(clips: Path) -> None:
    """What scores them anywhere else needs every frame, in order, and where a clip ends."""
    moving = as_read_by(load_dataset(clips), MOTION)
    for split in SPLITS:
        found = moving.clips[split]
        assert sorted(one.file for clip in found for one in clip[6:]) == sorted(x.file for x in moving.samples[split])
        assert all(len({Path(one.file).parent for one in clip}) == 1 for clip in found)
    assert not load_dataset(clips).clips


def test_no_field_is_made_of_frames_of_another_split(clips: Path) -> None:
    """The first sample of a split is what a stream that starts at its first frame gives, warm start included."""
    plain, moving = load_dataset(clips), as_read_by(load_dataset(clips), MOTION)
    for split in SPLITS:
        stream = new_stream(MOTION.size, MOTION.fields, MOTION.largest)
        for sample in plain.samples[split][:7]:
            stream.push(to_frame(plain.read(sample, MOTION.frame_size)))
        assert stream.missing == 0
        assert (moving.images(split, MOTION.size)[0] == stream.fields()).all()


def test_smaller_fields_are_those_of_smaller_frames(clips: Path) -> None:
    """As the runtime of a detector that reads them computes them; those of the other size stay what they are."""
    plain, moving = load_dataset(clips), as_read_by(load_dataset(clips), MOTION)
    small = MOTION.at((12, 16))
    assert (small.frame_size, small.largest, MOTION.at(MOTION.size)) == ((13, 17), 1.7, MOTION)
    stream = new_stream(small.size, small.fields, small.largest)
    for sample in plain.samples["selection"][:7]:
        stream.push(to_frame(plain.read(sample, small.frame_size)))
    whole = moving.images("selection", MOTION.size)
    assert (moving.images("selection", small.size)[0] == stream.fields()).all()
    assert moving.inputs is not None
    assert (moving.inputs(moving.samples["selection"][0], MOTION.size) == whole[0]).all()


def test_samples_do_not_depend_on_the_order_they_are_read_in(clips: Path) -> None:
    """Also not on what was read before."""
    moving = as_read_by(load_dataset(clips), MOTION)
    images, samples = moving.images("confirmation", MOTION.size), moving.samples["confirmation"]
    assert moving.inputs is not None
    for number in (len(samples) - 1, 0, len(samples) // 2):
        assert (moving.inputs(samples[number], MOTION.size) == images[number]).all()


def test_a_missing_frame_begins_a_clip_anew(tmp_path: Path) -> None:
    """No field spans the gap."""
    draw_clips(tmp_path)
    for number in range(30, 34):
        (tmp_path / "train" / "road" / f"{number:04d}.png").unlink()
    numbers = _numbers(as_read_by(load_dataset(tmp_path), MOTION), "train", "road")
    assert numbers[:24] == list(range(6, 30))
    assert numbers[24] == 40


def test_frames_of_another_size_begin_a_clip_anew(tmp_path: Path) -> None:
    """Another camera or crop: nothing moves from one to the other."""
    draw_clips(tmp_path)
    for number in range(30, 50):
        file = tmp_path / "train" / "road" / f"{number:04d}.png"
        with Image.open(file) as frame:
            frame.resize((60, 50)).save(file)
    numbers = _numbers(as_read_by(load_dataset(tmp_path), MOTION), "train", "road")
    assert numbers[:45] == [*range(6, 30), *range(36, 50), *range(56, 63)]


def test_two_stated_clips_of_one_folder_stay_apart(tmp_path: Path) -> None:
    """Groups that somebody named are clips: a sample is of one of them."""
    rows = ["file,group"]
    for seed, (folder, path) in enumerate([("train/road", swaying), ("other/bumps", jumping)]):
        files = draw_clip(tmp_path / folder, 80, seed=seed, path=path)
        rows += [f"{folder}/{file.name},{folder}-{number // 10}" for number, file in enumerate(files)]
    (tmp_path / "groups.csv").write_text("\n".join(rows) + "\n")
    moving = as_read_by(load_dataset(tmp_path), MOTION)
    found = [int(Path(one.file).stem) for split in SPLITS for one in moving.samples[split]]
    assert {number % 10 for number in found} == {6, 7, 8, 9}


def test_the_test_part_alone_keeps_splits_apart(clips: Path) -> None:
    """Selection and confirmation are scored together there; the gap between them is still none of a clip's frames."""
    whole, part = as_read_by(load_dataset(clips), MOTION), as_read_by(load_test_part(clips), MOTION)
    both = _numbers(whole, "selection", "road") + _numbers(whole, "confirmation", "road")
    assert _numbers(part, "confirmation", "road") == both


def test_factors_of_order(tmp_path: Path) -> None:
    """Reversed clips show their motion with the opposite sign; faster ones show more of it."""
    draw_clips(tmp_path)
    (tmp_path / "factors.yaml").write_text("factors: {reverse: [1], faster: [0.2], shake: [0.5]}\n")
    moving = as_read_by(load_dataset(tmp_path), MOTION)
    images, samples = moving.images("confirmation", MOTION.size), moving.samples["confirmation"]

    def latest(defect: str, field: int) -> np.ndarray:
        chosen = [image for image, sample in zip(images, samples, strict=True)
                  if sample.defect == defect and "/road/" in sample.file]  # fmt: skip
        means: np.ndarray = np.stack(chosen)[:, field].astype(float).mean((1, 2))
        return means - 128

    right = {defect: latest(defect, 5) for defect in ("good", "reverse", "faster")}
    assert abs(right["good"].mean()) > 5
    assert np.sign(right["reverse"].mean()) == -np.sign(right["good"].mean())
    assert abs(right["faster"].mean()) > 1.3 * abs(right["good"].mean())
    assert latest("shake", 11).std() > 5 * latest("good", 11).std()


def test_factors_of_order_say_nothing_to_pictures(tmp_path: Path) -> None:
    """A copy that equals its frame would be an anomaly that nobody can see."""
    draw_clips(tmp_path)
    (tmp_path / "factors.yaml").write_text("factors: {reverse: [1]}\n")
    with pytest.raises(InputRejected, match=r"factors.yaml: reverse changes the order of frames alone"):
        as_read_by(load_dataset(tmp_path), None)


def test_single_pictures_are_refused(tmp_path: Path) -> None:
    """With the layout that holds frames."""
    draw_category(tmp_path)
    with pytest.raises(InputRejected, match=r"successive frames.*expected train/<scene>/"):
        as_read_by(load_dataset(tmp_path), MOTION)


def test_clips_that_are_too_short_are_refused(clips: Path) -> None:
    """Blocks of ten frames do not hold the history of twenty fields."""
    with pytest.raises(InputRejected, match=r"no clip in selection has 26 successive frames"):
        as_read_by(load_dataset(clips), Motion((24, 32), (26, 34), 25, 3.4))

import hashlib
import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from budgetc.errors import InputRejected
from budgetc.runtime import load_artifact, load_model
from budgetc.runtime.artifact import Picture
from budgetc.runtime.preprocess import resize_rgb
from tests.runtime.pictures import color, encoded
from tests.runtime.tiny import MONITOR, SIDE, tiny_model, write_artifact


def test_score_is_the_graphs_own(tmp_path: Path) -> None:
    """The score equals onnxruntime's on the pixels over 255, and the map's largest value."""
    artifact = load_artifact(write_artifact(tmp_path))
    found = artifact.score(color())
    pixels = resize_rgb(color(), SIDE, SIDE)[np.newaxis].astype(np.float32) / 255
    session = onnxruntime.InferenceSession(tiny_model(), providers=["CPUExecutionProvider"])
    score, anomaly_map = session.run(["score", "map"], {"image": pixels})
    assert found.score == pytest.approx(float(score[0]), abs=1e-6)
    assert found.map is not None
    assert found.map.shape == (SIDE, SIDE)
    assert np.allclose(found.map, anomaly_map[0, 0], atol=1e-6)
    assert found.score == found.map.max()


def test_all_forms_of_an_image_score_alike(tmp_path: Path) -> None:
    """Path, text path, bytes, PIL image, array and resized pixels are the same picture."""
    artifact = load_artifact(write_artifact(tmp_path))
    file = tmp_path / "picture.png"
    file.write_bytes(encoded(color()))
    forms: list[Picture] = [file, str(file), file.read_bytes(), color(), np.asarray(color()), color().convert("RGBA")]
    scores = {artifact.score(form).score for form in forms}
    assert scores == {artifact.score_pixels(resize_rgb(color(), SIDE, SIDE)).score}


def test_anomalous_means_above_the_threshold(tmp_path: Path) -> None:
    """A score equal to the threshold is normal, the next smaller threshold makes it anomalous."""
    score = load_artifact(write_artifact(tmp_path / "any")).score(color()).score
    at = load_artifact(write_artifact(tmp_path / "at", threshold=score))
    below = load_artifact(write_artifact(tmp_path / "below", threshold=float(np.nextafter(score, -9))))
    assert not at.score(color()).anomalous
    assert below.score(color()).anomalous


def test_detector_without_map(tmp_path: Path) -> None:
    """Where the specification names no map, there is none."""
    assert load_artifact(write_artifact(tmp_path, map=None)).score(color()).map is None


def test_threads_change_no_score(tmp_path: Path) -> None:
    """Two threads give the scores of one."""
    one = load_artifact(write_artifact(tmp_path / "one", layers=3)).score(color()).score
    two = load_artifact(write_artifact(tmp_path / "two", layers=3, threads=2)).score(color()).score
    assert one == pytest.approx(two, rel=1e-6)


def test_model_that_is_not_emitted_yet(tmp_path: Path) -> None:
    """A graph and the fields of its future artifact.json are enough to score."""
    directory = write_artifact(tmp_path / "out")
    spec = json.loads((directory / "artifact.json").read_text())
    elsewhere = tmp_path / "candidate.onnx"
    elsewhere.write_bytes((directory / "model.onnx").read_bytes())
    assert load_model(elsewhere, spec).score(color()).score == load_artifact(directory).score(color()).score


def test_changed_graph_is_refused(tmp_path: Path) -> None:
    """A single flipped bit is found by the digest."""
    model = write_artifact(tmp_path) / "model.onnx"
    data = bytearray(model.read_bytes())
    data[-1] ^= 1
    model.write_bytes(data)
    with pytest.raises(InputRejected, match="changed or damaged after it was compiled"):
        load_artifact(tmp_path)


def test_missing_graph_is_named(tmp_path: Path) -> None:
    """The path of the missing file is in the message."""
    (write_artifact(tmp_path) / "model.onnx").unlink()
    with pytest.raises(InputRejected, match=r"model\.onnx: cannot be read \(No such file"):
        load_artifact(tmp_path)


def test_a_file_is_no_artifact(tmp_path: Path) -> None:
    """Giving the graph instead of its directory is explained."""
    with pytest.raises(InputRejected, match=r"not a directory; an artifact is a directory with artifact\.json"):
        load_artifact(write_artifact(tmp_path) / "model.onnx")


def test_graph_that_the_runtime_refuses(tmp_path: Path) -> None:
    """Bytes that are no ONNX are refused with the runtime's name, though their digest fits."""
    directory = write_artifact(tmp_path, model_sha256=hashlib.sha256(b"nonsense").hexdigest())
    (directory / "model.onnx").write_bytes(b"nonsense")
    with pytest.raises(InputRejected, match=r"onnxruntime \d+\.\d+\.\d+ refuses it"):
        load_artifact(directory)


def test_graph_of_another_size_is_refused(tmp_path: Path) -> None:
    """The input size of the specification must be the graph's own."""
    picture = {"height": 64, "width": SIDE}
    with pytest.raises(InputRejected, match=r"inputs are .*declares only image: float \(1, 3, 64, 32\)"):
        load_artifact(write_artifact(tmp_path, preprocessing=picture))


def test_missing_output_is_refused(tmp_path: Path) -> None:
    """A score or map that the graph does not have is found at load, not at the first image."""
    with pytest.raises(InputRejected, match=r"outputs are .*heat"):
        load_artifact(write_artifact(tmp_path, map="heat"))


def test_score_that_is_no_number_is_refused(tmp_path: Path) -> None:
    """NaN never passes as normal."""
    artifact = load_artifact(write_artifact(tmp_path, bias=float("nan")))
    with pytest.raises(InputRejected, match=r"model\.onnx returned the score nan"):
        artifact.score(color())


def test_unreadable_image_is_named(tmp_path: Path) -> None:
    """Of a missing and of a damaged image the path is in the message."""
    artifact = load_artifact(write_artifact(tmp_path))
    with pytest.raises(InputRejected, match=r"gone\.png: cannot be read"):
        artifact.score(tmp_path / "gone.png")
    (tmp_path / "cut.png").write_bytes(encoded(color())[:100])
    with pytest.raises(InputRejected, match=r"cut\.png: not a readable image"):
        artifact.score(tmp_path / "cut.png")


@pytest.mark.parametrize("pixels", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3), np.float32)])
def test_array_of_another_kind_is_refused(tmp_path: Path, pixels: np.ndarray) -> None:
    """Only uint8 (height, width, 3) says what its numbers mean."""
    artifact = load_artifact(write_artifact(tmp_path))
    with pytest.raises(InputRejected, match=r"expected pixels of uint8 \(height, width, 3\)"):
        artifact.score(pixels)


def test_pixels_must_be_resized(tmp_path: Path) -> None:
    """`score_pixels` does not guess a resize."""
    artifact = load_artifact(write_artifact(tmp_path))
    with pytest.raises(InputRejected, match=r"expected resized uint8 pixels \(3, 32, 32\), found uint8 \(3, 16, 16\)"):
        artifact.score_pixels(np.zeros((3, 16, 16), np.uint8))


def test_gray_image_object_is_converted(tmp_path: Path) -> None:
    """A PIL image in another mode scores like its RGB version."""
    artifact = load_artifact(write_artifact(tmp_path))
    gray: Image.Image = color().convert("L")
    assert artifact.score(gray).score == artifact.score(gray.convert("RGB")).score


def test_an_artifact_of_frames_has_a_monitor(tmp_path: Path) -> None:
    """It goes on where another process stopped."""
    artifact = load_artifact(write_artifact(tmp_path, monitor=MONITOR))
    monitor = artifact.monitor(smoothing=3)
    assert [monitor.update(score).frame for score in (0.25, 0.35)] == [1, 2]
    restored = load_artifact(tmp_path).monitor(monitor.to_json())
    assert restored.update(0.45) == monitor.update(0.45)


def test_an_artifact_of_pictures_has_no_monitor(tmp_path: Path) -> None:
    """The error says what to compile with."""
    with pytest.raises(InputRejected, match=r"artifact.json has no monitor: compile with frames of a video"):
        load_artifact(write_artifact(tmp_path)).monitor()

"""Training a narrower or a rounded graph: it reproduces what the score of the unchanged one is computed of."""

import copy

import torch
from torch import Tensor

from budgetc.detectors.detector import Detector, as_input
from budgetc.detectors.graph import Graph
from budgetc.passes.imitate import on_all
from budgetc.passes.work import Work
from budgetc.training.loop import Effort, Examples, evaluate_loss, fit
from budgetc.training.losses import relative_errors


def imitate_graph(detector: Detector, effort: Effort, work: Work) -> None:
    """Train a graph in place on normals and damaged normals, with the unchanged graph of the compilation as teacher.

    It stays as it was where no epoch brings it nearer. The teacher computes along: what its score reads may be large
    maps, too many to keep for thousands of pictures.
    """
    new, known = detector.module, work.baseline.module
    assert isinstance(new, Graph) and isinstance(known, Graph)
    if effort.epochs == 0:
        new.eval()
        return
    teacher = copy.deepcopy(known).eval().requires_grad_(False)
    train, watch, images = on_all(work, detector.config.input_size)

    def loss(indices: Tensor) -> Tensor:
        pictures = as_input(images[indices.numpy()])
        with torch.no_grad():
            wanted = teacher.features(pictures)
        return relative_errors(new.features(pictures), wanted)

    examples = Examples(train, watch, loss)
    before, start = evaluate_loss(new, examples, effort.batch), copy.deepcopy(new.state_dict())
    curve = fit(new, examples, effort, work.progress)
    if curve.held_out_loss is None or curve.held_out_loss > before:  # least squares had come nearer
        new.load_state_dict(start)
    work.curves.append(curve)

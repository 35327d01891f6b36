"""Training of a graph: it imitates what the unchanged graph computes its score of."""

from torch import Tensor

from budgetc.detectors.detector import Detector, as_input
from budgetc.detectors.graph import Graph
from budgetc.passes.imitate import on_all
from budgetc.passes.work import Work
from budgetc.training.loop import Effort, Examples, fit
from budgetc.training.losses import relative_errors


def imitate_graph(new: Graph, detector: Detector, effort: Effort, work: Work) -> None:
    """Train the layers of `new` in place towards the baseline's results in front of the score, on normals and damaged
    normals: no anomaly is needed, and nothing has to be known of what the score does with them.

    Args:
        new: returns the shapes of the baseline there.
        detector: says the input size.
        effort: no epochs leave the weights as they are.
        work: pictures and the baseline.
    """
    if effort.epochs == 0:
        new.eval()
        return
    old, size = work.baseline.module, detector.config.input_size
    assert isinstance(old, Graph)
    train, watch, images = on_all(work, size)
    wanted = work.outputs(old, old.features, size)

    def loss(indices: Tensor) -> Tensor:
        return relative_errors(new.features(as_input(images[indices.numpy()])), [one[indices] for one in wanted])

    work.curves.append(fit(new.layers, Examples(train, watch, loss), effort, work.progress))
    new.eval()

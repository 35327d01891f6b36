"""Random numbers in a file: a detector has one score for a picture."""

import numpy as np
import onnx
from onnx import helper, numpy_helper

from budgetc.errors import InputRejected
from budgetc.load.graph.reading import describe

_NORMAL = ("RandomNormal", "RandomNormalLike")
_OTHERS = ("Bernoulli", "Multinomial", "RandomUniform", "RandomUniformLike")


def without_noise(where: str, model: onnx.ModelProto) -> list[str]:
    """Put the mean in place of normal noise, in place; returns notes, one a node.

    The reparameterization of a VAE then reads the mean of the posterior.

    Raises:
        InputRejected: other random numbers, which no mean can stand for.
    """
    graph, notes = model.graph, list[str]()
    others = [node for node in graph.node if node.op_type in _OTHERS]
    if others:
        raise InputRejected(
            f"{where}: draws random numbers at {', '.join(describe(node) for node in others)}: a picture would have "
            "another score every time; export the model in evaluation mode (module.eval()), without sampling"
        )
    for place, node in enumerate(list(graph.node)):
        if node.op_type not in _NORMAL:
            continue
        told = {one.name: helper.get_attribute_value(one) for one in node.attribute}
        mean = numpy_helper.from_array(np.array([told.get("mean", 0.0)], np.float32))
        shape = f"{node.output[0]}.shape"
        if node.op_type == "RandomNormal":
            first = helper.make_node("Constant", [], [shape], value_ints=told["shape"])
        else:
            first = helper.make_node("Shape", [node.input[0]], [shape])
        filled = helper.make_node("ConstantOfShape", [shape], [node.output[0]], value=mean)
        notes.append(f"{describe(node)} draws random numbers: their mean {told.get('mean', 0.0):g} stands for them, so "
                     "that a picture has one score (of a VAE: that of the posterior's mean)")  # fmt: skip
        graph.node.remove(node)
        graph.node.insert(place + len(notes) - 1, first)
        graph.node.insert(place + len(notes), filled)
    return notes

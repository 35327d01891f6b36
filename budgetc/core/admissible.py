"""Which settings a detector family has a use for, and which orders of steps make sense: reasons, or None."""

from collections.abc import Sequence

from budgetc.core.plan import Direct, Distill, Fp16, Prune, Qat, Quantize, Smaller, Step, Truncate

_TAUGHT = {"feature": ("efficientad", "flow_vae", "gaussian", "reverse_distillation", "stfpm", "uninformed_students",
                        "vae"),
           "map": ("stfpm",), "relation": ("flow_vae", "stfpm", "vae"), "ranking": ("flow_vae", "stfpm", "vae"),
           "divergence": ("flow_vae", "vae")}  # fmt: skip
"""Loss -> the families that know it."""
_WITH_TEACHER = ("efficientad", "reverse_distillation", "stfpm", "uninformed_students")


def foreign_setting(step: Step, family: str) -> str | None:
    """Why a family cannot take the settings of a step; None where it can.

    Args:
        step: of a plan.
        family: as `FAMILIES` calls it; an unknown one takes everything here, and is refused by the pass.
    """
    if family == "graph":
        return _foreign_to_graph(step)
    if family not in _TAUGHT["feature"]:
        return None
    name = step.step
    match step:
        case Truncate() if family in ("flow_vae", "vae"):
            return f"truncate: the linear layers of {_one(family)} fit one size of picture, and are not pretrained"
        case Truncate() if family == "reverse_distillation":
            return "truncate: the decoder of a reverse_distillation reads and restores every tap; distill it instead"
        case Truncate() if family == "efficientad":
            return "truncate: an efficientad has no stages to cut off; distill it, also to smaller pictures"
        case Truncate() if family == "uninformed_students":
            return "truncate: a patch network describes its patch in its last layer alone; distill it instead"
        case Quantize() if family == "reverse_distillation" and step.scope == "student":
            return "quantize.scope: the decoder reads the teacher's features, so that both compute in INT8 or neither"
        case Quantize() if family not in _WITH_TEACHER and step.scope == "student":
            return f"quantize.scope: {_one(family)} has one network, so that it makes no difference"
        case Prune() | Smaller() if family not in _WITH_TEACHER and step.teacher is not None:
            return f"{name}.teacher: {_one(family)} deploys no teacher; leave the setting out"
        case Prune() if family == "flow_vae" and step.latents is not None:
            return "prune.latents: both directions of a flow_vae keep theirs; leave the setting out"
        case Prune() if family != "vae" and step.latents is not None:
            return f"prune.latents: {_one(family)} has none; leave the setting out"
        case Distill() if family not in _TAUGHT[step.loss]:
            return f"{name}.loss: {_one(family)} has no {step.loss} to imitate; it knows {_known(family)}"
        case Smaller():
            return _foreign_shape(step, name, family)
        case _:
            return None


def _foreign_to_graph(step: Step) -> str | None:
    name = step.step
    match step:
        case Truncate() | Direct():
            return f"{name}: a graph is read from a file, and how its kind is built or trained is not known; distill it"
        case Prune() | Smaller() if step.teacher is not None:
            return f"{name}.teacher: a graph has one network; leave the setting out"
        case Prune() if step.latents is not None:
            return "prune.latents: a graph has none that are known; leave the setting out"
        case Distill() if step.loss != "feature":
            return f"distill.loss: a graph has no {step.loss} to imitate; it knows feature"
        case Distill() if step != Distill(
            student=step.student, epochs=step.epochs, learning_rate=step.learning_rate, loss_weight=step.loss_weight
        ):
            return "distill: of a graph, a student has the same nodes with a share of their channels; set student alone"
        case Quantize() if step.scope == "student":
            return "quantize.scope: a graph has one network, so that it makes no difference"
        case _:
            return None


def _one(family: str) -> str:
    """With its article."""
    return f"{'an' if family[0] in 'aeiou' else 'a'} {family}"


def _known(family: str) -> str:
    return ", ".join(loss for loss, families in _TAUGHT.items() if family in families)


def _foreign_shape(step: Smaller, name: str, family: str) -> str | None:
    if step.students is not None and family != "uninformed_students":
        return f"{name}.students: only uninformed_students have several, not {_one(family)}"
    if family == "uninformed_students" and (step.depth is not None or step.backbone != "plain"):
        return f"{name}: layers of a patch network follow from its receptive field; leave out depth and backbone"
    if step.shared and family == "reverse_distillation":
        return f"{name}.shared: the decoder of a reverse_distillation reads all of the teacher's features anyway"
    if step.shared and family == "efficientad":
        return f"{name}.shared: the networks of an efficientad have no stages to share"
    if step.shared and family != "stfpm":
        return f"{name}.shared: {_one(family)} has no teacher whose stages could be shared"
    if family == "flow_vae" and step.input != 1.0 and not isinstance(step, Direct):
        return f"{name}.input: fields of another size show another motion; direct trains a flow_vae on them"
    if family == "flow_vae" and step.latents != 1.0:
        return f"{name}.latents: both directions of a flow_vae keep theirs; leave the setting out"
    if step.input != 1.0 and family == "gaussian":
        return f"{name}.input: a gaussian imitates features of the same grid; truncate makes its pictures smaller"
    if family in ("efficientad", "flow_vae", "vae") and step.backbone != "plain":
        return f"{name}.backbone: convolutions of {_one(family)} are dense"
    if family == "efficientad" and step.depth is not None:
        return f"{name}.depth: the layers of a patch network are fixed, only their channels are not"
    if family in ("flow_vae", "vae") and step.depth is not None:
        return f"{name}.depth: a block of {_one(family)} has one convolution"
    if family == "vae":
        return None
    if step.drop_hidden:
        return f"{name}.drop_hidden: only a vae has hidden linear layers, not {_one(family)}"
    return None if step.latents == 1.0 else f"{name}.latents: only a vae has latent dimensions, not {_one(family)}"


def misplaced(steps: Sequence[Step]) -> str | None:
    """Why an order makes no sense, or is another one's equal; None where it does."""
    for number, step in enumerate(steps):
        before = steps[:number]
        match step:
            case Truncate() if any(isinstance(one, (Smaller, Prune)) for one in before):
                return "truncate cuts off stages as they were pretrained: put it before what trains"
            case Truncate() | Direct() if any(isinstance(one, Quantize) for one in before):
                return f"quantize before {step.step} is fitted anew after it and changes nothing: put it behind"
            case Direct() if any(isinstance(one, (Distill, Prune)) for one in before):
                return "direct starts from random weights, so that what was learned before is lost: put it first"
            case Prune() if any(isinstance(one, Smaller) and one.shared for one in before):
                return "prune does not know a student that reads its teacher's features: leave out shared"
            case Quantize() if step.scope == "student" and any(
                isinstance(one, Smaller) and one.shared for one in steps
            ):
                return "quantize.scope: the trunk that the student shares is the teacher's, and would stay in FP32"
            case Quantize() | Smaller() | Prune() if any(isinstance(one, Qat) for one in before):
                return f"{step.step} settles the ranges again that qat has learned: put qat behind it"
            case _ if any(isinstance(one, Fp16) for one in before) and not isinstance(step, Fp16):
                return "fp16 says how weights are stored, which later steps settle again: put it last"
            case _:
                pass
    return None

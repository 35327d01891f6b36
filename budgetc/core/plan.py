"""A plan: settled steps in order. Settings are values, never "value or list"."""

import hashlib
import json
from typing import Annotated, Literal

from pydantic import Field

from budgetc.core.frozen import Frozen

Ratio = Annotated[float, Field(gt=0, le=1)]
Method = Literal["min-max", "percentile", "entropy", "mse"]
"""How the range of an activation follows from what calibration saw."""
Source = Literal["calibration", "train", "augmented", "noise"]
"""What calibration looks at: calibration normals; training normals, as taken or turned and toned too; random pixels."""


class Quantize(Frozen):
    """PTQ to INT8: U8 activations, per-channel S8 weights, ranges from calibration normals."""

    step: Literal["quantize"] = "quantize"
    scope: Literal["all", "student"] = "all"
    """`student` keeps the teacher in FP32."""
    method: Method = "min-max"
    source: Source = "calibration"
    samples: Annotated[int, Field(ge=1, le=4096)] = 64
    first_convolution: bool = False
    """Whether the 3-channel convolution runs in INT8 too."""
    depthwise: bool = True
    """Whether depthwise convolutions run in INT8 too, which not every processor does faster than in FP32."""
    last_layers: bool = True
    """Whether the layers that only the score head reads run in INT8 too."""
    float_layers: Annotated[int, Field(ge=0, le=256)] = 0
    """How many more layers stay in FP32: those that disturb the anomaly score most when they alone are rounded. A price
    before training assumes the largest ones, so that no file is larger than its price."""
    bias_correction: bool = False
    """Whether what rounding shifts on average is taken out of the biases."""


class Qat(Frozen):
    """Quantization-aware training: a few epochs under the INT8 formats of a quantize step before it."""

    step: Literal["qat"] = "qat"
    epochs: Annotated[int, Field(ge=0, le=10_000)] = 4
    learning_rate: Annotated[float, Field(gt=0, le=10)] = 1e-4
    samples: Annotated[int, Field(ge=1, le=100_000)] = 512
    """Most normals an epoch learns from, and as many damaged ones."""


class Fp16(Frozen):
    """Store the remaining FP32 weights as FP16; the runtime folds them back at load."""

    step: Literal["fp16"] = "fp16"


class StoreBits(Frozen):
    """Store weights as codes of 2 to 8 bits, scales and biases as FP16; the runtime unpacks them at load."""

    step: Literal["store-bits"] = "store-bits"
    bits: Annotated[float, Field(ge=2, le=8)] = 4.0
    """Of a weight on average; which layer gets how many follows from what rounding it does to the scores."""


class Truncate(Frozen):
    """Keep the first stages of a pretrained network, on smaller pictures; no gradient step.

    Of a student-teacher detector the student's matching taps stay, trained as they are.
    """

    step: Literal["truncate"] = "truncate"
    stages: Annotated[int, Field(ge=0, le=16)] | None = None
    """The last stage that stays, counted as taps are; None keeps all."""
    first: Annotated[int, Field(ge=0, le=16)] | None = None
    """The first stage that is judged; shallower taps go, their layers stay. None judges all."""
    input: Ratio = 1.0
    """Sides of the picture over the old ones."""


Loss = Literal["feature", "map", "relation", "ranking", "divergence"]
"""What a student imitates beside, or of a VAE in place of, features: see `Distill.loss`."""


class Smaller(Frozen):
    """The networks that take the place of the old ones."""

    student: Ratio = 0.5
    """Channels of the new student (of a VAE: its encoder) over those of the old."""
    teacher: Ratio | None = None
    """Same for the teacher of a student-teacher detector; None keeps the teacher."""
    backbone: Literal["plain", "separable"] = "plain"
    """Convolutions of the new student: dense, or a depthwise and a 1x1 one each. A VAE's stay dense."""
    depth: Annotated[int, Field(ge=0, le=16)] | None = None
    """Convolutions of a stage of the new student after its first; None: as many as the old plain one has, else 1."""
    shared: Annotated[int, Field(ge=0, le=8)] = 0
    """Stages of a teacher whose result the student reads in place of the picture, so that they are computed once."""
    input: Ratio = 1.0
    """Sides of the picture over the old ones."""
    students: Annotated[int, Field(ge=1, le=16)] | None = None
    """How many students an ensemble of them has; None: as many as the old one. One needs no others to disagree with."""
    latents: Ratio = 1.0
    """Latent dimensions of a VAE over those of the old."""
    drop_hidden: bool = False
    """Of a VAE: leave out the linear layers between the last convolution and the heads."""


class Distill(Smaller):
    """Replace networks by smaller ones that are trained to reproduce them."""

    step: Literal["distill"] = "distill"
    loss: Loss = "feature"
    """What is imitated beside features (of a VAE: beside its means): `map` the anomaly maps of damaged normals,
    `relation` distances and angles between pictures, `ranking` the order of scores of normals with more and more
    damage. `divergence` replaces the means of a VAE by its posterior, as one without prototypes imitates anyway."""
    loss_weight: Annotated[float, Field(ge=0, le=100)] = 1.0
    """Weight of what `loss` adds to features."""
    epochs: Annotated[int, Field(ge=0, le=10_000)] = 10
    learning_rate: Annotated[float, Field(gt=0, le=10)] = 3e-3


class Direct(Smaller):
    """Replace networks by smaller ones that learn from normals alone: the control of a distillation.

    A smaller teacher has random weights.
    """

    step: Literal["direct"] = "direct"
    epochs: Annotated[int, Field(ge=0, le=10_000)] = 30
    learning_rate: Annotated[float, Field(gt=0, le=10)] = 3e-3


Importance = Literal["l2", "taylor", "activation", "hessian", "reconstruction"]
"""Of weights; of scores, to first order; of what a channel returns; of outputs, to second order; of what the next
layers would miss once the other channels made up for it."""


Allocation = Literal["uniform", "knapsack"]


class Prune(Frozen):
    """Remove whole channels, least important first, then fine-tune."""

    step: Literal["prune"] = "prune"
    keep: Ratio = 0.5
    """Share of channels that stays in every prunable group of the student (of a VAE: its encoder)."""
    teacher: Ratio | None = None
    """Same for the teacher of a student-teacher detector; None leaves the teacher whole."""
    allocation: Allocation = "uniform"
    """`knapsack` keeps a share of the weights instead, and of each group what disturbs the score least."""
    macs: Ratio = 1.0
    """With a knapsack: share of the multiply-accumulates that may stay."""
    importance: Importance = "l2"
    """What decides which channels of a group stay."""
    latents: Ratio | None = None
    """Share of a VAE's latent dimensions that stays, cut last; None keeps all."""
    rounds: Annotated[int, Field(ge=1, le=16)] = 1
    """Prune in so many steps of equal ratio, with a share of the epochs after each."""
    round_to: Annotated[int, Field(ge=1, le=64)] = 8
    epochs: Annotated[int, Field(ge=0, le=10_000)] = 4
    learning_rate: Annotated[float, Field(gt=0, le=10)] = 1e-3


Step = Annotated[Quantize | Qat | Fp16 | StoreBits | Truncate | Direct | Distill | Prune, Field(discriminator="step")]


def fingerprint(value: object) -> str:
    """sha256 (hex) of the canonical JSON of plain data."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


class Plan(Frozen):
    """A recipe with every choice made, and the seed of its randomness."""

    recipe: str
    steps: tuple[Step, ...]
    seed: int

    @property
    def id(self) -> str:
        """Ten hex digits that follow from the steps and the seed, not from the recipe's name."""
        return fingerprint([[step.model_dump() for step in self.steps], self.seed])[:10]

    @property
    def trained(self) -> tuple[Step, ...]:
        """The steps up to and with the last one that changes weights by what it saw of normals."""
        learned = (Direct, Distill, Prune, Qat, Truncate)
        at = [number for number, step in enumerate(self.steps, 1) if isinstance(step, learned)]
        return self.steps[: at[-1]] if at else ()

    def title(self) -> str:
        """For people: `distill(teacher .5) > distill(student .25) > quantize`."""
        return " > ".join(_step_title(step) for step in self.steps) or "unchanged"


def _step_title(step: Step) -> str:
    match step:
        case Quantize():
            return _quantize_title(step)
        case Qat():
            return "qat"
        case Fp16():
            return "fp16"
        case StoreBits():
            return f"store-bits({step.bits:g})"
        case Truncate():
            kept = [] if step.first is None else [f"from stage {step.first}"]
            kept += [] if step.stages is None else [f"stage {step.stages}"]
            kept += [] if step.input == 1.0 else [f"input {step.input:g}"]
            return f"truncate({', '.join(kept) or 'nothing'})"
        case Direct():
            return f"direct({', '.join(_smaller_words(step))})"
        case Distill():
            loss = [] if step.loss == "feature" else [f"loss {step.loss} {step.loss_weight:g}"]
            return f"distill({', '.join([*_smaller_words(step), *loss])})"
        case Prune():
            teacher = "" if step.teacher is None else f"teacher {step.teacher:g}, "
            parts = [f"{teacher}keep {step.keep:g}", *_pruned_by(step)]
            return f"prune({', '.join(parts)})"


def _smaller_words(step: Smaller) -> list[str]:
    """The settings that are not as they usually are, and the student's width."""
    words = [] if step.teacher is None else [f"teacher {step.teacher:g}"]
    words.append(f"student {step.student:g}")
    words += [] if step.backbone == "plain" else [step.backbone]
    words += [] if step.depth is None else [f"depth {step.depth}"]
    words += [] if step.shared == 0 else [f"shared {step.shared}"]
    words += [] if step.input == 1.0 else [f"input {step.input:g}"]
    words += [] if step.students is None else [f"{step.students} student{'s' * (step.students > 1)}"]
    words += [] if step.latents == 1.0 else [f"latents {step.latents:g}"]
    return words + (["no hidden layers"] if step.drop_hidden else [])


def _quantize_title(step: Quantize) -> str:
    """Only what differs from the defaults."""
    words: list[str] = [] if step.scope == "all" else [step.scope]
    words += [] if step.method == "min-max" else [step.method]
    words += [] if step.source == "calibration" else [step.source]
    words += ["first convolution"] if step.first_convolution else []
    words += [] if step.depthwise else ["depthwise in FP32"]
    words += [] if step.last_layers else ["last layers in FP32"]
    words += [f"{step.float_layers} layers in FP32"] if step.float_layers else []
    words += ["bias correction"] if step.bias_correction else []
    return f"quantize({', '.join(words)})" if words else "quantize"


def _pruned_by(step: Prune) -> list[str]:
    """Settings that are not today's usual ones."""
    usual = Prune()
    found: list[str] = [step.allocation] if step.allocation != usual.allocation else []
    found += [f"macs {step.macs:g}"] if step.macs != usual.macs else []
    found += [] if step.importance == usual.importance else [step.importance]
    found += [] if step.latents is None else [f"latents {step.latents:g}"]
    return found + ([f"{step.rounds} rounds"] if step.rounds != usual.rounds else [])

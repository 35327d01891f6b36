"""A user's plain weights become a detector; every key is accounted for."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import safetensors.torch
from torch import Tensor

from budgetc.detectors.detector import Detector
from budgetc.errors import InputRejected, UsageError
from budgetc.load.anomalib import refuse_unsupported
from budgetc.load.checkpoint import Checkpoint, read_checkpoint, refuse_bundle
from budgetc.load.container import FileContent, read_model_file
from budgetc.load.import_efficientad import EfficientAdSource, efficientad_from
from budgetc.load.import_reverse import ReverseSource, reverse_from
from budgetc.load.import_stfpm import StfpmSource, stfpm_from
from budgetc.load.import_vae import vae_from
from budgetc.load.model import with_hint
from budgetc.load.onnx_graph import OnnxOptions, detector_of_onnx
from budgetc.load.origin import Origin
from budgetc.load.outside.sandbox import Answer, Request, run_outside
from budgetc.load.outside.trust import refuse_needless, run_trusted
from budgetc.load.tensors import NeedsCode, load_plain, quoted

PUBLISHED_SIZE = (256, 256)
_IMPORTED = ("efficientad", "reverse_distillation", "stfpm", "vae")


@dataclass(frozen=True, slots=True)
class Imported:
    """The detector, and what a user should know about how its weights were read."""

    detector: Detector
    notes: tuple[str, ...]
    source: Origin


def import_weights(
    path: Path,
    *,
    detector: str,
    backbone: str | None = None,
    input_size: tuple[int, int] | None = None,
    student: Path | None = None,
    teacher_prefix: str | None = None,
    student_prefix: str | None = None,
    teacher_weights: Path | None = None,
    trust: str | None = None,
    padding: bool | None = None,
) -> Imported:
    """Read a state_dict (.pt, .pth, .ckpt) or .safetensors of somebody else's training.

    Args:
        detector: `stfpm` (teacher and student, each ResNet-18 or Wide-ResNet-50-2 in torchvision's
            names or ours), `reverse_distillation` (bottleneck and decoder in the authors' names, alone or
            with their encoder), `efficientad` (anomalib's three networks) or `vae` (encoder).
        backbone: `stfpm` and `reverse_distillation`: the architecture to expect; None takes what the keys say.
        input_size: (height, width) the detector was trained at; None: what a checkpoint of anomalib says, else
            256x256, for `vae` what its first fully connected layer implies if that is a square.
        student: `stfpm`: the student's file, where `path` holds the teacher alone.
        teacher_prefix: what the teacher's keys start with; None finds it by its name.
        student_prefix: same for the student.
        teacher_weights: `reverse_distillation`: the encoder's file in torchvision's names, where `path` has none.
        trust: `sha256:` and the digest of `path`, where it needs full unpickling and is trusted.
        padding: `efficientad`: whether convolutions of its patch networks pad; None: as its checkpoint says, else not.

    Raises:
        UsageError: options that do not belong to the detector, or an unknown detector or backbone.
        InputRejected: an unsafe or damaged file, or keys and shapes that do not fit, every one named.
    """
    _check_options(detector, backbone, (student, teacher_prefix, student_prefix), teacher_weights)
    if padding is not None and detector != "efficientad":
        raise UsageError(f"--padding is for efficientad, not for {detector}")
    checkpoint = read_checkpoint(path, trust=trust)
    refuse_unsupported(str(path), checkpoint.stated, detector)
    if detector == "vae":
        result, notes = vae_from(str(path), checkpoint.weights, input_size)
    elif detector == "efficientad":
        result, notes = efficientad_from(_efficientad(path, checkpoint, padding), input_size or _size(checkpoint))
    elif detector == "reverse_distillation":
        encoder = None if teacher_weights is None else read_checkpoint(teacher_weights).weights
        networks = ReverseSource(
            str(path), checkpoint.weights, str(teacher_weights or path), encoder, checkpoint.stated
        )
        result, notes = reverse_from(networks, backbone, input_size or _size(checkpoint))
    else:
        prefixes = teacher_prefix, student_prefix
        result, notes = stfpm_from(
            _stfpm(path, checkpoint, student, prefixes), backbone, input_size or _size(checkpoint)
        )
    return Imported(result, (*notes, *checkpoint.notes), checkpoint.source)


def _size(checkpoint: Checkpoint) -> tuple[int, int]:
    return checkpoint.stated.size or PUBLISHED_SIZE


def _stfpm(
    path: Path, checkpoint: Checkpoint, student: Path | None, prefixes: tuple[str | None, str | None]
) -> StfpmSource:
    return StfpmSource(
        where=str(path),
        weights=checkpoint.weights,
        student_where=str(student or path),
        student_weights=checkpoint.weights if student is None else read_checkpoint(student).weights,
        teacher_prefix=prefixes[0],
        student_prefix=prefixes[1],
        separate=student is not None,
        stated=checkpoint.stated,
    )


def _efficientad(path: Path, checkpoint: Checkpoint, padding: bool | None) -> EfficientAdSource:
    """With the options that a checkpoint states beside its weights."""
    stated = checkpoint.stated
    if padding is not None and stated.padding not in (None, padding):
        raise UsageError(f"--padding: {path} says that it was trained {'with' if stated.padding else 'without'} it")
    said = {"padding": padding if stated.padding is None else stated.padding, "pad_maps": stated.pad_maps}
    return EfficientAdSource(
        str(path), checkpoint.weights, **{name: value for name, value in said.items() if value is not None}
    )


def import_network(path: Path, options: OnnxOptions, *, trust: str | None = None) -> Imported:
    """Read a whole network of any architecture: an ONNX file, or, where it is trusted, one that is code.

    Args:
        path: `.onnx`; or TorchScript, `.pt2`, or a pickled `nn.Module`, which are run in a child process.
        options: what the file does not say of itself.
        trust: `sha256:` and the digest of a file that is code.

    Raises:
        UsageError: it holds weights alone.
        InputRejected: not trusted, or it cannot be rebuilt from budgetc's layers.
    """
    file = read_model_file(path)
    if file.kind == "onnx":
        refuse_needless(path, trust, "an ONNX file")
        found = detector_of_onnx(file, options)
        return Imported(found.detector, found.notes, Origin(how="onnx", sha256=found.sha256))
    try:
        if file.kind != "safetensors":
            refuse_bundle(path, load_plain(file))
    except NeedsCode as refusal:
        if trust is None:
            raise with_hint(file, refusal) from refusal
        answer = run_trusted(file, trust, refusal, options.input_size)
        if answer.graph is not None:
            options = replace(options, line=f"budgetc import {quoted(path)} --trust-model {trust}")
            return _graph(path, answer, options, Origin(how="trusted code", sha256=file.sha256))
    raise UsageError(f"{path}: holds weights, not a whole network; say whose they are with "
                     f"--detector {'|'.join(_IMPORTED)} or --detector package.module:factory")  # fmt: skip


def import_factory(factory: str, path: Path | None, options: OnnxOptions, *, trust: str | None = None) -> Imported:
    """The network that a function of the user's returns, as a graph: `OutsideDetector` says what it must be.

    Args:
        factory: `package.module:name`, imported in a child process that starts in the present directory.
        path: state_dict for it; None: the factory loads its own.
        options: what the module does not say of itself.
        trust: `sha256:` and the digest of `path`, where that needs full unpickling.

    Raises:
        UsageError: the factory cannot be imported.
        InputRejected: weights that do not fit, or a network that cannot be rebuilt from budgetc's layers.
    """
    weights, digest = None, None
    if path is None and trust is not None:
        raise UsageError("--trust-model is for a FILE with weights; a factory runs because it is named")
    if path is not None:
        checkpoint = read_checkpoint(path, trust=trust)
        weights, digest = safetensors.torch.save(_separate(checkpoint.weights)), checkpoint.source.sha256
    answer = run_outside(Request("factory", factory, weights, factory=factory, size=options.input_size))
    given = "" if path is None else f"{quoted(path)} " + ("" if trust is None else f"--trust-model {trust} ")
    options = replace(options, line=f"budgetc import {given}--detector {factory}")
    return _graph(Path(factory), answer, options, Origin(how="factory", sha256=digest, factory=factory))


def _graph(path: Path, answer: Answer, options: OnnxOptions, source: Origin) -> Imported:
    if answer.graph is None:
        raise InputRejected(f"{path}: gave weights, expected a network")
    digest = hashlib.sha256(answer.graph).hexdigest()
    found = detector_of_onnx(FileContent(path, answer.graph, digest, "onnx"), options)
    return Imported(found.detector, found.notes, source)


def _separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each with memory of its own: safetensors takes no others."""
    return {name: value.clone().contiguous() for name, value in tensors.items()}


def _check_options(
    detector: str, backbone: str | None, stfpm_only: tuple[object, ...], teacher_weights: object
) -> None:
    if detector not in _IMPORTED:
        raise UsageError(f"--detector {detector}: unknown; budgetc imports {', '.join(_IMPORTED)}")
    if detector != "stfpm" and any(option is not None for option in stfpm_only):
        raise UsageError(f"--detector {detector} has no student or prefix: these options are for stfpm")
    if detector in ("efficientad", "vae") and backbone is not None:
        raise UsageError(f"--detector {detector} has no backbone: this option is for reverse_distillation and stfpm")
    if detector != "reverse_distillation" and teacher_weights is not None:
        raise UsageError(f"--teacher-weights is for reverse_distillation, not for {detector}")
    if backbone is not None and backbone not in ("resnet18", "wide_resnet50_2"):
        raise UsageError(f"--backbone {backbone}: imports know resnet18 and wide_resnet50_2")

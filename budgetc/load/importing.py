"""A user's plain weights become a detector; every key is accounted for."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from budgetc.detectors.detector import Detector
from budgetc.errors import InputRejected, UsageError
from budgetc.load.container import read_model_file
from budgetc.load.import_efficientad import EfficientAdSource, efficientad_from
from budgetc.load.import_reverse import ReverseSource, reverse_from
from budgetc.load.import_stfpm import StfpmSource, stfpm_from
from budgetc.load.import_vae import vae_from
from budgetc.load.layouts import find_state_dict
from budgetc.load.tensors import check_tensors, load_plain

PUBLISHED_SIZE = (256, 256)
_IMPORTED = ("efficientad", "reverse_distillation", "stfpm", "vae")


@dataclass(frozen=True, slots=True)
class Imported:
    """The detector, and what a user should know about how its weights were read."""

    detector: Detector
    notes: tuple[str, ...]
    sha256: str
    """Of the (first) file."""


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
    padding: bool | None = None,
) -> Imported:
    """Read a state_dict (.pt, .pth, .ckpt) or .safetensors of somebody else's training.

    Args:
        detector: `stfpm` (teacher and student, each ResNet-18 or Wide-ResNet-50-2 in torchvision's
            names or ours), `reverse_distillation` (bottleneck and decoder in the authors' names, alone or
            with their encoder), `efficientad` (anomalib's three networks) or `vae` (encoder).
        backbone: `stfpm` and `reverse_distillation`: the architecture to expect; None takes what the keys say.
        input_size: (height, width) the detector was trained at; None: 256x256, for `vae`
            what its first fully connected layer implies if that is a square.
        student: `stfpm`: the student's file, where `path` holds the teacher alone.
        teacher_prefix: what the teacher's keys start with; None finds it by its name.
        student_prefix: same for the student.
        teacher_weights: `reverse_distillation`: the encoder's file in torchvision's names, where `path` has none.
        padding: `efficientad`: whether convolutions of its patch networks pad; None: as its checkpoint says, else not.

    Raises:
        UsageError: options that do not belong to the detector, or an unknown detector or backbone.
        InputRejected: an unsafe or damaged file, or keys and shapes that do not fit, every one named.
    """
    _check_options(detector, backbone, (student, teacher_prefix, student_prefix), teacher_weights)
    if padding is not None and detector != "efficientad":
        raise UsageError(f"--padding is for efficientad, not for {detector}")
    data, weights, digest = _read(path)
    if detector == "efficientad":
        result, notes = efficientad_from(_efficientad(path, data, weights, padding), input_size or PUBLISHED_SIZE)
        return Imported(result, notes, digest)
    if detector == "vae":
        result, notes = vae_from(str(path), weights, input_size)
        return Imported(result, notes, digest)
    if detector == "reverse_distillation":
        encoder = None if teacher_weights is None else read_state_dict(teacher_weights)[0]
        networks = ReverseSource(str(path), weights, str(teacher_weights or path), encoder)
        result, notes = reverse_from(networks, backbone, input_size or PUBLISHED_SIZE)
        return Imported(result, notes, digest)
    source = StfpmSource(
        where=str(path),
        weights=weights,
        student_where=str(student or path),
        student_weights=weights if student is None else read_state_dict(student)[0],
        teacher_prefix=teacher_prefix,
        student_prefix=student_prefix,
        separate=student is not None,
    )
    result, notes = stfpm_from(source, backbone, input_size or PUBLISHED_SIZE)
    return Imported(result, notes, digest)


def read_state_dict(path: Path) -> tuple[dict[str, Tensor], str]:
    """The checked tensors of a file, unwrapped from a Lightning checkpoint, and the file's sha256."""
    _, weights, digest = _read(path)
    return weights, digest


def _efficientad(path: Path, data: object, weights: dict[str, Tensor], padding: bool | None) -> EfficientAdSource:
    """With the options that a checkpoint of Lightning holds beside its weights."""
    options = data.get("hyper_parameters", {}) if isinstance(data, Mapping) else {}
    said = {name: value for name in ("padding", "pad_maps") if isinstance(value := options.get(name), bool)}
    if padding is not None and said.get("padding", padding) != padding:
        raise UsageError(f"--padding: {path} says that it was trained {'with' if said['padding'] else 'without'} it")
    return EfficientAdSource(str(path), weights, **({} if padding is None else {"padding": padding}) | said)


def _read(path: Path) -> tuple[object, dict[str, Tensor], str]:
    """What the file holds, its checked state_dict, and its sha256."""
    file = read_model_file(path)
    data = load_plain(file)
    if isinstance(data, Mapping) and "format" in data:
        raise InputRejected(f"{path}: is a budgetc bundle already; compile takes it as it is")
    found = find_state_dict(data)
    if found is None:
        raise InputRejected(f"{path}: holds no state_dict (found {type(data).__name__}), expected names with tensors")
    return data, check_tensors(str(path), found), file.sha256


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

"""A user's plain weights become a detector; every key is accounted for."""

from dataclasses import dataclass
from pathlib import Path

from budgetc.detectors.detector import Detector
from budgetc.errors import UsageError
from budgetc.load.anomalib import refuse_unsupported
from budgetc.load.checkpoint import Checkpoint, read_checkpoint
from budgetc.load.import_reverse import ReverseSource, reverse_from
from budgetc.load.import_stfpm import StfpmSource, stfpm_from
from budgetc.load.import_vae import vae_from

PUBLISHED_SIZE = (256, 256)
_IMPORTED = ("reverse_distillation", "stfpm", "vae")


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
) -> Imported:
    """Read a state_dict (.pt, .pth, .ckpt) or .safetensors of somebody else's training.

    Args:
        detector: `stfpm` (teacher and student, each ResNet-18 or Wide-ResNet-50-2 in torchvision's
            names or ours), `reverse_distillation` (bottleneck and decoder in the authors' names, alone or
            with their encoder) or `vae` (encoder).
        backbone: all but `vae`: the architecture to expect; None takes what the keys say.
        input_size: (height, width) the detector was trained at; None: what a checkpoint of anomalib says, else
            256x256, for `vae` what its first fully connected layer implies if that is a square.
        student: `stfpm`: the student's file, where `path` holds the teacher alone.
        teacher_prefix: what the teacher's keys start with; None finds it by its name.
        student_prefix: same for the student.
        teacher_weights: `reverse_distillation`: the encoder's file in torchvision's names, where `path` has none.

    Raises:
        UsageError: options that do not belong to the detector, or an unknown detector or backbone.
        InputRejected: an unsafe or damaged file, or keys and shapes that do not fit, every one named.
    """
    _check_options(detector, backbone, (student, teacher_prefix, student_prefix), teacher_weights)
    checkpoint = read_checkpoint(path)
    refuse_unsupported(str(path), checkpoint.stated, detector)
    if detector == "vae":
        result, notes = vae_from(str(path), checkpoint.weights, input_size)
    elif detector == "reverse_distillation":
        encoder = None if teacher_weights is None else read_checkpoint(teacher_weights).weights
        networks = ReverseSource(
            str(path), checkpoint.weights, str(teacher_weights or path), encoder, checkpoint.stated
        )
        result, notes = reverse_from(networks, backbone, input_size or _size(checkpoint))
    else:
        source = StfpmSource(
            where=str(path),
            weights=checkpoint.weights,
            student_where=str(student or path),
            student_weights=checkpoint.weights if student is None else read_checkpoint(student).weights,
            teacher_prefix=teacher_prefix,
            student_prefix=student_prefix,
            separate=student is not None,
            stated=checkpoint.stated,
        )
        result, notes = stfpm_from(source, backbone, input_size or _size(checkpoint))
    return Imported(result, (*notes, *checkpoint.notes), checkpoint.sha256)


def _size(checkpoint: Checkpoint) -> tuple[int, int]:
    return checkpoint.stated.size or PUBLISHED_SIZE


def _check_options(
    detector: str, backbone: str | None, stfpm_only: tuple[object, ...], teacher_weights: object
) -> None:
    if detector not in _IMPORTED:
        raise UsageError(f"--detector {detector}: unknown; budgetc imports {', '.join(_IMPORTED)}")
    if detector != "stfpm" and any(option is not None for option in stfpm_only):
        raise UsageError(f"--detector {detector} has no student or prefix: these options are for stfpm")
    if detector == "vae" and backbone is not None:
        raise UsageError("--detector vae has no backbone: this option is for reverse_distillation and stfpm")
    if detector != "reverse_distillation" and teacher_weights is not None:
        raise UsageError(f"--teacher-weights is for reverse_distillation, not for {detector}")
    if backbone is not None and backbone not in ("resnet18", "wide_resnet50_2"):
        raise UsageError(f"--backbone {backbone}: imports know resnet18 and wide_resnet50_2")

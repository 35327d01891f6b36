"""Train a detector from scratch: what `budgetc train` does."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from budgetc.detectors.detector import Detector, as_input
from budgetc.detectors.efficientad import EfficientAd
from budgetc.detectors.flow_vae import FlowVae, fit_units, flow_loss
from budgetc.detectors.gaussian import Gaussian, fit_normals
from budgetc.detectors.latents import fit_prototypes
from budgetc.detectors.reverse_distillation import ReverseDistillation, reverse_loss
from budgetc.detectors.stfpm import Stfpm, matching_loss
from budgetc.detectors.uninformed_students import StudentsConfig, UninformedStudents
from budgetc.detectors.vae import Vae, VaeConfig, vae_loss
from budgetc.errors import UsageError
from budgetc.training.efficientad import Source, learn_follower, learn_source, normalize_teacher
from budgetc.training.features import batches_of, outputs_of, recalled
from budgetc.training.loop import Curve, Effort, Examples, Progress, fit, silent
from budgetc.training.pictures import Pictures
from budgetc.training.students import train_students

CPU = torch.device("cpu")


def train_detector(
    detector: Detector,
    pictures: Pictures,
    effort: Effort,
    *,
    progress: Progress = silent,
    device: torch.device = CPU,
    source: Source | None = None,
) -> tuple[Detector, Curve]:
    """Train the part of a detector that learns, on normals; the one that was passed in is unchanged in shape only.

    Gaussian: the distribution of features of a frozen backbone. STFPM and reverse distillation: the student, on cached
    features of the frozen teacher. VAEs: encoder and decoder. EfficientAD: the teacher, where there is a
    `source`; then student and autoencoder. Uninformed students: a teacher, then its students. The network trains on
    `device` and comes back to the CPU.

    Raises:
        UsageError: the family has no training here.
    """
    detector.module.to(device)
    match detector.module, detector.config:
        case Stfpm() as module, _:
            curve = _train_student(module, pictures, effort, progress)
        case ReverseDistillation() as module, _:
            curve = _train_restorer(module, pictures, effort, progress)
        case EfficientAd() as module, _:
            curve = _train_efficientad(module, source, pictures, effort, progress=progress)
        case UninformedStudents() as module, StudentsConfig() as config:
            curve = train_students(module, config, pictures, effort, progress=progress)
        case Vae() as module, VaeConfig() as config:
            curve = _train_vae(module, config.beta, pictures, effort, progress=progress)
        case FlowVae() as module, _:
            curve = _train_flow(module, pictures, effort, progress)
        case Gaussian() as module, _:
            curve = _fit_gaussian(module, pictures)
        case _:
            raise UsageError(f"training of {detector.family} is not known")
    detector.module.to(CPU)
    return replace(detector, threshold=None), curve


def _train_student(module: Stfpm, pictures: Pictures, effort: Effort, progress: Progress) -> Curve:
    module.eval()
    student, device = module.student, _device_of(module)
    wanted = recalled(lambda x: module.teacher(module.normalized(x.to(device))), pictures.normal)

    def loss(indices: Tensor) -> Tensor:
        taps = module.student_taps(as_input(pictures.normal[indices.numpy()]).to(device))
        return matching_loss(wanted(indices), taps)

    return fit(student, Examples(pictures.train, pictures.held_out, loss), effort, progress)


def _train_restorer(module: ReverseDistillation, pictures: Pictures, effort: Effort, progress: Progress) -> Curve:
    module.eval()
    device = _device_of(module)
    wanted = recalled(lambda x: module.teacher(module.normalized(x.to(device))), pictures.normal)

    def loss(indices: Tensor) -> Tensor:
        taps = wanted(indices)
        return reverse_loss(taps, module.student(taps))

    return fit(module.student, Examples(pictures.train, pictures.held_out, loss), effort, progress)


def _train_efficientad(
    module: EfficientAd, source: Source | None, pictures: Pictures, effort: Effort, *, progress: Progress
) -> Curve:
    """Without a source the teacher stays as it is, but for the scale of its features."""
    if source is not None:
        learn_source(module, source, pictures, replace(effort, label="distilling the teacher"), progress=progress)
    module.eval()
    normalize_teacher(module, pictures)
    return learn_follower(module, pictures, effort, progress=progress)


def _fit_gaussian(module: Gaussian, pictures: Pictures) -> Curve:
    """Nothing is learned by steps: one pass over the normals."""
    module.eval()
    device = _device_of(module)
    fit_normals(module, batches_of(lambda x: [module.features(x.to(device))], pictures.as_cameras_differ()))
    return Curve(None, None, 1)


def _train_vae(module: Vae, beta: float, pictures: Pictures, effort: Effort, *, progress: Progress) -> Curve:
    device = _device_of(module)

    def loss(indices: Tensor) -> Tensor:
        image = as_input(pictures.normal[indices.numpy()]).to(device)
        return vae_loss(module(image), image, beta)

    curve = fit(module, Examples(pictures.train, pictures.held_out, loss), effort, progress)
    encoder = module.encoder
    if encoder.distance is not None:
        originals = pictures.as_taken
        (mu,) = outputs_of(lambda x: [encoder.encode(x.to(device)).mu], originals)
        fit_prototypes(encoder.distance, mu)
    return curve


def _train_flow(module: FlowVae, pictures: Pictures, effort: Effort, progress: Progress) -> Curve:
    device = _device_of(module)

    def loss(indices: Tensor) -> Tensor:
        fields = as_input(pictures.normal[indices.numpy()]).to(device)
        return flow_loss(module(fields), fields)

    curve = fit(module, Examples(pictures.train, pictures.held_out, loss), effort, progress)
    horizontal, vertical = outputs_of(lambda x: list(module.encoder.distances(x.to(device))), pictures.as_taken)
    fit_units(module.encoder, horizontal, vertical)
    return curve


def _device_of(module: nn.Module) -> torch.device:
    return next(module.parameters()).device

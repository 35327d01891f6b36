"""After every change of a network: the part of its head that is fitted to normals, fitted again."""

import copy
from dataclasses import replace

from torch import nn

from budgetc.core.dataset import evenly
from budgetc.detectors.detector import Detector
from budgetc.detectors.efficientad import EfficientAd, fit_quantiles
from budgetc.detectors.flow_vae import FlowEncoder, FlowVae, fit_units
from budgetc.detectors.gaussian import Gaussian, fit_normals
from budgetc.detectors.latents import fit_prototypes
from budgetc.detectors.uninformed_students import UninformedStudents, fit_normalizers
from budgetc.detectors.vae import Vae, VaeDistance
from budgetc.passes.work import Work
from budgetc.training.features import batches_of, outputs_of

_QUANTILES_ON = 256
"""Most calibration normals whose maps are kept at once."""


def has_fitted_head(module: nn.Module) -> bool:
    """Whether scores are relative to what the network makes of normals."""
    return isinstance(module, EfficientAd | FlowVae | Gaussian | UninformedStudents) or (
        isinstance(module, Vae) and module.encoder.distance is not None
    )


def refit(detector: Detector, work: Work, *, anew: bool = True) -> Detector:
    """The detector with its head fitted to normals through the rounded network; others as they are.

    Quantiles of maps are those of calibration normals, which no network was trained on; all else sees training normals.

    Unless `anew`, clusters of a VAE stay where they were but for what rounding moved: k-means from elsewhere ends
    elsewhere, and scores then differ by more than all rounding does (measured: DECISIONS.md).

    Rounding is noise in every feature, and a whitening that never saw it takes it for a distance where normals vary
    little (measured: DECISIONS.md). With effort 0 the weights stay as they are: a price depends on shapes alone.
    """
    if work.effort == 0 or not has_fitted_head(detector.module):
        return detector
    deployed, module = detector.deployed(), copy.deepcopy(detector.module)
    size = detector.config.input_size
    match module, deployed:
        case Gaussian(), Gaussian():
            normals = work.pictures(size).as_cameras_differ()
            fit_normals(module, batches_of(lambda x: [deployed.features(x)], normals))
        case EfficientAd(), EfficientAd():
            images = work.calibration(size)
            fit_quantiles(module, *outputs_of(deployed.maps, images[evenly(len(images), _QUANTILES_ON)]))
        case UninformedStudents(), UninformedStudents():
            fit_normalizers(module, outputs_of(deployed.deviations, work.pictures(size).as_taken))
        case FlowVae(), FlowEncoder():
            horizontal, vertical = outputs_of(lambda x: list(deployed.distances(x)), work.pictures(size).as_taken)
            fit_units(module.encoder, horizontal, vertical)
        case Vae(), VaeDistance() if module.encoder.distance is not None:
            (mu,) = outputs_of(lambda x: [deployed.means(x)], work.pictures(size).as_taken)
            fit_prototypes(module.encoder.distance, mu, anew=anew)
    return replace(detector, module=module)

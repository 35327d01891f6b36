"""After every change of a VAE's encoder: the distance to normals is fitted to its own latent codes."""

import copy
from dataclasses import replace

from budgetc.detectors.detector import Detector
from budgetc.detectors.latents import fit_prototypes
from budgetc.detectors.vae import Vae, VaeDistance
from budgetc.passes.work import Work
from budgetc.training.features import outputs_of


def refit_latents(detector: Detector, work: Work) -> Detector:
    """The detector with clusters of what its rounded encoder makes of training normals; others as they are.

    With effort 0 the weights stay as they are: a price depends on shapes alone.
    """
    if work.effort == 0 or not isinstance(detector.module, Vae) or detector.module.encoder.distance is None:
        return detector
    deployed, module = detector.deployed(), copy.deepcopy(detector.module)
    assert isinstance(deployed, VaeDistance) and module.encoder.distance is not None
    pictures = work.pictures(detector.config.input_size)
    (mu,) = outputs_of(lambda x: [deployed.means(x)], pictures.normal[: pictures.originals])
    fit_prototypes(module.encoder.distance, mu)
    return replace(detector, module=module)

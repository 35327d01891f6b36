"""Real detectors, pictures and targets that are small enough to train and export within a second."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from budgetc.core.dataset import Dataset, Sample, SplitName
from budgetc.core.target import Target
from budgetc.detectors.backbones import BackboneConfig
from budgetc.detectors.detector import Detector, as_input
from budgetc.detectors.efficientad import EfficientAd, EfficientAdConfig, fit_quantiles, normalize_channels
from budgetc.detectors.families import build
from budgetc.detectors.flow_vae import FlowVae, FlowVaeConfig, fit_units
from budgetc.detectors.gaussian import Gaussian, GaussianConfig, fit_normals
from budgetc.detectors.reverse_distillation import ReverseConfig
from budgetc.detectors.stfpm import StfpmConfig
from budgetc.detectors.uninformed_students import StudentsConfig, UninformedStudents, fit_normalizers
from budgetc.detectors.vae import VaeConfig
from budgetc.passes.work import OutputCache, Size, Work
from budgetc.training.pictures import Pictures, make_pictures

torch.set_num_threads(1)  # several workers share the cores of a test machine

SIZE = (32, 32)
OF_PICTURES = ("efficientad", "gaussian", "reverse_distillation", "stfpm", "uninformed_students", "vae")
"""The families of budgetc's own that read a picture."""
FAMILIES = tuple(sorted((*OF_PICTURES, "flow_vae", "graph")))
"""All of them: what every pass and every file promises is promised for each."""
FIELDS = (24, 32)
Pixels = NDArray[np.uint8]


def textures(count: int, *, seed: int = 0, size: Size = SIZE) -> Pixels:
    """(count, 3, H, W) uint8: waves of random direction and color with a little noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]]
    made = []
    for _ in range(count):
        fy, fx = rng.uniform(0.2, 1.2, (2, 3, 1, 1))
        wave = np.sin(fy * y + fx * x + rng.uniform(0, 6, (3, 1, 1)))
        made.append(128 + 70 * wave + rng.normal(0, 8, (3, *size)))
    pixels: Pixels = np.clip(np.stack(made), 0, 255).astype(np.uint8)
    return pixels


def dataset(**counts: int) -> Dataset:
    """Normals in every split, anomalies (darker squares) in the test splits; every image its own group."""
    sizes: dict[SplitName, int] = {"train": 12, "calibration": 12, "selection": 8, "confirmation": 8}
    for name, count in counts.items():
        sizes[name] = count  # type: ignore[index]  # keywords are names of splits
    images: dict[str, Pixels] = {}
    samples: dict[SplitName, tuple[Sample, ...]] = {}
    for seed, (split, count) in enumerate(sizes.items()):
        pixels, rows = textures(count, seed=10 + seed), []
        for number, picture in enumerate(pixels):
            bad = split in ("selection", "confirmation") and number % 2 == 1
            if bad:
                picture[:, 8:20, 8:20] //= 4
            name = f"{split}/{number}.png"
            rows.append(Sample(name, name, "waves", "hole" if bad else "good"))
            images[name] = picture
        samples[split] = tuple(rows)
    return Dataset("", "0" * 64, samples, lambda sample, size: images[sample.file])


def flow_dataset(**counts: int) -> Dataset:
    """As `dataset`, of samples of motion; anomalies move three times as fast."""
    plain = dataset(**counts)

    def inputs(sample: Sample, size: Size) -> Pixels:
        calm = flows(1, seed=sum(sample.file.encode()), size=size)[0]
        fast: Pixels = np.clip((calm.astype(np.float64) - 128) * 3 + 128, 1, 255).astype(np.uint8)
        return fast if sample.label else calm

    return replace(plain, inputs=inputs, channels=12, upright=True)


def target(**changes: object) -> Target:
    """A CPU target; 7-bit weights, because full-range products saturate where the CPU has no VNNI."""
    fields: dict[str, object] = {
        "name": "test-cpu", "description": "", "compute_unit": "cpu", "measured_on": "host", "runtime": "onnxruntime",
        "threads": 1, "max_opset": 17, "max_ir_version": 8, "dtypes": ("fp32", "int8", "fp16"), "weight_levels": 63,
    }  # fmt: skip
    return Target.model_validate({**fields, **changes})


def plain(*widths: int, depth: int = 1) -> BackboneConfig:
    """A plain backbone that returns all of its stages."""
    return BackboneConfig(arch="plain", widths=widths, depth=depth, taps=tuple(range(len(widths))))


def small_stfpm(seed: int = 0) -> Detector:
    """Teacher and student of 16 and 24 channels at 32 px, with BatchNorm statistics that are not trivial."""
    torch.manual_seed(seed)
    config = StfpmConfig(input_size=SIZE, teacher=plain(16, 24), student=plain(16, 24))
    return lively(build("stfpm", config))


def small_reverse(seed: int = 0, **changes: object) -> Detector:
    """A teacher of 16 and 24 channels at 32 px, restored from 32 channels at 4 x 4 by plain blocks."""
    torch.manual_seed(seed)
    shape = {"teacher": plain(16, 24), "widths": (16, 24), "neck": 32, "block": "plain", "depths": (2, 2)}
    fields: dict[str, object] = {"input_size": SIZE, **shape, "upsampling": "subpixel", "smoothing": 0.5, **changes}
    return lively(build("reverse_distillation", ReverseConfig.model_validate(fields)))


def small_vae(seed: int = 0) -> Detector:
    """Flattens 8 channels of 8 x 8 into its linear layers."""
    torch.manual_seed(seed)
    return lively(build("vae", VaeConfig(input_size=SIZE, widths=(24, 16), hidden=(32, 16), latents=4)))


def small_gaussian(seed: int = 0) -> Detector:
    """A plain backbone with one tap of 24 channels at 8 x 8, fitted to 24 textures."""
    torch.manual_seed(seed)
    backbone = BackboneConfig(arch="plain", widths=(16, 24), taps=(1,))
    detector = lively(build("gaussian", GaussianConfig(input_size=SIZE, backbone=backbone)))
    assert isinstance(detector.module, Gaussian)
    with torch.no_grad():
        fit_normals(detector.module, [[detector.module.features(as_input(textures(24, seed=24)))]])
    return detector


def small_efficientad(seed: int = 0, **changes: object) -> Detector:
    """Patch networks of 8 to 32 channels at 32 px, with 16 features of unit variance and fitted quantiles."""
    torch.manual_seed(seed)
    shape = {"teacher": (8, 16, 16, 16), "student": (8, 32, 16), "encoder": (8, 8, 8, 8, 8, 8), "decoder": 8}
    fields: dict[str, object] = {"input_size": SIZE, **shape, "padding": True, "pad_maps": False, **changes}
    detector = build("efficientad", EfficientAdConfig.model_validate(fields))
    module = detector.module
    assert isinstance(module, EfficientAd)
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight)
        image = as_input(textures(24, seed=24, size=module.size))
        normalize_channels(module.teacher, module.teacher(module.normalized(image))[0])
        fit_quantiles(module, *module.maps(image))
    return detector


def small_students(seed: int = 0, **changes: object) -> Detector:
    """A teacher and two students of 24 channels at 32 px, patches of 33 px at 8 x 8 places, fitted to 24 textures."""
    torch.manual_seed(seed)
    networks = {"teacher": {"widths": (8, 16, 24, 24)}, "student": {"widths": (8, 16, 24, 24)}, "students": 2}
    fields: dict[str, object] = {"input_size": SIZE, **networks, "descriptor": 8, "taught_by": "given", **changes}
    detector = lively(build("uninformed_students", StudentsConfig.model_validate(fields)))
    assert isinstance(detector.module, UninformedStudents)
    with torch.no_grad():
        images = as_input(textures(24, seed=24, size=detector.module.size))
        fit_normalizers(detector.module, detector.module.deviations(images))
    return detector


def small_flow_vae(seed: int = 0) -> Detector:
    """Encoders of 8 to 24 channels that read six fields of 24 x 32 in each direction."""
    torch.manual_seed(seed)
    detector = lively(build("flow_vae", FlowVaeConfig(input_size=FIELDS, widths=(8, 16, 24), latents=3)))
    assert isinstance(detector.module, FlowVae)
    with torch.no_grad():
        fit_units(detector.module.encoder, *detector.module.encoder.distances(as_input(flows(16, seed=7))))
    return detector


def flows(count: int, *, seed: int = 0, size: Size = FIELDS) -> Pixels:
    """(count, 12, H, W) uint8: motion that changes slowly over a field and from field to field."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]]
    made = []
    for _ in range(count):
        fy, fx = rng.uniform(0.05, 0.3, (2, 2, 1, 1, 1))
        wave = np.sin(fy * y + fx * x + np.arange(6).reshape(1, 6, 1, 1) * 0.2 + rng.uniform(0, 6, (2, 1, 1, 1)))
        made.append((128 + 30 * wave + rng.normal(0, 3, (2, 6, *size))).reshape(12, *size))
    pixels: Pixels = np.clip(np.stack(made), 0, 255).astype(np.uint8)
    return pixels


def inputs(family: str, count: int, *, seed: int = 0) -> Pixels:
    """(count, channels, H, W) uint8: what the small detector of a family reads."""
    return flows(count, seed=seed) if family == "flow_vae" else textures(count, seed=seed)


def small(family: str) -> Detector:
    """The small detector of a family."""
    if family == "graph":
        from tests.graphs import small_graph

        return small_graph()
    return {
        "efficientad": small_efficientad,
        "flow_vae": small_flow_vae,
        "gaussian": small_gaussian,
        "reverse_distillation": small_reverse,
        "stfpm": small_stfpm,
        "uninformed_students": small_students,
        "vae": small_vae,
    }[family]()


def lively(detector: Detector) -> Detector:
    """The detector with random statistics, gains and shifts in every BatchNorm, in evaluation mode."""
    lively_module(detector.module)
    return detector


def lively_module(module: nn.Module) -> None:
    """The same of a network, in place."""
    with torch.no_grad():
        for norm in module.modules():
            if isinstance(norm, nn.BatchNorm2d):
                assert norm.running_mean is not None and norm.running_var is not None
                assert norm.num_batches_tracked is not None
                norm.num_batches_tracked.fill_(100)  # as after training
                norm.running_mean.normal_(0, 0.2)
                norm.running_var.uniform_(0.5, 1.5)
                norm.weight.uniform_(0.5, 1.5)
                norm.bias.normal_(0, 0.2)
    module.eval()


def work_for(baseline: Detector, *, effort: float = 1.0, levels: int = 63, seed: int = 0) -> Work:
    """What passes work with: 8 training pictures in four orientations, 12 calibration pictures."""
    made: dict[Size, Pictures] = {}
    moving = baseline.config.motion is not None
    draw = flows if moving else textures

    def pictures(size: Size) -> Pictures:
        if size not in made:
            made[size] = make_pictures(
                draw(8, seed=1, size=size), [str(i) for i in range(8)], seed=seed, variants=4, upright=moving,
                motion=moving,
            )  # fmt: skip
        return made[size]

    return Work(
        pictures=pictures,
        calibration=lambda size: draw(12, seed=2, size=size),
        baseline=baseline,
        weight_levels=levels,
        effort=effort,
        seed=seed,
        cache=OutputCache(),
    )


def at_effort(work: Work, effort: float) -> Work:
    """The same work at another rung."""
    return replace(work, effort=effort)

"""What building any candidate of one compilation needs, and what its results are known by.

A key holds everything that a result depends on and nothing else: neither limits nor names, so that another budget,
target or output directory finds the same result in the store.
"""

import io
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from budgetc.core.dataset import SPLITS, Dataset
from budgetc.core.plan import Plan, Quantize, Step, fingerprint
from budgetc.core.session import DEFAULT_SESSIONS, SessionOptions, Sessions
from budgetc.core.target import Target
from budgetc.detectors.backbones import Backbone, BackboneConfig, build_backbone
from budgetc.detectors.detector import Detector, DetectorConfig, weights_digest
from budgetc.detectors.families import bundle
from budgetc.detectors.layers import conform
from budgetc.measurement.host import cpu_features, device
from budgetc.measurement.monitoring import empty_table, fit_monitor, table_size
from budgetc.measurement.quality import Scores, fit_thresholds, own_thresholds
from budgetc.passes.work import OutputCache, Work
from budgetc.report.schema import FlowBlock, Preprocessing
from budgetc.runtime.flow import opencv_version
from budgetc.runtime.monitor import MonitorTable
from budgetc.store.run_directory import RunDirectory
from budgetc.store.shared import Store
from budgetc.training.loop import Progress, silent
from budgetc.training.pictures import Pictures, make_pictures

RESULTS = 5
"""Raised whenever the same inputs give other numbers: what older code left in a store is then computed anew."""
_EXPORTERS = ("budgetc", "torch", "torch-pruning", "onnx", "onnxsim")
_SCORERS = ("budgetc", "numpy", "pillow", "onnxruntime")
"""What decodes, resizes and scores a picture."""
_DAMAGE = {"gaussian": 3}
"""Damaged copies of each normal: a smaller gaussian learns from them alone how far damage lies from normals."""
_UPRIGHT_DAMAGE = 4
"""The same of frames: weather, light and a failing sensor are more kinds of damage, in all strengths."""
_NO_MATTER = {"name", "description", "facts", "measured_on", "cost"}
"""Fields of a target that no exported file depends on."""


@dataclass
class Memory:
    """What compilations of one process share beside the store: pictures, frozen networks and their outputs."""

    outputs: OutputCache = field(default_factory=OutputCache)
    pictures: dict[tuple[int, int], Pictures] = field(default_factory=dict)
    networks: dict[str, torch.nn.Module] = field(default_factory=dict)
    untrained: object = None
    """The structure that was priced last."""
    _of: str = ""
    _known: tuple[Detector, Dataset] | None = None

    def admit(self, key: str, seed: int, detector: Detector, dataset: Dataset) -> tuple[Detector, Dataset]:
        """The detector and the data that are in memory already, if they are the same; else all else is forgotten."""
        splits = {name: [[sample.file, sample.group] for sample in dataset.samples[name]] for name in SPLITS}
        of = fingerprint([key, seed, splits])
        if self._known is None or self._of != of:
            self.outputs, self.pictures, self.networks = OutputCache(), {}, {}
            self.untrained = None
            self._of, self._known = of, (detector, dataset)
        return self._known


@dataclass(frozen=True, slots=True)
class Workshop:
    """What building any candidate of one compilation needs."""

    baseline: Detector
    dataset: Dataset
    target: Target
    run: RunDirectory
    seed: int
    key: str
    """Digest of the inputs that every training depends on: model, data, versions, threads."""
    progress: Progress = silent
    memory: Memory = field(default_factory=Memory)
    sessions: Sessions = DEFAULT_SESSIONS

    def session(self, detector: Detector) -> SessionOptions:
        """How the runtime loads and runs the file of a detector."""
        integer = any(known.compute == "int8" for known in detector.formats.values())
        return self.sessions.int8 if integer else self.sessions.fp32

    def monitor(self, scores: NDArray[np.floating] | None = None) -> MonitorTable | None:
        """The table of the sequential monitor, from the calibration's scores; without them one as large, for a price.

        None where pictures are no frames, or calibration has too few.
        """
        samples = self.dataset.samples["calibration"]
        if not (self.dataset.upright and table_size(len(samples))):
            return None
        if scores is None:
            return empty_table(len(samples))
        return fit_monitor(scores, [sample.group for sample in samples])

    def thresholds(self, scores: Scores | None = None) -> dict[str, float]:
        """By category, from the calibration's scores; without them as many numbers, for a price."""
        samples = self.dataset.samples["calibration"]
        return dict.fromkeys(own_thresholds(samples), 0.0) if scores is None else fit_thresholds(scores, samples)

    @property
    def weight_levels(self) -> int:
        """INT8 weights span +-this many steps on the target."""
        return settled_levels(self.target)

    @property
    def store(self) -> Store:
        """Where results are kept."""
        return self.run.store

    def work(self, effort: float, seed: int) -> Work:
        """Data and memory of the passes, at a share of the epochs."""
        return Work(
            pictures=self.pictures_at,
            calibration=lambda size: self.dataset.images("calibration", size),
            baseline=self.baseline,
            weight_levels=self.weight_levels,
            effort=effort,
            seed=seed,
            cache=self.memory.outputs,
            trained=_SharedNetworks(self),
            progress=self.progress,
            probed=lambda key, kind, compute: self.store.cached(
                fingerprint(["probe", self.key, self.seed, key]), kind, compute
            ),
        )

    def pictures_at(self, size: tuple[int, int]) -> Pictures:
        """Training pictures at an input size, made once."""
        known = self.memory.pictures
        if size not in known:
            groups = [sample.group for sample in self.dataset.samples["train"]]
            images = self.dataset.images("train", size)
            upright = self.dataset.upright
            damage = _UPRIGHT_DAMAGE if upright else _DAMAGE.get(self.baseline.family, 1)
            known[size] = make_pictures(
                images, groups, seed=self.seed, damage=damage, upright=upright, motion=self.dataset.inputs is not None
            )
        return known[size]


def settled_levels(target: Target) -> int:
    """Steps that INT8 weights span on each side of zero; what a target leaves to detection is as wide as can be."""
    return 127 if target.weight_levels == "detect" else target.weight_levels


class _SharedNetworks(MutableMapping[str, torch.nn.Module]):
    """Frozen networks that several plans share, in memory and in the store, by fingerprint of their training."""

    def __init__(self, shop: Workshop) -> None:
        self._shop, self._known = shop, shop.memory.networks

    def __getitem__(self, key: str) -> torch.nn.Module:
        if key not in self._known:
            blob = self._shop.store.get_blob(self._address(key))
            if blob is None:
                raise KeyError(key)
            data = torch.load(io.BytesIO(blob), weights_only=True)
            network = build_backbone(BackboneConfig.model_validate(data["config"]))
            conform(network, {name: tuple(weight.shape) for name, weight in data["state_dict"].items()})
            network.load_state_dict(data["state_dict"])
            self._known[key] = network.eval()
        return self._known[key]

    def __setitem__(self, key: str, network: torch.nn.Module) -> None:
        self._known[key] = network
        if isinstance(network, Backbone):
            data = {"config": network.config.model_dump(mode="json"), "state_dict": network.state_dict()}
            self._shop.store.put_blob(self._address(key), tensor_bytes(data))

    def __delitem__(self, key: str) -> None:
        del self._known[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def _address(self, key: str) -> str:
        return fingerprint(["network", self._shop.key, self._shop.seed, key])


def training_key(plan: Plan, shop: Workshop, effort: float) -> str | None:
    """What a plan's training depends on: plans that differ only after their last training step share it.

    None where nothing is trained.
    """
    steps = plan.trained
    if effort == 0 or not steps:
        return None
    rounds = shop.baseline.quantization is not None or any(isinstance(step, Quantize) for step in steps)
    return fingerprint(
        ["training", shop.key, [step.model_dump() for step in steps], plan.seed, shop.seed, effort,
         shop.weight_levels if rounds else None]
    )  # fmt: skip


def calibration_key(steps: Sequence[Step], seed: int, shop: Workshop, effort: float) -> str:
    """What a calibrated network depends on."""
    return fingerprint(
        ["calibration", shop.key, [step.model_dump() for step in steps], seed, shop.seed, effort, shop.weight_levels]
    )


def price_key(plan: Plan, shop: Workshop) -> str:
    """What the untrained file of a plan depends on."""
    steps = [step.model_dump() for step in plan.steps]
    return fingerprint(["price", shop.key, steps, plan.seed, shop.seed, *_export_facts(shop)])


def file_key(detector: Detector, shop: Workshop) -> str:
    """What a trained file and its threshold depend on."""
    described = {name: part for name, part in bundle(detector).items() if name not in ("state_dict", "threshold")}
    calibration = [sample.file for sample in shop.dataset.samples["calibration"]]
    return fingerprint(
        ["file", weights_digest(detector.module), described, shop.dataset.digest, calibration, *_export_facts(shop),
         circumstances(shop.target.threads, flow=shop.dataset.inputs is not None)]
    )  # fmt: skip


def tensor_bytes(data: Mapping[str, Any]) -> bytes:
    """Plain data and tensors as torch writes them."""
    buffer = io.BytesIO()
    torch.save(data, buffer)
    return buffer.getvalue()


def _export_facts(shop: Workshop) -> list[object]:
    """What an exported file depends on beside the network."""
    watched = ["monitor", [sample.group for sample in shop.dataset.samples["calibration"]]]
    own = own_thresholds(shop.dataset.samples["calibration"])
    return [
        shop.target.model_dump(mode="json", exclude=_NO_MATTER),
        shop.sessions.model_dump(),
        {name: version(name) for name in _EXPORTERS},
        RESULTS,
        *(watched if shop.dataset.upright else ()),
        *(["thresholds", *own] if own else ()),
    ]


def preprocessing_of(config: DetectorConfig) -> Preprocessing:
    """How a runtime makes what a detector reads."""
    (height, width), motion = config.input_size, config.motion
    if motion is None:
        return Preprocessing(height=height, width=width)
    tall, wide = motion.frame_size
    flow = FlowBlock(frame_height=tall, frame_width=wide, fields=motion.fields, largest=motion.largest)
    return Preprocessing(height=height, width=width, flow=flow)


def circumstances(threads: int, *, flow: bool = False) -> dict[str, object]:
    """What a score, a time or a figure of a picture depends on beside the file and the picture itself."""
    packages = {name: version(name) for name in _SCORERS}
    return {
        "results": RESULTS,
        "packages": packages | {"opencv": opencv_version()} if flow else packages,
        "device": device(threads),
        "cpu features": cpu_features(),
    }

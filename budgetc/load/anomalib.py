"""What a checkpoint or an export of anomalib says beside its weights: which model, on which pictures, with which map.

Read from plain data (anomalib 2.7), or from descriptions of pickled objects (older checkpoints, and `model.pt` of its
torch export). Source: `anomalib.models.components.base.AnomalibModule`, anomalib 1.0 to 2.7.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from budgetc.detectors.stfpm import IMAGENET_MEAN, IMAGENET_STD
from budgetc.errors import InputRejected
from budgetc.load.inert import entries_of
from budgetc.load.pickled import Made, Named

Size = tuple[int, int]
Channels3 = tuple[float, float, float]

SUPPORTED: Mapping[str, str] = {
    "EfficientAd": "efficientad", "ReverseDistillation": "reverse_distillation", "Stfpm": "stfpm",
}  # fmt: skip
"""anomalib's class -> our detector."""
_SIGNS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Stfpm", ("teacher_model.feature_extractor.", "student_model.feature_extractor.")),
    ("ReverseDistillation", ("encoder.feature_extractor.", "bottleneck.bn_layer.", "decoder.layer1.")),
    ("EfficientAd", ("teacher.conv1.", "ae.")), ("Padim", ("gaussian.", "idx")), ("Dfm", ("gaussian_model.",)),
    ("MHPatchcore", ("memory_bank.bank",)), ("AnomalyDINO", ("memory_bank", "feature_encoder.")),
    ("Cfa", ("memory_bank", "descriptor.")), ("SuperADD", ("memory_bank", "patch_exec.")),
    ("Patchcore", ("memory_bank",)), ("Fastflow", ("fast_flow_blocks.",)), ("Cflow", ("decoders.",)),
    ("Csflow", ("graph.",)), ("Uflow", ("flow.", "feature_extractor.extractor1.")),
    ("Patchflow", ("flow.", "feature_adaptor.")), ("Dfkde", ("classifier.kde_model.",)),
    ("InpFormer", ("prototype_token.",)), ("Dinomaly", ("bottleneck.0.", "decoder.0.")), ("UniNet", ("teachers.",)),
    ("Draem", ("reconstructive_subnetwork.",)), ("Dsr", ("discrete_latent_model.",)), ("Fre", ("fre_model.",)),
    ("Ganomaly", ("generator.", "discriminator.")), ("GeneralAD", ("discriminator.transformer_encoder.",)),
    ("Glass", ("forward_modules.", "projection.")), ("L2BT", ("forward_net.", "backward_net.")),
    ("FoundAD", ("projector.predictor_",)), ("Supersimplenet", ("adaptor.", "segdec.")), ("WinClip", ("clip.",)),
    ("CFM", ("xyz_to_rgb_mapper.",)), ("Rad", ("patch_banks",)), ("AiVad", ("density_estimator.",)),
)  # fmt: skip
"""Models by what the names of their weights start with after `model.`; checkpoints do not name their class."""
_RESHAPING = ("Resize", "CenterCrop", "Normalize", "Compose")
_HARMLESS = ("ToImage", "ToDtype", "ToTensor", "ConvertImageDtype", "ToPureTensor", "Identity")


@dataclass(frozen=True, slots=True)
class Stated:
    """What a file says of its detector; None where it does not."""

    model: str | None = None
    """The class of anomalib."""
    backbone: str | None = None
    taps: tuple[int, ...] | None = None
    product: bool = False
    """Whether the maps of reverse distillation are multiplied (`anomaly_map_mode`)."""
    padding: bool | None = None
    """Of EfficientAD: whether its patch networks pad."""
    pad_maps: bool | None = None
    """Of EfficientAD: whether its maps are padded to what was not seen."""
    size: Size | None = None
    mean: Channels3 | None = None
    std: Channels3 | None = None
    notes: tuple[str, ...] = field(default=())

    def normalization(self) -> dict[str, Channels3]:
        """Fields of a detector's configuration, where the file says what they are."""
        return {} if self.mean is None or self.std is None else {"mean": self.mean, "std": self.std}

    def said(self) -> str:
        """How images are normalized, in a sentence."""
        if self.mean in (None, IMAGENET_MEAN) and self.std in (None, IMAGENET_STD):
            return "images are normalized with ImageNet's mean and deviation"
        return f"images are normalized with mean {self.mean} and deviation {self.std}"


def stated_by(where: str, data: Any, network: Made | None, weights: Iterable[str]) -> Stated:
    """What a checkpoint of anomalib states; nothing for files of others.

    Args:
        data: the file's content; foreign objects in it are descriptions.
        network: the model, where the file is one.
        weights: names in the state_dict.

    Raises:
        InputRejected: a pre-processor or backbone that budgetc cannot carry out.
    """
    model = model_of(network, weights)
    entries = entries_of(data) or {}
    if model is None and "anomalib_components_enabled" not in entries:
        return Stated()
    source = entries if network is None else (entries_of(network.state) or {})
    settings = _settings(source, network)
    layers, backbone = _sequence(settings.get("layers")), settings.get("backbone")
    taps = tuple(int(one[5:]) for one in layers if isinstance(one, str) and one[:5] == "layer" and one[5:].isdecimal())
    stated = Stated(
        model=model,
        backbone=backbone if isinstance(backbone, str) else None,
        taps=taps if layers and len(taps) == len(layers) else None,
        product=_text(settings.get("anomaly_map_mode")) == "multiply",
        padding=_flag(settings.get("padding")),
        pad_maps=_flag(settings.get("pad_maps")),
    )
    return _on_pictures(where, stated, _pre_processor(source, settings, network))


def refuse_unsupported(where: str, stated: Stated, detector: str) -> None:
    """Refuse what cannot become a detector of this family.

    Raises:
        InputRejected: a model of anomalib that is another detector or none of ours, with what to do.
    """
    if stated.model is None:
        return
    refuse_unknown(where, stated.model)
    if SUPPORTED[stated.model] != detector:
        raise InputRejected(f"{where}: is anomalib's {stated.model}, not {detector}; give --detector "
                            f"{SUPPORTED[stated.model]}")  # fmt: skip
    if stated.backbone not in (None, "resnet18", "wide_resnet50_2"):
        raise InputRejected(f"{where}: anomalib's {stated.model} with the backbone {stated.backbone[:40]!r}; budgetc "
                            "imports resnet18 and wide_resnet50_2")  # fmt: skip


def refuse_unknown(where: str, model: str) -> None:
    """Refuse a model that is none of ours, by its name.

    Raises:
        InputRejected: it is.
    """
    if model not in SUPPORTED:
        known = " and ".join(f"{name} (--detector {ours})" for name, ours in SUPPORTED.items())
        raise InputRejected(
            f"{where}: is anomalib's {model}, which budgetc does not have; of anomalib it imports {known}"
        )


def model_of(network: Made | None, weights: Iterable[str]) -> str | None:
    """The class of anomalib, as an export or the names of weights say; None: of somebody else."""
    for part in () if network is None else (network, _part(network, "model")):
        if (
            isinstance(part, Made)
            and isinstance(part.maker, Named)
            and part.maker.module.startswith("anomalib.models.")
        ):
            name = part.maker.name.removesuffix("Model")
            return next((known for known in SUPPORTED if known.lower() == name.lower()), name)
    names = [name.removeprefix("model.") for name in weights if name.startswith("model.")]
    for model, signs in _SIGNS:
        if all(any(name.startswith(sign) for name in names) for sign in signs):
            return model
    return None


def _part(module: Any, name: str) -> Any:
    """What a described module has under a name: a module or any attribute."""
    state = (entries_of(module.state) or {}) if isinstance(module, Made) else {}
    return (entries_of(state.get("_modules")) or {}).get(name, state.get(name))


def _settings(source: Mapping[Any, Any], network: Made | None) -> Mapping[Any, Any]:
    """What the model was made with; exports before anomalib 2 hold the inner network without it."""
    if network is None:
        return entries_of(source.get("hyper_parameters")) or {}
    if (settings := entries_of(source.get("_hparams"))) is not None:
        return settings
    inner = _part(network, "model")
    features = _part(inner, "encoder") or _part(inner, "teacher_model")
    mode = _part(_part(inner, "anomaly_map_generator"), "mode")
    return {"layers": _part(features, "layers"), "backbone": _part(features, "backbone"), "anomaly_map_mode": mode}


_ABSENT = object()


def _pre_processor(source: Mapping[Any, Any], settings: Mapping[Any, Any], network: Made | None) -> Any:
    """The transform before the network, None where there is none, `_ABSENT` where nothing is said."""
    if (entries_of(source.get("anomalib_components_enabled")) or {}).get("pre_processor", True) is False:
        return None
    config = entries_of(source.get("anomalib_pre_processor_config"))
    if config is not None:
        return _ABSENT if config.get("transform") is None else config["transform"]  # also what could not be written
    if network is None and "transform" in source:
        return source["transform"]
    if network is not None and (transform := _part(network, "transform")) is not None:
        return transform
    if network is not None:
        return _part(_part(network, "pre_processor"), "transform")
    holder = settings.get("pre_processor", True)  # a flag stands for the model's own
    if isinstance(holder, Made):
        return _part(holder, "transform")
    return None if holder is False else _ABSENT


def _on_pictures(where: str, stated: Stated, transform: Any) -> Stated:
    """With the size and the normalization that a transform ends in."""
    if transform is _ABSENT:
        return replace(stated, notes=("its pre-processor is not in the file: ImageNet's mean and deviation assumed",))
    stated = replace(stated, mean=(0.0,) * 3, std=(1.0,) * 3)
    for name, settings in _steps(transform, 0):
        match name:
            case "Resize":
                stated = replace(stated, size=_size(where, settings.get("size")))
            case "CenterCrop":
                wide, crop = stated.size, _size(where, settings.get("size"))
                note = f"anomalib cuts the middle {crop} out of pictures of {wide}; budgetc does not: cut yours before"
                stated = replace(stated, size=crop, notes=(*stated.notes, note))
            case "Normalize":
                mean, std = (_channels(where, settings.get(key)) for key in ("mean", "std"))
                stated = replace(stated, mean=mean, std=std)
            case _ if name not in _HARMLESS:
                raise InputRejected(f"{where}: its pre-processor has the transform {name}; budgetc knows "
                                    f"{', '.join(_RESHAPING)}")  # fmt: skip
    return stated


def _steps(transform: Any, depth: int) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    """Names and settings, of plain data or of pickled transforms; sequences are taken apart."""
    if transform is None or depth > 4:
        return
    if isinstance(transform, Made):
        name = transform.maker.name if isinstance(transform.maker, Named) else "of no name"
        settings = entries_of(transform.state) or {}
    else:
        plain = entries_of(transform) or {}
        name = str(plain.get("class_path")).rpartition(".")[2]
        settings = entries_of(plain.get("init_args")) or {}
    if name != "Compose":
        yield name, settings
        return
    inner = settings.get("transforms", (entries_of(settings.get("_modules")) or {}).get("transforms"))
    for one in _sequence(inner):
        yield from _steps(one, depth + 1)


def _sequence(value: Any) -> tuple[Any, ...]:
    if isinstance(value, Made):
        return (*value.items, *value.entries.values())
    return tuple(value) if isinstance(value, (list, tuple)) else ()


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _text(value: Any) -> str | None:
    """Of an enum whose values are text, pickled by value or by name, or of plain text."""
    if isinstance(value, Made) and isinstance(value.arguments, tuple) and value.arguments:
        value = value.arguments[-1]
    return value.lower() if isinstance(value, str) else None


def _size(where: str, value: Any) -> Size:
    sides = _sequence(value)
    if len(sides) == 2 and all(isinstance(side, int) and side > 0 for side in sides):
        return int(sides[0]), int(sides[1])
    if isinstance(value, int) and value > 0:
        return value, value
    if len(sides) == 1 and isinstance(sides[0], int) and sides[0] > 0:
        return int(sides[0]), int(sides[0])
    raise InputRejected(f"{where}: its pre-processor has no size of (height, width)")


def _channels(where: str, value: Any) -> Channels3:
    found = _sequence(value)
    if len(found) != 3 or not all(isinstance(one, (int, float)) for one in found):
        raise InputRejected(f"{where}: its pre-processor normalizes by something else than three numbers")
    return float(found[0]), float(found[1]), float(found[2])

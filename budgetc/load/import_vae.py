"""The encoder of a beta-VAE from our names, or from the order of its convolutions and linear layers."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import isqrt

from torch import Tensor

from budgetc.detectors.detector import Detector
from budgetc.detectors.families import build
from budgetc.detectors.vae import VaeConfig
from budgetc.errors import InputRejected
from budgetc.load.fit import check_fit
from budgetc.load.keys import NORM_FIELDS, is_counter
from budgetc.load.tensors import named

_MU = re.compile(r"(^|[._])(fc_?)?(mu|mean)\d*$", re.IGNORECASE)
_LOGVAR = re.compile(r"(^|[._])(fc_?)?(logvar|log_var|logsigma|log_sigma)\d*$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Layers:
    """Module names of an encoder by kind, in the order of computation."""

    convolutions: list[str]
    norms: list[str]
    hidden: list[str]
    mu: str
    logvar: str


def vae_from(
    where: str, weights: Mapping[str, Tensor], input_size: tuple[int, int] | None
) -> tuple[Detector, tuple[str, ...]]:
    """An encoder-only detector whose widths follow from the shapes, and notes on what was assumed.

    Expects blocks of [3x3 convolution, BatchNorm, LeakyReLU 0.1, pooling], fully connected layers with
    LeakyReLU 0.1, and two linear heads (arXiv 2108.11800).

    Raises:
        InputRejected: the layers do not form such a chain, keys are left over, or the size is ambiguous.
    """
    dropped = sorted(key for key in weights if _is_decoder(key) or is_counter(key))
    encoder = {key: value for key, value in weights.items() if key not in set(dropped)}
    layers = _layers(where, encoder)
    config = _config(where, encoder, layers, input_size)
    renamed, used = _renamed(encoder, layers)
    extra = sorted(set(encoder) - used)
    if extra:
        raise InputRejected(f"{where}: {len(extra)} keys that no encoder layer explains: {named(extra)}")
    detector = build("vae", config)
    own = {key: value for key, value in detector.module.state_dict().items() if is_counter(key)}
    check_fit(where, "vae", config, renamed | own)
    detector.module.load_state_dict(renamed | own)
    return Detector("vae", config, detector.module.eval()), _notes(config, dropped)


def _layers(where: str, encoder: Mapping[str, Tensor]) -> _Layers:
    modules = sorted({key.rpartition(".")[0] for key in encoder if key.endswith(".weight")}, key=_natural)
    rank = {name: encoder[f"{name}.weight"].ndim for name in modules}
    linear = [name for name in modules if rank[name] == 2]
    mu = [name for name in linear if _MU.search(_unwrapped(name))]
    logvar = [name for name in linear if _LOGVAR.search(_unwrapped(name))]
    if len(mu) != 1 or len(logvar) != 1:
        raise InputRejected(
            f"{where}: expected one linear head for mu and one for logvar, found {mu or 'none'} and "
            f"{logvar or 'none'} among {named(linear) or 'no linear layers'}; rename their keys to mu and logvar"
        )
    found = _Layers(
        convolutions=[name for name in modules if rank[name] == 4],
        norms=[name for name in modules if rank[name] == 1],
        hidden=[name for name in linear if name not in (mu[0], logvar[0])],
        mu=mu[0],
        logvar=logvar[0],
    )
    _check_chain(where, encoder, found)
    return found


def _check_chain(where: str, encoder: Mapping[str, Tensor], layers: _Layers) -> None:
    if not layers.convolutions:
        raise InputRejected(f"{where}: no convolutions found; a vae encoder starts with them")
    if len(layers.norms) != len(layers.convolutions):
        raise InputRejected(
            f"{where}: {len(layers.convolutions)} convolutions but {len(layers.norms)} BatchNorms; "
            "every convolution of the encoder is followed by one"
        )
    absent = [f"{n}.{f}" for n in layers.norms for f in NORM_FIELDS if f"{n}.{f}" not in encoder]
    absent += [f"{n}.bias" for n in (*layers.hidden, layers.mu, layers.logvar) if f"{n}.bias" not in encoder]
    if absent:
        raise InputRejected(f"{where}: {len(absent)} keys missing: {named(absent)}")
    channels = 3
    for name, norm in zip(layers.convolutions, layers.norms, strict=True):
        shape = tuple(encoder[f"{name}.weight"].shape)
        if shape[1] != channels:
            first = "; images have 3 (RGB)" if channels == 3 else ""
            raise InputRejected(f"{where}: {name} reads {shape[1]} channels, expected {channels}{first}")
        if shape[2:] != (3, 3):
            raise InputRejected(f"{where}: {name} has a {shape[2]}x{shape[3]} kernel, the encoder's are 3x3")
        channels = shape[0]
        if encoder[f"{norm}.weight"].shape != (channels,):
            raise InputRejected(f"{where}: {norm} normalizes another number of channels than {name} has")
    chain = [*layers.hidden]
    for head in (layers.mu, layers.logvar):
        for a, b in pairwise([*chain, head]):
            if encoder[f"{a}.weight"].shape[0] != encoder[f"{b}.weight"].shape[1]:
                raise InputRejected(f"{where}: {b} does not read what {a} yields; are decoder layers mixed in?")


def _config(
    where: str, encoder: Mapping[str, Tensor], layers: _Layers, input_size: tuple[int, int] | None
) -> VaeConfig:
    widths = tuple(int(encoder[f"{name}.weight"].shape[0]) for name in layers.convolutions)
    hidden = tuple(int(encoder[f"{name}.weight"].shape[0]) for name in layers.hidden)
    flat = int(encoder[f"{[*layers.hidden, layers.mu][0]}.weight"].shape[1])
    cells, scale = flat // widths[-1], 2 ** len(widths)
    side = isqrt(cells)
    if input_size is None:
        if side * side * widths[-1] != flat:
            raise InputRejected(
                f"{where}: the first linear layer reads {flat} numbers, no square of {widths[-1]} channels; "
                "give --input-size HEIGHTxWIDTH"
            )
        input_size = (side * scale, side * scale)
    height, width = input_size
    if (height // scale) * (width // scale) * widths[-1] != flat:
        raise InputRejected(
            f"{where}: an input of {height}x{width} gives {height // scale}x{width // scale}x{widths[-1]} numbers, "
            f"but the first linear layer reads {flat}: another --input-size was trained"
        )
    latents = int(encoder[f"{layers.mu}.weight"].shape[0])
    return VaeConfig(input_size=input_size, widths=widths, hidden=hidden, latents=latents, decoder=False)


def _renamed(encoder: Mapping[str, Tensor], layers: _Layers) -> tuple[dict[str, Tensor], set[str]]:
    names: dict[str, str] = {}
    for index, (conv, norm) in enumerate(zip(layers.convolutions, layers.norms, strict=True)):
        names[f"{conv}.weight"] = f"encoder.blocks.{index}.conv.weight"
        names |= {f"{norm}.{field}": f"encoder.blocks.{index}.norm.{field}" for field in NORM_FIELDS}
    linear = {name: f"hidden.{index}" for index, name in enumerate(layers.hidden)}
    for name, ours in (linear | {layers.mu: "mu", layers.logvar: "logvar"}).items():
        names |= {f"{name}.{field}": f"encoder.{ours}.linear.{field}" for field in ("weight", "bias")}
    renamed = {ours: encoder[theirs].float() for theirs, ours in names.items()}
    used = set(names)
    for index, (conv, norm) in enumerate(zip(layers.convolutions, layers.norms, strict=True)):
        if f"{conv}.bias" in encoder:
            # BatchNorm subtracts its mean from convolution + bias: the same as a smaller mean without a bias.
            renamed[f"encoder.blocks.{index}.norm.running_mean"] = (
                encoder[f"{norm}.running_mean"].float() - encoder[f"{conv}.bias"].float()
            )
            used.add(f"{conv}.bias")
    return renamed, used


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _unwrapped(name: str) -> str:
    """`encoder.mu.linear` and `fc_mu.0` name their head one level up."""
    head, _, last = name.rpartition(".")
    return head if head and (last == "linear" or last.isdigit()) else name


def _is_decoder(key: str) -> bool:
    return any(part.lower().startswith(("decoder", "decode", "dec_")) for part in key.split(".")[:-1])


def _notes(config: VaeConfig, dropped: list[str]) -> tuple[str, ...]:
    notes = [
        f"encoder {config.input_size[0]}x{config.input_size[1]}, widths {config.widths}, hidden {config.hidden}, "
        f"{config.latents} latents; assumed: RGB in [0, 1], LeakyReLU 0.1, 2x2 max pooling, BatchNorm eps 1e-5"
    ]
    dead = [key for key in dropped if not is_counter(key)]
    if dead:
        notes.append(f"dropped, since only training needs them: {len(dead)} decoder keys: {named(dead)}")
    notes.append("no threshold: fitted on normals by compile")
    return tuple(notes)

"""Checkpoints and torch exports that anomalib itself wrote, and its own scores and maps for them.

    python benchmarks/anomalib_fixture.py -o DIR [--wide]            in an environment of anomalib-requirements.txt
    python benchmarks/anomalib_fixture.py --compare DIR              in the environment of budgetc
    python benchmarks/anomalib_fixture.py -o DIR --bare              in an environment of anomalib 1.2 or 2.1
    python benchmarks/anomalib_fixture.py -o DIR --golden tests/load/anomalib.npz [--only CASE ...]

Each model is trained for one step on pictures that are drawn on the spot (nothing is downloaded), filled with weights
by a rule (`weight_of`: any environment can repeat it), and saved by anomalib's own `Engine`. The reference is the score
and the map that the inner model returns behind anomalib's pre-processor: `model.model(model.pre_processor(picture))`,
before the post-processor normalizes them by the extremes of a validation set. EfficientAD gets no published teacher,
and drawn pictures for ImageNette's; it takes none below 256 pixels: every fifth row and column of its map are kept.

`--bare` writes files as anomalib 1.2 and 2.1 do, in an environment of that version, without a training: what these say
of their pictures is pickled, not plain. Their weights and pictures, and so their scores, are those of `stfpm`.

The golden file holds no weights: of every checkpoint the pickle as it is, and which of its tensors is filled with what.
`--wide` adds Wide-ResNet-50-2 at 256 px and more, for `--compare` alone (1 GB).
"""

import argparse
import json
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

SMALL, LARGE, PICTURES = 64, 256, 3
PATCH = "EfficientAd"
STRIDE = 5
"""Of the places that are kept of a large map."""
CASES: Mapping[str, tuple[str, dict[str, Any]]] = {
    "stfpm": ("Stfpm", {"backbone": "resnet18"}),
    "stfpm-two-layers": ("Stfpm", {"backbone": "resnet18", "layers": ["layer2", "layer3"]}),
    "reverse": ("ReverseDistillation", {"backbone": "resnet18"}),
    "reverse-multiply": ("ReverseDistillation", {"backbone": "resnet18", "anomaly_map_mode": "multiply"}),
    "efficientad": (PATCH, {}),
    "efficientad-padded": (PATCH, {"padding": True}),
}
WIDE: Mapping[str, tuple[str, dict[str, Any]]] = {
    "wide-stfpm": ("Stfpm", {"backbone": "wide_resnet50_2"}),
    "wide-reverse": ("ReverseDistillation", {"backbone": "wide_resnet50_2"}),
    "efficientad-no-rim": (PATCH, {"pad_maps": False}),
}
Shapes = list[tuple[str, tuple[int, ...]]]
"""Weights and their shapes."""
DETECTORS = {"Stfpm": "stfpm", "ReverseDistillation": "reverse_distillation", PATCH: "efficientad"}


def side_of(case: str) -> int:
    """Pixels of the pictures of a case."""
    return LARGE if case in WIDE or CASES[case][0] == PATCH else SMALL


_POSITIVE = ("running_var", "mean_std.std", "quantiles.qb_st", "quantiles.qb_ae")


def weight_of(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The weight of a name and a shape: uniform from a PCG64 stream that the name seeds, at the scale of He."""
    values = np.random.Generator(np.random.PCG64(list(name.encode()))).random(shape, dtype=np.float32)
    if name.endswith(_POSITIVE) or (name.endswith("weight") and len(shape) == 1):
        return values + np.float32(0.5)
    if len(shape) < 2:
        return (values - np.float32(0.5)) * np.float32(0.2)
    fan_in = np.prod(shape[1:])
    return (values * 2 - 1) * np.float32((6 / fan_in) ** 0.5)


def pictures_of(side: int) -> NDArray[np.uint8]:
    """(PICTURES, 3, side, side): blocks of random color."""
    drawn = np.random.Generator(np.random.PCG64(7)).integers(0, 256, (PICTURES, 3, side // 8, side // 8), np.uint8)
    return drawn.repeat(8, axis=2).repeat(8, axis=3)


def main() -> None:
    """Parse arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", dest="out", type=Path)
    parser.add_argument("--wide", action="store_true")
    parser.add_argument("--bare", action="store_true")
    parser.add_argument("--golden", type=Path)
    parser.add_argument("--only", nargs="+", choices=CASES, help="in a golden file the others stay as they are")
    parser.add_argument("--compare", type=Path)
    options = parser.parse_args()
    if options.compare is not None:
        compare(options.compare)
        return
    if options.out is None:
        parser.error("-o DIR is needed")
    options.out.mkdir(parents=True, exist_ok=True)
    if options.bare:
        bare(options.out)
        return
    cases = {**CASES, **(WIDE if options.wide else {})}
    for case in options.only or cases:
        make(case, options.out)
    if options.golden is not None:
        golden(options.out, options.golden)


def make(case: str, out: Path) -> None:
    """Write CASE.ckpt, CASE.pt and CASE.npz (pictures, scores, maps)."""
    import anomalib.models
    import timm

    create = timm.create_model
    timm.create_model = lambda *given, **named: create(*given, **{**named, "pretrained": False})
    name, settings = {**CASES, **WIDE}[case]
    side = side_of(case)
    family = getattr(anomalib.models, name)
    model = family(**_enumerated(settings), pre_processor=family.configure_pre_processor((side, side)))
    timm.create_model = create
    _train_and_save(model, out, case)
    pictures = pictures_of(side)
    with torch.no_grad():
        found = model.eval().model(model.pre_processor(torch.from_numpy(pictures) / 255))
    np.savez(out / f"{case}.npz", pictures=pictures, scores=found.pred_score.numpy().reshape(-1),
             maps=found.anomaly_map.numpy())  # fmt: skip


def _train_and_save(model: Any, out: Path, case: str) -> None:
    from anomalib.data import Folder
    from anomalib.engine import Engine

    with tempfile.TemporaryDirectory() as folder:
        drawn = Path(folder, "drawn")
        _draw(drawn, side_of(case))
        patches = {**CASES, **WIDE}[case][0] == PATCH
        more = {"train_batch_size": 1, "val_split_mode": "same_as_test"} if patches else {"train_batch_size": 2}
        data = Folder(name="drawn", root=drawn, normal_dir="good", abnormal_dir="bad", mask_dir="masks",
                      eval_batch_size=2, num_workers=0, **more)  # fmt: skip
        if patches:
            model.imagenet_dir = drawn
            type(model).prepare_pretrained_model = lambda self: None
        engine = Engine(max_steps=1, accelerator="cpu", devices=1, logger=False, default_root_dir=folder)
        engine.fit(model, datamodule=data)
        engine.validate(model, datamodule=data)  # thresholds and extremes, as a finished training has them
        _fill(model)
        assert engine.trainer is not None
        engine.trainer.save_checkpoint(out / f"{case}.ckpt")
        engine.export(model, "torch", export_root=folder)
        next(Path(folder).rglob("*.pt")).rename(out / f"{case}.pt")


def bare(out: Path) -> None:
    """Write VERSION-stfpm.ckpt and .pt of an older anomalib: a checkpoint before any step, and its export."""
    import timm
    from anomalib import __version__
    from anomalib.models import Stfpm
    from lightning.pytorch import Trainer

    create = timm.create_model
    timm.create_model = lambda *given, **named: create(*given, **{**named, "pretrained": False})
    old = __version__.startswith("1.")
    model = Stfpm() if old else Stfpm(pre_processor=Stfpm.configure_pre_processor((SMALL, SMALL)))
    if old:
        model.set_transform(model.configure_transforms((SMALL, SMALL)))
    _fill(model)
    trainer = Trainer(accelerator="cpu", devices=1, logger=False)
    trainer.strategy.connect(model)
    model.trainer = trainer
    trainer.save_checkpoint(out / f"{__version__}-stfpm.ckpt")
    with tempfile.TemporaryDirectory() as folder:
        model.to_torch(folder)
        next(Path(folder).rglob("*.pt")).rename(out / f"{__version__}-stfpm.pt")


def _enumerated(settings: Mapping[str, Any]) -> dict[str, Any]:
    from anomalib.models.image.reverse_distillation.anomaly_map import AnomalyMapGenerationMode

    if "anomaly_map_mode" not in settings:
        return dict(settings)
    return {**settings, "anomaly_map_mode": AnomalyMapGenerationMode(settings["anomaly_map_mode"])}


def _fill(model: torch.nn.Module) -> None:
    """Give a model the weights of the rule."""
    weights = {key: torch.from_numpy(np.asarray(weight_of(key, tuple(value.shape))))
               for key, value in model.state_dict().items() if _filled(key, value)}  # fmt: skip
    with torch.inference_mode():  # what validation computed are tensors of that mode
        model.load_state_dict(weights, strict=False)


def _filled(name: str, value: torch.Tensor) -> bool:
    return name.startswith("model.") and value.is_floating_point()


def _draw(folder: Path, side: int) -> None:
    from PIL import Image

    generator = np.random.default_rng(0)
    for part, count in (("good", 6), ("bad", 3), ("masks", 3)):
        (folder / part).mkdir(parents=True)
        for number in range(count):
            pixels = generator.integers(0, 256, (side, side, 3), np.uint8)
            if part == "masks":
                pixels = np.where(np.arange(side)[:, None, None] < side // 4, 255, 0).repeat(side, 1).astype(np.uint8)
            image = Image.fromarray(pixels[..., 0] if part == "masks" else pixels)
            image.save(folder / part / f"{number}.png")


def golden(made: Path, path: Path) -> None:
    """Pickles, what their tensors are filled with, scores and maps of CASES and older files as one small file.

    What is in the file and was not made again stays.
    """
    arrays: dict[str, NDArray[Any]] = {}
    if path.exists():
        with np.load(path) as before:
            arrays.update(before)
    older = sorted(file.stem for file in made.glob("*-stfpm.ckpt") if file.stem[0].isdigit())
    cases = [case for case in CASES if (made / f"{case}.ckpt").exists()]
    for case in (*cases, *older):
        shapes = _shapes(made / f"{'stfpm' if case in older else case}.ckpt")
        for suffix in ("ckpt", "pt"):
            with zipfile.ZipFile(made / f"{case}.{suffix}") as archive:
                pickle = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
                arrays[f"{case}.{suffix}"] = np.frombuffer(archive.read(pickle), np.uint8)
                storages = list(_storages(archive, pickle.removesuffix("data.pkl"), shapes))
            arrays[f"{case}.{suffix}.storages"] = np.array(json.dumps(storages))
    for case in cases:
        reference = np.load(made / f"{case}.npz")
        stride = STRIDE if side_of(case) == LARGE else 1
        arrays[f"{case}.scores"] = reference["scores"]
        arrays[f"{case}.maps"] = reference["maps"][:1, :, ::stride, ::stride]
    np.savez_compressed(path, allow_pickle=False, **arrays)
    print(f"{path}: {path.stat().st_size} bytes")


def _storages(archive: zipfile.ZipFile, root: str, shapes: Shapes) -> Iterator[tuple[str, int, str, tuple[int, ...]]]:
    """(number of the storage, bytes, name of the weight, shape); without a name: as many zeros."""
    known = {_bytes(weight_of(name, shape)): (name, shape) for name, shape in shapes}
    for entry in archive.infolist():
        if entry.filename.startswith(f"{root}data/"):
            name, shape = known.get(archive.read(entry), ("", ()))
            yield entry.filename.rsplit("/", 1)[1], entry.file_size, name, shape


def _bytes(array: NDArray[np.float32]) -> bytes:
    return np.ascontiguousarray(array, np.float32).tobytes()


def _shapes(file: Path) -> Shapes:
    state = torch.load(file, map_location="cpu", weights_only=False)["state_dict"]
    return [(name, tuple(value.shape)) for name, value in state.items() if _filled(name, value)]


def compare(made: Path) -> None:
    """Import everything in a folder and print how far scores and maps are from anomalib's."""
    from budgetc.detectors.detector import as_input
    from budgetc.load.importing import import_weights

    for file in sorted([*made.glob("*.ckpt"), *made.glob("*.pt")]):
        name = {**CASES, **WIDE}.get(file.stem, CASES["stfpm"])[0]
        imported = import_weights(file, detector=DETECTORS[name])
        reference = np.load(_reference(file))
        with torch.no_grad():
            score, found = imported.detector.deployed()(as_input(reference["pictures"]))
        factor = gain_of(name, imported.detector.config.model_dump())
        apart = {"scores": score.numpy() / factor, "maps": found.numpy() / factor}
        said = ", ".join(f"{part} differ by {np.abs(mine - reference[part]).max():.1e} of "
                         f"{np.abs(reference[part]).max():.3g}" for part, mine in apart.items())  # fmt: skip
        print(f"{file.name}: {file.stat().st_size / 2**20:.0f} MiB, {imported.detector.parameters():,} weights; {said}")


def gain_of(model: str, config: Mapping[str, Any]) -> float:
    """How many times anomalib's our score is: products of maps are kept away from what FP16 rounds to 0."""
    from budgetc.detectors.halves import map_gain

    if model == PATCH or (model == "ReverseDistillation" and config["joining"] != "product"):
        return 1.0
    taps = len(config["teacher"]["taps"])
    return float(map_gain(taps) ** taps)


def _reference(file: Path) -> Path:
    own = file.with_suffix(".npz")
    return own if own.exists() else file.with_name("stfpm.npz")


if __name__ == "__main__":
    main()

"""A compiled artifact beside what other tools make of the same FP32 ONNX file, in one run.

    python benchmarks/peers.py --case NAME --model model.pt --data DIR [--artifact DIR] [--control DIR]
        --environments DIR -o DIR [--cap SHARE] [--without PEER]... [--quick] > benchmarks/results/DATE-peers-NAME.jsonl

The peers: onnxruntime's `quantize_static` with its defaults and tuned, Olive (relative goals), ModelOpt, and OpenVINO
with NNCF's `quantize` and `quantize_with_accuracy_control`; all are calibrated on the calibration normals, and those
that choose, choose on the selection split. Beside them the artifact of budgetc, a control that was compiled without a
compiler's means (`benchmarks/real.py --control`), and the artifact's own network in OpenVINO.

The tools get environments of their own below `--environments`, built from benchmarks/peers-requirements.txt and
benchmarks/peers-modelopt-requirements.txt where they are missing (some hundred MB). What a tool made is kept in -o DIR
and used again as long as the model, the data, the settings and the tool are the same; all measuring is done anew.

`--cap` is the share of the baseline's latency that the budget allows. Times are of one call of the graph at batch 1
with one thread, all contestants interleaved; the text beside them has decode-to-score medians. Bars on latency must be
cleared by the medians and by the fastest calls. Where tuned onnxruntime and OpenVINO are not as fast as they can be on
a graph that is known, the run is void: it clears no bar and ends with code 1. A busy machine is enough for that.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import torch
from line import Line  # beside this script, as the next ones
from peer_lines import AGAIN, ARTIFACT_NAME, CONTROL, FP32, SAME, TUNED, Judged, Lines, spread
from peer_making import Kitchen, PeerFailed
from peer_race import Contestant, model_memory, race

from budgetc.candidate import write
from budgetc.compiler.confirming import sample_images
from budgetc.compiler.untrained import new_stfpm
from budgetc.core.dataset import Dataset, SplitName
from budgetc.core.layout import ARTIFACT, DEPLOYED, MODEL
from budgetc.detectors.detector import Detector
from budgetc.errors import BudgetcError
from budgetc.export.onnx_file import export_detector
from budgetc.load.config import load_target
from budgetc.load.cpu import host_cpu, weight_levels_for
from budgetc.load.datasets import load_dataset
from budgetc.load.model import load_model
from budgetc.measurement.host import cpu_features, device
from budgetc.measurement.quality import Scored, score_pixels
from budgetc.runtime.artifact import load_artifact
from budgetc.runtime.spec import read_spec

PEERS = {
    "onnxruntime defaults": "ort_default", TUNED: "ort_tuned", "Olive": "olive", "ModelOpt": "modelopt",
    "OpenVINO NNCF": "openvino", "OpenVINO NNCF accuracy control": "openvino_accuracy",
}  # fmt: skip
QUICK = ("onnxruntime defaults", TUNED, "OpenVINO NNCF")
OPENVINO_FP32 = "OpenVINO FP32"
KNOWN = {TUNED: 1.6, "OpenVINO NNCF": 1.9}
"""How many times faster than FP32 onnxruntime each must be on a ResNet18 STFPM at 256 px (measured with AVX2 alone)."""


def main() -> None:
    """One case."""
    options = _options()
    dataset = load_dataset(options.data)
    folder = options.o.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    images = sample_images(dataset, folder / "pictures")
    environments, quick = options.environments.resolve(), options.quick
    _machine(options.case).show()
    known = [_shown(line) for line in known_graph(environments, folder / "known", dataset, images, quick=quick)]
    kitchen, baseline = serve(load_model(options.model).detector, folder, dataset, environments, quick=quick)
    names = [name for name in (QUICK if quick else PEERS) if name not in options.without]
    lines = Lines(options.case, options.cap, frozenset(names), void=not all(known))
    for name in options.without:
        lines.failed(name, "left out")
    contestants = [baseline, Contestant(AGAIN, baseline.directory, baseline.files)]
    contestants += _peers(kitchen, baseline, names, lines)
    contestants += _own(kitchen, options.artifact, options.control, lines)
    judged = [found for one in contestants if (found := judge(one, kitchen, images, lines)) is not None]
    timed = race([one.contestant for one in judged], images, rounds=8 if quick else 30)
    for line in lines.all(judged, timed):
        line.show()
    if lines.void:
        sys.exit("void: a peer was slower than it can be, on a busy machine or by a fault: no bar is cleared")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", required=True, help="what the lines are headed with")
    parser.add_argument("--model", type=Path, required=True, help="the uncompressed detector")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--artifact", type=Path, help="what budgetc compiled of it")
    parser.add_argument("--control", type=Path, help="what the recipe no-compiler gave")
    parser.add_argument("--environments", type=Path, required=True, metavar="DIR", help="of the tools")
    parser.add_argument("-o", type=Path, required=True, metavar="DIR", help="everything is written here")
    parser.add_argument("--cap", type=float, default=1 / 3, help="latency over the baseline's that is allowed")
    parser.add_argument("--without", action="append", default=[], choices=list(PEERS), help="a peer to leave out")
    parser.add_argument("--quick", action="store_true", help="three peers, few calls: figures mean nothing")
    return parser.parse_args()


def _machine(case: str) -> Line:
    levels, why = weight_levels_for(*host_cpu())
    halves = {"avx512_bf16", "amx_bf16"} & set(cpu_features())
    floats = f"has {', '.join(sorted(halves))}, so OpenVINO's floats are BF16" if halves else "has no BF16"
    words = f"{why}; {floats}; onnxruntime {version('onnxruntime')}"
    return Line(f"{case}: levels of INT8 weights on this processor", levels, "reported", True, "1", 1, words)


def _shown(line: Line) -> bool:
    line.show()
    return line.ok


def serve(
    detector: Detector, folder: Path, dataset: Dataset, environments: Path, *, quick: bool
) -> tuple[Kitchen, Contestant]:
    """The FP32 file of a detector, and where its peers are made."""
    target = load_target("host-cpu").target
    written = write(export_detector(detector, target), detector, folder / "fp32", threshold=0.0, threads=1)
    spec = read_spec(written.directory / ARTIFACT)
    kitchen = Kitchen(environments, folder, dataset, spec, calibration=16 if quick else None)
    return kitchen, Contestant(FP32, written.directory, (MODEL,), "what all peers start from")


def known_graph(
    environments: Path, folder: Path, dataset: Dataset, images: Sequence[Path], *, quick: bool
) -> Iterator[Line]:
    """The peers on a graph whose figures are known: if they are slow there, they are not used as they should be."""
    folder.mkdir(exist_ok=True)
    size = (256, 256)
    detector = new_stfpm(size, teacher="resnet18", teacher_weights="none", student_widths="same")
    _tell_biases_apart(detector)
    kitchen, baseline = serve(detector, folder, dataset, environments, quick=True)
    try:
        peers = [kitchen.make(PEERS[name], baseline.directory / MODEL, size, name=name) for name in KNOWN]
    except PeerFailed as error:
        yield Line("known graph: peers are made", 0, "= 1", False, "1", 1, str(error))
        return
    timed = race([baseline, *peers], images, rounds=8 if quick else 12)
    for name, least in KNOWN.items():
        found = timed.ratio(FP32, name)
        label = f"known graph (STFPM of ResNet18, 256 px, random weights): times that {name} is faster than FP32"
        words = spread(timed, FP32, name)
        yield Line(label, round(found.value, 3), f">= {least}", found.value >= least, "1", timed.calls[name], words)


def _tell_biases_apart(detector: Detector) -> None:
    """Exporters merge equal tensors, and a bias that convolutions share keeps onnxruntime's from becoming INT8."""
    torch.manual_seed(0)
    for name, weight in detector.module.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(weight, std=1e-3)


def _peers(kitchen: Kitchen, baseline: Contestant, names: Iterable[str], lines: Lines) -> Iterator[Contestant]:
    size = (kitchen.spec.height, kitchen.spec.width)
    for name, tool in {OPENVINO_FP32: "openvino_fp32", **{name: PEERS[name] for name in names}}.items():
        try:
            yield kitchen.make(tool, baseline.directory / MODEL, size, name=name)
        except PeerFailed as error:
            lines.failed(name, str(error))


def _own(kitchen: Kitchen, artifact: Path | None, control: Path | None, lines: Lines) -> Iterator[Contestant]:
    for name, directory in ((ARTIFACT_NAME, artifact), (CONTROL, control)):
        if directory is not None and (directory / ARTIFACT).exists():
            yield Contestant(name, directory.resolve(), DEPLOYED)
        else:
            lines.failed(name, "not given" if directory is None else f"{directory.name} holds no artifact")
    if artifact is None:
        return
    spec = read_spec(artifact / ARTIFACT)
    try:
        yield kitchen.make("openvino_same", artifact.resolve() / MODEL, (spec.height, spec.width), name=SAME)
    except PeerFailed as error:
        lines.failed(SAME, str(error))


def judge(contestant: Contestant, kitchen: Kitchen, images: Sequence[Path], lines: Lines) -> Judged | None:
    """Memory and scores of both splits; None where it does not run."""
    spec = read_spec(contestant.directory / ARTIFACT)
    assert spec.threads == 1, f"{contestant.name}: {spec.threads} threads, all others run with one"
    splits: tuple[SplitName, ...] = ("selection", "confirmation")
    scored = {}
    try:
        memory = model_memory(contestant, images)
        for split in splits:
            pixels = kitchen.dataset.images(split, (spec.height, spec.width))
            here = contestant.python is None
            scores = score_pixels(load_artifact(contestant.directory, cache=False), pixels) if here else kitchen.score(
                contestant, pixels)  # fmt: skip
            scored[split] = Scored(split, kitchen.dataset.samples[split], scores, device(1))
    except (BudgetcError, PeerFailed) as error:
        lines.failed(contestant.name, str(error))
        return None
    return Judged(contestant, memory, scored)


if __name__ == "__main__":
    main()

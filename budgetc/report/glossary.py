"""What the words of a report mean, and what to do with an artifact: for people who are no ML engineers."""

MEANINGS = {
    "latency_p50": "half of the images take at most that long, from the file to the score.",
    "latency_p95": "95 of 100 images take at most that long, from the file to the score.",
    "latency_p99": "99 of 100 images take at most that long, from the file to the score.",
    "peak_memory": "most memory that the process which scores ever holds, its runtime included.",
    "artifact_size": "all files that the detector is.",
    "auroc": "the chance that an anomalous image scores higher than a normal one; 0.5 is guessing.",
    "auroc_loss": "AUROC of the baseline less that of the artifact, on the same images.",
    "aupro": "how well the maps mark the defects themselves; 1 is perfect.",
    "Baseline": "the detector as it was given, with everything left out that scoring does not need.",
    "Margin": "the share of the limit that is left.",
    "pass (estimate)": "the value reaches the floor, but its interval also holds values below it.",
}
"""Names as they stand in the tables; those with a capital letter are words."""
STEPS = {
    "direct": "a smaller network trained on normals alone, without the given one: a control.",
    "truncate": "the first stages of the network on smaller pictures; normals fitted again, nothing trained.",
    "distill": "smaller networks, trained to imitate the given ones; the number is the share of width.",
    "prune": "whole channels removed, and the others fitted again; the number is the share that stays.",
    "quantize": "weights and activations as 8-bit integers.",
    "qat": "trained on under that rounding, to score as before it.",
    "fp16": "weights stored with 16 bits.",
    "store-bits": "weights stored with so many bits on average; unpacked once, when the file is loaded.",
}
_RUN_LINES = (
    "budgetc run . IMAGE...                  # score, verdict per image",
    "python3 device/score.py IMAGE...        # the same without budgetc: copy model.onnx and device/ to the board",
    "budgetc evaluate . --data DIR           # on images of your own; do this before you rely on it",
    "budgetc verify .                        # nothing was changed, and the verdict follows from the numbers",
    "budgetc check . --budget OTHER.yaml     # would it keep another budget?",
)
_INSTALL_LINES = (
    "budgetc install .                       # first, once on the machine that runs it: memory holds only then",
    "python3 device/score.py --install       # the same without budgetc, on the board",
)
AFTER_INSTALL = "holds after `budgetc install`"
"""Beside a figure of an artifact whose graph is optimized once on the machine that runs it."""
_NEEDS = "needs numpy, Pillow and onnxruntime 1.12 or newer (Python 3.7 or newer), or TensorRT (Python 3.6 or newer)"
_NEEDS_FLOW = (
    ", and OpenCV (opencv-python-headless; JetPack has libopencv-python). IMAGE... are successive frames of one clip, "
    "in order; the first of them have no score yet. `--clip` between frames tells it that another clip starts; "
    "`budgetc run` takes `--monitor`"
)
THROUGH_THE_FILE = "Every score comes from the deployed file in its runtime, on images that the search never saw."
SEEDS = "The same plan trained with several seeds; the first is the artifact, and nothing was chosen among them."


def run_lines(*, install: bool) -> tuple[str, ...]:
    """What to type in the directory of an artifact; `install`: its memory was measured with its graph installed."""
    return (*_INSTALL_LINES, *_RUN_LINES) if install else _RUN_LINES


def needs(detector: str) -> str:
    """What the board's script of a detector family needs, and reads if that is not just images."""
    return f"{_NEEDS}{_NEEDS_FLOW if detector == 'flow_vae' else ''}."


def meanings(limits: list[str]) -> dict[str, str]:
    """Name -> meaning of what a table of these limits shows."""
    return {name: MEANINGS[name] for name in [*limits, "Baseline", "Margin", "pass (estimate)"] if name in MEANINGS}

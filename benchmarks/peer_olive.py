"""Olive's search on one FP32 ONNX file, and the components that its configuration names."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import olive
import torch
from olive.data.registry import Registry
from olive.evaluator.accuracy import AccuracyBase
from peer_tools import INPUT, OPERATORS, Request, as_input  # beside this script
from sklearn.metrics import roc_auc_score

CHOICES = ("calibrate_method", "per_channel")
"""Searched in full; U8 activations and S8 weights are set, because Olive's own choices pair only equal types."""


CALIBRATION = 32
"""Normals, spread over all: its histograms keep every activation of all of them in memory (10 GB for 133 of 256 px)."""


class Images(torch.utils.data.Dataset[tuple[dict[str, torch.Tensor], int]]):
    """Images of a split with their labels."""

    def __init__(self, path: str, split: str) -> None:
        with np.load(path) as arrays:
            pixels = arrays[split]
            chosen = np.arange(len(pixels))
            if split == "calibration" and len(pixels) > CALIBRATION:
                chosen = np.linspace(0, len(pixels) - 1, CALIBRATION).round().astype(np.int64)
            self._pixels = pixels[chosen]
            self._labels = arrays["label"] if split == "selection" else np.zeros(len(chosen), np.int64)

    def __len__(self) -> int:
        return len(self._pixels)

    def __getitem__(self, number: int) -> tuple[dict[str, torch.Tensor], int]:
        return {INPUT: torch.from_numpy(as_input(self._pixels[number])[0])}, int(self._labels[number])


class Auroc(AccuracyBase):  # type: ignore[misc]  # published without types
    """In the place of Olive's own, which takes no graph with two outputs; custom metrics cannot be serialized."""

    name = "auroc"

    def measure(self, model_output: Any, target: Any) -> float:
        """Of the scores that `score_of` left."""
        return float(roc_auc_score(np.asarray(target), np.asarray(model_output.preds)))


@Registry.register_dataset("images_of_a_split")  # type: ignore[untyped-decorator]
def images_of_a_split(path: str, split: str, **_: Any) -> Images:
    """For calibration and for the evaluator."""
    return Images(path, split)


@Registry.register_post_process("score_of")  # type: ignore[untyped-decorator]
def score_of(outputs: dict[str, torch.Tensor] | torch.Tensor, **_: Any) -> torch.Tensor:
    """The score alone; a graph without a map has nothing else."""
    return outputs if isinstance(outputs, torch.Tensor) else outputs["score"]


def search(request: Request) -> str:
    """Every combination of `CHOICES`; the fastest of those that keep the AUROC.

    Raises:
        RuntimeError: none keeps it.
    """
    out = Path(request.out)
    found = olive.run(_config(request, out / "olive"))
    best = found.get_best_candidate()
    if best is None:
        raise RuntimeError("no candidate of the search meets its goals")
    shutil.copy(best.model_path, out / "model.onnx")
    values = {name: round(entry["value"], 4) for name, entry in best.metrics_value.items()}
    shutil.rmtree(out / "olive")
    return f"at most {CALIBRATION} calibration normals; by Olive's figures: {json.dumps(values)}"


def _config(request: Request, scratch: Path) -> dict[str, Any]:
    return {
        "input_model": {"type": "OnnxModel", "model_path": request.model},
        "data_configs": [_data(split, request.images) for split in ("calibration", "selection")],
        "evaluators": {"judge": {"type": "OnnxEvaluator", "metrics": _metrics(request.max_drop)}},
        "passes": {"quantize": {
            "type": "OnnxStaticQuantization", "data_config": "calibration", "precision": "int8",
            "activation_type": "uint8", "quant_format": "QDQ", "quant_preprocess": True,
            "reduce_range": request.reduce_range,
            "op_types_to_quantize": list(OPERATORS), **dict.fromkeys(CHOICES, "SEARCHABLE_VALUES"),
        }},
        "search_strategy": {"execution_order": "joint", "sampler": "sequential"},
        "systems": {"here": {"type": "LocalSystem", "accelerators": [
            {"device": "cpu", "execution_providers": ["CPUExecutionProvider"]}]}},
        "evaluator": "judge", "target": "here", "evaluate_input_model": True,
        "cache_dir": str(scratch / "cache"), "output_dir": str(scratch / "out"),
    }  # fmt: skip


def _data(split: str, images: str) -> dict[str, Any]:
    return {
        "name": split, "type": "DataContainer",
        "load_dataset_config": {"type": "images_of_a_split", "params": {"path": images, "split": split}},
        "post_process_data_config": {"type": "score_of"},
        "dataloader_config": {"type": "default_dataloader", "params": {"batch_size": 1}},
    }  # fmt: skip


def _metrics(max_drop: float) -> list[dict[str, Any]]:
    one_thread = {"inference_settings": {"onnx": {"session_options": {"intra_op_num_threads": 1}}}}
    # Olive drops goals that are all absolute: both of these are relative to the input model.
    auroc = {"name": "auroc", "priority": 2, "goal": {"type": "max-degradation", "value": max_drop}}
    latency = {"name": "p50", "priority": 1, "goal": {"type": "percent-min-improvement", "value": 1}}
    return [
        {"name": "quality", "type": "accuracy", "sub_types": [auroc], "data_config": "selection",
         "user_config": one_thread},
        {"name": "speed", "type": "latency", "sub_types": [latency], "data_config": "calibration",
         "user_config": one_thread},
    ]  # fmt: skip

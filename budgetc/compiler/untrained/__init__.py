"""Detectors to start training from: their shape from a few settings, their teacher from published weights."""

from budgetc.compiler.untrained.features import new_gaussian, new_reverse_distillation, new_stfpm
from budgetc.compiler.untrained.patches import Untrained, new_efficientad, new_uninformed_students
from budgetc.compiler.untrained.variational import new_flow_vae, new_vae

__all__ = [
    "Untrained", "new_efficientad", "new_flow_vae", "new_gaussian", "new_reverse_distillation", "new_stfpm",
    "new_uninformed_students", "new_vae",
]  # fmt: skip

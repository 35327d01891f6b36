"""The pipeline: a trained detector, data and a budget in; the smallest compliant artifact and its report out."""

from budgetc.compiler.data_check import check_data
from budgetc.compiler.evaluating import Evaluation, evaluate_detector
from budgetc.compiler.measuring import Cost, measure_file
from budgetc.compiler.pipeline import compile_detector
from budgetc.compiler.planning import Feasibility, plan_detector

__all__ = [
    "Cost",
    "Evaluation",
    "Feasibility",
    "check_data",
    "compile_detector",
    "evaluate_detector",
    "measure_file",
    "plan_detector",
]

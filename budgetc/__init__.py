"""budgetc: a trained anomaly detector, data and a budget in; the smallest artifact that keeps the budget out.

The public names load what they need when they are first used, so that `import budgetc.runtime` on a board
loads neither torch nor the compiler.
"""

TYPE_CHECKING = False  # type checkers take it for true; importing it from `typing` would cost most of the time here

__all__ = ["Report", "__version__", "compile", "evaluate", "load_artifact", "measure", "plan", "sweep"]

# Public name -> module and name in it; the type checker reads the same below.
_HOMES = {
    "Report": ("budgetc.report.schema", "Report"),
    "compile": ("budgetc.compiler", "compile_detector"),
    "evaluate": ("budgetc.compiler", "evaluate_detector"),
    "load_artifact": ("budgetc.runtime.artifact", "load_artifact"),
    "measure": ("budgetc.compiler", "measure_file"),
    "plan": ("budgetc.compiler", "plan_detector"),
    "sweep": ("budgetc.sweeps.running", "sweep"),
}

if TYPE_CHECKING:
    from budgetc.compiler import compile_detector as compile
    from budgetc.compiler import evaluate_detector as evaluate
    from budgetc.compiler import measure_file as measure
    from budgetc.compiler import plan_detector as plan
    from budgetc.report.schema import Report
    from budgetc.runtime.artifact import load_artifact
    from budgetc.sweeps.running import sweep

    __version__: str
else:  # hidden from the type checker, which would take any misspelt name for one that this provides

    def __getattr__(name: str) -> object:
        if name == "__version__":
            from importlib.metadata import version

            value = version("budgetc")
        elif name in _HOMES:
            from importlib import import_module

            module, attribute = _HOMES[name]
            value = getattr(import_module(module), attribute)
        else:
            raise AttributeError(f"module 'budgetc' has no attribute {name!r}; it offers {', '.join(__all__)}")
        globals()[name] = value
        return value


def __dir__() -> "list[str]":
    return sorted({*globals(), *__all__})

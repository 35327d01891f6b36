"""Session options that were tried, as words and as a table."""

from collections.abc import Sequence

from budgetc.report.schema import Report, SessionTrial
from budgetc.report.tables import Table
from budgetc.report.words import ABSENT, interval, markdown_table, quantity

_ABOUT = (
    "How the runtime loads and runs a graph changes its memory. These options were tried before the search, in fresh "
    "processes side by side, on the baseline and on the baseline in INT8, with weights stored in as few bits as the "
    "search may ask for; every file of this report was then loaded and measured with those that are chosen for its "
    "format. The baseline is measured under the same options, those of its format. Memory is above the runtime's own; "
    "time is from decode to score, over that with onnxruntime's defaults."
)
_INSTALL = (
    "Installed graph: `budgetc install OUT` (on a board `python3 device/score.py --install`) optimizes the graph once "
    "on the machine that runs it. Scores are the same without; loading then takes the memory of the line without it."
)
_COLUMNS = {"load_memory": "Loading", "run_memory": "Running", "load_time": "Load time", "latency_p50_ratio": "Time"}


def sessions_words(report: Report) -> list[str]:
    """Paragraphs for above the table; none where nothing was tried. On installing only where the artifact needs it."""
    return [_ABOUT, *[_INSTALL] * report.needs_install] if report.sessions else []


def sessions_table(trials: Sequence[SessionTrial]) -> Table:
    """Each set of options with what it took; extremes of the processes in brackets."""
    rows = [
        (one.compute.upper(), one.options.words(), "yes" if one.chosen else "",
         *(_cell(one, metric) for metric in _COLUMNS))
        for one in trials
    ]  # fmt: skip
    return Table(["Format", "Options", "Chosen", *_COLUMNS.values()], rows)


def sessions_markdown(report: Report) -> list[str]:
    """Paragraphs and table; empty where nothing was tried."""
    table = sessions_table(report.sessions)
    return [*sessions_words(report), markdown_table(table.header, table.rows)] if report.sessions else []


def _cell(trial: SessionTrial, metric: str) -> str:
    found = next((one for one in trial.measurements if one.metric == metric), None)
    return ABSENT if found is None else f"{quantity(found.value, found.unit)} ({interval(found)}; n = {found.n})"

"""The board that was measured on, in words."""

from budgetc.report.schema import BoardRecord


def board_words(board: BoardRecord | None) -> str:
    """One sentence for the provenance; empty where no board was measured."""
    if board is None:
        return ""
    facts = {name: board.facts.get(name) for name in ("model", "cpu", "power_mode", "system", "kernel")}
    said = [str(value) for value in facts.values() if value]
    versions = ", ".join(f"{name} {version}" for name, version in board.versions.items())
    hottest = max((t for one in board.samples for t in one.get("temperatures_c", {}).values()), default=None)
    slowed = sorted({str(name) for one in board.samples for name in one.get("throttled_by", ())})
    conditions = [
        f"throttled by {', '.join(slowed)}" if slowed else "no throttling seen",
        "" if hottest is None else f"hottest sensor {hottest:.1f} °C",
    ]
    return (
        f"Latency and memory were measured on the board {board.where}: {', '.join(said)}; "
        f"Python {board.facts.get('python', 'unknown')}, {versions}; {', '.join(filter(None, conditions))}. "
        f"report.json holds every call's time, and clocks, temperatures and load around them."
    )

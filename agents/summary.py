"""An evaluation as a table for the console."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rich.console import Group as Stack
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from turnwise.agents.evaluate import Evaluation
from turnwise.agents.statistics import Estimate

__all__ = ["summary"]

Row = tuple[str, str | Text, Text]
"""Name, value, 95 % interval."""


def summary(evaluation: Evaluation, agent: str) -> RenderableType:
    """The table, with a line above that says what was played and one below for what failed."""
    e = evaluation
    levels = ",".join(map(str, e.difficulty or e.by_difficulty)) or "?"
    samples = f" x {e.samples} samples" if e.samples > 1 else ""
    head = Text.assemble(
        (e.env_id, "bold"), f"  {agent}  {len(e.tasks)} {e.split} tasks{samples}, difficulty {levels}, seed {e.seed}"
    )
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(justify="right")
    table.add_column(style="dim")
    for row in _rows(e):
        table.add_row(*row)
    if not e.failed:
        return Stack(head, table)
    broken = f"{e.failed} of {e.failed + e.played} episodes failed ({_counts(e.failures)}); no number above counts them."
    return Stack(head, table, Text(broken, "yellow"))


def _rows(e: Evaluation) -> list[Row]:
    rows: list[Row] = [_row("success", e.success, _percent, "bold")]
    if len(e.by_difficulty) > 1:
        rows += [_row(f"  difficulty {level}", estimate, _percent) for level, estimate in e.by_difficulty.items()]
    rows += [_row(f"pass@{k}", estimate, _percent) for k, estimate in e.pass_at.items() if k > 1]
    rows += [_row(f"pass^{k}", estimate, _percent) for k, estimate in e.all_at.items() if k > 1]
    if e.samples > 1 and e.mean_at_k is not None:
        rows.append((f"mean@{e.samples}", _percent(e.mean_at_k), Text()))
    if e.outcome and e.success and e.outcome.mean != e.success.mean:  # there is partial success
        rows.append(_row("outcome", e.outcome, _plain))
    rows += [_row("return", e.reward, _plain), _row("turns", e.turns, _plain)]
    if e.tokens:
        rows.append(_row("tokens sampled", e.tokens, _plain))
    rows.append(_row("tool calls", e.tool_calls, _plain))
    rows.append(("invalid replies", "-" if e.invalid is None else _percent(e.invalid), Text()))
    rows.append(("ended by", _counts(e.stops) or "-", Text()))
    return rows


def _row(name: str, estimate: Estimate | None, form: Callable[[float], str], style: str = "") -> Row:
    if estimate is None:
        return name, "-", Text()
    return name, Text(form(estimate.mean), style), Text(f"{form(estimate.low)} to {form(estimate.high)}")


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _plain(value: float) -> str:
    return f"{value:.2f}" if abs(value) < 100 else f"{value:.0f}"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{kind} {n}" for kind, n in counts.items())

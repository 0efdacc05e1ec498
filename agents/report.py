"""Trajectories as one HTML page that needs nothing else: no script, no network, light and dark.

Sampled tokens are shaded by what the reader chooses: how surprising they were, the entropy they were drawn from, or the advantage
they were given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape

from turnwise.agents.report_style import BY_ADVANTAGE, CONTROLS, SHADES, STYLE
from turnwise.types import Trajectory, Turn

__all__ = ["page"]

SURPRISE_FULL = 4.0
"""Nats of surprise at which the shade is full."""
ENTROPY_FULL = 2.0
"""Nats of entropy at which the shade is full."""


def page(
    trajectories: Sequence[Trajectory],
    *,
    title: str,
    notes: Mapping[str, str] | None = None,
    decode: Callable[[int], str] | None = None,
    advantages: Sequence[Sequence[float]] | None = None,
    limit: int = 200,
) -> str:
    """The page as text.

    Args:
        notes: what to say above the list, name -> value.
        decode: one token id -> its text; without it replies are shown unshaded.
        advantages: for each trajectory one number for each sampled token, in order.
        limit: most trajectories to show; the page says how many there were.
    """
    shown = trajectories[:limit]
    largest = max((abs(a) for row in advantages or () for a in row), default=0.0) or 1.0
    items: list[str] = []
    for index, trajectory in enumerate(shown):
        row = advantages[index] if advantages is not None else None
        items.append(_trajectory(index, trajectory, decode, row and [a / largest for a in row]))
    facts = dict(notes or {}) | {"trajectories": str(len(trajectories))}
    if len(shown) < len(trajectories):
        facts["trajectories"] += f", the first {len(shown)} shown"
    rows = "".join(f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>" for name, value in facts.items())
    shades = SHADES.format(advantage=BY_ADVANTAGE if advantages is not None else "") if decode and _any_tokens(shown) else ""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{_text(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head><body>'
        f"<h1>{_text(title)}</h1><dl>{rows}</dl><form>{CONTROLS}{shades}</form><main>{''.join(items)}</main></body></html>\n"
    )


def _trajectory(
    index: int, trajectory: Trajectory, decode: Callable[[int], str] | None, advantages: Sequence[float] | None
) -> str:
    t = trajectory
    kind = "failed" if t.failed else "solved" if t.outcome >= 1.0 else "unsolved"
    sampled = sum(len(turn.action_ids) for turn in t.turns)
    calls = sum(turn.tool_calls for turn in t.turns)
    facts = [
        f"return {t.reward:.3g}",
        _count(len(t.turns), "turn"),
        *([_count(sampled, "token")] if sampled else []),
        *([_count(calls, "tool call")] if calls else []),
        t.failure.kind if t.failure else t.stop.value,
    ]
    mark = kind if kind != "unsolved" or not t.outcome else f"{t.outcome:.2f}"
    turns: list[str] = []
    at = 0
    for k, turn in enumerate(t.turns):
        end = at + len(turn.action_ids)
        turns.append(_turn(k, turn, decode, advantages[at:end] if advantages is not None else None))
        at = end
    final = f'<div class="said env"><pre>{_text(t.final)}</pre></div>' if t.turns and t.final else ""
    failure = f'<p class="broken">{_text(t.failure.kind)}: {_text(t.failure.detail)}</p>' if t.failure else ""
    task = f"task {t.task.id}, difficulty {t.task.difficulty}, seed {t.seed}" + (
        f", answer {t.task.answer}" if t.task.answer else ""
    )
    return (
        f'<details class="{kind}"><summary><b>{index + 1}</b><span class="mark">{mark}</span>'
        f"<span>{_text(_short(t.task.prompt))}</span><small>{_text(' · '.join(facts))}</small></summary>"
        f'<p class="task">{_text(t.env_id)}, {_text(task)}</p>{"".join(turns)}{final}{failure}</details>'
    )


def _turn(k: int, turn: Turn, decode: Callable[[int], str] | None, advantages: Sequence[float] | None) -> str:
    shaded = decode is not None and turn.action_ids
    reply = _tokens(turn, decode, advantages) if decode is not None and shaded else _text(turn.action)
    terms = ", ".join(f"{name} {value:.3g}" for name, value in turn.reward_terms.items() if name != "reward")
    facts = [f"turn {k + 1}", f"reward {turn.reward:.3g}" + (f" ({terms})" if terms else "")]
    facts += [] if turn.valid else ["invalid reply"]
    facts += ["tool call"] if turn.tool_calls else []
    facts += [f"outcome {turn.outcome:.2f}"] if turn.outcome else []
    facts += [f"{_count(len(turn.action_ids), 'token')}, weights {turn.version}"] if turn.action_ids else []
    facts += ["cut at the token cap"] if turn.stop_reason == "length" else []
    return (
        f'<div class="said env"><pre>{_text(turn.observation)}</pre></div>'
        f'<div class="said agent{"" if turn.valid else " invalid"}"><pre>{reply}</pre>'
        f"<small>{_text(' · '.join(facts))}</small></div>"
    )


def _tokens(turn: Turn, decode: Callable[[int], str], advantages: Sequence[float] | None) -> str:
    spans: list[str] = []
    for i, token in enumerate(turn.action_ids):
        style: list[str] = []
        title = [f"id {token}"]
        if i < len(turn.logprobs):
            style.append(f"--p:{_share(-turn.logprobs[i], SURPRISE_FULL)}")
            title.append(f"log-probability {turn.logprobs[i]:.3f}")
        if i < len(turn.entropies):
            style.append(f"--e:{_share(turn.entropies[i], ENTROPY_FULL)}")
            title.append(f"entropy {turn.entropies[i]:.3f}")
        if advantages is not None:
            style += [f"--g:{_share(advantages[i], 1.0)}", f"--r:{_share(-advantages[i], 1.0)}"]
            title.append(f"advantage {advantages[i]:+.3f} of the largest")
        spans.append(f'<i style="{";".join(style)}" title="{" · ".join(title)}">{_text(decode(token))}</i>')
    return "".join(spans)


def _any_tokens(trajectories: Sequence[Trajectory]) -> bool:
    return any(turn.action_ids for t in trajectories for turn in t.turns)


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _share(value: float, full: float) -> str:
    """How much of the shade: 0 to 100 %. What is not a number counts as full: it should be seen."""
    share = 100.0 * min(max(value / full, 0.0), 1.0) if value == value else 100.0
    return f"{share:.0f}%"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 110 else line[:109] + "…"


def _text(text: str) -> str:
    """Escaped, and always encodable: lone surrogates become replacement characters."""
    return escape(text.encode("utf-8", "replace").decode("utf-8"))

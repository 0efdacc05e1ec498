"""Information gain: what each turn added to the policy's own probability of the right answer (IGPO, arXiv:2510.14967)."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from turnwise.errors import ConfigError, InfraError
from turnwise.trainers.bounds import within
from turnwise.trainers.rewards.protocol import Scene
from turnwise.trainers.shaping import add_terms, distinct_turns, failed
from turnwise.types import Group, Turn

__all__ = ["InformationGain"]


@dataclass(frozen=True, slots=True, kw_only=True)
class InformationGain:
    """Adds the term `information_gain`: v(s_{k+1}) - v(s_k) to turn k, for every turn but the last.

    s_k is the conversation up to and including the observation that turn k answers. With `prompt` and then `task.answer` (L
    tokens a_j) put in the policy's mouth there,

        m(s) = 1/L sum_j log pi(a_j | s, prompt, a_<j)      v = exp(m), form "probability"; v = m, form "log_probability"

    so a trajectory's terms sum to v(s_{K-1}) - v(s_0), and a gain of 0 is a gain. The last turn, however its episode ended, has
    the outcome and no gain. All states of a step are scored together: on the embedded engine in one forward pass of the distinct
    tokens (as far as memory allows), each conversation once, and the answer at the end of each of its turns.

    With `settle = true` the last turn pays the sum back, with v(s_0) on top: the terms then sum to -v(s_0), which no action
    moves, so this is potential-based shaping and keeps the optimal policy (of a frozen scorer: it moves with the policy). As
    published, E[v(s_{K-1})] is added to the objective.

    A state that leaves no room for the answer in the context window, or whose score is not finite, keeps the value before it;
    where that is s_0, it counts as no knowledge: 0 ("probability"), or whatever comes next ("log_probability"). A trajectory
    whose scoring breaks has failed. Made for `advantage = "igpo"`.

    Where nothing is known, scores still tremble, and what divides by a spread (IGPO's normalisation, Adam) makes as much of that
    as of a discovery. With `least` a value counts only once it is that far from the last one that counted: the terms still
    telescope, and groups that found nothing have gains of exactly 0. Ours; 0 is as published.

    Left out: several right answers (the best of them). Weights that change over training: `weighted`.
    """

    form: Literal["probability", "log_probability"] = "probability"
    """The release's library default is the first; its training script uses the second."""
    prompt: str = "<answer>"
    """What stands between the conversation and the answer, in the policy's mouth: how an answer begins in your environment's
    format. The release thinks aloud first: "\\nNow there's enough information to answer\\n</think>\\n<answer>\\n"."""
    settle: bool = False
    """Pay v(s_{K-1}) back at the last turn."""
    least: float = 0.0
    """The smallest change of v that is a gain or a loss."""
    unanswerable: Literal["refuse", "skip"] = "refuse"
    """What to do with a task that has no answer: ConfigError, or no gain (for mixtures of environments)."""

    def __post_init__(self) -> None:
        within("information_gain.least", self.least)

    async def __call__(self, groups: Sequence[Group], scene: Scene) -> list[Group]:
        answerable = [group for group in groups if group.survivors and self._has_answer(group)]
        turns = [(turn, group) for group in answerable for turn in distinct_turns(group)]
        scores = await asyncio.gather(*(self._score(turn, group.task.answer, scene) for turn, group in turns))
        values = {turn: value for (turn, _), value in zip(turns, scores, strict=True)}
        broken = {
            trajectory: value
            for group in answerable
            for trajectory in group.survivors
            for value in [values[turn] for turn in reversed(trajectory.turns)]
            if isinstance(value, InfraError)
        }
        groups = failed(groups, broken, "score")
        known = {turn: value for turn, value in values.items() if not isinstance(value, InfraError)}
        terms: dict[Turn, dict[str, float]] = {}
        for trajectory in (t for group in answerable for t in group.survivors if t not in broken):
            gains = self._gains([known[turn] for turn in trajectory.turns])
            terms |= {turn: {"information_gain": gain} for turn, gain in zip(trajectory.turns, gains, strict=False)}
        return add_terms(groups, terms)

    def _has_answer(self, group: Group) -> bool:
        if not group.task.answer and self.unanswerable == "refuse":
            got = f"{group.task.id!r} of {group.trajectories[0].env_id} without one"
            raise ConfigError(f'information_gain: expected tasks with an answer, got {got}; set unanswerable = "skip".')
        return bool(group.task.answer)

    async def _score(self, turn: Turn, answer: str, scene: Scene) -> float | InfraError | None:
        """m(s) before a turn; None where it cannot be had."""
        template = scene.chat("information_gain")
        before = [i for earlier in turn.path()[:-1] for part in (earlier.context_ids, earlier.action_ids) for i in part]
        state = [*before, *turn.context_ids, *template.tokenizer.encode(self.prompt, add_special_tokens=False)]
        wanted = template.reply(answer)[:-1]  # without the stop token
        if len(state) + len(wanted) > scene.engine.capabilities.context_window:
            return None
        try:
            logprobs = await scene.engine.score(state, wanted)
        except InfraError as error:
            return error
        mean = sum(logprobs) / len(logprobs) if logprobs else math.nan
        return mean if math.isfinite(mean) else None

    def _gains(self, means: Sequence[float | None]) -> list[float]:
        """[K - 1] differences of the values before each turn, or [K] with what settles them."""
        values: list[float] = []
        for mean in means:
            value = values[-1] if mean is None and values else self._value(mean, means)
            values.append(values[-1] if values and abs(value - values[-1]) < self.least else value)
        gains = [after - before for before, after in pairwise(values)]
        return [*gains, -values[-1]] if self.settle and values else gains

    def _value(self, mean: float | None, means: Sequence[float | None]) -> float:
        if self.form == "probability":
            return 0.0 if mean is None else math.exp(mean)
        return next((m for m in (mean, *means) if m is not None), 0.0)

"""What only a model's files can tell: are the ids those of the text, and the log-probabilities those of the model?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, cast

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from turnwise.agents.chat import ChatTemplate
from turnwise.errors import ConfigError
from turnwise.trainers.audit.rows import Row

__all__ = ["Scorer", "Wording", "model_beside"]

_ENOUGH = 4
"""Tokens from which a shift can be told."""
_CLEARLY = 4.0
"""Times that a shifted row must fit better."""


def model_beside(dump: Path) -> Path | None:
    """The model of the run that a dump of ours lies in, if it is there: its tokenizer is the one that was used."""
    found = (dump.parent / name for name in ("model", "base"))
    return next((path for path in found if (path / "tokenizer_config.json").is_file()), None)


class Wording:
    """A tokenizer with its chat template."""

    def __init__(self, path: str | Path) -> None:
        """Raises ConfigError if there is no tokenizer, or none that can carry a conversation."""
        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(path)
        except (OSError, ValueError) as error:
            raise ConfigError(f"audit --model {path}: no tokenizer can be loaded from there ({error}).") from error
        self.template = ChatTemplate(self.tokenizer)
        self.stops = self.template.stop_ids
        self.vocabulary = max(len(self.tokenizer), _embedded(path))

    def wrong(self, row: Row) -> Iterator[str]:
        """What of a row of ours is not what its text says."""
        before = None
        for k, turn in enumerate(row.turns):
            if turn.action_ids and not turn.given and self.template.text(turn.action_ids) != turn.action:
                says = self.template.text(turn.action_ids)
                yield f"turn {k}: its ids say {says[:60]!r}, its text is {turn.action[:60]!r}: one was edited or retokenised"
            if turn.context_ids and turn.context_ids not in self._contexts(before, turn.observation):
                yield f"turn {k}: the ids before the reply are not those of its observation {turn.observation[:60]!r}"
            before = turn

    def _contexts(self, before: Any, observation: str) -> list[tuple[int, ...]]:
        if before is None:
            return [self.template.opening(observation)]
        return [self.template.following(before.action_ids, observation, role) for role in ("user", "tool")]


class Scorer:
    """A model's own log-probabilities, to compare with those of a dump."""

    def __init__(self, path: str | Path, *, temperature: float = 1.0, tolerance: float = 0.5) -> None:
        """`tolerance` is the mean distance, in nats, of a row's log-probabilities that is still rounding or a stale sample."""
        disable_progress_bar()
        try:
            self.model: Any = AutoModelForCausalLM.from_pretrained(path)
        except (OSError, ValueError) as error:
            raise ConfigError(f"audit --score: no model can be loaded from {path} ({error}).") from error
        self.model.eval()
        self.temperature, self.tolerance = temperature, tolerance

    def wrong(self, row: Row) -> Iterator[str]:
        """Whether a row's log-probabilities are another model's, or its neighbours'."""
        at = [i for i, trained in enumerate(row.mask) if trained and i]
        if len(at) < _ENOUGH or len(row.ids) != len(row.logprobs) or len(row.ids) != len(row.mask):
            return
        right = self._scores(row.ids)
        for reply in row.spans():
            for shift in (1, -1):
                here = range(max(reply.start, reply.start - shift, 1), min(reply.end, reply.end - shift))
                stands, moved = (_distance(right, row.logprobs, here, by) for by in (0, shift))
                if len(here) >= _ENOUGH and moved * _CLEARLY + 0.01 < stands:
                    which = "after" if shift > 0 else "before"
                    fits = f"{moved:.2g} nats from it in the mean, {stands:.2g} from their own"
                    yield f"log-probabilities from token {reply.start} on are shifted: they are those of the one {which}, {fits}"
                    return
        apart = _distance(right, row.logprobs, at, 0)
        if apart > self.tolerance:
            worst = max(at, key=lambda i: abs(right[i] - row.logprobs[i]))
            yield (
                f"its log-probabilities are {apart:.2g} nats from the model's in the mean, most at token {worst} "
                f"({row.logprobs[worst]:.3g}, the model says {right[worst]:.3g}): other weights, temperature or ids"
            )

    def _scores(self, ids: Sequence[int]) -> list[float]:
        """[T] of each token after those before it; nothing is said of the first."""
        tensor = torch.tensor([list(ids)], device=self.model.device)
        with torch.inference_mode():
            logits = self.model(input_ids=tensor).logits[0, :-1].float() / self.temperature
            own = logits.log_softmax(-1).gather(1, tensor[0, 1:, None])[:, 0]
        return [0.0, *cast("list[float]", own.tolist())]


def _distance(right: Sequence[float], said: Sequence[float], at: Sequence[int], shift: int) -> float:
    """Mean distance, if what is said of each token were of the one `shift` places on."""
    return fmean(abs(right[i + shift] - said[i]) for i in at) if at else 0.0


def _embedded(path: str | Path) -> int:
    """Rows of the model's embedding, which may be more than the tokenizer has; 0 if only the tokenizer is there."""
    try:
        return int(getattr(AutoConfig.from_pretrained(path), "vocab_size", 0) or 0)
    except (OSError, ValueError):
        return 0

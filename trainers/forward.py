"""The trainer's forward pass: log-probabilities of given tokens, without logits where nobody asks for them."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

__all__ = ["Forward"]


class Forward:
    """Right-padded rows in, log-probabilities and entropies of the masked tokens out.

    The vocabulary projection runs only at positions that predict a masked token. Whether `head(backbone(x))` is the model's own
    forward pass (some architectures scale or cap their logits) is tried once at start; where it is not, the full forward is used.
    """

    def __init__(self, model: PreTrainedModel, temperature: float = 1.0) -> None:
        self.model = model
        self.temperature = temperature or 1.0  # greedy sampling reports log-probabilities at temperature 1
        self._core: Any = cast(Any, model).get_base_model() if hasattr(model, "get_base_model") else model
        self._split = self._can_split()

    def hidden(self, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        """[B, T] ids -> [B, T, H] last hidden states. What stands beyond a row's length ([B]; T by default) means nothing."""
        return self._core.base_model(input_ids=tokens, use_cache=False)[0]

    def logits(self, hidden: Tensor) -> Tensor:
        """[N, H] -> [N, V] in float32 or wider, at the sampling temperature."""
        return self._scaled(self._core.get_output_embeddings()(hidden))

    def __call__(self, tokens: Tensor, mask: Tensor, *, entropy: bool = True) -> tuple[Tensor, Tensor]:
        """[B, T] ids and bool mask -> ([B, T] log-probability of each masked token, [B, T] entropy there), 0 elsewhere, nats.

        The first token of a row has no prediction; it must not be in the mask. Entropies carry no gradient if `entropy` is False.
        """
        predicts = mask[:, 1:]
        if self._split:
            logits = self.logits(self.hidden(tokens)[:, :-1][predicts])
        else:
            full = self.model(input_ids=tokens, use_cache=False).logits[:, :-1][predicts]
            logits = self._scaled(full)
        chosen, spread = self._read(logits, tokens[:, 1:][predicts], entropy)
        return _placed(chosen, predicts), _placed(spread, predicts)

    def _scaled(self, logits: Tensor) -> Tensor:
        """In float32 or wider, at the sampling temperature."""
        return logits.to(torch.promote_types(logits.dtype, torch.float32)) / self.temperature

    def _read(self, logits: Tensor, ids: Tensor, entropy: bool) -> tuple[Tensor, Tensor]:
        """[N, V] logits, [N] ids -> ([N] their log-probabilities, [N] entropies, without gradient unless `entropy`)."""
        logp = logits.log_softmax(-1)
        chosen = logp.gather(1, ids[:, None])[:, 0]
        with torch.set_grad_enabled(entropy and torch.is_grad_enabled()):
            spread = -(logp.exp() * logp).sum(-1)
        return chosen, spread

    @torch.no_grad()
    def _can_split(self) -> bool:
        head: nn.Module | None = self._core.get_output_embeddings()
        if head is None or self._core.base_model is self._core:
            return False
        device = next(self._core.parameters()).device
        probe = torch.arange(4, device=device)[None] % self._core.config.vocab_size
        training = self._core.training
        self._core.eval()
        want = self._core(input_ids=probe, use_cache=False).logits
        got = head(self.hidden(probe))
        self._core.train(training)
        # To the last bit: a cap on the logits hardly shows while they are small, and matters once they have grown.
        return torch.equal(got, want)


def _placed(values: Tensor, predicts: Tensor) -> Tensor:
    out = values.new_zeros(predicts.shape[0], predicts.shape[1] + 1)
    at = torch.zeros_like(out, dtype=torch.bool)
    at[:, 1:] = predicts
    return out.masked_scatter(at, values)

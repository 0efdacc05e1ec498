"""The trainer's forward pass: log-probabilities of given tokens, without logits where nobody asks for them.

Logits of all tokens are never there at once: they are made and read in chunks, and made once more for the backward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPast

from turnwise.trainers.recomputing import check_blocks, recomputed

__all__ = ["CHUNK", "Forward", "core_of", "read_chunks"]

CHUNK = 2**25
"""Most logits, tokens times vocabulary, that are there at once; all of fewer need no second computation."""

Head = Callable[[Tensor], Tensor]


def core_of(model: nn.Module) -> Any:
    """The model itself, below its LoRA adapters."""
    return cast(Any, model).get_base_model() if hasattr(model, "get_base_model") else model


class Forward:
    """Right-padded rows in, log-probabilities and entropies of the masked tokens out.

    The vocabulary projection runs only at positions that predict a masked token. How a model makes logits of hidden states (some
    scale or cap them) is tried once at start; where neither its output embedding alone nor its own code without the backbone
    gives its own logits to the last bit, the full forward is used, and nothing bounds the logits' memory.
    """

    def __init__(
        self, model: PreTrainedModel, temperature: float = 1.0, *, chunk: int = CHUNK, checkpointing: bool = False
    ) -> None:
        """
        Args:
            temperature: the sampling temperature; that of 0 (greedy) is 1.
            chunk: most logits that are there at once.
            checkpointing: keep only the blocks' inputs for the backward pass.
        """
        self.model, self.chunk = model, chunk
        self.temperature = temperature or 1.0  # greedy sampling reports log-probabilities at temperature 1
        self._core = core_of(model)
        self._checkpointing = checkpointing
        if checkpointing:
            check_blocks(model)
        self.head: Head | None = self._find_head()
        """[..., H] hidden states -> [..., V] the model's own logits; None if there is no such part of it."""

    def hidden(self, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        """[B, T] ids -> [B, T, H] last hidden states. What stands beyond a row's length ([B]; T by default) means nothing."""
        with self._blocks():
            return self._core.base_model(input_ids=tokens, use_cache=False)[0]

    def __call__(self, tokens: Tensor, mask: Tensor, *, entropy: bool = True) -> tuple[Tensor, Tensor]:
        """[B, T] ids and bool mask -> ([B, T] log-probability of each masked token, [B, T] entropy there), 0 elsewhere, nats.

        The first token of a row has no prediction; it must not be in the mask. Entropies carry no gradient if `entropy` is False.
        """
        predicts = mask[:, 1:]
        if self.head is not None:
            states = self.hidden(tokens)[:, :-1][predicts]
        else:
            with self._blocks():
                states = self.model(input_ids=tokens, use_cache=False).logits[:, :-1][predicts]
        chosen, spread = self._read(states, tokens[:, 1:][predicts], entropy)
        return _placed(chosen, predicts), _placed(spread, predicts)

    def _read(self, states: Tensor, ids: Tensor, entropy: bool) -> tuple[Tensor, Tensor]:
        """[N, H] hidden states (or [N, V] logits of a model without a head of its own), [N] ids -> `read_chunks`."""
        size = max(1, self.chunk // int(self._core.config.vocab_size))
        return read_chunks(self.head or nn.Identity(), states, ids, self.temperature, entropy=entropy, size=size)

    def _blocks(self, within: Callable[[], AbstractContextManager[None]] = nullcontext) -> AbstractContextManager[None]:
        return recomputed(self._core, within) if self._checkpointing else nullcontext()

    @torch.no_grad()
    def _find_head(self) -> Head | None:
        """See `head`."""
        core, embedding = self._core, self._core.get_output_embeddings()
        if embedding is None or core.base_model is core:
            return None
        device = next(core.parameters()).device
        probe = torch.arange(4, device=device)[None] % core.config.vocab_size
        training = core.training
        core.eval()
        want, hidden = core(input_ids=probe, use_cache=False).logits, self.hidden(probe)
        # To the last bit: a cap on the logits hardly shows while they are small, and matters once they have grown.
        heads: tuple[Head, ...] = (embedding, partial(_without_backbone, core))
        found = next((head for head in heads if torch.equal(head(hidden), want)), None)
        core.train(training)
        return found


def read_chunks(
    head: Head, hidden: Tensor, ids: Tensor, temperature: float, *, entropy: bool, size: int
) -> tuple[Tensor, Tensor]:
    """[N, H] hidden states, [N] ids -> ([N] log-probabilities of the ids, [N] entropies), float32 or wider, nats.

    More than `size` tokens are read in chunks of so many, of which the backward pass makes the logits again: memory is that of
    one chunk, for a third more multiplications in the head. The numbers are those of one chunk but for rounding.
    """
    one = partial(_read, head, temperature=temperature, entropy=entropy)
    if len(ids) <= size:
        return one(hidden, ids)
    again = partial(checkpoint, one, use_reentrant=False, preserve_rng_state=False)
    chosen, spread = zip(*(again(*part) for part in zip(hidden.split(size), ids.split(size), strict=True)), strict=True)
    return torch.cat(chosen), torch.cat(spread)


def _read(head: Head, hidden: Tensor, ids: Tensor, *, temperature: float, entropy: bool) -> tuple[Tensor, Tensor]:
    logits = head(hidden)
    logp = (logits.to(torch.promote_types(logits.dtype, torch.float32)) / temperature).log_softmax(-1)
    chosen = logp.gather(1, ids[:, None])[:, 0]
    with torch.set_grad_enabled(entropy and torch.is_grad_enabled()):
        spread = -(logp.exp() * logp).sum(-1)
    return chosen, spread


class _Given(nn.Module):
    """Stands in a backbone's place and gives hidden states that are there already."""

    def __init__(self, hidden: Tensor) -> None:
        super().__init__()
        self.hidden = hidden

    def forward(self, *args: Any, **kwargs: Any) -> BaseModelOutputWithPast:
        return BaseModelOutputWithPast(last_hidden_state=cast(Any, self.hidden))


def _without_backbone(core: Any, hidden: Tensor) -> Tensor:
    """[..., H] -> [..., V] logits by the model's own code, whatever it does after its backbone."""
    rows = hidden.reshape(1, -1, hidden.shape[-1])
    with _backbone(core, _Given(rows)):
        logits = core(input_ids=torch.zeros_like(rows[..., 0], dtype=torch.long), use_cache=False).logits
    return logits.reshape(*hidden.shape[:-1], -1)


@contextmanager
def _backbone(core: Any, stand_in: nn.Module) -> Generator[None]:
    name = core.base_model_prefix
    usual = core._modules[name]
    core._modules[name] = stand_in
    try:
        yield
    finally:
        core._modules[name] = usual


def _placed(values: Tensor, predicts: Tensor) -> Tensor:
    out = values.new_zeros(predicts.shape[0], predicts.shape[1] + 1)
    at = torch.zeros_like(out, dtype=torch.bool)
    at[:, 1:] = predicts
    return out.masked_scatter(at, values)

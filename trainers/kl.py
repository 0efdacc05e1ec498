"""Divergence from a reference policy, estimated on sampled tokens, and the exact entropy of logits.

With d = logp - ref of tokens drawn from the policy itself (Schulman, "Approximating KL divergence"):

    value of KL(policy || reference)     E[k1] and E[k3] are exact, E[k2] is not
    gradient as a loss                   E[grad k2] is exact; E[grad k1] is 0; E[grad k3] is another divergence's

So k2 is the loss, k1 and k3 are for measuring (tests/trainers/test_enumeration.py has the numbers).
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["entropy", "k1", "k2", "k3"]


def k1(logprobs: Tensor, reference: Tensor) -> Tensor:
    """d: unbiased, of either sign, noisy. Any shape, nats. For measuring only."""
    return logprobs - reference


def k2(logprobs: Tensor, reference: Tensor) -> Tensor:
    """d^2 / 2: the penalty to train with; its gradient d * grad(logp) is that of the true KL on policy. Any shape, nats."""
    return 0.5 * (logprobs - reference).square()


def k3(logprobs: Tensor, reference: Tensor) -> Tensor:
    """exp(-d) - 1 + d: unbiased, never negative, quiet. Any shape, nats; d is clamped to +-20. For measuring only."""
    d = (logprobs - reference).clamp(-20, 20)
    return torch.expm1(-d) + d


def entropy(logits: Tensor, chunk: int = 4096) -> Tensor:
    """[..., V] -> [...] entropy of softmax(logits), nats, in float32 or wider; -inf logits (masked out tokens) count as 0.

    At most `chunk` distributions are expanded at a time, so the peak is [chunk, V] and not [B, T, V] (with a gradient,
    autograd still keeps what it needs of each).
    """
    flat = logits.reshape(-1, logits.shape[-1])
    parts = [_entropy(part.to(torch.promote_types(part.dtype, torch.float32))) for part in flat.split(chunk)]
    return torch.cat(parts).reshape(logits.shape[:-1])


def _entropy(logits: Tensor) -> Tensor:
    logp = logits.log_softmax(-1)
    p = logp.exp()
    return -(p * torch.where(p > 0, logp, 0)).sum(-1)

"""How the processes of one learner share its model and its work: the seam between the maths of an update and where it runs.

A learner is written once, for any number of ranks. Each computes every number that the whole batch decides (weights with the one
denominator, parts, minibatches); a rank differs from the next only in which parts go through the model there. `Alone` is the
laptop's: one rank that has it all. `sharded.Sharded` is one rank of several.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from torch import Tensor
from transformers import PreTrainedModel

from turnwise.trainers.forward import Forward

__all__ = ["Alone", "Ranks", "Reads"]

T = TypeVar("T")


class Reads(Protocol):
    """`forward.Forward`, wherever the parameters are. On several ranks each call is one that all of them make."""

    @property
    def model(self) -> PreTrainedModel: ...
    def __call__(self, tokens: Tensor, mask: Tensor, *, entropy: bool = True) -> tuple[Tensor, Tensor]: ...
    def hidden(self, tokens: Tensor, lengths: Tensor | None = None) -> Tensor: ...


class Ranks(Protocol):
    """The processes of one learner, as one of them sees them."""

    def place(self, forward: Callable[[PreTrainedModel, float], Forward], model: PreTrainedModel, temperature: float) -> Reads:
        """Leave this rank its part of the model's parameters; what reads them all."""
        ...

    def run(self, model: PreTrainedModel, call: Callable[[], T]) -> T:
        """What a call gives that reads the parameters of a placed model."""
        ...

    def deal(self, parts: Sequence[Tensor]) -> list[Tensor]:
        """This rank's share of the passes over a batch, equally many on every rank: one without rows keeps step."""
        ...

    def total(self, tensor: Tensor) -> Tensor:
        """The sum over the ranks."""
        ...

    def gather(self, tensor: Tensor) -> Tensor:
        """The whole of a tensor of which each rank has a part, on the first rank; on the others something empty."""
        ...


@dataclass(frozen=True, slots=True)
class Alone:
    """One process: all parameters and all rows are here."""

    def place(self, forward: Callable[[PreTrainedModel, float], Forward], model: PreTrainedModel, temperature: float) -> Reads:
        return forward(model, temperature)

    def run(self, model: PreTrainedModel, call: Callable[[], T]) -> T:
        return call()

    def deal(self, parts: Sequence[Tensor]) -> list[Tensor]:
        return list(parts)

    def total(self, tensor: Tensor) -> Tensor:
        return tensor

    def gather(self, tensor: Tensor) -> Tensor:
        return tensor

"""What a training step needs at most, before anything is allocated.

The plan comes from the trainer's own code, run on tensors without memory (PyTorch's "meta" device) while their bytes are counted:
a forward and backward pass of `max_tokens`, a step of the optimiser, a token through the engine's cache. So it knows every
architecture, dtype, LoRA and activation checkpointing without a formula for any of them.

What bounds what. A pass is bounded by `max_tokens` (by the longest conversation, where that is longer), whatever its rows'
lengths: attention keeps no matrix of all pairs. Logits are bounded by `forward.CHUNK`. The engine's cache is `concurrency`
conversations at their longest, or `engine.cache_tokens`. Only ids, log-probabilities and the like grow with a step's tokens.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from rich.console import Console
from rich.text import Text
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel

from turnwise.agents.engines.torch_attention import attending
from turnwise.agents.engines.torch_batch import Model, visible
from turnwise.agents.engines.torch_cache import SlotCache
from turnwise.errors import ConfigError
from turnwise.trainers.allocations import Allocations
from turnwise.trainers.engines.torch import Torch
from turnwise.trainers.forward import CHUNK, core_of, read_chunks
from turnwise.trainers.lora import with_adapters
from turnwise.trainers.masters import Masters
from turnwise.trainers.recipe import Recipe
from turnwise.trainers.recomputing import recomputed
from turnwise.trainers.tree_packing import ROOM

__all__ = ["Part", "Plan", "announce", "described", "free_bytes", "memory_plan"]

_ATTENTION = "turnwise_plan"
_TOKEN_BYTES = 400
"""Of one token of a step's trajectories: Python's numbers, the batch and its copies, what an update keeps of it (measured)."""


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that takes memory while a step is trained."""

    name: str
    size: int
    """Bytes."""
    note: str = ""
    mend: str = ""
    """What makes it smaller."""


@dataclass(frozen=True, slots=True)
class Plan:
    """All of them: at most so much of the device that holds the policy."""

    parts: tuple[Part, ...]
    device: str
    free: int
    """Bytes that are free there now; 0 is unknown."""

    @property
    def total(self) -> int:
        return sum(part.size for part in self.parts)

    @property
    def warning(self) -> str:
        """What to change where it does not fit; "" where it does."""
        if not self.free or self.total <= self.free:
            return ""
        worst = sorted((p for p in self.parts if p.mend), key=lambda p: -p.size)[:2]
        mends = "; ".join(f"{part.name} ({_amount(part.size)}): {part.mend}" for part in worst)
        return f"memory: the plan needs up to {_amount(self.total)}, but {_amount(self.free)} are free on {self.device}. {mends}."

    def check(self) -> None:
        """Raises ConfigError where weights, gradients and the optimiser's states alone cannot fit: those are no upper bounds."""
        fixed = [part for part in self.parts if part.name in _FIXED]
        size = sum(part.size for part in fixed)
        if self.free and size > self.free:
            names, free = ", ".join(part.name for part in fixed), f"{_amount(self.free)} are free on {self.device}"
            raise ConfigError(
                f"policy: {names} take {_amount(size)}, but {free}; "
                "train adapters ([lora]), a smaller policy, or with several learners (cluster.learners)."
            )

    def __str__(self) -> str:
        rows = [f"  {part.name:<20}{_amount(part.size):>9}   {part.note}".rstrip() for part in self.parts]
        free = f" of {_amount(self.free)} that are free" if self.free else ""
        return "\n".join(
            [f"memory on {self.device}, at most", *rows, f"  {'in all':<20}{_amount(self.total):>9}  {free}".rstrip()]
        )


_FIXED = ("weights", "gradients", "optimiser")


def memory_plan(recipe: Recipe) -> Plan | None:
    """Bytes of a run's parts; None where the policy does not say what it looks like (no `skeleton`).

    Raises ConfigError if its configuration cannot be read.
    """
    skeleton = getattr(recipe.policy, "skeleton", None)
    if skeleton is None:
        return None
    model = cast(PreTrainedModel, skeleton())
    device = str(getattr(recipe.policy, "device", "cpu"))
    window = int(cast(Any, model.config).max_position_embeddings)
    context = min(recipe.max_context or window, window)
    engine = _engine(recipe, model, context)
    weights = _bytes(model.state_dict(keep_vars=True).values())
    if recipe.lora is not None:
        model = with_adapters(model, recipe.lora, 0)
    parts = [*_learner(recipe, model, context), *engine]
    if recipe.schedule.overlaps and isinstance(recipe.engine, Torch):
        parts.append(Part("engine's weights", weights, "a copy, for rollouts go on while the learner learns"))
    tokens = recipe.tasks_per_step * recipe.rollout.size * context
    episodes = f"{recipe.tasks_per_step} x {recipe.rollout.size} conversations of {context} tokens"
    parts.append(Part("trajectories", tokens * _TOKEN_BYTES, episodes, "lower tasks_per_step, rollout.size or max_context"))
    return Plan(tuple(part for part in parts if part.size), device, free_bytes(device))


def described(recipe: Recipe) -> str:
    """The plan and its warning as text; where there is none, why."""
    try:
        plan = memory_plan(recipe)
    except ConfigError as error:
        return f"memory: unknown. {error}"
    if plan is None:
        return f"memory: unknown. {type(recipe.policy).__name__} has no method `skeleton` that gives the model without weights."
    return f"{plan}\n{plan.warning}".rstrip()


def announce(recipe: Recipe, console: Console) -> None:
    """Print the plan. Raises ConfigError where a run cannot even begin."""
    plan = memory_plan(recipe)
    if plan is not None:
        console.print(Text(str(plan)), soft_wrap=True)
        if plan.warning:
            console.print(Text(plan.warning, "yellow"), soft_wrap=True)
        plan.check()


def _learner(recipe: Recipe, model: PreTrainedModel, context: int) -> list[Part]:
    trained = [p for p in model.parameters() if p.requires_grad]
    weights = _bytes(model.state_dict(keep_vars=True).values())
    count = sum(p.numel() for p in model.parameters())
    optimizers = recipe.optimizer.build(model)
    with Allocations() as counted:
        masters = Masters(optimizers)
    held = counted.live
    states, transient = _optimizer(optimizers, masters.of(trained), recipe.optimizer.max_grad_norm)
    tokens = max(recipe.max_tokens, context)
    blocks = _pass(model, recipe, tokens, logits=False)
    whole = _pass(model, recipe, tokens, logits=True)
    size = int(cast(Any, model.config).hidden_size)
    narrow = "activation_checkpointing = true, or a lower max_tokens"
    gradients = _bytes(masters.of(trained)) + (_bytes(trained) if held else 0)
    episodes, ranks = recipe.tasks_per_step * recipe.rollout.size, max(1, recipe.cluster.learners)
    weights, gradients, held, states = (size // ranks for size in (weights, gradients, held, states))
    share = f"; one of {ranks} learners" if ranks > 1 else ""
    return [
        Part("weights", weights, f"{count / 1e6:.1f} M parameters, {str(model.dtype).removeprefix('torch.')}{share}", "bfloat16"),
        Part("gradients", gradients, f"of {sum(p.numel() for p in trained) / 1e6:.1f} M that are trained", "[lora]"),
        Part("optimiser", held + states, "its states" + (", and float32 masters" if held else ""), "[lora]"),
        Part("reference", weights if recipe.kl else 0, "the policy at the start, for the KL penalty", "kl = 0"),
        Part("critic", _critic(recipe, episodes, context) * size * 4, "hidden states of a step", "fewer tasks_per_step"),
        Part("activations", blocks, f"a pass of {tokens} tokens" + _tall(recipe, context), narrow),
        Part(
            "logits", max(0, whole - blocks), f"a chunk of {min(tokens, CHUNK // int(cast(Any, model.config).vocab_size))} tokens"
        ),
        Part("trees", _trees(recipe, model, tokens), "what attention gathers of them", 'packing = "rows", or ' + narrow),
        Part("optimiser's step", max(0, transient - whole), "beyond what a pass takes"),
    ]


def _tall(recipe: Recipe, context: int) -> str:
    tall = f"; max_tokens is {recipe.max_tokens}, but a conversation goes whole" if context > recipe.max_tokens else ""
    return tall + (", a block's at a time" if recipe.activation_checkpointing else "")


def _engine(recipe: Recipe, model: PreTrainedModel, context: int) -> list[Part]:
    if not isinstance(recipe.engine, Torch):
        return []
    slots = recipe.engine.max_batch or recipe.concurrency
    cache, engine = SlotCache(), Model(model)
    cache.reserve(1, 1)
    positions = torch.zeros(1, 1, dtype=torch.long, device="meta")
    cache.aim(0, positions, 1)
    with engine.evaluation():
        engine.last_logits(positions, positions, visible(positions, 1, model.dtype), cache)
    tokens = max(context, min(slots * context, recipe.engine.cache_tokens or slots * context))
    size = tokens * cache.token_bytes
    between = size if recipe.engine.cache_tokens else min(size, engine.kept_bytes)
    what = f"{tokens // context} conversations of {context} tokens, {cache.token_bytes} bytes each"
    mend = "engine.cache_tokens, lower concurrency or max_context"
    return [
        Part("engine's cache", size, what, mend),
        Part("between turns", between, "keys and values of conversations that wait for their environments", mend),
    ]


# --- counting on "meta" ---------------------------------------------------------------------------------------------------


def _pass(model: PreTrainedModel, recipe: Recipe, tokens: int, *, logits: bool) -> int:
    """Most bytes alive in a forward and backward pass of so many tokens, gradients apart."""
    core = core_of(model)
    for parameter in model.parameters():
        parameter.grad = torch.empty_like(parameter) if parameter.requires_grad else None
    around = partial(attending, core.config, _ATTENTION)
    kept = recomputed(core, around) if recipe.activation_checkpointing else nullcontext()
    head = partial(read_chunks, core.get_output_embeddings(), temperature=1.0, size=CHUNK // core.config.vocab_size)
    with Allocations() as counted, around():
        ids = torch.zeros(1, tokens, dtype=torch.long, device="meta")
        with kept:
            hidden: Tensor = core.base_model(input_ids=ids, use_cache=False)[0]
        out = hidden
        if logits:
            logp, spread = head(hidden[0], ids[0], entropy=recipe.entropy != 0)
            out = logp + spread
            if recipe.kl:
                with torch.no_grad():
                    head(core.base_model(input_ids=ids, use_cache=False)[0][0], ids[0], entropy=False)
        out.sum().backward()
    return counted.peak


def _optimizer(optimizers: list[torch.optim.Optimizer], parameters: list[nn.Parameter], norm: float) -> tuple[int, int]:
    """(bytes that stay after a step, most bytes beyond them while it runs)."""
    for parameter in parameters:
        parameter.grad = torch.empty_like(parameter)
    with Allocations() as counted:
        torch.nn.utils.clip_grad_norm_(parameters, norm)
        for optimizer in optimizers:
            optimizer.step()
        live, peak = counted.live, counted.peak
    return live, peak - live


def _critic(recipe: Recipe, episodes: int, context: int) -> int:
    """Hidden states that a critic learns from."""
    if recipe.critic is None:
        return 0
    turns = episodes * (min(recipe.max_turns, context // 16) + 1)
    return turns + (episodes * context if recipe.critic.level == "token" else 0)


def _trees(recipe: Recipe, model: PreTrainedModel, tokens: int) -> int:
    """Queries, keys, values and results of the rows of a tree, which read their common beginning each for itself."""
    if recipe.packing != "tree":
        return 0
    config = cast(Any, model.config)
    width = int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
    heads = 2 * config.num_attention_heads + 2 * (getattr(config, "num_key_value_heads", None) or config.num_attention_heads)
    layers = 1 if recipe.activation_checkpointing else config.num_hidden_layers
    return layers * (ROOM - 1) * tokens * heads * width * model.dtype.itemsize


def _attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, None]:
    """What `sdpa` dispatches to on real devices; on "meta" it would take the kernel with a matrix of all pairs."""
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    out = flash(query, key, value, 0.0, True, scale=kwargs.get("scaling"))[0]
    return out.transpose(1, 2).contiguous(), None


AttentionInterface.register(_ATTENTION, _attend)


def _bytes(tensors: Any) -> int:
    """Tied tensors once."""
    return sum({id(t): t.numel() * t.element_size() for t in tensors}.values())


# --- what is there --------------------------------------------------------------------------------------------------------


def free_bytes(device: str) -> int:
    """Memory that can still be had on a device; 0 if nobody says."""
    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(device)[0]) if torch.cuda.is_available() else 0
    free = [_meminfo("/proc/meminfo", "MemAvailable:"), _cgroup()]
    return min((amount for amount in free if amount), default=0)


def _meminfo(path: str, key: str) -> int:
    for line in _lines(path):
        if line.startswith(key):
            return int(line.split()[1]) * 1024
    return 0


def _cgroup() -> int:
    """What a container still allows."""
    limit, used = (_lines(f"/sys/fs/cgroup/memory.{name}") for name in ("max", "current"))
    return max(0, int(limit[0]) - int(used[0])) if limit and used and limit[0].isdigit() else 0


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().splitlines()
    except OSError:
        return []


def _amount(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"

"""Learner and engine on a GPU: tokens per second, and the share of what its matrix products can do.

    python benchmarks/gpu.py [--out benchmarks/results/gpu.json]        needs CUDA
    python benchmarks/gpu.py --quick                                    a small model anywhere, to see that it works

A Qwen3 from nothing with 110 M parameters in bfloat16 (float32 masters). The ceiling is the fastest of several square matrix
products in the same dtype, measured in the same run. Model FLOPs are those of the mathematics: 6 a parameter and token for an
update, 2 for a sampled token, attention to what comes before on top, and nothing for logits or blocks that are computed again.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, Qwen3ForCausalLM

from turnwise.agents.engine import Sampling
from turnwise.agents.engines.torch import TorchEngine
from turnwise.trainers.advantages.grpo import GRPO
from turnwise.trainers.batch import Batch, collate
from turnwise.trainers.learner import LocalLearner, Update
from turnwise.trainers.policies.scratch import Scratch
from turnwise.trainers.testing import make_trajectory
from turnwise.types import Group, Task, Trajectory


@dataclass(frozen=True)
class Size:
    """What is run."""

    policy: Scratch
    vocabulary: int
    rows: int
    """Conversations of an update, and of the engine."""
    prompt: int
    sampled: int
    max_tokens: int
    product: int
    """Side of the square matrices of the ceiling."""


FULL = Size(Scratch(hidden=768, layers=12, heads=12, mlp=2048, context=2048), 32768, 64, 256, 768, 32768, 8192)
QUICK = Size(Scratch(hidden=64, layers=2, heads=2, mlp=128, context=128), 512, 8, 16, 16, 128, 256)


@dataclass(frozen=True)
class Result:
    """One part: the median of the repeats."""

    what: str
    tokens_per_second: float
    model_flops_per_second: float
    share_of_ceiling: float
    peak_bytes: int
    """On a GPU."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--checkpointing", action="store_true", help="activation checkpointing")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and not args.quick:
        print("no GPU: torch sees no CUDA device, and nothing was measured; --quick shows that the benchmark runs.")
        return
    size, dtype = (QUICK if args.quick else FULL), getattr(torch, args.dtype)
    torch.manual_seed(0)
    model: Any = Qwen3ForCausalLM(size.policy.config(size.vocabulary)).to(device, dtype)
    ceiling = matmul_ceiling(size.product, device, dtype)
    count = sum(p.numel() for p in model.parameters())
    name = torch.cuda.get_device_name() if device == "cuda" else platform.machine()
    print(f"{name}, {args.dtype}: {count / 1e6:.1f} M parameters, matrix products {ceiling / 1e12:.3f} TFLOP/s")
    engines = [engine(model, size, ceiling, args.repeats, fixed) for fixed in (True, False)]
    results = [*engines, learner(model, size, ceiling, args.repeats, args.checkpointing)]
    for r in results:
        print(
            f"{r.what:22} {r.tokens_per_second:10.0f} tokens/s   {r.model_flops_per_second / 1e12:8.4f} TFLOP/s   "
            f"{r.share_of_ceiling:6.1%} of the ceiling   peak {r.peak_bytes / 1e9:.2f} GB"
        )
    if args.out:
        machine = {"device": name, "torch": torch.__version__, "dtype": args.dtype, "parameters": count, "ceiling": ceiling}
        record = {"machine": machine, "quick": args.quick, "results": [asdict(r) for r in results]}
        args.out.write_text(json.dumps(record, indent=1) + "\n")


def matmul_ceiling(side: int, device: str, dtype: torch.dtype) -> float:
    """FLOP/s of the best of several products of square matrices."""
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    return 2 * side**3 / min(timed(lambda: a @ b, device) for _ in range(10))


def learner(model: PreTrainedModel, size: Size, ceiling: float, repeats: int, checkpointing: bool) -> Result:
    """Updates of one batch; the first one, which allocates, does not count."""
    batch = conversations(size)
    trainer = LocalLearner(model, Update(max_tokens=size.max_tokens, activation_checkpointing=checkpointing))
    advantages = GRPO()(batch)
    tokens, sampled = size.rows * (size.prompt + size.sampled), size.rows * size.sampled
    flops = 3 * forward_flops(model, size.rows, size.prompt + size.sampled, sampled)
    return measured("learner", lambda: trainer.update(batch, advantages), model, tokens, flops, ceiling, repeats)


def engine(model: PreTrainedModel, size: Size, ceiling: float, repeats: int, fixed: bool) -> Result:
    """Replies of equal length to all prompts at once. The prompts' tokens count as work, not as tokens."""
    sampler = TorchEngine(model, max_batch=size.rows, fixed_shapes=fixed)
    prompts = torch.randint(size.vocabulary, (size.rows, size.prompt), generator=torch.Generator().manual_seed(0)).tolist()

    async def replies() -> None:
        asked = (sampler.generate(ids, Sampling(max_tokens=size.sampled, seed=i)) for i, ids in enumerate(prompts))
        await asyncio.gather(*asked)

    sampled = size.rows * size.sampled
    flops = forward_flops(model, size.rows, size.prompt + size.sampled, sampled)
    what = "engine, fixed shapes" if fixed else "engine"  # on CUDA these are recorded in the first round, which does not count
    return measured(what, lambda: asyncio.run(replies()), model, sampled, flops, ceiling, repeats)


def measured(
    what: str, work: Callable[[], Any], model: PreTrainedModel, tokens: int, flops: float, ceiling: float, repeats: int
) -> Result:
    device = model.device.type
    work()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds = statistics.median(timed(work, device) for _ in range(repeats))
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else 0
    return Result(what, tokens / seconds, flops / seconds, flops / seconds / ceiling, peak)


def forward_flops(model: PreTrainedModel, rows: int, length: int, heads: int) -> float:
    """Of one forward pass over `rows` conversations, with logits of `heads` tokens."""
    config: Any = model.config
    embedding: Any = model.get_input_embeddings()
    blocks = sum(p.numel() for p in model.parameters()) - embedding.weight.numel()
    attention = 2 * config.num_hidden_layers * config.num_attention_heads * config.head_dim * rows * length**2
    return 2.0 * blocks * rows * length + attention + 2.0 * heads * embedding.weight.numel()


def timed(work: Callable[[], Any], device: str) -> float:
    """Seconds, with all that was begun on a GPU."""
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def conversations(size: Size) -> Batch:
    """One group of conversations of one turn each; half of them are rewarded."""
    ids = torch.randint(size.vocabulary, (size.rows, size.prompt + size.sampled), generator=torch.Generator().manual_seed(1))
    task = Task("t", "", "", 0)
    made: list[Trajectory] = []
    for i, row in enumerate(ids.tolist()):
        prompt, reply = tuple(row[: size.prompt]), tuple(row[size.prompt :])
        whole = make_trajectory(task, [float(i % 2)], tokens=[len(reply)])
        assert whole.leaf is not None
        turn = replace(whole.leaf, context_ids=prompt, action_ids=reply, logprobs=(-9.0,) * len(reply), entropies=())
        made.append(replace(whole, leaf=turn))
    return collate([Group(task, tuple(made))])


if __name__ == "__main__":
    main()

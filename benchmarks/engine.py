"""The torch engine against Hugging Face `generate`: same tiny model, same work, side by side in one run.

    python benchmarks/engine.py [--repeats 3] [--threads 1] [--device cpu] [--out benchmarks/results/engine.json]

uniform   64 prompts of 64 tokens, 64 new tokens each, all started together: what continuous batching costs.
episodes  64 conversations of 1 to 6 turns, 8 to 256 new tokens a turn, tool pauses of 0 to 200 ms: what it gains. `generate` is
          driven lock-step, as batch trainers do: each turn all live conversations as one left-padded batch, until the longest
          reply is done and the slowest tool has answered. Only the tokens that were asked for count, on both sides.

The machine's speed drifts, so both sides alternate and only the ratios within one run mean anything.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, Qwen3Config, Qwen3ForCausalLM

from turnwise.agents.engine import Sampling
from turnwise.agents.engines.torch import TorchEngine

VOCABULARY = 1024


@dataclass(frozen=True)
class Turn:
    observation: list[int]
    new_tokens: int
    pause_s: float


@dataclass(frozen=True)
class Result:
    """One workload: tokens per second of each repeat, medians and their ratio."""

    workload: str
    tokens: int
    engine: list[float]
    generate: list[float]
    engine_median: float
    generate_median: float
    ratio: float


def tiny_model(device: str) -> PreTrainedModel:
    config = Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=2560,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=0,
    )
    model: Any = Qwen3ForCausalLM(config).eval()
    return model.to(device)


def make_episodes(count: int, seed: int) -> list[list[Turn]]:
    generator = torch.Generator().manual_seed(seed)

    def between(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (1,), generator=generator))

    def ids(length: int) -> list[int]:
        return torch.randint(1, VOCABULARY, (length,), generator=generator).tolist()

    return [
        [Turn(ids(64 if turn == 0 else between(8, 48)), between(8, 256), between(0, 200) / 1000) for turn in range(between(1, 6))]
        for _ in range(count)
    ]


async def with_engine(model: PreTrainedModel, episodes: Sequence[Sequence[Turn]]) -> int:
    """Every episode is its own task. Tokens sampled."""
    engine = TorchEngine(model, max_batch=len(episodes))

    async def play(index: int) -> int:
        ids: list[int] = []
        sampled = 0
        for number, turn in enumerate(episodes[index]):
            ids += turn.observation
            sampling = Sampling(max_tokens=turn.new_tokens, seed=1000 * index + number)
            done = await engine.generate(ids, sampling, f"{index}")
            ids += done.ids
            sampled += len(done.ids)
            if number + 1 < len(episodes[index]):
                await asyncio.sleep(turn.pause_s)
        engine.release(f"{index}")
        return sampled

    return sum(await asyncio.gather(*(play(i) for i in range(len(episodes)))))


def with_generate(model: PreTrainedModel, episodes: Sequence[Sequence[Turn]]) -> int:
    """Lock-step: one left-padded batch per turn. Tokens that were asked for."""
    conversations: list[list[int]] = [[] for _ in episodes]
    sampled = 0
    for number in range(max(map(len, episodes))):
        live = [i for i, episode in enumerate(episodes) if number < len(episode)]
        for i in live:
            conversations[i] += episodes[i][number].observation
        replies = hf_replies(model, [conversations[i] for i in live], max(episodes[i][number].new_tokens for i in live))
        for i, reply in zip(live, replies, strict=True):
            wanted = reply[: episodes[i][number].new_tokens]
            conversations[i] += wanted
            sampled += len(wanted)
        pauses = [episodes[i][number].pause_s for i in live if number + 1 < len(episodes[i])]
        time.sleep(max(pauses, default=0.0))
    return sampled


@torch.inference_mode()
def hf_replies(model: PreTrainedModel, prompts: Sequence[Sequence[int]], new_tokens: int) -> list[list[int]]:
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(p)) + list(p) for p in prompts], device=model.device)
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=model.device)
    generate: Any = model.generate
    out = generate(
        input_ids=ids, attention_mask=mask, max_new_tokens=new_tokens, do_sample=True, top_k=0, top_p=1.0, temperature=1.0
    )
    return out[:, width:].tolist()


def rate(work: Callable[[], int]) -> tuple[float, int]:
    start = time.perf_counter()
    tokens = work()
    return tokens / (time.perf_counter() - start), tokens


def compare(name: str, model: PreTrainedModel, episodes: Sequence[Sequence[Turn]], repeats: int) -> Result:
    engine: list[float] = []
    generate: list[float] = []
    tokens = 0
    for _ in range(repeats):
        speed, tokens = rate(lambda: asyncio.run(with_engine(model, episodes)))
        engine.append(round(speed, 1))
        speed, same = rate(lambda: with_generate(model, episodes))
        generate.append(round(speed, 1))
        assert same == tokens
    medians = statistics.median(engine), statistics.median(generate)
    return Result(name, tokens, engine, generate, *medians, round(medians[0] / medians[1], 2))


def report(result: Result) -> str:
    def side(speeds: list[float], median: float) -> str:
        return f"{median:8.0f} tokens/s ({min(speeds):.0f} to {max(speeds):.0f})"

    engine, generate = side(result.engine, result.engine_median), side(result.generate, result.generate_median)
    return f"{result.workload:9} engine {engine}   generate {generate}   ratio {result.ratio:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", choices=["uniform", "episodes"])
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = tiny_model(args.device)
    workloads = {
        "uniform": [[Turn(episode[0].observation, 64, 0.0)] for episode in make_episodes(64, seed=0)],
        "episodes": make_episodes(64, seed=1),
    }
    warm = [[Turn(list(range(1, 65)), 8, 0.0)]] * 8
    asyncio.run(with_engine(model, warm))
    with_generate(model, warm)
    results: list[Result] = []
    for name, episodes in workloads.items():
        if args.only in (None, name):
            results.append(compare(name, model, episodes, args.repeats))
            print(report(results[-1]), flush=True)
    if args.out:
        machine: dict[str, Any] = {
            "device": args.device,
            "threads": args.threads,
            "torch": torch.__version__,
            "cpu": platform.machine(),
        }
        if args.device.startswith("cuda"):
            machine["gpu"] = torch.cuda.get_device_name()
        args.out.write_text(json.dumps({"machine": machine, "results": [asdict(r) for r in results]}, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""What packing as a tree saves: tokens and seconds of a training pass, by the share of a row that its siblings have in common.

    python benchmarks/tree_packing.py [--rounds 5] [--siblings 8] [--length 512]

Three ways through one model, in turns in each round: rows (each whole), tree (turnwise), and the tree as one packed sequence
under a dense ancestor mask, which is what papers on tree training describe. Forward and backward with log-probabilities of the
policy's tokens; the ratio is rows / way, with its spread over the rounds. Gradients are compared in float64 as well.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import Qwen3Config, Qwen3ForCausalLM

from turnwise.trainers.forward import Forward
from turnwise.trainers.tree_packing import TreeForward, plant

RESULTS = Path(__file__).parent / "results" / "tree_packing.json"
SHARES = (0.0, 0.5, 0.75, 0.9)
MODELS = {"laptop": (96, 3, 4), "wider": (256, 4, 8)}
"""Hidden size, layers, heads."""
VOCABULARY = 1024

Way = Callable[[Tensor, Tensor], Tensor]


def model_of(hidden: int, layers: int, heads: int, length: int) -> Any:
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=hidden,
        intermediate_size=hidden * 8 // 3,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        head_dim=hidden // heads,
        max_position_embeddings=length,
        tie_word_embeddings=True,
    )
    return Qwen3ForCausalLM(config).eval()


def rows_of(share: float, siblings: int, length: int) -> tuple[Tensor, Tensor]:
    """Siblings with a common beginning; their own tokens are the policy's."""
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(1, VOCABULARY, (siblings, length), generator=generator)
    common = int(share * length)
    tokens[:, :common] = tokens[0, :common]
    mask = torch.zeros_like(tokens, dtype=torch.bool)
    mask[:, max(1, common) :] = True
    return tokens, mask


def dense(model: Any) -> Way:
    """One sequence, positions by depth, a [N, N] mask of ancestors."""

    def run(tokens: Tensor, mask: Tensor) -> Tensor:
        forest = plant(tokens, torch.full_like(tokens[:, 0], tokens.shape[1]))
        count = len(forest.tokens)
        sees = torch.zeros(count, count, dtype=torch.bool)
        below = torch.ones(tokens.shape[1], tokens.shape[1], dtype=torch.bool).tril().nonzero()
        for place in forest.place:
            sees[place[below[:, 0]], place[below[:, 1]]] = True
        hidden = model.model(
            input_ids=forest.tokens[None], position_ids=forest.depth[None], attention_mask=sees[None, None], use_cache=False
        )[0][0]
        nodes = forest.place[mask].unique()
        logp = model.lm_head(hidden[forest.parent[nodes]]).log_softmax(-1).gather(1, forest.tokens[nodes][:, None])[:, 0]
        return logp.new_zeros(count).index_put((nodes,), logp)[forest.place] * mask

    return run


def ways(model: Any) -> dict[str, Way]:
    rows, tree = Forward(model), TreeForward(model)
    return {
        "rows": lambda t, m: rows(t, m, entropy=False)[0],
        "tree": lambda t, m: tree(t, m, entropy=False)[0],
        "dense mask": dense(model),
    }


def step(model: Any, way: Way, tokens: Tensor, mask: Tensor) -> float:
    """Seconds of a forward and a backward pass."""
    model.zero_grad(set_to_none=True)
    start = time.perf_counter()
    (way(tokens, mask) * mask).sum().backward()
    return time.perf_counter() - start


def largest_difference(size: tuple[int, int, int], siblings: int) -> float:
    """Of any gradient between tree and rows in float64, relative to the largest gradient."""
    model = model_of(*size, 64).double()
    tokens, mask = rows_of(0.75, siblings, 64)
    gradients: list[list[Tensor]] = []
    for name in ("rows", "tree"):
        step(model, ways(model)[name], tokens, mask)
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    largest = max(float(g.abs().max()) for g in gradients[0])
    return max(float((a - b).abs().max()) for a, b in zip(*gradients, strict=True)) / largest


def spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def measured(size: tuple[int, int, int], share: float, args: argparse.Namespace) -> dict[str, Any]:
    model = model_of(*size, args.length)
    tokens, mask = rows_of(share, args.siblings, args.length)
    todo = ways(model)
    for way in todo.values():
        step(model, way, tokens, mask)
    seconds = {name: [] for name in todo}
    for _ in range(args.rounds):
        for name, way in todo.items():
            seconds[name].append(step(model, way, tokens, mask))
    nodes = len(plant(tokens, torch.full_like(tokens[:, 0], args.length)).tokens)
    ratios = {n: spread([r / s for r, s in zip(seconds["rows"], seconds[n], strict=True)]) for n in todo if n != "rows"}
    return {
        "tokens": {"rows": tokens.numel(), "tree": nodes, "ratio": tokens.numel() / nodes},
        "seconds": {name: statistics.median(values) for name, values in seconds.items()},
        "rows / way": ratios,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--siblings", type=int, default=8)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    about = {"rounds": args.rounds, "siblings": args.siblings, "length": args.length, "threads": args.threads}
    results: dict[str, Any] = {"about": {**about, "torch": torch.__version__}, "models": {}}
    for name, size in MODELS.items():
        table = {f"{share:.0%}": measured(size, share, args) for share in SHARES}
        results["models"][name] = {"size": size, "gradient difference": largest_difference(size, args.siblings), "shares": table}
        print(f"{name} {size}: gradients differ by {results['models'][name]['gradient difference']:.1e} of the largest")
        for share, row in table.items():
            tree, mask = (row["rows / way"][way] for way in ("tree", "dense mask"))
            print(
                f"  {share:>4} shared: {row['tokens']['ratio']:.2f}x fewer tokens; seconds: tree {tree['median']:.2f}x "
                f"({tree['low']:.2f} to {tree['high']:.2f}), dense mask {mask['median']:.2f}x "
                f"({mask['low']:.2f} to {mask['high']:.2f})"
            )
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()

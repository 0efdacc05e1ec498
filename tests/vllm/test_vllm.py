"""The vLLM engine against vLLM itself: what it says is what the trainer computes, before and after every change of weights."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import PreTrainedModel, Qwen3Config, Qwen3ForCausalLM

from turnwise.agents.engine import Completion, Sampling
from turnwise.agents.engines.vllm import VLLMEngine
from turnwise.agents.engines.vllm_http import HttpVLLM
from turnwise.agents.engines.vllm_local import LocalVLLM, cpu_options
from turnwise.agents.engines.vllm_tokens import Adapter
from turnwise.errors import ConfigError, EngineFailure
from turnwise.trainers.learner import LocalLearner, Update
from turnwise.trainers.sync import Probe, sync

WINDOW, VOCABULARY = 256, 300
OPTIONS = {"dtype": "float32", "max_num_seqs": 64, **cpu_options(WINDOW)}
PROMPT = list(range(1, 70))


@pytest.fixture(scope="session")
def runner() -> Iterator[asyncio.Runner]:
    """vLLM belongs to the loop it was made on."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with sharp distributions, so that every parameter matters."""
    config = Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=96,
        intermediate_size=256,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
    )
    model = Qwen3ForCausalLM(config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.normal_(0.0, 0.2, generator=generator)
    path = tmp_path_factory.mktemp("model")
    model.save_pretrained(path)
    return path


@pytest.fixture
def model(folder: Path) -> PreTrainedModel:
    """The trainer's side of the checkpoint."""
    return Qwen3ForCausalLM.from_pretrained(folder).eval()


def logits(model: torch.nn.Module, ids: Sequence[int], count: int) -> torch.Tensor:
    """[count, V] of the last `count` ids."""
    with torch.no_grad():
        return model(torch.tensor([list(ids)])).logits[0, -count - 1 : -1].float()


def expected(model: torch.nn.Module, context: Sequence[int], done: Completion | Sequence[int]) -> torch.Tensor:
    ids = done.ids if isinstance(done, Completion) else done
    return logits(model, [*context, *ids], len(ids)).log_softmax(-1).gather(1, torch.tensor(ids)[:, None])[:, 0]


def drift(model: PreTrainedModel, seed: int) -> None:
    """A training step's worth of change, and more."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)


@pytest.fixture(scope="module")
def engine(runner: asyncio.Runner, folder: Path) -> Iterator[VLLMEngine]:
    async def start() -> VLLMEngine:
        local = LocalVLLM(folder, context_window=WINDOW, options=OPTIONS)
        return VLLMEngine([local], context_window=WINDOW, vocabulary=VOCABULARY, entropy_tokens=-1)

    engine = runner.run(start())
    yield engine
    runner.run(engine.close())


def test_a_reply_has_the_log_probabilities_and_entropies_of_the_model(
    runner: asyncio.Runner, engine: VLLMEngine, model: PreTrainedModel
) -> None:
    runner.run(engine.update_weights(model.state_dict(), 3))
    done = runner.run(engine.generate(PROMPT, Sampling(max_tokens=20, seed=1)))
    assert len(done.ids) == 20 and done.stop_reason == "length" and done.version == 3 and done.versions == ()
    assert torch.tensor(done.logprobs).sub(expected(model, PROMPT, done)).abs().max() < 1e-4
    logp = logits(model, [*PROMPT, *done.ids], 20).log_softmax(-1)
    entropy = -(logp.exp() * logp).sum(-1)
    assert torch.tensor(done.entropies).sub(entropy).abs().max() < 1e-3 and engine.stats.entropy_bound < 1e-3


@pytest.mark.parametrize(("temperature", "top_k"), [(0.5, 0), (1.0, 5), (0.0, 0)])
def test_log_probabilities_are_those_of_the_sampling_distribution(
    runner: asyncio.Runner, engine: VLLMEngine, model: PreTrainedModel, temperature: float, top_k: int
) -> None:
    runner.run(engine.update_weights(model.state_dict(), 3))
    done = runner.run(engine.generate(PROMPT, Sampling(max_tokens=10, seed=2, temperature=temperature, top_k=top_k)))
    scores = logits(model, [*PROMPT, *done.ids], 10) / (temperature or 1.0)
    if top_k:
        scores = scores.masked_fill(scores < scores.topk(top_k).values[:, -1:], -torch.inf)
    wanted = scores.log_softmax(-1).gather(1, torch.tensor(done.ids)[:, None])[:, 0]
    assert torch.tensor(done.logprobs).sub(wanted).abs().max() < 1e-4
    assert temperature or list(done.ids) == scores.argmax(-1).tolist()


def test_a_seed_repeats_a_reply_and_a_stop_token_ends_it(runner: asyncio.Runner, engine: VLLMEngine) -> None:
    first, again = (runner.run(engine.generate(PROMPT, Sampling(max_tokens=12, seed=5))) for _ in range(2))
    other = runner.run(engine.generate(PROMPT, Sampling(max_tokens=12, seed=6)))
    assert first.ids == again.ids != other.ids
    stop = first.ids[6]
    done = runner.run(engine.generate(PROMPT, Sampling(max_tokens=12, seed=5, stop_ids=(stop,))))
    assert done.ids == first.ids[: first.ids.index(stop) + 1] and done.stop_reason == "stop"


def test_scores_are_the_models(runner: asyncio.Runner, engine: VLLMEngine, model: PreTrainedModel) -> None:
    runner.run(engine.update_weights(model.state_dict(), 3))
    targets = [5, 250, 7, 7]
    found = runner.run(engine.score(PROMPT, targets))
    assert torch.tensor(found).sub(expected(model, PROMPT, targets)).abs().max() < 1e-4
    assert runner.run(engine.score(PROMPT, [])) == []


def test_a_conversation_finds_its_beginning_in_the_cache(runner: asyncio.Runner, engine: VLLMEngine) -> None:
    async def turns() -> int:
        first = await engine.generate(PROMPT, Sampling(max_tokens=10, seed=1), "talk")
        before = engine.stats.reused_tokens
        await engine.generate([*PROMPT, *first.ids, 9, 9, 9], Sampling(max_tokens=10, seed=1), "talk")
        return engine.stats.reused_tokens - before

    assert runner.run(turns()) >= 64  # two whole blocks


def test_nothing_of_old_weights_is_used_again(runner: asyncio.Runner, engine: VLLMEngine, model: PreTrainedModel) -> None:
    for version in (10, 11):
        runner.run(engine.update_weights(model.state_dict(), version))
        done = runner.run(engine.generate(PROMPT, Sampling(max_tokens=20, seed=version), "talk"))
        assert torch.tensor(done.logprobs).sub(expected(model, PROMPT, done)).abs().max() < 1e-4 and done.version == version
        drift(model, version)
    assert engine.sync_cost[0] > 1e6 and engine.sync_cost[1] > 0


def test_every_token_of_an_interrupted_reply_was_sampled_by_the_version_it_names(
    runner: asyncio.Runner, engine: VLLMEngine, model: PreTrainedModel
) -> None:
    """Requests go on with the new weights; keys and values of their first tokens are computed again."""
    prompts = [PROMPT[: 5 + i] for i in range(8)]

    async def interrupted() -> tuple[list[Completion], dict[int, dict[str, torch.Tensor]]]:
        await engine.update_weights(model.state_dict(), 20)
        states = {20: {k: v.clone() for k, v in model.state_dict().items()}}
        before = engine.stats.requests
        running = [asyncio.create_task(engine.generate(p, Sampling(max_tokens=180, seed=i))) for i, p in enumerate(prompts)]
        await engine.generate([7, 8, 9], Sampling(max_tokens=5))  # has had its tokens, so the eight before it have had some
        assert engine.stats.requests == before + 1
        drift(model, 20)
        await engine.update_weights(model.state_dict(), 21)
        states[21] = {k: v.clone() for k, v in model.state_dict().items()}
        return await asyncio.gather(*running), states

    done, states = runner.run(interrupted())
    mixed = [d for d in done if d.versions]
    assert mixed, "the weights came after all replies had ended"
    for prompt, reply in zip(prompts, done, strict=True):
        versions = torch.tensor(reply.versions or (reply.version,) * len(reply.ids))
        for version, state in states.items():
            model.load_state_dict(state)
            error = torch.tensor(reply.logprobs).sub(expected(model, prompt, reply)).abs()
            assert float((error * (versions == version)).max()) < 1e-4
            assert not bool((versions != version).any()) or float((error * (versions != version)).max()) > 1e-2


@pytest.mark.parametrize("name", ["layers.1.self_attn.qkv_proj.weight", "layers.2.mlp.gate_up_proj.weight", "norm.weight"])
def test_a_disturbed_parameter_is_named(runner: asyncio.Runner, engine: VLLMEngine, model: PreTrainedModel, name: str) -> None:
    runner.run(engine.update_weights(model.state_dict(), 3))
    assert runner.run(engine.differing(model.state_dict())) == []
    runner.run(engine.transports[0].call("turnwise_disturb", f"model.{name}"))
    found = runner.run(engine.differing(model.state_dict()))
    assert found == [f"model.{name}".replace("qkv_proj", "q_proj").replace("gate_up_proj", "gate_proj")]
    runner.run(engine.update_weights(model.state_dict(), 4))
    assert runner.run(engine.differing(model.state_dict())) == []


def test_a_cancelled_request_leaves_vllm(runner: asyncio.Runner, engine: VLLMEngine) -> None:
    async def cancelled() -> int:
        task = asyncio.create_task(engine.generate(PROMPT, Sampling(max_tokens=180)))
        await engine.generate([1, 2], Sampling(max_tokens=3))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await engine.generate([1, 2], Sampling(max_tokens=3))
        local = engine.transports[0]
        assert isinstance(local, LocalVLLM)
        return local.unfinished

    assert runner.run(cancelled()) == 0


def test_bad_requests_are_refused(runner: asyncio.Runner, engine: VLLMEngine, model: PreTrainedModel) -> None:
    with pytest.raises(ConfigError, match="vocabulary"):
        runner.run(engine.generate([VOCABULARY], Sampling(max_tokens=1)))
    with pytest.raises(ConfigError, match="context window"):
        runner.run(engine.generate([1] * WINDOW, Sampling(max_tokens=1)))
    with pytest.raises(ConfigError, match="adapters"):
        runner.run(engine.update_weights({"a.lora_A.default.weight": torch.zeros(1)}, 1))
    with pytest.raises(EngineFailure):
        runner.run(engine.update_weights({"nothing.like.it": torch.zeros(1)}, 1))
    runner.run(engine.update_weights(model.state_dict(), 2))


class Server:
    """A vLLM server in a process group of its own."""

    def __init__(self, folder: Path, log: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        module = [sys.executable, "-m", "turnwise.agents.engines.vllm_http"]
        ours = [str(folder), "--context-window", str(WINDOW), "--port", str(self.port)]
        theirs = ["--dtype", "float32", "--max-num-seqs", "64", "--enable-lora", "--max-lora-rank", "8"]
        self.command = [*module, *ours, "--", *theirs]
        self.log = log
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, start_new_session=True)

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture(scope="module")
def server(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(folder, tmp_path_factory.mktemp("server") / "log")
    yield server
    server.kill()


def test_a_server_speaks_as_the_local_engine_and_survives_a_restart(
    runner: asyncio.Runner, server: Server, model: PreTrainedModel
) -> None:
    """kill -9 and a start with the weights of the beginning: the engine notices, gives it the present ones, and asks again."""
    drift(model, 30)

    async def talk() -> None:
        http = HttpVLLM(f"http://127.0.0.1:{server.port}")
        engine = VLLMEngine([http], context_window=WINDOW, vocabulary=VOCABULARY, entropy_tokens=32, patience_s=400)
        await http.ready(400)
        await engine.update_weights(model.state_dict(), 5)
        done = await engine.generate(PROMPT, Sampling(max_tokens=15, seed=3))
        assert torch.tensor(done.logprobs).sub(expected(model, PROMPT, done)).abs().max() < 1e-4 and done.version == 5
        logp = logits(model, [*PROMPT, *done.ids], 15).log_softmax(-1)
        entropy = -(logp.exp() * logp).sum(-1)
        assert torch.tensor(done.entropies).sub(entropy).abs().max() < engine.stats.entropy_bound + 1e-3
        found = await engine.score(PROMPT, done.ids)
        assert torch.tensor(found).sub(expected(model, PROMPT, done)).abs().max() < 1e-4
        again = await engine.generate(PROMPT, Sampling(max_tokens=15, seed=3))
        assert again.ids == done.ids and engine.stats.reused_tokens >= 64
        assert await engine.differing(model.state_dict()) == []
        server.kill()
        server.start()
        after = await engine.generate(PROMPT, Sampling(max_tokens=15, seed=3))
        assert after.ids == done.ids and after.version == 5
        assert engine.stats.restored == 1 and engine.stats.again >= 1
        await engine.close()

    runner.run(talk())


def test_the_probe_asks_every_vllm(
    runner: asyncio.Runner, engine: VLLMEngine, server: Server, model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of them, one here and one behind HTTP. A parameter of the one or the other is disturbed as soon as it has its weights,
    and the probe alone must find it: tensors are only compared where it differs."""
    learner = LocalLearner(model, Update())
    probe = Probe(tensors_every=0)

    async def talk() -> None:
        http = HttpVLLM(f"http://127.0.0.1:{server.port}")
        await http.ready(400)
        both = VLLMEngine([engine.transports[0], http], context_window=WINDOW, vocabulary=VOCABULARY, patience_s=400)
        for transport in both.transports:
            drift(model, 40)
            label = transport.label

            async def disturbed(name: str, *, own=transport, told=label) -> None:
                await told(name)
                await own.call("turnwise_disturb", "model.norm.weight")

            with monkeypatch.context() as patch:
                patch.setattr(transport, "label", disturbed)
                with pytest.raises(EngineFailure, match=r"these tensors differ: model\.norm\.weight\."):
                    await sync(both, learner, probe)
            assert (await sync(both, learner, probe)).metrics["sync/probe_difference"] < 1e-4
        targets = [5, 250, 7, 7]
        found = await both.score_each(PROMPT, targets)
        assert len(found) == 2 and torch.tensor(found).sub(expected(model, PROMPT, targets)).abs().max() < 1e-4
        await http.close()

    runner.run(talk())


async def told_apart(http: HttpVLLM, engine: VLLMEngine, wrapped: PeftModel) -> None:
    """One number of an adapter, or of the model below it, is another in vLLM: its tensor is named, and no other."""
    assert await engine.differing(wrapped.state_dict()) == []
    learner, adopt = LocalLearner(wrapped, Update()), http.adopt
    for wrong in ("layers.1.self_attn.v_proj.lora_A", "layers.2.mlp.down_proj.lora_B", "layers.0.mlp.up_proj.lora_B"):
        name = f"base_model.model.model.{wrong}"

        async def disturbed(adapter: Adapter, *, tensor: str = f"{name}.weight") -> None:
            await adopt(adapter)
            file = f"{adapter.path}/adapter_model.safetensors"
            await http.call("turnwise_disturb_adapter", file, str(adapter.number), tensor)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(http, "adopt", disturbed)
            with pytest.raises(EngineFailure, match=re.escape(f"these tensors differ: {name}.default.weight.")):
                await sync(engine, learner, Probe(tolerance=1e3))  # blind to all but the tensors, which are compared by default
        assert (await sync(engine, learner, Probe())).metrics["sync/probe_difference"] < 1e-3
    await http.call("turnwise_disturb", "model.norm.weight")
    assert await engine.differing(wrapped.state_dict()) == ["base_model.model.model.norm.weight"]


def test_adapters_travel_alone(runner: asyncio.Runner, server: Server, model: PreTrainedModel) -> None:
    """The server of the test before, whose base weights are the checkpoint's again after one sync."""
    settings = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")

    async def talk() -> None:
        http = HttpVLLM(f"http://127.0.0.1:{server.port}")
        plain = VLLMEngine([http], context_window=WINDOW, vocabulary=VOCABULARY, patience_s=400)
        await http.ready(400)
        await plain.update_weights(model.state_dict(), 0)
        wrapped = get_peft_model(model, settings)
        config = {k: sorted(v) if isinstance(v, set) else v for k, v in wrapped.peft_config["default"].to_dict().items()}
        engine = VLLMEngine([http], context_window=WINDOW, vocabulary=VOCABULARY, adapter=config)
        generator = torch.Generator().manual_seed(0)
        for version in (1, 2, 3):
            with torch.no_grad():
                for name, parameter in wrapped.named_parameters():
                    if "lora_" in name:
                        parameter.normal_(0.0, 0.1, generator=generator)
            await engine.update_weights(wrapped.state_dict(), version)
            done = await engine.generate(PROMPT, Sampling(max_tokens=15, seed=version), "talk")
            assert torch.tensor(done.logprobs).sub(expected(wrapped, PROMPT, done)).abs().max() < 1e-3
            assert done.version == version
            found = await engine.score(PROMPT, done.ids)
            assert torch.tensor(found).sub(expected(wrapped, PROMPT, done)).abs().max() < 1e-3
            assert 0 < engine.sync_cost[0] < plain.sync_cost[0]
        await told_apart(http, engine, wrapped)
        await engine.close()

    runner.run(talk())

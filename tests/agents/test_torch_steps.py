"""Decoding in fixed shapes: the same replies, by steps that are always the same operations on the same memory, as in a graph."""

import asyncio
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from turnwise.agents.engine import Completion, Sampling
from turnwise.agents.engines.torch import TorchEngine
from turnwise.agents.engines.torch_steps import Recorder, Run

VOCABULARY, STOP = 61, 3


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def tiny(family: str = "qwen3", seed: int = 0) -> PreTrainedModel:
    """A model whose attention matters: one wrong key shows in the logits."""
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "max_position_embeddings": 320}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
    ends: dict[str, Any] = {"bos_token_id": None, "eos_token_id": STOP, "pad_token_id": 0}
    if family == "gpt2":
        model: Any = GPT2LMHeadModel(GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=320, **ends))
    elif family == "llama":
        model = LlamaForCausalLM(LlamaConfig(vocab_size=VOCABULARY, **sizes, **heads, **ends))
    else:
        model = Qwen3ForCausalLM(Qwen3Config(vocab_size=VOCABULARY, **sizes, **heads, **ends))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() >= 2:
                parameter.normal_(0.0, 0.4, generator=generator)
    return model.eval()


class Tape(TorchDispatchMode):
    """A CUDA graph's semantics on any device: what is recorded are operations and the very tensors they read and write. A replay
    carries out these and no line of the model's Python; allocations, views and shapes are those of then."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.operations.append((func, args, kwargs or {}, out))
        return out

    def replay(self) -> None:
        for func, args, kwargs, out in self.operations:
            again = func(*args, **kwargs)
            olds, news = (x if isinstance(x, tuple | list) else (x,) for x in (out, again))
            for old, new in zip(olds, news, strict=True):
                if isinstance(old, Tensor) and not same_memory(old, new):
                    old.copy_(new)


def same_memory(a: Tensor, b: Tensor) -> bool:
    """A view, or written in place: there is nothing to copy."""
    return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr() and a.storage_offset() == b.storage_offset()


class Tapes:
    """`Recorder` that also counts replays."""

    def __init__(self) -> None:
        self.recorded = self.replayed = 0

    def __call__(self, run: Run) -> Run:
        with Tape() as tape:
            logits = run()
        self.recorded += 1

        def replay() -> Tensor:
            self.replayed += 1
            tape.replay()
            return logits

        return replay


def prompt(length: int, seed: int) -> list[int]:
    return torch.randint(4, VOCABULARY, (length,), generator=torch.Generator().manual_seed(seed)).tolist()


async def converse(engine: TorchEngine, who: int, turns: int = 3) -> list[Completion]:
    """A conversation of lengths of its own, over the borders of batches and columns."""
    ids, said = prompt(3 + 7 * who, who), []
    for turn in range(turns):
        sampling = Sampling(max_tokens=6 + 9 * who % 31, seed=100 * who + turn, stop_ids=(STOP,), top_k=20 * (who % 2))
        said.append(await engine.generate(ids, sampling, f"conversation {who}"))
        ids = [*ids, *said[-1].ids, *prompt(1 + who, 50 + turn)]
    return said


def crowd(engine: TorchEngine, size: int = 11) -> list[Completion]:
    async def main() -> list[Completion]:
        return [done for said in await asyncio.gather(*(converse(engine, who) for who in range(size))) for done in said]

    return asyncio.run(main())


def with_tapes(engine: TorchEngine) -> list[Tapes]:
    """The engine's steps are replayed from tapes from now on; all recorders that it made."""
    made: list[Tapes] = []

    def recorder() -> Recorder:
        made.append(Tapes())
        return made[-1]

    fixed = engine._batch.fixed
    assert fixed is not None
    fixed._recorder = recorder
    return made


@pytest.mark.parametrize("family", ["qwen3", "llama", "gpt2"])
def test_fixed_shapes_sample_what_free_ones_do(family: str):
    model = tiny(family)
    free, fixed = TorchEngine(model, max_batch=6), TorchEngine(model, max_batch=6, fixed_shapes=True)
    assert free._batch.fixed is None, "nothing changes on a CPU unless it is asked for"
    for one, two in zip(crowd(free), crowd(fixed), strict=True):
        assert (one.ids, one.stop_reason, one.version) == (two.ids, two.stop_reason, two.version)
        assert torch.tensor(one.logprobs).sub(torch.tensor(two.logprobs)).abs().max() < 1e-5
        assert torch.tensor(one.entropies).sub(torch.tensor(two.entropies)).abs().max() < 1e-5
    assert free.stats == fixed.stats


@pytest.mark.parametrize("family", ["qwen3", "gpt2"])
def test_a_step_is_the_same_operations_on_the_same_memory(family: str):
    """Replayed from a tape, without the model's code, to the last bit: also after the cache has grown, and with new weights."""
    wanted, taped = (TorchEngine(tiny(family), max_batch=6, fixed_shapes=True) for _ in range(2))
    tapes = with_tapes(taped)
    assert crowd(wanted) == crowd(taped)
    assert len(tapes) > 1, "the cache grew, and what was recorded before was forgotten"
    steps = sum(tape.replayed for tape in tapes)
    assert steps > 5 * sum(tape.recorded for tape in tapes) > 0
    first, moved = len(tapes), taped._batch.cache.moved
    weights = {name: tensor.clone() for name, tensor in tiny(family, seed=1).state_dict().items()}
    for engine in (wanted, taped):
        asyncio.run(engine.update_weights(weights, 1))
    assert crowd(wanted) == crowd(taped)
    assert len(tapes) - first == taped._batch.cache.moved - moved, "weights that change in place move nothing"


def test_few_shapes_serve_all_batches():
    engine = TorchEngine(tiny(), max_batch=6, fixed_shapes=True)
    tapes = with_tapes(engine)
    crowd(engine)
    first, before = len(tapes), sum(tape.recorded for tape in tapes)
    crowd(engine)
    steady = tapes[-1].recorded
    crowd(engine)
    assert len(tapes) == first and tapes[-1].recorded == steady <= 12, "up to 8 rows and 256 columns: 4 x 3"
    assert sum(tape.replayed for tape in tapes) > 10 * before


def test_weights_that_lie_elsewhere_are_recorded_again():
    model = tiny()
    engine, wanted = TorchEngine(model, fixed_shapes=True), TorchEngine(tiny(seed=1), fixed_shapes=True)
    tapes = with_tapes(engine)
    crowd(engine, size=2)
    with torch.no_grad():
        model.load_state_dict(tiny(seed=1).state_dict(), assign=True)
    model.tie_weights()
    before = len(tapes)
    engine.refresh(0)
    assert crowd(engine, size=2) == crowd(wanted, size=2) and len(tapes) == before + 1


def test_a_step_that_cannot_be_recorded_runs_as_it_is():
    class Refusing:
        def __call__(self, run: Run) -> Run:
            raise RuntimeError("operation not permitted when stream is capturing")

    model = tiny()
    engine = TorchEngine(model, fixed_shapes=True)
    assert engine._batch.fixed is not None
    engine._batch.fixed._recorder = Refusing
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        done = crowd(engine, size=3)
    assert done == crowd(TorchEngine(model, fixed_shapes=True), size=3)
    (one,) = [str(w.message) for w in said if "CUDA graphs" in str(w.message)]
    assert "not permitted when stream is capturing" in one


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_replays_what_it_computes():
    model = tiny().to("cuda")
    graphs, launched = TorchEngine(model, max_batch=6), TorchEngine(model, max_batch=6, fixed_shapes=False)
    for one, two in zip(crowd(graphs), crowd(launched), strict=True):
        assert one.ids == two.ids
        assert torch.tensor(one.logprobs).sub(torch.tensor(two.logprobs)).abs().max() < 1e-4
    assert graphs._batch.fixed is not None and graphs._batch.fixed.recorded > 0

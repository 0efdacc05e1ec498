"""Logits in chunks and blocks computed again: the same numbers and gradients with less memory."""

from typing import Any

import peft
import pytest
import torch
from torch import Tensor, nn

from tests.trainers.test_forward import MODELS, V, rows
from turnwise.errors import Unsupported
from turnwise.trainers.allocations import Allocations
from turnwise.trainers.forward import Forward, read_chunks
from turnwise.trainers.recomputing import check_blocks
from turnwise.trainers.tree_packing import TreeForward

WAYS = [{"chunk": 5 * V}, {"chunk": 1}, {"checkpointing": True}, {"chunk": 3 * V, "checkpointing": True}]


def with_lora(model: Any) -> Any:
    """Adapters inside the blocks and on the head."""
    config = peft.LoraConfig(r=2, target_modules=["q_proj", "down_proj", "lm_head"], lora_dropout=0.0, task_type="CAUSAL_LM")
    wrapped: Any = peft.get_peft_model(model, config)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_" in name:
                parameter.normal_(0.0, 0.3, generator=generator)
    return wrapped.eval()


KINDS = {**MODELS, "llama with LoRA": lambda: with_lora(MODELS["llama"]())}


def gradients(forward: Forward, tokens: Tensor, mask: Tensor, entropy: bool) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    logp, spread = forward(tokens, mask, entropy=entropy)
    weights = torch.linspace(-1, 1, logp.numel(), dtype=logp.dtype).reshape(logp.shape)
    forward.model.zero_grad()
    ((logp + 0.3 * spread) * weights).sum().backward()
    named = forward.model.named_parameters()
    return logp.detach(), spread.detach(), {n: p.grad.clone() for n, p in named if p.grad is not None}


FORWARDS = [(Forward, name) for name in KINDS] + [(TreeForward, name) for name in KINDS if name != "gemma2"]
"""Trees refuse attention within a window."""


@pytest.mark.parametrize(("kind", "name"), FORWARDS)
@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("entropy", [True, False])
def test_numbers_and_gradients_are_those_of_the_whole(kind: type[Forward], name: str, way: dict[str, Any], entropy: bool):
    model = KINDS[name]().double()
    tokens, mask = rows(9, 4, 12)
    tokens[2, :5] = tokens[0, :5]
    want = gradients(kind(model, 0.7), tokens, mask, entropy)
    got = gradients(kind(model, 0.7, **way), tokens, mask, entropy)
    assert torch.allclose(got[0], want[0], atol=1e-10, rtol=0) and torch.allclose(got[1], want[1], atol=1e-10, rtol=0)
    assert got[2].keys() == want[2].keys()
    for parameter in want[2]:
        assert torch.allclose(got[2][parameter], want[2][parameter], atol=1e-10, rtol=0), parameter


def test_what_fits_in_a_chunk_is_computed_once_and_to_the_bit():
    model = MODELS["qwen3"]()
    tokens, mask = rows(9, 4, 12)
    logp, _ = Forward(model, chunk=int(mask.sum()) * V)(tokens, mask)
    head = model.get_output_embeddings()
    calls: list[int] = []

    def count(*_: Any) -> None:
        calls.append(1)

    head.register_forward_hook(count)
    again, _ = Forward(model)(tokens, mask)
    before = len(calls)
    again.sum().backward()
    assert len(calls) == before and torch.equal(logp, again)


@pytest.mark.parametrize("name", ["qwen3", "gemma2"])
def test_logits_of_all_tokens_are_never_there(name: str):
    """Of one tensor's bytes, forward and backward: one chunk of logits, however many tokens."""
    model = MODELS[name]()
    tokens, mask = rows(*[40] * 16)  # 320 sampled tokens
    size = 8
    tensors: list[int] = []
    for chunk in (size * V, 2**25):
        forward = Forward(model, chunk=chunk)
        with Allocations() as counted:
            logp, spread = forward(tokens, mask)
            (logp.sum() + spread.sum()).backward()
        tensors.append(counted.largest)
    small, whole = tensors
    assert whole >= 4 * int(mask.sum()) * V
    assert small <= 4 * 16 * 40 * 24  # the widest hidden states are larger than a chunk's logits


def test_memory_of_the_head_is_that_of_a_chunk():
    head = nn.Linear(8, 512, bias=False)
    peaks: list[int] = []
    for tokens in (64, 256):
        hidden, ids = torch.ones(tokens, 8, requires_grad=True), torch.zeros(tokens, dtype=torch.long)
        with Allocations() as counted:
            logp, spread = read_chunks(head, hidden, ids, 1.0, entropy=True, size=16)
            (logp + spread).sum().backward()
        peaks.append(counted.peak)
    assert peaks[1] - peaks[0] < 256 * 8 * 4 * 4 < 256 * 512 * 4
    assert peaks[0] < 8 * 16 * 512 * 4 + 3 * 512 * 8 * 4


def test_blocks_keep_only_what_goes_into_them():
    """Every block more costs its input; without checkpointing many times that."""
    growth: list[float] = []
    tokens, mask = rows(*[32] * 8)
    for checkpointing in (False, True):
        live: list[int] = []
        for layers in (2, 4):
            model = MODELS["llama"]()
            model.model.layers.extend([model.model.layers[i % 2] for i in range(layers - 2)])
            model.config.num_hidden_layers = layers
            forward = Forward(model, checkpointing=checkpointing)
            with Allocations() as counted:
                logp, _ = forward(tokens, mask)
                live.append(counted.live)
                del logp
        growth.append((live[1] - live[0]) / 2 / (tokens.numel() * 16 * 4))
    assert growth[1] == pytest.approx(1, abs=0.1) and growth[0] > 10


def test_checkpointing_wakes_no_dropout_and_leaves_the_model_alone():
    model = MODELS["gpt2"]()
    assert model.config.resid_pdrop > 0 and not model.training
    tokens, mask = rows(9, 4)
    plain, _ = Forward(model)(tokens, mask)
    logp, _ = Forward(model, checkpointing=True)(tokens, mask)
    assert torch.equal(logp, plain)
    assert not any("forward" in vars(module) or module.training for module in model.modules())


def test_a_model_without_blocks_is_refused():
    with pytest.raises(Unsupported, match=r"activation_checkpointing: Linear .* set it to false"):
        check_blocks(nn.Linear(2, 2))

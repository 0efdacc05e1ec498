"""The trainer's forward pass against the model's own."""

import math
from typing import Any

import pytest
import torch
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from turnwise.trainers.forward import Forward

V = 37


def build(kind: Any, config: Any, **sizes: Any) -> Any:
    common = {"vocab_size": V, "bos_token_id": None, "eos_token_id": 2, "pad_token_id": 0}
    model = kind(config(**common, **sizes))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0.0, 0.3, generator=generator)
    return model.eval()


ROPE = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1}
MODELS = {
    "qwen3": lambda: build(Qwen3ForCausalLM, Qwen3Config, head_dim=8, tie_word_embeddings=True, **ROPE),
    "llama": lambda: build(LlamaForCausalLM, LlamaConfig, **ROPE),
    "gpt2": lambda: build(GPT2LMHeadModel, GPT2Config, n_embd=16, n_layer=2, n_head=2, n_positions=64),
    "gemma2": lambda: build(Gemma2ForCausalLM, Gemma2Config, head_dim=8, final_logit_softcapping=3.0, **ROPE),
}


def rows(*lengths: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Right-padded ids and a mask of every other token but the first."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.zeros(len(lengths), max(lengths), dtype=torch.long)
    mask = torch.zeros_like(tokens, dtype=torch.bool)
    for row, length in enumerate(lengths):
        tokens[row, :length] = torch.randint(1, V, (length,), generator=generator)
        mask[row, 1:length:2] = True
    return tokens, mask


@torch.no_grad()
def plain(model: Any, tokens: torch.Tensor, mask: torch.Tensor, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Row by row, without padding, with all logits."""
    logp, entropy = (torch.zeros(tokens.shape, dtype=model.dtype) for _ in range(2))
    for row, (ids, own) in enumerate(zip(tokens, mask, strict=True)):
        length = int(own.nonzero().max()) + 1
        all_logp = (model(input_ids=ids[None, :length]).logits[0] / temperature).log_softmax(-1)
        for t in own.nonzero()[:, 0].tolist():
            logp[row, t] = all_logp[t - 1, ids[t]]
            entropy[row, t] = -(all_logp[t - 1].exp() * all_logp[t - 1]).sum()
    return logp, entropy


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_it_is_the_models_own_distribution(name: str, temperature: float):
    model = MODELS[name]()
    tokens, mask = rows(9, 4, 12)
    got, spread = Forward(model, temperature)(tokens, mask)
    want, entropy = plain(model, tokens, mask, temperature)
    assert torch.allclose(got, want, atol=1e-5) and torch.allclose(spread, entropy, atol=1e-5)
    assert not bool(got[~mask].any()) and not bool(spread[~mask].any())


def test_logits_are_skipped_where_they_may_be():
    for name in ("qwen3", "llama", "gpt2"):
        model: Any = MODELS[name]()
        assert Forward(model).head is model.get_output_embeddings()


def test_a_cap_that_hardly_shows_in_small_logits_is_found():
    """The probe is made when weights are small; a cap shows in the last bits only, and matters once they have grown."""
    model: Any = build(Gemma2ForCausalLM, Gemma2Config, head_dim=8, final_logit_softcapping=30.0, **ROPE)
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(0.05)
    assert Forward(model).head is not model.get_output_embeddings()


@pytest.mark.parametrize("name", ["qwen3", "gemma2"])
def test_gradients_are_the_models_own(name: str):
    model = MODELS[name]().double()
    tokens, mask = rows(9, 4, 12)
    logp, entropy = Forward(model, 0.7)(tokens, mask)
    (logp.sum() + 0.3 * entropy.sum()).backward()
    got = {n: p.grad.clone() for n, p in model.named_parameters()}
    model.zero_grad()
    every = (model(input_ids=tokens).logits[:, :-1] / 0.7).log_softmax(-1)
    chosen = every.gather(2, tokens[:, 1:, None])[..., 0]
    spread = -(every.exp() * every).sum(-1)
    ((chosen + 0.3 * spread) * mask[:, 1:]).sum().backward()
    for n, p in model.named_parameters():
        assert torch.allclose(got[n], p.grad, atol=1e-10), n


def test_entropies_carry_a_gradient_only_if_asked():
    forward = Forward(MODELS["qwen3"]())
    assert forward(*rows(6), entropy=True)[1].requires_grad
    logp, entropy = forward(*rows(6), entropy=False)
    assert logp.requires_grad and not entropy.requires_grad
    with torch.no_grad():
        assert not forward(*rows(6))[0].requires_grad


def test_padding_and_neighbours_change_nothing():
    model = MODELS["qwen3"]().double()
    tokens, mask = rows(5, 11)
    alone, _ = Forward(model)(tokens[:1, :5], mask[:1, :5])
    both, _ = Forward(model)(tokens, mask)
    assert torch.allclose(alone[0], both[0, :5], atol=1e-12)
    tokens[0, 5:] = V - 1
    assert torch.equal(Forward(model)(tokens, mask)[0][0], both[0])


def test_an_empty_mask_is_fine():
    tokens, mask = rows(5)
    got, spread = Forward(MODELS["qwen3"]())(tokens, torch.zeros_like(mask))
    assert got.shape == spread.shape == tokens.shape and not bool(got.any())


def test_half_precision_models_give_full_precision_log_probabilities():
    model = MODELS["qwen3"]().bfloat16()
    got, _ = Forward(model)(*rows(6))
    assert got.dtype == torch.float32


def test_greedy_log_probabilities_are_of_temperature_one():
    model, batch = MODELS["qwen3"](), rows(6)
    assert torch.equal(Forward(model, 0.0)(*batch)[0], Forward(model, 1.0)(*batch)[0])


def test_a_flat_model_is_log_v():
    model = MODELS["qwen3"]()
    with torch.no_grad():
        model.get_output_embeddings().weight.zero_()
    tokens, mask = rows(6)
    logp, entropy = Forward(model)(tokens, mask)
    assert logp[mask].tolist() == pytest.approx([-math.log(V)] * int(mask.sum()))
    assert entropy[mask].tolist() == pytest.approx([math.log(V)] * int(mask.sum()))

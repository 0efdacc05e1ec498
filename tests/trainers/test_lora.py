"""LoRA: only adapters change, the engine sees them, and they can be saved and loaded."""

import asyncio
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel

from turnwise.agents.engine import Sampling
from turnwise.agents.engines.torch import TorchEngine
from turnwise.trainers import checkpoint
from turnwise.trainers.advantages.grpo import GRPO
from turnwise.trainers.batch import collate
from turnwise.trainers.forward import Forward
from turnwise.trainers.learner import LocalLearner, Update
from turnwise.trainers.lora import with_adapters
from turnwise.trainers.optimizers import AdamW
from turnwise.trainers.policies.scratch import Scratch
from turnwise.trainers.recipe import Lora
from turnwise.trainers.testing import make_group

SIZES = Scratch(hidden=16, layers=2, heads=2, mlp=24, vocabulary=300, context=64)
IDS = torch.arange(3, 19)[None]


def base() -> tuple[Any, Any]:
    model, tokenizer = SIZES.build([], 0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0.0, 0.3, generator=generator)
    return model.eval(), tokenizer


def adapted(seed: int = 0) -> Any:
    return with_adapters(base()[0], Lora(rank=4, alpha=8), seed)


def trained(model: Any, **settings: Any) -> LocalLearner:
    learner = LocalLearner(model, Update(optimizer=AdamW(lr=1e-2), **settings))
    batch = collate([make_group("a", [1.0], [0.0, 0.5])])
    for _ in range(3):
        learner.update(batch, GRPO()(batch))
    return learner


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    return model(input_ids=IDS).logits


def test_fresh_adapters_change_nothing_and_follow_the_seed():
    plain = base()[0]
    assert torch.equal(logits(adapted()), logits(plain))
    names = [n for n, p in adapted().named_parameters() if p.requires_grad]
    assert names and all("lora_" in n for n in names) and len(names) == 2 * 7 * 2
    one, same, other = (dict(adapted(seed).named_parameters()) for seed in (0, 0, 1))
    first = next(n for n in names if "lora_A" in n)
    assert torch.equal(one[first], same[first]) and not torch.equal(one[first], other[first])


def test_the_global_generator_is_left_alone():
    model = base()[0]
    before = torch.random.get_rng_state()
    with_adapters(model, Lora(rank=4), 0)
    assert torch.equal(before, torch.random.get_rng_state())


def test_only_adapters_learn():
    model = adapted()
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    trained(model)
    changed = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert changed == {n for n in before if "lora_" in n}
    assert not torch.equal(logits(model), logits(base()[0]))


def test_the_forward_pass_is_the_adapted_models():
    model = adapted()
    trained(model)
    mask = torch.ones_like(IDS, dtype=torch.bool)
    mask[:, 0] = False
    forward = Forward(model)
    assert forward.head is model.get_output_embeddings(), "logits only where they are asked for, with adapters too"
    logp, _ = forward(IDS, mask)
    want = logits(model)[:, :-1].log_softmax(-1).gather(2, IDS[:, 1:, None])[..., 0]
    assert torch.allclose(logp[:, 1:], want, atol=1e-5)


def test_the_reference_is_the_policy_without_what_was_learned():
    model = adapted()
    learner = LocalLearner(model, Update(kl=0.1, optimizer=AdamW(lr=1e-2)))
    batch = collate([make_group("a", [1.0], [0.0, 0.5])])
    seen = [learner.update(batch, GRPO()(batch)).get("kl_reference", 0.0) for _ in range(3)]
    assert seen[0] == 0 and seen[2] > 0


def test_the_engine_speaks_with_the_adapters():
    model = adapted()
    engine = TorchEngine(model)
    greedy = Sampling(max_tokens=3, temperature=0.0)

    async def story() -> tuple[Any, Any]:
        before = await engine.generate(IDS[0].tolist(), greedy)
        learner = trained(model)
        await engine.update_weights(learner.weights(), learner.version)
        return before, await engine.generate(IDS[0].tolist(), greedy)

    before, after = asyncio.run(story())
    assert before.logprobs != after.logprobs and after.version == 3
    row = torch.tensor([[*IDS[0].tolist(), *after.ids]])
    with torch.no_grad():
        logp = model(input_ids=row).logits[0].log_softmax(-1)[IDS.shape[1] - 1 : -1]
    want = logp.gather(1, torch.tensor(after.ids)[:, None])[:, 0]
    assert torch.allclose(torch.tensor(after.logprobs), want, atol=1e-5)


def test_adapters_alone_are_written_and_can_be_loaded(tmp_path: Path):
    model = adapted()
    trained(model)
    plain, tokenizer = base()
    checkpoint.write_model(tmp_path / "model", model, tokenizer)
    assert (tmp_path / "model" / "adapter_model.safetensors").is_file()
    assert not (tmp_path / "model" / "model.safetensors").exists()
    loaded = PeftModel.from_pretrained(plain, str(tmp_path / "model")).eval()
    assert torch.equal(logits(loaded), logits(model))


def test_a_checkpoint_with_adapters_is_exact(tmp_path: Path):
    model = adapted()
    learner = trained(model)
    path = checkpoint.save(tmp_path, model, base()[1], checkpoint.State(3, learner.state_dict(), {}, {}))
    twin = adapted(seed=9)
    state = checkpoint.load(path, twin)
    assert state.step == 3 and torch.equal(logits(twin), logits(model))

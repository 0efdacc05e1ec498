"""The torch engine against the model's own plain forward pass, and its promises about batches, sessions and failures."""

import asyncio
import gc
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any

import pytest
import torch
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
from turnwise.agents.engines.torch_scoring import pack
from turnwise.errors import ConfigError, EngineFailure, Unsupported

VOCABULARY = 61
STOP = 3


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Models this small only lose by more threads, and most on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def config(family: str) -> Any:
    ends = {"bos_token_id": None, "eos_token_id": STOP, "pad_token_id": 0}
    if family == "gpt2":
        return GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=128, **ends)
    kind = {"qwen3": Qwen3Config, "llama": LlamaConfig}[family]
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "max_position_embeddings": 128}
    return kind(vocab_size=VOCABULARY, num_attention_heads=4, num_key_value_heads=2, head_dim=8, **sizes, **ends)


def tiny(family: str = "qwen3", seed: int = 0) -> PreTrainedModel:
    """A model whose attention matters: large weights, so that one wrong key shows in the logits."""
    make = {"qwen3": Qwen3ForCausalLM, "llama": LlamaForCausalLM, "gpt2": GPT2LMHeadModel}[family]
    model = make(config(family))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() >= 2:
                parameter.normal_(0.0, 0.4, generator=generator)
    return model.eval()


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    return tiny()


def prompt(length: int, seed: int = 0) -> list[int]:
    return torch.randint(4, VOCABULARY, (length,), generator=torch.Generator().manual_seed(seed)).tolist()


def together(*work: Coroutine[Any, Any, Any]) -> list[Any]:
    async def main() -> list[Any]:
        return await asyncio.gather(*work)

    return asyncio.run(main())


@torch.no_grad()
def recomputed(model: PreTrainedModel, ids: Sequence[int], done: Completion) -> tuple[torch.Tensor, torch.Tensor]:
    """[A] log-probabilities and entropies from one plain forward over the whole conversation."""
    logp = model(input_ids=torch.tensor([[*ids, *done.ids]])).logits[0].log_softmax(-1)[len(ids) - 1 : -1]
    return logp.gather(1, torch.tensor(done.ids)[:, None])[:, 0], -(logp.exp() * logp).sum(-1)


async def converse(engine: TorchEngine, who: int, turns: int = 3) -> list[tuple[list[int], Completion]]:
    """A conversation of its own lengths; what was asked and answered, turn by turn."""
    ids, said = prompt(3 + 4 * who, who), []
    for turn in range(turns):
        sampling = Sampling(max_tokens=3 + 2 * who % 7, seed=100 * who + turn, stop_ids=(STOP, 7, 8))
        done = await engine.generate(ids, sampling, f"conversation {who}")
        said.append((ids, done))
        ids = [*ids, *done.ids, *prompt(1 + who, 50 + turn)]
    return said


@pytest.mark.parametrize("family", ["qwen3", "llama", "gpt2"])
def test_logprobs_are_those_of_a_plain_forward_through_three_turns(family: str):
    plain = tiny(family)
    engine = TorchEngine(plain, max_batch=4)
    worst = 0.0
    for said in together(*(converse(engine, who) for who in range(9))):
        for ids, done in said:
            logprobs, entropies = recomputed(plain, ids, done)
            worst = max(worst, (logprobs - torch.tensor(done.logprobs)).abs().max().item())
            worst = max(worst, (entropies - torch.tensor(done.entropies)).abs().max().item())
            shifted, _ = recomputed(plain, ids[:-1], done)
            assert (shifted - torch.tensor(done.logprobs)).abs().max() > 1e-2  # the comparison can fail
    assert worst < 1e-4


def test_a_sequence_does_not_depend_on_its_neighbours(model: PreTrainedModel):
    crowd = together(*(converse(TorchEngine(model), who) for who in range(1)))[0]
    engine = TorchEngine(model, max_batch=5)
    everyone = together(*(converse(engine, who) for who in range(8)))
    assert [done.ids for _, done in everyone[0]] == [done.ids for _, done in crowd]


def test_equal_calls_give_bitwise_equal_results(model: PreTrainedModel):
    runs = []
    for _ in range(2):
        engine = TorchEngine(model, max_batch=3)
        runs.append([[done for _, done in said] for said in together(*(converse(engine, who) for who in range(6)))])
    assert runs[0] == runs[1]


def test_greedy_is_hugging_face_greedy(model: PreTrainedModel):
    engine = TorchEngine(model)
    prompts = [prompt(n, n) for n in (5, 5, 9, 20)]
    sampling = Sampling(max_tokens=24, temperature=0.0, stop_ids=(STOP,))
    for ids, done in zip(prompts, together(*(engine.generate(ids, sampling) for ids in prompts)), strict=True):
        tensor = torch.tensor([ids])
        want = model.generate(tensor, attention_mask=torch.ones_like(tensor), max_new_tokens=24, do_sample=False)
        assert list(done.ids) == want[0, len(ids) :].tolist()


def test_the_cache_of_a_conversation_is_kept_over_its_turns(model: PreTrainedModel):
    engine = TorchEngine(model)
    ids = prompt(10)
    first = together(engine.generate(ids, Sampling(max_tokens=6), "a"))[0]
    assert (engine.stats.prefill_tokens, engine.stats.reused_tokens, engine.stats.decode_tokens) == (10, 0, 6)
    more = prompt(4, 1)
    together(engine.generate([*ids, *first.ids, *more], Sampling(max_tokens=6), "a"))
    # the last sampled token was never forwarded, so it comes with the new suffix
    assert (engine.stats.prefill_tokens, engine.stats.reused_tokens) == (10 + 1 + 4, 10 + 5)


def test_another_history_under_the_same_name_reuses_only_what_is_equal(model: PreTrainedModel):
    engine = TorchEngine(model)
    ids = prompt(10)
    together(engine.generate(ids, Sampling(max_tokens=6), "a"))
    other = [*ids[:7], (ids[7] + 1) % VOCABULARY, *ids[8:]]
    done = together(engine.generate(other, Sampling(max_tokens=6), "a"))[0]
    assert engine.stats.reused_tokens == 7
    assert (recomputed(model, other, done)[0] - torch.tensor(done.logprobs)).abs().max() < 1e-4


def test_the_same_prompt_again_computes_its_last_token_only(model: PreTrainedModel):
    engine = TorchEngine(model)
    runs = [together(engine.generate(prompt(10), Sampling(max_tokens=6), "a"))[0] for _ in range(2)]
    assert engine.stats.reused_tokens == 9
    assert runs[0].ids == runs[1].ids


def test_rows_join_and_leave_at_token_boundaries(model: PreTrainedModel):
    engine = TorchEngine(model, max_batch=2)
    lengths = [2, 9, 3, 4]
    done = together(*(engine.generate(prompt(5, n), Sampling(max_tokens=n)) for n in lengths))
    assert [len(one.ids) for one in done] == lengths
    # First tokens come with the prefills. 2 and 9 start together, 3 follows 2, then 4 follows 3: 8 decoding steps in all.
    assert engine.stats.decode_rows == sum(n - 1 for n in lengths)
    assert engine.stats.forwards == 3 + 8


def test_a_fork_starts_from_the_same_cache_and_goes_its_own_way(model: PreTrainedModel):
    engine = TorchEngine(model)
    ids = prompt(10)
    first = together(engine.generate(ids, Sampling(max_tokens=6), "root"))[0]
    engine.fork("root", "twin")
    branches = [[*ids, *first.ids, *prompt(3, seed)] for seed in (1, 2)]
    work = zip(branches, ("root", "twin"), strict=True)
    done = together(*(engine.generate(branch, Sampling(max_tokens=5, seed=4), name) for branch, name in work))
    assert engine.stats.reused_tokens == 2 * 15
    for branch, one in zip(branches, done, strict=True):
        assert (recomputed(model, branch, one)[0] - torch.tensor(one.logprobs)).abs().max() < 1e-4
        alone = together(TorchEngine(model).generate(branch, Sampling(max_tokens=5, seed=4)))[0]
        assert one.ids == alone.ids


def test_unknown_sessions_may_be_forked_and_released(model: PreTrainedModel):
    engine = TorchEngine(model)
    engine.fork("nobody", "twin")
    engine.release("nobody")
    assert len(together(engine.generate(prompt(4), Sampling(max_tokens=2), "twin"))[0].ids) == 2


def test_release_forgets(model: PreTrainedModel):
    engine = TorchEngine(model)
    together(engine.generate(prompt(10), Sampling(max_tokens=6), "a"))
    engine.release("a")
    together(engine.generate(prompt(10), Sampling(max_tokens=6), "a"))
    assert engine.stats.reused_tokens == 0


def test_the_least_recently_used_sessions_are_dropped_first(model: PreTrainedModel):
    engine = TorchEngine(model, kept_tokens=40)  # each session below keeps 10 + 5 tokens: two fit
    for name in ("a", "b", "a", "c"):
        together(engine.generate(prompt(10), Sampling(max_tokens=6), name))
    assert engine.stats.reused_tokens == 9  # the second "a"
    together(engine.generate(prompt(10), Sampling(max_tokens=6), "a"))
    assert engine.stats.reused_tokens == 18
    together(engine.generate(prompt(10), Sampling(max_tokens=6), "b"))
    assert engine.stats.reused_tokens == 18


def test_forks_count_once_against_the_bound(model: PreTrainedModel):
    engine = TorchEngine(model, kept_tokens=20)
    together(engine.generate(prompt(10), Sampling(max_tokens=6), "root"))
    for twin in range(8):
        engine.fork("root", f"twin {twin}")
    together(engine.generate(prompt(10), Sampling(max_tokens=1), "twin 0"))
    assert engine.stats.reused_tokens == 9


def test_siblings_compute_their_common_beginning_once(model: PreTrainedModel):
    header = prompt(70)
    tasks = [header + prompt(40, task) for task in range(1, 4)]
    crowd = [(ids, Sampling(max_tokens=6, seed=seed)) for ids in tasks for seed in range(4)]
    engine = TorchEngine(model)
    done = together(*(engine.generate(ids, sampling) for ids, sampling in crowd))
    # the header once, each task once, and the last token of every other sequence
    assert engine.stats.prefill_tokens == 70 + 3 * 40 + (12 - 3)
    assert engine.stats.prefill_tokens + engine.stats.reused_tokens == 12 * 110
    for (ids, sampling), one in zip(crowd, done, strict=True):
        assert (recomputed(model, ids, one)[0] - torch.tensor(one.logprobs)).abs().max() < 1e-4
        assert one.ids == together(TorchEngine(model).generate(ids, sampling))[0].ids


def test_score_is_teacher_forced(model: PreTrainedModel):
    engine = TorchEngine(model)
    texts = [(prompt(5), prompt(3, 1)), (prompt(11, 2), prompt(1, 3)), (prompt(1, 4), prompt(20, 5))]
    scores = together(*(engine.score(ids, targets) for ids, targets in texts), engine.score([5], []))
    assert scores.pop() == []
    assert engine.stats.forwards == 1
    for (ids, targets), got in zip(texts, scores, strict=True):
        want, _ = recomputed(model, ids, Completion(tuple(targets), (), (), "stop", 0))
        torch.testing.assert_close(torch.tensor(got), want, atol=1e-4, rtol=0)


@pytest.mark.parametrize("family", ["qwen3", "gpt2"])
def test_common_beginnings_are_scored_once(family: str):
    """The states of two conversations, each asked the same: one forward of the distinct tokens, and every text's own numbers."""
    net = tiny(family)
    engine = TorchEngine(net)
    shared, branches, answer = prompt(30), (prompt(20, 1), prompt(25, 2)), prompt(3, 3)
    contexts = [shared, *(shared + branch[:cut] for branch in branches for cut in (10, len(branch)))]
    texts = [(ids, answer) for ids in contexts] + [(prompt(4, 9), prompt(2, 8))]
    scores = together(*(engine.score(ids, targets) for ids, targets in texts))
    assert engine.stats.forwards == 1 and engine.stats.scored_tokens == 5 * 3 + 2
    assert engine.stats.scoring_tokens == 30 + 20 + 25 + 5 * 3 + 6, "the beginning once, both ways once, an answer at each state"
    for (ids, targets), got in zip(texts, scores, strict=True):
        want, _ = recomputed(net, ids, Completion(tuple(targets), (), (), "stop", 0))
        torch.testing.assert_close(torch.tensor(got), want, atol=1e-4, rtol=0)


def test_equal_texts_and_texts_within_texts_are_scored(model: PreTrainedModel):
    engine = TorchEngine(model)
    long, short = together(engine.score(prompt(8), prompt(4, 1)), engine.score(prompt(8), prompt(4, 1)[:2]))
    twin, again = together(engine.score(prompt(8), prompt(4, 1)), engine.score(prompt(8), prompt(4, 1)))
    assert short == pytest.approx(long[:2]) and twin == again == pytest.approx(long)
    assert engine.stats.forwards == 2 and engine.stats.scoring_tokens == 2 * 12


def test_texts_with_little_in_common_are_not_packed():
    """A common beginning is worth less than keeping strangers out of each other's attention."""
    rows = pack([[1, *range(100 * i, 100 * i + 90)] for i in range(1, 4)], linear_cost=6)
    assert [len(row) for row in rows] == [91, 91, 91]
    assert [len(row) for row in pack([[*range(80), 100 + i] for i in range(3)], linear_cost=6)] == [83]


def test_the_context_window_ends_a_reply(model: PreTrainedModel):
    engine = TorchEngine(model, context_window=16)
    done = together(engine.generate(prompt(10), Sampling(max_tokens=50), "a"))[0]
    assert (len(done.ids), done.stop_reason) == (6, "length")
    full = together(TorchEngine(model).generate(prompt(100), Sampling(max_tokens=50)))[0]
    assert len(full.ids) == 28  # the model's own limit of 128


def test_a_stop_token_is_part_of_the_reply(model: PreTrainedModel):
    free = together(TorchEngine(model).generate(prompt(6), Sampling(max_tokens=20)))[0]
    stop = free.ids[4]
    first = free.ids.index(stop)
    done = together(TorchEngine(model).generate(prompt(6), Sampling(max_tokens=20, stop_ids=(stop,))))[0]
    assert (done.ids, done.stop_reason) == (free.ids[: first + 1], "stop")


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([], "at least one token"),
        ([VOCABULARY], "expected ids from 0 to 60"),
        ([-1], "got -1"),
        ([4] * 128, "context window of 128"),
    ],
)
def test_bad_prompts_are_refused(model: PreTrainedModel, ids: list[int], message: str):
    with pytest.raises(ConfigError, match=message):
        together(TorchEngine(model).generate(ids, Sampling(max_tokens=1)))


def test_bad_settings_are_refused(model: PreTrainedModel):
    for settings in ({"max_batch": 0}, {"context_window": 129}, {"context_window": 1}):
        with pytest.raises(ConfigError, match="TorchEngine"):
            TorchEngine(model, **settings)


def test_layers_that_see_only_part_of_the_conversation_are_refused():
    sliding = Qwen3Config(**config("qwen3").to_dict() | {"layer_types": ["full_attention", "sliding_attention"]})
    sliding.sliding_window = 16
    with pytest.raises(Unsupported, match="sliding window of 16 tokens; set context_window to 16 or less"):
        TorchEngine(Qwen3ForCausalLM(sliding))
    assert TorchEngine(Qwen3ForCausalLM(sliding), context_window=16).capabilities.context_window == 16


def test_a_cancelled_request_leaves_the_batch(model: PreTrainedModel):
    async def main(engine: TorchEngine) -> tuple[Completion, Completion]:
        long = asyncio.create_task(engine.generate(prompt(5), Sampling(max_tokens=100), "long"))
        waits = asyncio.create_task(engine.generate(prompt(5), Sampling(max_tokens=100), "waits"))
        other = asyncio.create_task(engine.generate(prompt(6), Sampling(max_tokens=12)))
        while engine.stats.decode_tokens < 8:
            await asyncio.sleep(0)
        long.cancel()
        waits.cancel()
        with pytest.raises(asyncio.CancelledError):
            await long
        return await other, await engine.generate(prompt(7), Sampling(max_tokens=3))

    engine = TorchEngine(model, max_batch=2)
    other, last = asyncio.run(main(engine))
    assert (len(other.ids), len(last.ids)) == (12, 3)
    assert engine.stats.decode_tokens < 12 + 3 + 12
    assert other.ids == together(TorchEngine(model).generate(prompt(6), Sampling(max_tokens=12)))[0].ids


def test_a_failing_forward_fails_every_request_and_the_engine_goes_on():
    broken = tiny()

    def out_of_memory(*_: Any) -> None:
        raise MemoryError("no room")

    async def main(engine: TorchEngine) -> list[Any]:
        work = [engine.generate(prompt(5 + 30 * n), Sampling(max_tokens=20), f"{n}") for n in range(4)]
        return await asyncio.gather(*work, engine.score([1], [2]), return_exceptions=True)

    engine = TorchEngine(broken, max_batch=2)
    hook = broken.register_forward_pre_hook(out_of_memory)
    failures = asyncio.run(main(engine))
    assert [type(one) for one in failures] == [EngineFailure] * 5
    assert "MemoryError: no room" in str(failures[0])
    hook.remove()
    assert [len(done.ids) for done in asyncio.run(main(engine))[:4]] == [20] * 4


def test_logits_that_are_not_finite_are_a_failure_and_leave_no_trace():
    sick = tiny()
    engine = TorchEngine(sick)
    healthy = {name: tensor.clone() for name, tensor in sick.state_dict().items()}
    want = together(engine.generate(prompt(5), Sampling(max_tokens=4)))[0]
    with torch.no_grad():
        sick.get_input_embeddings().weight.fill_(torch.nan)
    with pytest.raises(EngineFailure, match="not finite"):
        together(engine.generate(prompt(60), Sampling(max_tokens=4)))
    together(engine.update_weights(healthy, 0))
    assert together(engine.generate(prompt(5), Sampling(max_tokens=4)))[0] == want


def test_new_weights_are_used_and_old_caches_are_not():
    old, new = tiny(seed=1), tiny(seed=2)
    engine = TorchEngine(old)
    ids = prompt(8)
    before = together(engine.generate(ids, Sampling(max_tokens=5), "a"))[0]
    together(engine.update_weights(new.state_dict(), 7))
    ids = [*ids, *before.ids, 9]
    after = together(engine.generate(ids, Sampling(max_tokens=5), "a"))[0]
    assert (before.version, after.version, engine.version) == (0, 7, 7)
    assert engine.stats.reused_tokens == 0
    assert (recomputed(new, ids, after)[0] - torch.tensor(after.logprobs)).abs().max() < 1e-4


def test_requests_in_flight_go_on_over_new_weights_with_the_lower_version():
    engine = TorchEngine(tiny(seed=1))
    weights = tiny(seed=2).state_dict()

    async def main() -> Completion:
        request = asyncio.create_task(engine.generate(prompt(8), Sampling(max_tokens=12), "a"))
        while engine.stats.decode_tokens < 4:
            await asyncio.sleep(0)
        await engine.update_weights(weights, 1)
        return await request

    done = asyncio.run(main())
    assert (len(done.ids), done.version) == (12, 0)
    next_turn = together(engine.generate([*prompt(8), *done.ids], Sampling(max_tokens=2), "a"))[0]
    assert next_turn.version == 1
    assert engine.stats.reused_tokens == 0  # a cache of two weights is never kept


@pytest.mark.parametrize("spoil", ["unknown", "missing", "shape"])
def test_weights_that_do_not_fit_change_nothing(spoil: str):
    plain = tiny()
    before = {name: tensor.clone() for name, tensor in plain.state_dict().items()}
    weights = {name: tensor + 1 for name, tensor in before.items()}
    name = next(iter(weights))
    spoiled = {
        "unknown": weights | {"nonsense": torch.zeros(1)},
        "missing": {k: v for k, v in weights.items() if k != name},
        "shape": weights | {name: torch.zeros(1)},
    }[spoil]
    with pytest.raises(ConfigError, match="update_weights: expected"):
        together(TorchEngine(plain).update_weights(spoiled, 1))
    assert all(torch.equal(tensor, before[name]) for name, tensor in plain.state_dict().items())


def test_the_trainers_module_keeps_its_mode_and_its_gradients():
    shared = tiny("gpt2").train()  # with dropout: sampling in training mode would show
    shared.transformer.h[0].eval()
    flags = [module.training for module in shared.modules()]
    engine = TorchEngine(shared)
    done = together(engine.generate(prompt(5), Sampling(max_tokens=6)))[0]
    assert [module.training for module in shared.modules()] == flags
    shared(input_ids=torch.tensor([prompt(5)])).logits.sum().backward()
    shared.eval()
    assert (recomputed(shared, prompt(5), done)[0] - torch.tensor(done.logprobs)).abs().max() < 1e-4
    engine.refresh(4)
    assert together(engine.generate(prompt(5), Sampling(max_tokens=2)))[0].version == 4


@pytest.mark.parametrize("tokens", [0, 3])
def test_a_loop_that_ends_early_takes_its_requests_along(model: PreTrainedModel, tokens: int):
    engine = TorchEngine(model)

    async def leaves() -> None:
        asyncio.create_task(engine.generate(prompt(5), Sampling(max_tokens=100), "a"))  # noqa: RUF006 (dropped on purpose)
        await asyncio.sleep(0)  # the request is in; the engine's own task has not begun
        while engine.stats.decode_tokens < tokens:
            await asyncio.sleep(0)

    asyncio.run(leaves())
    done = together(engine.generate(prompt(5), Sampling(max_tokens=8)))[0]
    assert done == together(TorchEngine(model).generate(prompt(5), Sampling(max_tokens=8)))[0]


def test_a_loop_closed_under_the_engine_leaves_it_usable(model: PreTrainedModel):
    engine = TorchEngine(model)
    loop = asyncio.new_event_loop()

    async def begins() -> None:
        asyncio.create_task(engine.generate(prompt(5), Sampling(max_tokens=100)))  # noqa: RUF006 (dropped on purpose)
        while engine.stats.decode_tokens < 3:
            await asyncio.sleep(0)

    async def main() -> Completion:
        request = asyncio.create_task(engine.generate(prompt(5), Sampling(max_tokens=8)))
        await asyncio.sleep(0)
        gc.collect()  # ends what the closed loop left behind; it must not take the new request along
        return await request

    loop.run_until_complete(begins())
    loop.close()
    del loop
    assert len(asyncio.run(main()).ids) == 8


def test_close_fails_what_is_in_flight(model: PreTrainedModel):
    engine = TorchEngine(model)

    async def main() -> None:
        request = asyncio.create_task(engine.generate(prompt(5), Sampling(max_tokens=100)))
        while engine.stats.decode_tokens < 3:
            await asyncio.sleep(0)
        await engine.close()
        with pytest.raises(EngineFailure, match="closed"):
            await request

    asyncio.run(main())

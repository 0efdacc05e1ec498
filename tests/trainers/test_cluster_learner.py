"""The learner as Ray actors: the numbers of one process, weights by reference, and real deaths."""

import os
import signal
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

import pytest

from tests.trainers.ranks import Job, Played, play
from tests.trainers.test_learner import policy
from tests.trainers.test_sharded import CLOSE, FAST, batches, gap, unequal
from turnwise.errors import ConfigError, InfraError, LearnerFailure, ShapeError
from turnwise.trainers.advantages.grpo import GRPO
from turnwise.trainers.advantages.turn_gae import TurnGAE
from turnwise.trainers.cluster.learner import RayLearner, Settings
from turnwise.trainers.cluster.parcels import Stored
from turnwise.trainers.cluster.resources import Shares, connected
from turnwise.trainers.cluster.settings import Cluster
from turnwise.trainers.critic import Critic
from turnwise.trainers.learner import Update

pytest.importorskip("ray")

SHARE = Shares(cpus=0.1)


@pytest.fixture(scope="module", autouse=True)
def ray_here() -> Generator[None]:
    with connected("local", print):
        yield


@pytest.fixture
def made() -> Generator[Callable[..., RayLearner]]:
    """Learners that end with the test."""
    learners: list[RayLearner] = []

    def make(model: Any, update: Update, size: int = 2, *, silence_s: float = 60.0, critic: Critic | None = None) -> RayLearner:
        settings = Settings(update=update, critic=critic, seed=3, threads=1)
        learners.append(RayLearner(model, settings, Cluster(address="local", learners=size, silence_s=silence_s), SHARE))
        return learners[-1]

    yield make
    for learner in learners:
        learner.close()


def go_on(learner: Any, job: Job) -> Played:
    """`play` with a learner that is there."""
    metrics: list[dict[str, float]] = []
    for batch in job.batches:
        seen = learner.annotate(batch)
        targets = job.estimator.targets(seen) if job.critic else None
        metrics.append(learner.update(seen, job.estimator(seen), targets))
    weights = {name: tensor.clone() for name, tensor in learner.weights().items()}
    return Played(metrics, [], learner.score([1, 2, 3, 4]), weights, learner.state_dict(), 0)


def equal(got: Played, want: Played) -> None:
    assert gap(got.state, want.state) < CLOSE and got.scores == pytest.approx(want.scores, abs=CLOSE)
    assert gap(got.weights, {name: want.weights[name] for name in got.weights}) < CLOSE
    for mine, theirs in zip(got.metrics, want.metrics, strict=True):
        assert mine == pytest.approx(theirs, abs=CLOSE, rel=CLOSE)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] != "Z"


def all_end(pids: list[int], within_s: float = 30.0) -> bool:
    until = time.monotonic() + within_s
    while any(map(alive, pids)) and time.monotonic() < until:
        time.sleep(0.05)
    return not any(map(alive, pids))


def test_actors_learn_what_one_process_learns_and_its_state_is_theirs(made: Callable[..., RayLearner]) -> None:
    update = Update(optimizer=FAST, kl=0.1, minibatches=2, max_tokens=60)
    job = Job(policy(), [unequal(b) for b in batches()], update, Critic(), TurnGAE())
    learner = made(job.model, update, critic=job.critic)
    assert learner.vocabulary == 40 and learner.version == 0
    before = {name: tensor.clone() for name, tensor in job.model.state_dict().items()}
    want, got = play(job), go_on(learner, job)
    equal(got, want)
    assert learner.version == 3 and gap(before, dict(job.model.state_dict())) == 0.0, "the model here stays as it is"

    model = policy()
    model.load_state_dict(want.weights)
    resumed = made(model, update, 1, critic=job.critic)
    resumed.load_state_dict(want.state)
    assert resumed.version == 3
    equal(go_on(resumed, job), play(replace(job, model=model, state=want.state)))


def test_weights_go_by_reference_and_what_a_caller_did_wrong_is_his_error(made: Callable[..., RayLearner]) -> None:
    model = policy()
    learner = made(model, Update(optimizer=FAST))
    weights = learner.weights()
    assert isinstance(weights, Stored) and learner.weights() is weights, "put together once per version"
    assert weights.size == sum(p.numel() * p.element_size() for p in model.parameters()), "tied weights travel once"
    assert gap(dict(weights), {name: model.state_dict()[name] for name in weights}) == 0.0
    (batch, *_) = batches()
    learner.update(batch, GRPO()(batch))
    assert learner.weights() is not weights and gap(dict(learner.weights()), dict(weights)) > 1e-3
    with pytest.raises(ShapeError, match=r"advantages are .* expected \[B, T\]"):
        learner.update(batch, GRPO()(batch)[:, :-1])


def test_a_rank_killed_amid_an_update_ends_all_and_a_new_learner_goes_on_to_the_bit(made: Callable[..., RayLearner]) -> None:
    """After a kill -9 the weights and metrics are those of a learner of which nobody died."""
    job = Job(policy(), batches(), Update(optimizer=FAST, minibatches=2, max_tokens=60))
    learner = made(job.model, job.update)
    half = go_on(learner, job)
    whole = go_on(learner, job)
    os.kill(learner.pids[0], signal.SIGKILL)
    with pytest.raises(LearnerFailure, match="rank 0 of 2"):
        for _ in range(2):  # the first call may have been on its way back
            go_on(learner, job)
    assert all_end(learner.pids), "the others are ended"

    model = policy()
    for name, tensor in half.weights.items():
        model.state_dict()[name].copy_(tensor)
    again = made(model, job.update)
    again.load_state_dict(half.state)
    rest = go_on(again, job)
    assert gap(rest.weights, whole.weights) == 0.0 and rest.metrics == whole.metrics


def test_a_rank_killed_in_a_collective_is_no_hang(made: Callable[..., RayLearner]) -> None:
    (batch, *_) = batches()
    learner = made(policy(), Update(optimizer=FAST, epochs=100_000, max_tokens=1))
    threading.Timer(1.0, os.kill, (learner.pids[1], signal.SIGKILL)).start()
    with pytest.raises(LearnerFailure, match="rank 1 of 2"):
        learner.update(batch, GRPO()(batch))
    assert all_end(learner.pids)


def test_a_rank_that_is_stopped_costs_its_silence(made: Callable[..., RayLearner]) -> None:
    (batch, *_) = batches()
    learner = made(policy(), Update(optimizer=FAST), silence_s=10.0)
    os.kill(learner.pids[1], signal.SIGSTOP)
    with pytest.raises(LearnerFailure, match="rank"):
        learner.update(batch, GRPO()(batch))
    assert all_end(learner.pids)


def test_ranks_without_a_place_are_an_error() -> None:
    with pytest.raises(ConfigError, match="2 ranks need a GPU each"):
        RayLearner(policy(), Settings(update=Update()), Cluster(learners=2), Shares(cpus=0.1, learner_gpus=0.5))
    cluster = Cluster(address="local", learners=2, start_s=1.0)
    with pytest.raises(InfraError, match=r"2 of 2 rank\(s\) did not start in 1 s"):
        RayLearner(policy(), Settings(update=Update()), cluster, Shares(cpus=1000.0))

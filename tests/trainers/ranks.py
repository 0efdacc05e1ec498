"""Learners of several ranks in processes of their own, for tests: each rank plays the same job, as one process would."""

import copy
import multiprocessing
import traceback
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import torch

from turnwise.trainers.advantages.grpo import GRPO
from turnwise.trainers.batch import Batch
from turnwise.trainers.critic import Critic
from turnwise.trainers.learner import LocalLearner, Update
from turnwise.trainers.ranks import Ranks
from turnwise.trainers.sharded import join, leave, meet, meeting_point

DEADLINE_S = 120.0


@dataclass
class Job:
    """What a learner is made of, and the batches it gets."""

    model: Any
    batches: Sequence[Batch]
    update: Update = field(default_factory=Update)
    critic: Critic | None = None
    estimator: Any = field(default_factory=GRPO)
    temperature: float = 1.0
    state: dict[str, Any] | None = None


@dataclass
class Played:
    """What one rank can say afterwards."""

    metrics: list[dict[str, float]]
    values: list[Any]
    scores: list[float]
    weights: dict[str, Any]
    state: dict[str, Any]
    passes: int
    """Through the backbone of the policy."""


def play(job: Job, ranks: Ranks | None = None) -> Played:
    """The job on one rank, or on the only one."""
    model = copy.deepcopy(job.model)
    learner = LocalLearner(model, job.update, temperature=job.temperature, critic=job.critic, seed=3, ranks=ranks)
    if job.state is not None:
        learner.load_state_dict(copy.deepcopy(job.state))  # what comes through a pipe is memory shared by all
    passes: list[int] = []
    model.base_model.register_forward_pre_hook(lambda module, given: passes.append(1))
    metrics: list[dict[str, float]] = []
    values: list[Any] = []
    for batch in job.batches:
        seen = learner.annotate(batch)
        values.append((seen.values, seen.token_values))
        targets = job.estimator.targets(seen) if job.critic else None
        metrics.append(learner.update(seen, job.estimator(seen), targets))
    count = len(passes)
    return Played(metrics, values, learner.score([1, 2, 3, 4]), dict(learner.weights()), learner.state_dict(), count)


Gang = Callable[[Job], list[Played]]


@contextmanager
def gang(size: int) -> Generator[Gang]:
    """`size` ranks that play jobs together. They come from a server that has imported all they need, once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.trainers.ranks"])
    pipes = [context.Pipe() for _ in range(size)]
    ranks = [context.Process(target=_serve, args=(r, size, there), daemon=True) for r, (_, there) in enumerate(pipes)]
    for rank in ranks:
        rank.start()
    ends = [here for here, _ in pipes]
    port = _answers(ends[:1])[0]
    for end in ends[1:]:
        end.send(port)

    def together(job: Job) -> list[Played]:
        for end in ends:
            end.send(job)
        return _answers(ends)

    try:
        yield together
        for end in ends:
            end.send(None)
        for rank in ranks:
            rank.join(DEADLINE_S)
    finally:
        for rank in ranks:
            rank.kill()
            rank.join()


def _answers(ends: Sequence[Connection]) -> list[Any]:
    answers: list[Any] = []
    for end in ends:
        assert end.poll(DEADLINE_S), "a rank does not answer"
        answers.append(end.recv())
        assert not isinstance(answers[-1], str), answers[-1]
    return answers


def _serve(rank: int, size: int, pipe: Connection) -> None:
    torch.set_num_threads(1)
    store = meeting_point("127.0.0.1") if rank == 0 else None
    if store is not None:
        pipe.send(store.port)
    ranks = join(rank, size, store or meet("127.0.0.1", pipe.recv()), timeout_s=60.0, device="cpu")
    while (job := pipe.recv()) is not None:
        try:
            pipe.send(play(job, ranks))
        except Exception:  # the other side of the pipe raises it
            pipe.send(traceback.format_exc())
    leave()

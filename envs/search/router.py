"""turnwise/Router-v0: which of several language models to ask what, when each knows some fields and each reply has its price.

The question is about an invented world, so nobody knows the answer but the models. Their cards say what each is good at, what its
tokens cost, and whether it admits that it does not know; what a model does not know and does not admit, it makes up. Questions
that need facts of several fields can be asked as a whole or fact by fact, of whoever is likely to know; a second opinion tells a
mistake, and costs. The models are simulated (`turnwise.envs.search.experts`), so no model is needed and every episode replays.

A right answer earns 1 less a cost between 0 and `cost` (0.5 if not said), a wrong one 0, so right always beats wrong:

    reward = 1 - cost * min(1, (spent - cheapest) / (dearest - cheapest))

`cheapest` is what the cheapest calls cost that say all the answer needs (known to the expert, who knows what the models know),
`dearest` that of asking for every fact by itself where it costs most; nobody earns more than 1 for being lucky.

Levels (measured: 200 train and 200 test tasks each; a comparison has two chains of facts):

    level  facts  in chains  models  expert turns  turn limit
      1      1        1         3          2            6
      2      2        1         3        2 to 3         8
      3      3        1         4        2 to 4        10
      4      4        2         4        2 to 5        12
      5      5        1         5        2 to 6        14
      6      6        2         6        2 to 7        16
      7      8        2         8        2 to 9        20

What some policies earn (200 tasks a level): to ask, fact by fact, whom the cards call best, 0.90, 0.87, 0.83, 0.86, 0.82, 0.84,
0.74 from level 1 to 7; the whole question to the cheapest model, 0.52 to 0.02; to the dearest, 0.40 to 0.16.

A step is no move of a game: a call reads a question in free words and draws from a hash, for each fact on the way, what that
model says. So there are some 25,000 steps a CPU second at level 1 and 14,000 at level 7.

Source: Router-R1 (Zhang et al. 2025, arXiv 2506.09033), with its models as tools; there the cost is scaled by the last 1,000
episodes, here by what the task itself can cost.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from typing_extensions import Unpack, override

from turnwise.envs.core import Split, Transition, seed_in
from turnwise.envs.options import ToolOptions
from turnwise.envs.search.answers import exact_match, normalised
from turnwise.envs.search.experts import Model, believed, card, path_of, price_of_call
from turnwise.envs.search.relations import RELATIONS
from turnwise.envs.search.routing import LEVELS, Call, Case, make_case
from turnwise.envs.tool_env import ToolEnv
from turnwise.envs.tools import tool
from turnwise.errors import ConfigError
from turnwise.types import Task

__all__ = ["Router"]

MAX_QUESTION = 2_000
"""Characters of a question to a model."""


class Router(ToolEnv):
    """Questions for models of different skill and price; reward 1 less the cost of asking. See the module for reward and levels.

    cost: how much of the reward asking may cost at most (0 to 0.95).
    """

    levels = range(1, len(LEVELS) + 1)
    default_level = 2

    def __init__(self, *, cost: float = 0.5, **options: Unpack[ToolOptions]) -> None:
        super().__init__(**options)
        if not 0.0 <= cost <= 0.95:
            raise ConfigError(f"Router: cost must be from 0 to 0.95, so that a right answer beats a wrong one; got {cost}.")
        self.cost = float(cost)
        self.spent = 0.0
        """Cents, in this episode."""
        self.heard: Mapping[str, str] = {}
        """Thing -> kind, of all that the question or a model has named."""
        self.asked: frozenset[Call] = frozenset()

    @tool
    def ask(self, model: str, question: str) -> str:
        """Ask a model, by its name, the whole question or about one thing that was named so far. It costs what its card says."""
        expert = next((m for m in self.case.models if m.name.casefold() == model.strip().casefold()), None)
        if expert is None:
            return f"There is no model {model[:50]!r}; there are: {', '.join(m.name for m in self.case.models)}."
        if len(question) > MAX_QUESTION:
            return f"A question has at most {MAX_QUESTION} characters."
        self.asked |= {Call(expert.name, question)}
        reply, facts = self._reply(expert, question)
        price = price_of_call(expert, facts)
        self.spent += price
        return f"{expert.name}: {reply} [{price:.3f} cents; {self.spent:.3f} so far]"

    toolset = (ask,)

    @property
    def case(self) -> Case:
        """The question and the models of the task."""
        return make_case(self.task.metadata["seed"], self.task.difficulty)

    def _reply(self, expert: Model, question: str) -> tuple[str, int]:
        """(what the model says, facts that it is charged for)."""
        case = self.case
        if case.words in normalised(question):
            end, kind, facts = case.reply(expert), self.task.metadata["kind"], case.size
        else:
            path = path_of(question, self.heard)
            if path is None or not path.relations:
                return "I do not understand. Ask the whole question, or for one thing about something by its name.", 0
            end = believed(case.seed, case.facts, expert, self.heard[path.start], path)
            kind, facts = RELATIONS[path.relations[-1]].value, len(path.relations)
        if end is None:
            return "I do not know.", 1
        self.heard = self.heard if end.isdecimal() else {**self.heard, end: kind}
        return f"{end}.", facts

    @override
    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        return _task_of(int(rng.integers(2**63)), difficulty)

    @override
    def sample_task(self, rng: np.random.Generator, split: Split, difficulty: int) -> Task:
        """Aims at the split: only the case that is played is made."""
        return _task_of(seed_in(split, rng, lambda seed: _id_of(seed, difficulty)), difficulty)

    @override
    def turn_limit(self, task: Task) -> int:
        return 2 * task.metadata["facts"] + 4

    @override
    def begin(self, task: Task) -> str:
        self.spent, self.asked = 0.0, frozenset()
        case = make_case(task.metadata["seed"], task.difficulty)
        self.heard = {chain.start: case.kinds[chain.start] for chain in case.chains}
        return super().begin(task)

    @override
    def grade(self, answer: str) -> float:
        return exact_match(answer, [self.task.answer])

    @override
    def _answer(self, answer: str) -> Transition:
        right = self.grade(answer)
        terms = {"answer": right, "cost": 0.0 - self.cost * self.share_spent * right}
        text = "Correct." if right else "That is not the right answer."
        return Transition(text, sum(terms.values()), terminated=True, outcome=right, terms=terms)

    @property
    def share_spent(self) -> float:
        """What asking has cost, from 0 for the cheapest way to 1."""
        cheapest = self.case.way[0]
        excess = self.spent - cheapest
        return min(1.0, excess / (self.case.dearest - cheapest)) if excess > 1e-9 else 0.0

    @override
    def expert_action(self) -> str:
        """The next call of the cheapest way, or the answer."""
        for call in self.case.way[1]:
            if call not in self.asked:
                return self.format.call("ask", {"model": call.model, "question": call.question})
        return self.format.final(self.task.answer)


def _id_of(seed: int, level: int) -> str:
    return f"router/{level}/{seed:016x}"


def _task_of(seed: int, level: int) -> Task:
    case = make_case(seed, level)
    cards = "\n".join(f"- {card(model)}" for model in case.models)
    rules = "You can ask these models. A right answer earns more the less was spent on it, a wrong one nothing:"
    prompt = f"{case.question}\n\n{rules}\n{cards}"
    last = case.chains[0].relations[-1 - (len(case.chains) == 2)]
    metadata: dict[str, Any] = {"seed": seed, "facts": case.size, "kind": RELATIONS[last].value}
    return Task(_id_of(seed, level), prompt, case.answer, level, metadata)

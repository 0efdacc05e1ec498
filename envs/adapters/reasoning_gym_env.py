"""reasoning-gym's datasets as environments: one question, one answer, its own scorer, our contract.

    env = from_reasoning_gym("chain_sum", difficulty=3)
    env = gym.make("turnwise/ReasoningGym-v0", dataset="spiral_matrix")

Levels are those of the dataset's curriculum: at level n every attribute stands at its n-th value, or its last. Items are drawn
without end; whether one is for training or for testing is decided by a hash of its question, so none is in both.

`scoring` says what counts:

    "strict"   right is what the dataset's scorer gives full marks, and what it should not (see `STRICTER`) does not count; else 0
    "own"      the scorer's mark as it is, in [0, 1], part marks for form included
    "exact"    the reference answer, spaces and case apart

`PAYS_CONSTANTS` lists what a constant answer earns where it is much, under "own": train on these with care.

Four scorers `eval` what the model wrote and five give it to sympy's parser, which evaluates too. Here the former read literals
only, and the latter get plain formulas of bounded size.
"""

from __future__ import annotations

import ast
import copy
import hashlib
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Literal, Self

import numpy as np
from typing_extensions import Unpack, override

from turnwise.envs.adapters.lent_random import Generators, lend_to, using
from turnwise.envs.adapters.packages import needed
from turnwise.envs.options import ToolOptions
from turnwise.envs.tool_env import ToolEnv
from turnwise.errors import ConfigError, EnvFailure, UnknownName, Unsupported
from turnwise.types import Task

__all__ = ["NO_REFERENCE", "PAYS_CONSTANTS", "STRICTER", "UNSTABLE", "ReasoningGymEnv", "from_reasoning_gym"]

Scoring = Literal["strict", "own", "exact"]
SCORINGS = ("strict", "own", "exact")
MAX_ANSWER = 20_000
"""Characters of an answer that are scored; a longer one is wrong."""
_EVALUATES = ("string_insertion", "spiral_matrix", "binary_matrix", "n_queens")
_PARSES = ("simple_integration", "intermediate_integration", "polynomial_multiplication", "puzzle24", "countdown")
_FORMULA = re.compile(
    r"(?:\s|[0-9]{1,9}(?:\.[0-9]{1,9})?(?![0-9A-Za-z_.])|(?:sin|cos|tan|exp|log|ln|sqrt|asin|acos|atan|pi|[A-Za-z])(?![A-Za-z_0-9])"
    r"|\*\*\s*\(?-?[0-9]{1,2}(?:/[0-9]{1,2})?\)?(?![0-9.]|\s*\*\*)|[-+/()]|\*(?!\*))*+"
)
_NESTED_POWER = re.compile(r"\)\s*\*\*\s*\(?(-?[0-9]+)")
_MAX_FORMULA = 300
_HUGE = re.compile(r"(?<![0-9A-Za-z.])[0-9.]+[eE][-+]?[0-9]{4}")
"""Numbers that take for ever to write out, such as 1e999999999."""
_BY_SEED = ("acre", "gsm_symbolic", "list_functions")
"""Datasets that draw all their items when they are made: their n-th item is the first one with seed n."""
UNSTABLE = ("codeio",)
"""Datasets of which the same seed gives different items."""
PAYS_CONSTANTS: Mapping[str, float] = {
    "acre": 0.5,
    "circuit_logic": 0.54,
    "coin_flip": 0.96,
    "course_schedule": 0.54,
    "game_of_life": 0.95,
    "game_of_life_halting": 1.0,
    "isomorphic_strings": 0.54,
    "largest_island": 0.56,
    "letter_counting": 0.5,
    "n_queens": 0.69,
    "polynomial_equations": 0.56,
    "ransom_note": 0.62,
    "rectangle_count": 0.65,
    "self_reference": 0.5,
    "syllogism": 0.94,
}
"""Dataset -> what the best of some 110 constant answers earns at level 1 under "own", where that is half or more (0.1.25, 16 to
24 items). Under "strict" it is 0.08 for coin_flip and 0.04 for game_of_life; yes-or-no questions stay what they are."""
NO_REFERENCE = ("boxnet", "graph_color", "propositional_logic", "rubiks_cube", "rush_hour")
"""Datasets without reference answers: they are scored, but have no expert, and "exact" fits none of them."""
STRICTER: tuple[str, ...] = ("coin_flip", "game_of_life_halting", "puzzle24")
"""Datasets whose scorer gives full marks to what is wrong, and what is looked at besides (see `ReasoningGymEnv`)."""


class ReasoningGymEnv(ToolEnv):
    """A dataset of reasoning-gym; reward and outcome are the score. See the module for `scoring`.

    dataset: its name, such as "chain_sum".
    scoring: "strict", "own" or "exact".
    config: settings of the dataset, over what the level says; JSON.
    """

    levels = range(1, 2)
    max_replies = 3
    """Replies without an answer, the last included, before the episode is cut."""

    def __init__(
        self,
        *,
        dataset: str,
        scoring: Scoring = "strict",
        config: Mapping[str, Any] | None = None,
        **options: Unpack[ToolOptions],
    ) -> None:
        datasets: Mapping[str, Any] = needed("reasoning_gym.factory", "reasoning-gym").DATASETS
        if dataset not in datasets:
            raise UnknownName("dataset of reasoning-gym", dataset, datasets)
        if scoring not in SCORINGS:
            raise UnknownName("scoring", str(scoring), SCORINGS)
        self.dataset, self.scoring = dataset, scoring
        if scoring == "exact" and dataset in NO_REFERENCE:
            raise ConfigError(f"reasoning-gym {dataset}: it has no reference answers; say scoring='strict' or 'own'.")
        if dataset in UNSTABLE:
            raise ConfigError(f"reasoning-gym {dataset}: the same seed gives different items, so no episode would replay.")
        self._items = _Items(dataset, {"seed": 0, "size": 1, **(config or {})})
        there = range(1, len(self._items.configs) + 1)
        self.levels = there  # pyright: ignore[reportAttributeAccessIssue]  (of this instance, not of the class)
        super().__init__(**options)
        self._entry: Mapping[str, Any] = {}
        _defuse(dataset, datasets[dataset][0])

    @override
    def generate(self, rng: np.random.Generator, difficulty: int) -> Task:
        index = int(rng.integers(2**31 - 1))
        entry = self._items.item(difficulty, index)
        question = str(entry["question"])
        name = hashlib.blake2b(question.encode("utf-8", "replace"), digest_size=8).hexdigest()
        answer = "" if entry["answer"] is None else str(entry["answer"])
        return Task(f"reasoning-gym/{self.dataset}/{name}", question, answer, difficulty, {"index": index})

    @override
    def turn_limit(self, task: Task) -> int:
        return self.max_replies

    @override
    def begin(self, task: Task) -> str:
        self._entry = self._items.item(task.difficulty, int(task.metadata["index"]))
        return super().begin(task)

    @override
    def grade(self, answer: str) -> float:
        if self.scoring == "exact":
            return float(_plain(answer) == _plain(self.task.answer) != "")
        mark = self._mark(answer)
        return mark if self.scoring == "own" else float(mark >= 1.0 and self._deserved(answer))

    def _mark(self, answer: str) -> float:
        """The dataset's own, in [0, 1]. Its scorers raise for some wrong answers: these are wrong."""
        if len(answer) > MAX_ANSWER or _HUGE.search(answer) or (self.dataset in _PARSES and not _harmless(answer)):
            return 0.0
        try:
            with using(Generators(0)):
                mark = float(self._items.at(self.task.difficulty).score_answer(answer, self._entry))
        except (Exception, RecursionError):
            return 0.0
        return min(1.0, max(0.0, mark)) if mark == mark else 0.0

    def _deserved(self, answer: str) -> bool:
        """Whether full marks of a scorer known to be too kind are right."""
        if self.dataset == "puzzle24":
            used = sorted(int(number) for number in re.findall(r"[0-9]+", answer))
            return used == sorted(self._entry["metadata"]["numbers"]) and _exactly(answer, 24)
        if self.dataset == "coin_flip":
            return abs(Fraction(answer.replace(",", "")) - Fraction(self.task.answer)) <= Fraction(1, 10_000)
        return self.dataset not in STRICTER or _plain(answer) == _plain(self.task.answer)

    @override
    def expert_action(self) -> str:
        """The reference answer. Raises Unsupported where the dataset has none."""
        if self._entry["answer"] is None:
            raise Unsupported(f"reasoning-gym {self.dataset}: it has no reference answers, so there is no expert.")
        return self.format.final(self.task.answer)


class _Items:
    """The dataset at every level. Forks share it: an item is made of nothing but level and index."""

    def __init__(self, dataset: str, settings: Mapping[str, Any]) -> None:
        self.dataset = dataset
        self.configs = _configs(dataset, settings)
        self._made: dict[int, Any] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def item(self, level: int, index: int) -> Mapping[str, Any]:
        with using(Generators(index)):
            try:
                return self._new(level, index)[0] if self.dataset in _BY_SEED else self.at(level)[index]
            except Exception as error:  # the boundary of somebody else's generator
                raise EnvFailure("reasoning-gym", f"{self.dataset}[{index}] at level {level}: {error!r}") from error

    def at(self, level: int) -> Any:
        if level not in self._made:
            self._made[level] = self._new(level, 0)
        return self._made[level]

    def _new(self, level: int, seed: int) -> Any:
        config = copy.copy(self.configs[level - 1])
        config.seed = seed
        return needed("reasoning_gym.factory", "reasoning-gym").DATASETS[self.dataset][0](config)


def _configs(dataset: str, settings: Mapping[str, Any]) -> list[Any]:
    """Every step of the curriculum that the dataset takes; its own settings where there is no curriculum or it takes none."""
    factory = needed("reasoning_gym.factory", "reasoning-gym")
    curriculum = factory.CURRICULA.get(dataset)
    steps = 0 if curriculum is None else max((len(a.levels) for a in curriculum().attributes.values()), default=0)
    found, problem = list[Any](), ""
    for step in [*range(steps if steps > 1 else 0), -1]:
        try:
            if curriculum is not None and step >= 0:
                found.append(_checked(_step_of(curriculum(), step, settings)))
            elif not found:
                found.append(_checked(factory.DATASETS[dataset][1](**settings)))
        except (TypeError, AssertionError, ValueError) as error:
            problem = str(error)
    if not found:
        raise ConfigError(f"reasoning-gym {dataset}: no level takes {dict(settings)}: {problem}")
    return found


def _step_of(ladder: Any, step: int, settings: Mapping[str, Any]) -> Any:
    ladder.set_global_level(step)
    config = ladder.generate_configuration({key: settings[key] for key in ("seed", "size")})
    for key, value in settings.items():
        if not hasattr(config, key):
            raise TypeError(f"there is no setting {key!r}")
        setattr(config, key, value)
    return config


def _checked(config: Any) -> Any:
    if hasattr(config, "validate"):
        config.validate()
    return config


def _defuse(dataset: str, made: type) -> None:
    """Its module calls `eval` on what a model wrote: there, `eval` reads literals from now on."""
    lend_to("reasoning_gym")
    if dataset in _EVALUATES:
        module = needed(made.__module__, "reasoning-gym")
        module.eval = ast.literal_eval


def _harmless(formula: str) -> bool:
    towers = [int(exponent) for exponent in _NESTED_POWER.findall(formula)]
    small = len(towers) <= 2 and all(abs(exponent) <= 9 for exponent in towers)
    return len(formula) <= _MAX_FORMULA and small and _FORMULA.fullmatch(formula) is not None


def _exactly(formula: str, value: int) -> bool:
    """Whether a formula of numbers is that number; a scorer that rounds does not know."""
    number: Any = needed("sympy", "reasoning-gym").parse_expr(formula)
    return bool(number == value)


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


from_reasoning_gym = ReasoningGymEnv

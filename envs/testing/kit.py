"""check_turn_env: every rule of the contract, one after the other, against anybody's environment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import gymnasium

from turnwise.envs.testing import generators, replay, results, tasks
from turnwise.envs.testing.probes import probe_rewards
from turnwise.envs.testing.subject import Breach, Env, Subject, inner, opened
from turnwise.errors import ConfigError, TurnwiseError, UnknownName

__all__ = ["RULES", "ContractError", "Report", "check_turn_env"]

Rule = Callable[[Subject], str]
"""Looks at an environment and says in a few words what was seen; raises Breach where it is broken."""

RULES: Mapping[str, Rule] = {
    rule.__name__: rule
    for rule in (
        results.is_a_turn_env,
        results.returns_right_types,
        results.reset_takes_options,
        tasks.tasks_are_whole,
        replay.replays,
        generators.leaves_global_generators_alone,
        results.passes_gymnasium,
        replay.replays_among_others,
        replay.tasks_replay,
        replay.forks_continue_equally,
        replay.forks_are_independent,
        replay.forks_count_turns,
        results.render_changes_nothing,
        results.ends_in_time,
        results.survives_hostile_actions,
        tasks.expert_solves,
        tasks.splits_are_disjoint,
        tasks.tasks_are_distinct,
        replay.replays_in_other_processes,
    )
}
"""Name -> rule, the ones that explain the others' failures first. The probes follow as the rule `probes_earn_nothing`."""
PROBES = "probes_earn_nothing"


class ContractError(TurnwiseError, AssertionError):
    """An environment breaks a rule: which, in which environment, what was seen, the mend."""

    def __init__(self, env: str, rule: str, seen: str, mend: str) -> None:
        super().__init__(f"{env} breaks {rule}: {seen} Mend: {mend}")
        self.env, self.rule, self.seen, self.mend = env, rule, seen, mend

    def __reduce__(self) -> tuple[type[ContractError], tuple[str, str, str, str]]:
        return (type(self), (self.env, self.rule, self.seen, self.mend))


@dataclass(frozen=True, slots=True)
class Report:
    """What was seen where nothing is broken."""

    env: str
    seen: Mapping[str, str]
    """Rule -> a few words."""
    probes: Mapping[str, float]
    """Policy -> mean reward; empty if the probes were not asked for."""

    def __str__(self) -> str:
        lines = [f"{self.env}: {len(self.seen)} rules hold", *(f"  {rule}: {seen}" for rule, seen in self.seen.items())]
        best = sorted(self.probes.items(), key=lambda item: -item[1])[:5]
        return "\n".join([*lines, *(f"  probe {name}: {reward:.3f}" for name, reward in best)])


def check_turn_env(
    make: Callable[[], Env] | str,
    *,
    tasks: int = 200,
    levels: Sequence[int] | None = None,
    distinct: int = 1000,
    chance: float = 0.05,
    rules: Sequence[str] | None = None,
) -> Report:
    """Prove the contract of `turnwise.envs.TurnEnv` for an environment; a Report, or ContractError at the first broken rule.

    `make` is an id for `gymnasium.make` or a function without arguments. The expert plays `tasks` train and `tasks` test tasks
    of each of `levels` (default all); `distinct` tasks are compared; a policy without understanding may earn `chance` on
    average. `rules` are names of RULES or "probes_earn_nothing" (default all). The code of the environment is trusted.
    """
    if tasks < 1 or distinct < 1:
        raise ConfigError(f"check_turn_env: tasks and distinct must be at least 1, got {tasks} and {distinct}.")
    chosen = (*RULES, PROBES) if rules is None else tuple(rules)
    for rule in chosen:
        if rule not in RULES and rule != PROBES:
            raise UnknownName("rule", rule, (*RULES, PROBES))
    subject = _subject(make, tasks, levels, distinct, chance)
    seen = {rule: _applied(rule, RULES[rule], subject) for rule in chosen if rule in RULES}
    probes: Mapping[str, float] = {}
    if PROBES in chosen:
        found = dict[str, float]()
        seen[PROBES] = _applied(PROBES, lambda s: _probed(s, found), subject)
        probes = found
    return Report(subject.name, seen, probes)


def _subject(make: Callable[[], Env] | str, tasks: int, levels: Sequence[int] | None, distinct: int, chance: float) -> Subject:
    env_id = make if isinstance(make, str) else None
    maker: Callable[[], Env] = (lambda: gymnasium.make(make)) if isinstance(make, str) else make
    name = env_id or getattr(make, "__qualname__", repr(make))
    blank = Subject(name, maker, env_id, (), tasks, distinct, chance)

    def all_levels(subject: Subject) -> str:
        with opened(subject) as env:
            return ",".join(str(level) for level in inner(env).levels)

    offered = tuple(int(level) for level in _applied("is_a_turn_env", all_levels, blank).split(","))
    return Subject(name, maker, env_id, tuple(levels or offered), tasks, distinct, chance)


def _applied(name: str, rule: Rule, subject: Subject) -> str:
    try:
        return rule(subject)
    except Breach as breach:
        raise ContractError(subject.name, name, breach.seen, breach.mend) from breach
    except Exception as error:  # the boundary of somebody else's environment
        raise ContractError(subject.name, name, f"{type(error).__name__}: {error}", "see the traceback above.") from error


def _probed(subject: Subject, found: dict[str, float]) -> str:
    found.update(probe_rewards(subject))
    best = max(found, key=found.__getitem__)
    if found[best] > subject.chance:
        raise Breach(
            f"the policy {best!r} earns {found[best]:.3f} on average; at most {subject.chance} is allowed.",
            "make answers that nobody can guess: more possible answers, none of them in the prompt, no reward for form.",
        )
    return f"{len(found)} policies; the best, {best!r}, earns {found[best]:.3f}"

"""Recipes: what a training run is, as one frozen record; its file form is TOML.

Each slot is filled with a real object. In a file a slot is a method's name (`advantage = "trloo"`) or a table with the name
and its parameters (`[advantage]`, `name = "turn_gae"`, `lam = 0.9`). Overrides are `dotted.key=value` with TOML values.
"""

from __future__ import annotations

import dataclasses
import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from pydantic import TypeAdapter, ValidationError

from turnwise.agents.retries import Retry
from turnwise.errors import ConfigError, UnknownName
from turnwise.registry import names, resolve
from turnwise.trainers import aggregates, optimizers, schedule
from turnwise.trainers.advantages.grpo import GRPO
from turnwise.trainers.advantages.protocol import Advantage
from turnwise.trainers.bounds import numbers, within
from turnwise.trainers.cluster.settings import Cluster
from turnwise.trainers.corrections.protocol import Correction
from turnwise.trainers.critic import Critic
from turnwise.trainers.engines.protocol import EngineChoice
from turnwise.trainers.engines.torch import Torch
from turnwise.trainers.losses.ppo_clip import PPOClip
from turnwise.trainers.losses.protocol import Loss
from turnwise.trainers.optimizers import AdamW, MuonAdamW
from turnwise.trainers.policies.protocol import Policy
from turnwise.trainers.policies.scratch import Scratch
from turnwise.trainers.pool import Budget
from turnwise.trainers.rewards.protocol import Shaper
from turnwise.trainers.rollouts.independent import Independent
from turnwise.trainers.rollouts.protocol import Rollout
from turnwise.trainers.samplers.protocol import Sampler
from turnwise.trainers.samplers.uniform import Uniform
from turnwise.trainers.schedule import LockStep, Schedule
from turnwise.trainers.sft import SFT
from turnwise.trainers.sync import Probe
from turnwise.trainers.tables import EnvChoice, Evaluate, Lora
from turnwise.trainers.transforms.protocol import Transform

__all__ = ["EnvChoice", "Evaluate", "Lora", "Recipe", "dump", "load", "loads"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One training run, complete."""

    env: tuple[EnvChoice, ...]
    policy: Policy = field(default_factory=Scratch)
    lora: Lora | None = None
    warm_start: SFT | None = None
    sampler: Sampler = field(default_factory=Uniform)
    rollout: Rollout = field(default_factory=Independent)
    budget: Budget = field(default_factory=Budget)
    engine: EngineChoice = field(default_factory=Torch)
    rewards: tuple[Shaper, ...] = ()
    advantage: Advantage = field(default_factory=GRPO)
    transform: tuple[Transform, ...] = ()
    """Applied to the advantages, in order."""
    critic: Critic | None = None
    loss: Loss = field(default_factory=PPOClip)
    correction: tuple[Correction, ...] = ()
    """For samples of older weights; the weights multiply."""
    aggregate: aggregates.Aggregate = field(default_factory=aggregates.TokenMean)
    optimizer: AdamW | MuonAdamW = field(default_factory=AdamW)
    schedule: Schedule = field(default_factory=LockStep)
    evaluate: Evaluate = field(default_factory=Evaluate)
    cluster: Cluster = field(default_factory=Cluster)

    seed: int = 0
    steps: int = 100
    tasks_per_step: int = 16
    epochs: int = 1
    minibatches: int = 1
    warmup: int = 0
    """Steps over which the learning rate rises linearly."""
    decay: float = 0.0
    """Share of the steps, at the end, over which the learning rate falls linearly to a tenth."""
    kl: float = 0.0
    entropy: float = 0.0
    max_new_tokens: int = 128
    """A turn's cap."""
    max_context: int = 0
    """The conversation's cap in tokens; 0 is the model's own."""
    temperature: float = 1.0
    max_turns: int = 1000
    step_deadline_s: float = 60.0
    """What a hung environment costs."""
    retry: Retry = field(default_factory=lambda: Retry(attempts=3))
    """What happens when the world broke, and not the task."""
    stall_s: float = 1800.0
    """A run in which no rollout moves for so long ends with an error that says what it waited for."""
    min_survivors: int = 2
    """A group with fewer trajectories that did not fail is left out of the update, and counted."""
    concurrency: int = 256
    """Episodes in flight."""
    max_tokens: int = 4096
    """Tokens of one forward pass of the learner, padding included."""
    packing: str = "rows"
    """"tree" computes what rows of a pass have in common at their beginning once (same gradient)."""
    activation_checkpointing: bool = False
    """Less memory, a third more computing: each block's inner values are made again for the backward pass (same gradient)."""
    checkpoint_every: int = 50
    threads: int = 0
    """Threads of torch; 0 leaves it alone."""
    probe: Probe = field(default_factory=Probe)

    def __post_init__(self) -> None:
        for name, (low, high) in _BOUNDS.items():
            within(name, getattr(self, name), low, high)
        if not self.env:
            raise ConfigError("env: a recipe needs at least one environment.")
        if (size := self.rollout.size) < self.min_survivors:
            least = self.min_survivors
            raise ConfigError(f"min_survivors: is {least}, but a group has only {size}; lower it, or raise rollout.size.")
        if not self.temperature > 0:
            raise ConfigError(f"temperature: must be above 0 to explore, got {self.temperature}.")
        if self.packing not in ("rows", "tree"):
            raise UnknownName("packing", self.packing, ["rows", "tree"])
        if self.cluster.used and getattr(self.engine, "servers", ()) and (self.cluster.engines or self.cluster.workers) > 1:
            got = f"cluster.engines = {self.cluster.engines}, cluster.workers = {self.cluster.workers}"
            raise ConfigError(f"engine.servers: one actor gives the servers their weights; got {got}; set cluster.engines = 1.")
        name = type(self.advantage).__name__
        level = "token" if getattr(self.advantage, "needs_token_values", False) else "turn"
        if getattr(self.advantage, "needs_values", False) and self.critic is None:
            raise ConfigError(f"advantage: {name} needs values; add a [critic] table.")
        if self.critic is not None and self.critic.level != level:
            got = self.critic.level
            raise ConfigError(f'critic.level: is "{got}", but {name} reads values per {level}; set it to "{level}".')


_COUNTS = ("tasks_per_step", "epochs", "minibatches", "max_new_tokens", "max_turns", "concurrency", "checkpoint_every")
_SIZES = ("steps", "warmup", "kl", "max_context", "threads")
_BOUNDS = {name: (1.0, math.inf) for name in (*_COUNTS, "min_survivors", "max_tokens")} | {
    **dict.fromkeys(_SIZES, (0.0, math.inf)),
    **dict.fromkeys(("step_deadline_s", "stall_s"), (0.001, math.inf)),
    "decay": (0.0, 1.0),
}
_PACKAGES = {
    "policy": "turnwise.trainers.policies",
    "sampler": "turnwise.trainers.samplers",
    "rollout": "turnwise.trainers.rollouts",
    "engine": "turnwise.trainers.engines",
    "rewards": "turnwise.trainers.rewards",
    "advantage": "turnwise.trainers.advantages",
    "transform": "turnwise.trainers.transforms",
    "correction": "turnwise.trainers.corrections",
    "loss": "turnwise.trainers.losses",
}
_LISTS = ("rewards", "transform", "correction")
"""Slots that hold any number of methods, in order."""
_MODULES: dict[str, ModuleType] = {"aggregate": aggregates, "optimizer": optimizers, "schedule": schedule}
_RECORDS: dict[str, type] = {
    **{"lora": Lora, "warm_start": SFT, "critic": Critic},
    **{"evaluate": Evaluate, "env": EnvChoice, "budget": Budget, "retry": Retry, "probe": Probe},
    "cluster": Cluster,
}


def load(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of a TOML file. Raises ConfigError (file, key, mend) for anything it does not understand."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"recipe {path}: cannot be read ({error.strerror}).") from error
    return loads(text, overrides, source=str(path))


def loads(text: str, overrides: Sequence[str] = (), *, source: str = "recipe") -> Recipe:
    """The recipe of a TOML text."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source}: not valid TOML: {error}.") from error
    for override in sorted(overrides, key=_names_no_method):  # another method first: it drops what the old one was given
        _override(table, override)
    try:
        numbers(table)
        return _recipe(table)
    except ConfigError as error:
        error.args = (f"{source}: {error}",)
        raise


def _names_no_method(override: str) -> bool:
    slot, _, rest = override.partition("=")[0].strip().partition(".")
    return slot not in _PACKAGES.keys() | _MODULES.keys() or rest not in ("", "name")


def _override(table: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"override {override!r}: write dotted.key=value, as in advantage.gamma=0.9.")
    try:
        parsed = tomllib.loads(f"v = {value}")["v"]
    except tomllib.TOMLDecodeError:
        parsed = value  # a bare word is a string: advantage=trloo
    *path, last = key.strip().split(".")
    for part in path:
        inner = table.setdefault(part, {})
        if isinstance(inner, list) and len(cast("list[Any]", inner)) == 1:
            inner = inner[0] if isinstance(inner[0], dict) else {_key(part): inner[0]}  # the one [[env]] there is
            table[part] = [inner]
        elif isinstance(inner, str):  # advantage = "turn_gae", then advantage.lam=0.9
            inner = table[part] = {_key(part): inner}
        if not isinstance(inner, dict):
            raise ConfigError(f"override {override!r}: {part} is not a table in this recipe.")
        table = inner
    slots = _PACKAGES.keys() | _MODULES.keys()
    if last == "name" and path and path[-1] in slots and table.get("name") != parsed:
        table.clear()  # another method: the parameters of the old one mean nothing to it
    if last in slots and isinstance(table.get(last), dict) and isinstance(parsed, str):
        parsed = {"name": parsed}  # likewise
    table[last] = parsed


def _key(slot: str) -> str:
    """What a bare string in a slot stands for."""
    return "id" if slot == "env" else "name"


def _recipe(table: Mapping[str, Any]) -> Recipe:
    known = {f.name for f in dataclasses.fields(Recipe)}
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in known:
            raise UnknownName("recipe key", key, known)
        values[key] = _slot(key, value)
    if "env" not in values:
        raise ConfigError('env: missing; name an environment, as in env = "turnwise/Lookup-v0".')
    plain = {k: v for k, v in values.items() if not dataclasses.is_dataclass(v) and not isinstance(v, tuple)}
    fields = {f.name: f for f in dataclasses.fields(Recipe)}
    for key, value in plain.items():
        kind = {"int": int, "float": float, "str": str, "bool": bool}[str(fields[key].type)]
        values[key] = _validated(kind, value, key)
    return Recipe(**values)


def _slot(key: str, value: Any) -> Any:
    if key == "env":
        entries = value if isinstance(value, list) else [value]
        return tuple(_record(EnvChoice, {"id": e} if isinstance(e, str) else e, "env") for e in entries)
    if key in _LISTS:
        if not isinstance(value, list):
            known = names(_PACKAGES[key])[0]
            raise ConfigError(f'{key}: expected a list of names or tables, as in {key} = ["{known}"].')
        return tuple(_named(key, entry) for entry in value)
    if key in _RECORDS:
        return _record(_RECORDS[key], value, key)
    if key in _PACKAGES or key in _MODULES:
        return _named(key, value, _default(Recipe, key))
    return value


def _default(record: type, slot: str) -> type | None:
    """The class that fills the slot of a recipe that does not mention it."""
    factory = next(f.default_factory for f in dataclasses.fields(record) if f.name == slot)
    return factory if isinstance(factory, type) else None


def _named(slot: str, value: Any, default: type | None = None) -> Any:
    table = {"name": value} if isinstance(value, str) else value
    if isinstance(table, dict) and "name" not in table and default is not None:
        return _record(default, table, slot)  # optimizer.lr=1e-4 where the recipe names no optimizer
    if not isinstance(table, dict) or not isinstance(table.get("name"), str):
        raise ConfigError(f'{slot}: expected a name or a table with a name, got {value!r}; as in {slot} = "...".')
    name = table["name"]
    cls = resolve(_PACKAGES[slot], name) if slot in _PACKAGES else _in_module(slot, name)
    return _record(cls, {k: v for k, v in table.items() if k != "name"}, slot)


def _in_module(slot: str, name: str) -> type:
    module = _MODULES[slot]
    classes = {_snake(n): getattr(module, n) for n in module.__all__ if dataclasses.is_dataclass(getattr(module, n))}
    if name not in classes:
        raise UnknownName(slot, name, classes)
    return classes[name]


def _snake(name: str) -> str:
    known = {"AdamW": "adamw", "MuonAdamW": "muon"}
    return known.get(name) or "".join(f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))


def _record(cls: type, table: Any, where: str) -> Any:
    if not isinstance(table, dict):
        raise ConfigError(f"{where}: expected a table, got {table!r}.")
    if not dataclasses.is_dataclass(cls):
        raise ConfigError(f"{where}: {cls.__module__}:{cls.__qualname__} must be a dataclass; its fields are its parameters.")
    known = [f.name for f in dataclasses.fields(cls)]
    for key in table:
        if key not in known:
            raise UnknownName(f"key of {where} ({cls.__name__}{_others_with(where, key)})", key, known)
    inner = {key: _named(key, value, _default(cls, key)) for key, value in table.items() if key in _MODULES}
    return _validated(cls, table | inner, where)


def _others_with(slot: str, key: str) -> str:
    """Methods of a slot that do have the key, for who forgot to choose one of them."""
    module = _MODULES.get(slot)
    others = (
        (_snake(n) for n in module.__all__ if key in getattr(getattr(module, n), "__dataclass_fields__", ())) if module else ()
    )
    return "".join(f'; name = "{other}" has it' for other in others)


def _validated(kind: type, value: Any, where: str) -> Any:
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join([where, *(str(part) for part in first["loc"])])
        said = first.get("ctx", {}).get("error")
        told = said if isinstance(said, ConfigError) else f"{first['msg']}, got {first['input']!r}."
        raise ConfigError(f"{path}: {told}") from error


def dump(recipe: Recipe) -> str:
    """The complete recipe as TOML; `loads` gives it back."""
    plain: list[str] = []
    tables: list[str] = []
    for f in dataclasses.fields(recipe):
        value = getattr(recipe, f.name)
        if value is None or value == ():
            continue
        if f.name == "env":
            tables += [f"\n[[env]]\n{_lines(entry)}" for entry in value]
        elif f.name in _LISTS:
            tables += [f"\n[[{f.name}]]\nname = {_toml(_name(entry))}\n{_lines(entry)}" for entry in value]
        elif f.name in _RECORDS:
            tables.append(f"\n[{f.name}]\n{_lines(value)}")
        elif dataclasses.is_dataclass(value):
            tables.append(f"\n[{f.name}]\nname = {_toml(_name(value))}\n{_lines(value)}")
        else:
            plain.append(f"{f.name} = {_toml(value)}")
    return "\n".join([*plain, *tables]).rstrip() + "\n"


def _name(component: Any) -> str:
    cls = type(component)
    for package in _PACKAGES.values():
        if cls.__module__.startswith(package + "."):
            return cls.__module__.rsplit(".", 1)[1]
    if cls.__module__ in (m.__name__ for m in _MODULES.values()):
        return _snake(cls.__name__)
    return f"{cls.__module__}:{cls.__qualname__}"


def _lines(record: Any) -> str:
    lines: list[str] = []
    for f in dataclasses.fields(record):
        value = getattr(record, f.name)
        if dataclasses.is_dataclass(value):
            inner = ", ".join(f"{g.name} = {_toml(getattr(value, g.name))}" for g in dataclasses.fields(value))
            lines.append(f"{f.name} = {{ name = {_toml(_name(value))}, {inner} }}")
        elif value is not None:
            lines.append(f"{f.name} = {_toml(value)}")
    return "\n".join(lines)


def _toml(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # TOML escapes as JSON does, and DEL too
        case Mapping():
            return "{ " + ", ".join(f"{_toml(str(k))} = {_toml(v)}" for k, v in value.items()) + " }"
        case Sequence():
            return "[" + ", ".join(_toml(v) for v in value) + "]"
        case _:
            raise ConfigError(f"recipe: {value!r} of type {type(value).__name__} has no TOML form.")

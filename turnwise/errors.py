"""Every error turnwise raises on purpose.

    TurnwiseError
    ├── ConfigError (ValueError)        a setting is wrong: says which key, what was got, what would be right
    │   └── UnknownName (LookupError)   no such method, environment or key: names the nearest
    ├── ShapeError (ValueError)         a tensor or record of the wrong shape
    ├── Unsupported (RuntimeError)      a back end cannot do what was asked; raised at start, not at step 700
    └── InfraError (RuntimeError)       the world broke, not the model: never a reward
        ├── EnvFailure                  an environment
        ├── SandboxFailure              a sandbox, tool server, database or browser
        ├── EngineFailure               the inference engine or the provider behind it
        └── LearnerFailure              the learner, or a process of it: the run goes on from its last checkpoint

Message grammar: *where: what was expected, what was got, the mend.* What a model does wrong is an observation, never
an exception.
"""

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = [
    "ConfigError",
    "EngineFailure",
    "EnvFailure",
    "InfraError",
    "LearnerFailure",
    "SandboxFailure",
    "ShapeError",
    "TurnwiseError",
    "UnknownName",
    "Unsupported",
]


class TurnwiseError(Exception):
    """The root of the tree."""


class ConfigError(TurnwiseError, ValueError):
    """A setting, file or argument that a person can mend."""


class UnknownName(ConfigError, LookupError):
    """A name that nothing answers to."""

    def __init__(self, what: str, name: str, known: Iterable[str]) -> None:
        """`what` is the kind of thing ("advantage", "recipe key"), `known` all names that would have done."""
        names = sorted(known)
        near = get_close_matches(name, names, n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        super().__init__(f"no {what} is called {name!r}.{hint} Known: {', '.join(names) or 'none'}.")
        self.what, self.name, self.known = what, name, names

    def __reduce__(self) -> tuple[type["UnknownName"], tuple[str, str, list[str]]]:
        return (type(self), (self.what, self.name, self.known))


class ShapeError(TurnwiseError, ValueError):
    """A tensor or record whose shape does not fit its neighbours."""


class Unsupported(TurnwiseError, RuntimeError):
    """A back end that cannot do what the settings ask of it."""


class InfraError(TurnwiseError, RuntimeError):
    """The world broke; the model is not to blame. `kind` is one short word, `detail` what happened."""

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind, self.detail = kind, detail

    def __reduce__(self) -> tuple[type["InfraError"], tuple[str | bool, ...]]:
        return (type(self), (self.kind, self.detail))


class EnvFailure(InfraError):
    """A broken sandbox, server, browser or environment. It is never a reward of 0."""


class SandboxFailure(InfraError):
    """A broken sandbox or tool server. `retriable` says whether the call surely did not run, so that it may be made again."""

    def __init__(self, kind: str, detail: str = "", retriable: bool = False) -> None:
        super().__init__(kind, detail)
        self.retriable = retriable

    def __reduce__(self) -> tuple[type["SandboxFailure"], tuple[str | bool, ...]]:
        return (type(self), (self.kind, self.detail, self.retriable))


class EngineFailure(InfraError):
    """A broken inference engine or provider."""


class LearnerFailure(InfraError):
    """A learner that died. Its state is gone; the last checkpoint has the one before."""

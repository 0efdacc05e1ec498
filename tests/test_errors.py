"""The tree of errors."""

import pickle

import pytest

from turnwise import errors
from turnwise.errors import ConfigError, EngineFailure, EnvFailure, InfraError, TurnwiseError, UnknownName


def test_all_errors_have_one_root_and_are_exported() -> None:
    defined = {n for n, v in vars(errors).items() if isinstance(v, type) and issubclass(v, Exception)}
    assert defined == set(errors.__all__)
    assert all(issubclass(getattr(errors, name), TurnwiseError) for name in errors.__all__)


@pytest.mark.parametrize(
    ("name", "known", "message"),
    [
        ("trlo", ["trloo", "grpo"], "no advantage is called 'trlo'. Did you mean 'trloo'? Known: grpo, trloo."),
        ("zzz", ["trloo", "grpo"], "no advantage is called 'zzz'. Known: grpo, trloo."),
        ("grpo", [], "no advantage is called 'grpo'. Known: none."),
    ],
)
def test_unknown_names_name_the_nearest(name: str, known: list[str], message: str) -> None:
    assert str(UnknownName("advantage", name, known)) == message


@pytest.mark.parametrize(
    "error", [UnknownName("loss", "a", ["b"]), EnvFailure("docker", "no daemon"), EngineFailure("engine"), ConfigError("x")]
)
def test_errors_cross_processes(error: TurnwiseError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error) and str(again) == str(error) and vars(again) == vars(error)


def test_failures_say_kind_and_detail() -> None:
    error = EnvFailure("timeout", "no answer in 5 s")
    assert (error.kind, error.detail, str(error)) == ("timeout", "no answer in 5 s", "timeout: no answer in 5 s")
    assert str(InfraError("engine")) == "engine"

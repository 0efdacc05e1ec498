"""Records survive the wire; what is no record is told apart; every refusal becomes the error that the server met."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnwise.errors import ConfigError, SandboxFailure
from turnwise.tool_servers.sandbox.limits import Limits
from turnwise.tool_servers.sandbox.protocol import ForkRefused, SessionSpec, Status, ToolResult, Usage
from turnwise.tool_servers.wire import (
    STATUS,
    Kind,
    Refusal,
    decoded,
    encoded,
    error_of,
    raised_by,
    result_from,
    result_to,
    spec_from,
    spec_to,
)

TEXT = st.text(alphabet=st.characters(codec=None, exclude_categories=()))
"""Lone surrogates too: a tool may print them."""
JSON = st.recursive(st.none() | st.booleans() | st.integers() | TEXT, lambda x: st.lists(x) | st.dictionaries(TEXT, x))


@settings(max_examples=50, deadline=None)
@given(out=TEXT, value=JSON, status=st.sampled_from(Status), seq=st.integers(1), truncated=st.booleans())
def test_a_result_survives(out: str, value: object, status: Status, seq: int, truncated: bool) -> None:
    result = ToolResult(status, out, "e", value, truncated, Usage(1.5, 0.25, 3.0), seq, restarted=True)
    assert result_from(json.loads(encoded(result_to(result)))) == result


@settings(max_examples=50, deadline=None)
@given(files=st.dictionaries(TEXT, st.binary()), seed=st.integers(), options=st.dictionaries(TEXT, JSON))
def test_a_spec_survives(files: dict[str, bytes], seed: int, options: dict[str, object]) -> None:
    spec = SessionSpec("a.B-9_", "sql", Limits(wall_s=1.5, memory_mb=64), files, seed, 12.5, options)
    assert spec_from(decoded(encoded(spec_to(spec)))) == spec


def test_what_json_lacks_becomes_null() -> None:
    assert json.loads(encoded({"value": [math.nan, {"x": -math.inf}, (1.5, "NaN")]})) == {
        "value": [None, {"x": None}, [1.5, "NaN"]]
    }


@pytest.mark.parametrize(
    "change",
    [
        {"id": ""},
        {"id": "a/b"},
        {"id": ".."},
        {"id": "x" * 65},
        {"id": 7},
        {"id": "a\n"},
        {"profil": "python"},
        {"limits": {"wall": 1}},
        {"limits": {"wall_s": -1}},
        {"limits": [1]},
        {"files": {"a": "no base64!"}},
        {"files": {"a": 1}},
        {"seed": "0"},
        {"seed": True},
        {"lease_s": 0},
        {"settings": None},
    ],
)
def test_a_wrong_spec_is_refused_in_words(change: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r".{20}"):
        spec_from({"id": "a"} | change)


@pytest.mark.parametrize("body", [b"", b"[1]", b"nul", b'{"a": NaN}', b"\xff\xfe", b"[" * 100_000])
def test_garbage_is_no_body(body: bytes) -> None:
    with pytest.raises(ConfigError, match="expected"):
        decoded(body)


@pytest.mark.parametrize(
    ("met", "raised"),
    [
        (ConfigError("x"), ConfigError),
        (ForkRefused("threads"), ForkRefused),
        (FileNotFoundError("a.txt"), FileNotFoundError),
        (Refusal(Kind.UNKNOWN_SESSION, "x"), SandboxFailure),
        (Refusal(Kind.CLOSED, "x"), SandboxFailure),
        (Refusal(Kind.OTHER_SPEC, "x"), ConfigError),
        (Refusal(Kind.WRONG_SEQ, "x"), ConfigError),
        (Refusal(Kind.TOKEN, "x"), ConfigError),
    ],
)
def test_a_refusal_is_the_error_that_the_server_met(met: Exception, raised: type[Exception]) -> None:
    refusal = error_of(met)
    assert refusal is not None
    error = raised_by(STATUS[refusal.kind], json.loads(encoded(refusal.body())))
    assert type(error) is raised and refusal.detail in str(error)


def test_a_sandbox_failure_keeps_its_kind() -> None:
    refusal = error_of(SandboxFailure("zygote", "gone", retriable=True))
    assert refusal is not None
    error = raised_by(502, json.loads(encoded(refusal.body())))
    assert isinstance(error, SandboxFailure) and (error.kind, error.detail, error.retriable) == ("zygote", "gone", True)


@pytest.mark.parametrize("body", [None, [], {}, {"error": 1}, {"error": {"kind": "new"}}])
def test_an_answer_of_something_else_is_a_broken_server(body: object) -> None:
    assert isinstance(raised_by(500, body), SandboxFailure)


def test_every_kind_has_a_status() -> None:
    assert set(STATUS) == set(Kind) and error_of(KeyError("x")) is None

"""The Hermes format: what it reads, what it refuses and says, what it writes."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnwise.envs.actions import MAX_CALLS, Hermes, Parsed, ToolCall, final_answer, format_named
from turnwise.envs.testing.hostile import PAYLOADS
from turnwise.errors import UnknownName

CALL = '<tool_call>{"name": "look", "arguments": {"at": "it"}}</tool_call>'
LOOK = ToolCall("look", {"at": "it"})


@pytest.mark.parametrize(
    ("reply", "calls"),
    [
        (CALL, (LOOK,)),
        (f"I shall look. {CALL} Done.", (LOOK,)),
        (CALL + "\n" + CALL, (LOOK, LOOK)),
        ('<tool_call>\n{"name": "look"}\n</tool_call>', (ToolCall("look", {}),)),
        ('<tool_call>{"name": "", "arguments": {"x": [1, null]}}</tool_call>', (ToolCall("", {"x": [1, None]}),)),
        (f"<answer>first a look</answer> {CALL}", (LOOK,)),
        (CALL * MAX_CALLS, (LOOK,) * MAX_CALLS),
    ],
)
def test_calls(reply: str, calls: tuple[ToolCall, ...]) -> None:
    assert Hermes().parse(reply) == Parsed(calls=calls)


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("<answer>42</answer>", "42"),
        ("So it is <answer>\n 42 \n</answer>.", "42"),
        ("<answer>1</answer> no, <answer>2</answer>", "2"),
        ("<answer></answer>", ""),
        ("<answer>a < b</answer>", "a < b"),
        ("</answer><answer>x</answer></answer>", "x"),
    ],
)
def test_answers(reply: str, answer: str) -> None:
    assert Hermes().parse(reply) == Parsed(answer=answer)
    assert final_answer(reply) == answer


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        ("", "Neither a tool call nor an <answer>"),
        ("42", "Neither"),
        ("<answer>42", "Neither"),
        ("</answer>42<answer>", "Neither"),
        ("<answer>1</answer> or <answer>2", "Neither"),
        ("</tool_call>", "Neither"),
        ('<tool_call>{"name": "look"}', "not closed"),
        (CALL + "<answer>42</answer>", "one or the other"),
        (CALL * (MAX_CALLS + 1), "At most 8 tool calls"),
        ("<tool_call></tool_call>", "not valid JSON"),
        ("<tool_call>{'name': 'look'}</tool_call>", "not valid JSON"),
        ("<tool_call>" + "[" * 50_000 + "</tool_call>", "not valid JSON"),
        ("<tool_call>" + "9" * 5_000 + "</tool_call>", "not valid JSON"),
        ("<tool_call>[]</tool_call>", "A tool call is a JSON object"),
        ('<tool_call>{"name": 3}</tool_call>', "A tool call is a JSON object"),
        ('<tool_call>{"name": "look", "arguments": "it"}</tool_call>', "A tool call is a JSON object"),
        ('<tool_call>{"arguments": {}}</tool_call>', "A tool call is a JSON object"),
    ],
)
def test_errors_say_what_is_wrong(reply: str, error: str) -> None:
    parsed = Hermes().parse(reply)
    assert error in parsed.error
    assert len(parsed.error) < 250
    assert (parsed.calls, parsed.answer) == ((), None)


@given(
    st.text() | st.sampled_from(PAYLOADS),
    st.sampled_from(["{}", "<answer>{}</answer>", "<tool_call>{}</tool_call>", "<tool_call>{}"]),
)
def test_exactly_one_thing_is_said(text: str, frame: str) -> None:
    parsed = Hermes().parse(frame.replace("{}", text))
    assert (bool(parsed.calls), parsed.answer is not None, bool(parsed.error)).count(True) == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x), max_leaves=5
)


@given(st.text(), st.dictionaries(st.text(), JSON, max_size=3))
def test_what_is_written_is_read(name: str, arguments: Mapping[str, Any]) -> None:
    written = Hermes().call(name, arguments)
    tags = ("<tool_call>", "</tool_call>", "<answer>")
    if not any(tag in json.dumps([name, arguments]) for tag in tags):
        assert Hermes().parse(written) == Parsed(calls=(ToolCall(name, arguments),))


def test_description_names_tools_and_tags() -> None:
    text = Hermes().describe([{"name": "look", "description": "Take a look."}])
    assert '{"name": "look", "description": "Take a look."}' in text
    assert "<tool_call>" in text
    assert "<answer>" in text


def test_formats_by_name() -> None:
    assert isinstance(format_named("hermes"), Hermes)
    with pytest.raises(UnknownName, match="hermes"):
        format_named("herms")

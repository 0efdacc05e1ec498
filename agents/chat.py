"""Conversations as append-only lists of token ids.

The ids that were sampled are the ids that are trained; text is only derived from them. A `ChatTemplate` turns an
observation into the ids that follow what the model has already seen: the end of its own message, the new message, the
generation prompt. Each is rendered behind a synthetic prefix, so nothing depends on the history (templates that strip
earlier thinking cannot change what was sampled) and the cost of a turn is constant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from turnwise.errors import ConfigError

__all__ = ["ChatTemplate", "Tokenizer"]

_REPLY = "\u2042reply\u2042"
_SLOT = "\u2042slot\u2042"
_PROBES = ("x", "two lines\n<b>and</b> {braces} 'quotes'", "12", "\n spaces around \n")


class Tokenizer(Protocol):
    """The part of a Hugging Face tokenizer that is used."""

    all_special_tokens: list[str]
    added_tokens_decoder: Mapping[int, Any]
    eos_token_id: int | None
    chat_template: Any

    def encode(self, text: str, add_special_tokens: bool = ...) -> list[int]: ...
    def decode(self, token_ids: Sequence[int], skip_special_tokens: bool = ...) -> str: ...
    def apply_chat_template(self, conversation: list[dict[str, str]], **kwargs: Any) -> Any: ...


@dataclass(frozen=True, slots=True)
class _Scaffold:
    """What a template puts around a message of one role. `verbatim`: the content stands between them as it is."""

    before: str
    after: str
    verbatim: bool


class ChatTemplate:
    """A tokenizer's chat template, probed at start and refused if it cannot carry a multi-turn episode.

    Raises ConfigError if there is no template, if it renders a user message or a reply in no recognisable way, or if the
    end of a reply is not a single special token (the token that sampling stops at and that is trained).
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        if not tokenizer.chat_template:
            raise ConfigError("chat template: the tokenizer has none; set tokenizer.chat_template, or load an instruct model.")
        self.tokenizer = tokenizer
        self._special = _special(tokenizer)
        self._opening = self._scaffold([], "user")
        self._following = {"user": self._scaffold(_TALK, "user")}
        try:
            self._following["tool"] = self._scaffold(_TALK, "tool")
        except Exception:  # templates raise what they like for a role they do not know
            self._following["tool"] = self._following["user"]
        ends = [self._end_of_reply(role) for role in self._following]
        self._closing = ends[0]
        eos = tokenizer.eos_token_id
        self.stop_ids: tuple[int, ...] = tuple(dict.fromkeys([*ends, *([] if eos is None else [eos])]))
        """Sampling stops at any of these."""

    def opening(self, observation: str) -> tuple[int, ...]:
        """[C] ids of the first observation, generation prompt included."""
        return tuple(self._encode(self._render(self._opening, [], "user", observation)))

    def following(self, action_ids: Sequence[int], observation: str, role: str) -> tuple[int, ...]:
        """[C] ids that come after a reply: what closes it (less its first token, if that was sampled) and the next message.

        `role` is "user" or "tool". No id of the reply is touched, whatever its text would re-encode to.
        """
        ids = self._encode(self._render(self._following[role], _TALK, role, observation))
        sampled = bool(action_ids) and action_ids[-1] == ids[0]
        return tuple(ids[1:] if sampled else ids)

    def text(self, action_ids: Sequence[int]) -> str:
        """The reply as the environment sees it: the stop token at its end is not part of it."""
        ended = bool(action_ids) and action_ids[-1] in self.stop_ids
        return self.tokenizer.decode(list(action_ids[:-1] if ended else action_ids), skip_special_tokens=False)

    def reply(self, text: str) -> tuple[int, ...]:
        """[A] ids of a reply written by someone else (an expert), stop token included; for supervised training."""
        return (*self._encode(self._harmless(text)), self._closing)

    def _encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False)

    def _harmless(self, text: str) -> str:
        # A tool result that spells a special token must not be able to speak as somebody else.
        for token in self._special:
            if token in text:
                text = text.replace(token, token[0] + " " + token[1:])
        return text.encode("utf-8", "replace").decode("utf-8")

    def _render(self, scaffold: _Scaffold, before: list[dict[str, str]], role: str, content: str) -> str:
        content = self._harmless(content)
        if scaffold.verbatim:
            return scaffold.before + content + scaffold.after
        return self._tail(before, role, content)

    def _scaffold(self, before: list[dict[str, str]], role: str) -> _Scaffold:
        rendered = self._tail(before, role, _SLOT)
        start, found, end = rendered.partition(_SLOT)
        if not found:
            raise ConfigError(f"chat template: a {role} message's content does not appear in what the template renders.")
        verbatim = all(self._tail(before, role, probe) == start + probe + end for probe in _PROBES)
        return _Scaffold(start, end, verbatim)

    def _tail(self, before: list[dict[str, str]], role: str, content: str) -> str:
        """Text after the synthetic reply, or all of it where there is none."""
        messages = [*before, {"role": role, "content": content}]
        text: str = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        if not before:
            return text
        head, found, tail = text.partition(_REPLY)
        if not found or not head:
            raise ConfigError("chat template: an assistant message's content does not appear in what the template renders.")
        return tail

    def _end_of_reply(self, role: str) -> int:
        """The token that ends a reply when a message of that role is next."""
        ids = self._encode(self._following[role].before)
        if not ids or self.tokenizer.decode(ids[:1], skip_special_tokens=False) not in self._special:
            shown = self.tokenizer.decode(ids[:3], skip_special_tokens=False)
            raise ConfigError(
                f"chat template: a reply must end in a special token that sampling can stop at, but it is followed by {shown!r}. "
                "Add such a token to the tokenizer and the template."
            )
        return ids[0]


def _special(tokenizer: Tokenizer) -> list[str]:
    """Spellings that become control tokens. `all_special_tokens` holds only those with a name of their own, such as eos."""
    added = (token.content for token in tokenizer.added_tokens_decoder.values() if token.special)
    return [token for token in dict.fromkeys([*tokenizer.all_special_tokens, *added]) if token]


_TALK = [{"role": "user", "content": "."}, {"role": "assistant", "content": _REPLY}]

"""What an engine that takes token ids refuses before it computes anything."""

from __future__ import annotations

from collections.abc import Sequence

from turnwise.errors import ConfigError

__all__ = ["check_prompt", "check_text"]


def check_prompt(ids: Sequence[int], vocabulary: int, window: int) -> None:
    """Raises ConfigError for a prompt that is empty, leaves no room in the context window or holds ids beyond the vocabulary."""
    _check_ids("generate", ids, vocabulary)
    if len(ids) >= window:
        raise ConfigError(f"generate: expected a prompt shorter than the context window of {window}, got {len(ids)} tokens.")


def check_text(ids: Sequence[int], targets: Sequence[int], vocabulary: int, window: int) -> None:
    """The same for a text to be scored; no targets at all are fine."""
    _check_ids("score", ids, vocabulary)
    if not targets:
        return
    _check_ids("score", targets, vocabulary)
    if len(ids) + len(targets) > window:
        got = f"{len(ids)} + {len(targets)}"
        raise ConfigError(f"score: expected at most {window} tokens (the context window), got {got}.")


def _check_ids(where: str, ids: Sequence[int], vocabulary: int) -> None:
    if not ids:
        raise ConfigError(f"{where}: expected at least one token id, got none.")
    low, high = min(ids), max(ids)
    if low < 0 or high >= vocabulary:
        wrong = low if low < 0 else high
        raise ConfigError(f"{where}: expected ids from 0 to {vocabulary - 1} (the model's vocabulary), got {wrong}.")

"""Functions from words to words, the skills of turnwise/StringCompose-v0: short rules, names without meaning.

All take and give lower-case letters a to z, at least four of them for at least four.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["FUNCTIONS"]

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_VOWELS = "aeiou"


def _shifted(text: str, steps: Callable[[int], int]) -> str:
    """Letter i moved on in the alphabet by steps(i); a follows z."""
    return "".join(_LETTERS[(ord(letter) - 97 + steps(i)) % 26] for i, letter in enumerate(text))


def _reverse(text: str) -> str:
    return text[::-1]


def _first_to_end(text: str) -> str:
    return text[1:] + text[:1]


def _last_to_front(text: str) -> str:
    return text[-1:] + text[:-1]


def _first_three_to_end(text: str) -> str:
    return text[3:] + text[:3]


def _swap_ends(text: str) -> str:
    return text[-1] + text[1:-1] + text[0]


def _swap_pairs(text: str) -> str:
    return "".join(text[i : i + 2][::-1] for i in range(0, len(text), 2))


def _swap_halves(text: str) -> str:
    """Where the number is odd, the second half has one more."""
    return text[len(text) // 2 :] + text[: len(text) // 2]


def _sort(text: str) -> str:
    return "".join(sorted(text))


def _every_second_first(text: str) -> str:
    return text[1::2] + text[::2]


def _interleave_halves(text: str) -> str:
    """A letter of the first half, one of the second, and so on; the first half has one more where the number is odd."""
    middle = (len(text) + 1) // 2
    return "".join(a + b for a, b in zip(text[:middle], text[middle:] + " ", strict=False)).strip()


def _vowels_first(text: str) -> str:
    return "".join(sorted(text, key=lambda letter: letter not in _VOWELS))


def _reverse_vowels(text: str) -> str:
    """The vowels in reverse order in the places of vowels."""
    vowels = [letter for letter in text if letter in _VOWELS]
    return "".join(vowels.pop() if letter in _VOWELS else letter for letter in text)


def _next_vowel(text: str) -> str:
    """a becomes e, e i, i o, o u, u a."""
    return text.translate(str.maketrans("aeiou", "eioua"))


def _next_letter(text: str) -> str:
    return _shifted(text, lambda i: 1)


def _three_letters_back(text: str) -> str:
    return _shifted(text, lambda i: -3)


def _mirror_alphabet(text: str) -> str:
    """a becomes z, b y, and so on."""
    return "".join(_LETTERS[122 - ord(letter)] for letter in text)


def _shift_by_place(text: str) -> str:
    """The first letter stays, the second moves on by 1 in the alphabet, the third by 2."""
    return _shifted(text, lambda i: i)


def _shift_by_length(text: str) -> str:
    return _shifted(text, lambda i: len(text))


def _reverse_first_half(text: str) -> str:
    """Without the middle letter where the number is odd."""
    middle = len(text) // 2
    return text[:middle][::-1] + text[middle:]


def _reverse_second_half(text: str) -> str:
    """Without the middle letter where the number is odd."""
    middle = (len(text) + 1) // 2
    return text[:middle] + text[middle:][::-1]


def _double_first(text: str) -> str:
    return text[0] + text


def _add_ending(text: str) -> str:
    return text + "ka"


def _drop_second(text: str) -> str:
    return text[0] + text[2:] if len(text) > 4 else text


def _last_becomes_first(text: str) -> str:
    """The last letter is replaced by the first."""
    return text[:-1] + text[0]


FUNCTIONS: dict[str, Callable[[str], str]] = {
    "blick": _reverse,
    "crund": _first_to_end,
    "dasp": _last_to_front,
    "fenk": _first_three_to_end,
    "glomp": _swap_ends,
    "hisk": _swap_pairs,
    "jorv": _swap_halves,
    "kelm": _sort,
    "lunt": _every_second_first,
    "morp": _interleave_halves,
    "nash": _vowels_first,
    "oxel": _reverse_vowels,
    "pluv": _next_vowel,
    "quib": _next_letter,
    "rask": _three_letters_back,
    "sploe": _mirror_alphabet,
    "tarn": _shift_by_place,
    "ulvo": _shift_by_length,
    "vemp": _reverse_first_half,
    "wixt": _reverse_second_half,
    "yorf": _double_first,
    "zemba": _add_ending,
    "brill": _drop_second,
    "chond": _last_becomes_first,
}
"""Name -> function."""

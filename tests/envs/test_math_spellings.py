"""Grading of answers as models spell them: every truth with spellings of it, and with what only looks like it."""

import pytest

from turnwise.envs.math.answers import grade_answer

# (truth, answers that say the same)
RIGHT = {
    "3/8": [
        "0.375", "37.5%", r"37.5\%", r"\tfrac{3}{8}", r"\frac{3}{8}.", "3 / 8", r"\(\frac{3}{8}\)", r"\[ \frac{3}{8} \]",
        r"\boxed{\frac{3}{8}}", r"$\boxed{\dfrac{3}{8}}$", "6/16", r"3\div 8", "P = 3/8", r"P(A)=\frac{3}{8}", r"\frac38",
        "0.3750", "3\u20448", "\u215c"
    ],
    r"-\frac{5}{4}": [
        "-1.25", "\u22121.25", "\u2013 5/4", r"-1\frac14", "-1 1/4", r"\frac{-5}{4}", r"\dfrac{5}{-4}",
        r"-\left(\frac{5}{4}\right)", "x=-5/4", "- 5/4"
    ],
    "6000000": [
        "6,000,000", r"6\times10^6", r"6 \cdot 10^{6}", "6e6", "6.0e6", "6E6", "6{,}000{,}000", r"6\,000\,000", "6*10^6",
        "6 x 10^6", "6 million", r"6\text{ million}"
    ],
    "0.0032": [
        r"3.2 \times 10^{-3}", "3.2e-3", "3.2E-03", "32/10000", r"\frac{2}{625}", "0.32%", ".0032", "3.2\xd710^{-3}",
        "3.2 * 10^-3", "3.2\xd710\u207b\xb3"
    ],
    "x=4": [
        "4", "x = 4", "$x=4$", r"\boxed{x=4}", "4.0", "x=8/2", "{4}", r"\{4\}", "x = 4."
    ],
    "x = -3, x = 7": [
        "-3,7", "7, -3", "x=-3 or x=7", r"x=-3\text{ or }x=7", r"\{-3,7\}", "x = 7 and x = -3", r"x\in\{-3,7\}",
        "x_1=-3, x_2=7"
    ],
    r"(-\infty, 5)": [
        "x<5", "x < 5", "5>x", r"(-\infty,5)", r"x\in(-\infty,5)", r"\{x \mid x<5\}", r"\left(-\infty,5\right)", "(-oo, 5)",
        "(-inf, 5)"
    ],
    r"[0, \infty)": [
        r"x\ge 0", r"x\geq0", "x>=0", r"[0,\infty)", r"0\le x", r"\{x : x \ge 0\}", r"[0,+\infty)", "[0, \u221e)"
    ],
    "(-2,2)": [
        "-2<x<2", "|x|<2", "(-2, 2)", r"x\in(-2,2)"
    ],
    r"\{1,3,5\}": [
        "{1,3,5}", "{5,3,1}", r"\{1, 3, 5\}", r"\left\{1,3,5\right\}", "1, 3, 5", "1,3 and 5", r"\lbrace 5,1,3\rbrace",
        r"S=\{1,3,5\}"
    ],
    "(4,-1)": [
        "(4, -1)", r"\left(4,-1\right)", "x=4, y=-1", "x = 4 and y = -1", "(x,y)=(4,-1)", r"(4,\,-1)", "(8/2, -1)",
        "( 4 , \u22121 )"
    ],
    r"(\frac{1}{2}, -\frac{3}{4}, 0)": [
        "(0.5,-0.75,0)", "(1/2, -3/4, 0)", r"\left(\tfrac12,-\tfrac34,0\right)"
    ],
    r"\begin{pmatrix} 2 & 0 \\ -1 & 3 \end{pmatrix}": [
        r"\begin{bmatrix} 2 & 0 \\ -1 & 3 \end{bmatrix}", r"\left(\begin{array}{cc}2&0\\-1&3\end{array}\right)",
        "[[2,0],[-1,3]]", r"\begin{pmatrix}2&0\\-1&3\\\end{pmatrix}"
    ],
    r"\begin{pmatrix} 3 \\ -7 \end{pmatrix}": [
        r"\begin{bmatrix}3\\-7\end{bmatrix}", r"\begin{pmatrix}3.0\\-7\end{pmatrix}",
        r"\left(\begin{array}{c}3\\-7\end{array}\right)"
    ],
    r"7\sqrt{3}": [
        r"7\sqrt3", r"\sqrt{147}", "7*sqrt(3)", "7sqrt(3)", r"7 \sqrt{3}", r"\frac{21}{\sqrt{3}}", r"7\cdot 3^{1/2}",
        "7\u221a3", r"7\times\sqrt{3}", r"7\sqrt{3}\text{ units}"
    ],
    r"\frac{2+\sqrt{7}}{3}": [
        r"\frac{\sqrt{7}+2}{3}", r"\frac23+\frac{\sqrt7}{3}", "(2+sqrt(7))/3", r"\frac{1}{\sqrt{7}-2}"
    ],
    r"2\pi": [
        "2pi", "2\u03c0", r"2 \cdot \pi", r"\pi\cdot2", r"\frac{4\pi}{2}", "2*pi", r"2\pi\text{ radians}", r"\pi+\pi"
    ],
    r"\frac{\pi^2}{6}": [
        r"\pi^2/6", r"\frac{1}{6}\pi^{2}", "pi^2/6", "\u03c0\xb2/6"
    ],
    "45": [
        "45\xb0", r"45^\circ", r"45^{\circ}", "45 degrees", r"45\text{ degrees}", "45.", "45.00", r"\boxed{45}", r"\text{45}",
        r"\mathbf{45}", "**45**", "`45`", "45 ", "\u200945", "45\xa0"
    ],
    r"12\%": [
        "12%", "12 %", "12 percent", r"12\,\%", "0.12", "3/25", r"12\text{%}", "12"
    ],
    r"\$4.50": [
        "4.50", "4.5", "$4.50", r"\$4.5", "4.50 dollars", r"4.50\text{ dollars}", "9/2"
    ],
    r"15\text{ cm}^2": [
        "15", "15 cm^2", r"15\,\text{cm}^2", r"15\text{ cm}^{2}", "15 square cm", "15 sq cm", r"15\ \mathrm{cm}^2",
        "15 cm\xb2", "15 square centimeters"
    ],
    r"3 \text{ hours}": [
        "3", "3 hours", "3hr", "3 hrs"
    ],
    r"\text{no solution}": [
        "no solution", "No solution", "No Solution.", r"\text{No solution}"
    ],
    r"\text{Yes}": [
        "yes", "Yes", "YES", "yes.", r"\text{yes}"
    ],
    r"\text{(B)}": [
        "B", "(B)", r"\textbf{(B)}", "b", r"\text{B}", "B.", "(b)", r"\textbf{(B)}\ "
    ],
    "2^{n+1}-2": [
        r"2\cdot 2^n-2", "2(2^n-1)", "2^{n+1} - 2", "-2+2^{n+1}"
    ],
    r"\frac{n(n+1)}{2}": [
        r"\frac{n^2+n}{2}", "n(n+1)/2", r"\frac{1}{2}n(n+1)", r"\binom{n+1}{2}"
    ],
    "3x^2-5x+2": [
        "(3x-2)(x-1)", "3x^2 - 5x + 2", "2-5x+3x^2", "3*x**2-5*x+2", "3x\xb2-5x+2", "f(x)=3x^2-5x+2", "y=3x^2-5x+2"
    ],
    r"y = -\frac{1}{2}x + 3": [
        "y=-x/2+3", r"y=3-\frac{x}{2}", "y = -0.5x+3", r"-\frac12x+3", "x+2y=6"
    ],
    r"\frac{x^2+1}{x}": [
        r"x+\frac{1}{x}", "(x^2+1)/x", r"\frac{1}{x}+x"
    ],
    "e^{2}": [
        "e^2", r"\exp(2)", "e**2", r"e\cdot e"
    ],
    r"\ln 5": [
        r"\ln(5)", "ln 5", r"\log_e 5", "ln(5)", r"-\ln\frac15", r"\ln{5}"
    ],
    "1+2i": [
        "2i+1", "1 + 2i", "1+2*i", r"1+2\mathrm{i}", "z=1+2i"
    ],
    "0": [
        "0.0", "-0", "0/5", "0.00", r"\boxed{0}", "x=0"
    ],
    r"\frac{1}{3}": [
        "1/3", r"0.\overline{3}", "0.(3)", r"\frac{2}{6}", r"33\frac13\%", r"33\frac{1}{3}\%"
    ],
    "10^{-6}": [
        "0.000001", "1e-6", r"\frac{1}{1000000}", "1/10^6"
    ],
    r"\sqrt{2}-1": [
        r"-1+\sqrt{2}", r"\frac{1}{1+\sqrt2}", "sqrt(2)-1", r"\tan\frac{\pi}{8}"
    ],
    "720": [
        "6!", "720.0", "720 ways", r"720\text{ ways}"
    ],
    "1:2:3": [
        "1 : 2 : 3"
    ],
    "3:2": [
        "3 : 2"
    ],
    "2023": [
        "2,023", "02023", r"\textbf{2023}", "2023.0"
    ],
    "a=2, b=-1": [
        "a = 2, b = -1", "b=-1, a=2", "a=2 and b=-1", r"a=2,\ b=-1"
    ],
    r"11:30 \text{ a.m.}": [
        "11:30 a.m.", "11:30 AM", "11:30am"
    ],
    r"\frac{a}{b+c}": [
        "a/(b+c)", r"\frac{a}{c+b}", "a(b+c)^{-1}"
    ],
    r"\mathbb{R}": [
        r"(-\infty,\infty)", r"\mathbb R", r"(-\infty, +\infty)"
    ],
    r"x \ne 2": [
        r"x\neq 2", "x != 2", r"(-\infty,2)\cup(2,\infty)", r"\mathbb{R}\setminus\{2\}"
    ],
    "101_2": [
        "101_{2}"
    ],
    r"\frac{9}{2}": [
        r"\boxed{\boxed{\frac{9}{2}}}", r"\boxed{$\frac92$}", r"$$\frac{9}{2}$$", r"\text{ }\frac{9}{2}", "4.5", "4\xbd",
        r"\frac{9}{2}\text{ cm}", "9/2 cm", r"x = \boxed{\frac{9}{2}}", "450%", r"{\frac{9}{2}}", r"\frac{ 9 }{ 2 }",
        r"\frac{9}{2}\,", "4.50"
    ],
    "100": [
        "1e2", "10^2", "10^{2}", "100.0", r"100\text{ people}", "100 people", "\u2009100", "100.", "+100"
    ],
    "-1": [
        "\u22121", "\uff0d1", "-1.0", r"-\frac{2}{2}", "x=-1", "{-1}"
    ],
    r"\sqrt{5}": [
        r"\sqrt 5", r"\sqrt5", "sqrt(5)", "5^{1/2}", r"5^{\frac12}", "5^{0.5}", "\u221a5", r"\frac{5}{\sqrt5}"
    ],
    r"\frac{\sqrt{2}}{2}": [
        r"\frac{1}{\sqrt2}", r"\sqrt{\frac12}", r"\sqrt{0.5}", "2^{-1/2}", r"\frac{\sqrt 2}2", "sqrt(2)/2", "\u221a2/2"
    ],
    "2x^2+3x-5": [
        "(2x+5)(x-1)", "2x^2 + 3x - 5", "-5+3x+2x^2", "2{x}^{2}+3x-5", "2x^{2}+3x-5", "2*x^2+3*x-5"
    ],
    r"\frac{x}{y}": [
        "x/y", "x y^{-1}", r"\frac{2x}{2y}", r"x\div y"
    ],
    "(2, 5]": [
        r"2<x\le5", r"\left(2,5\right]", "(2,5]", r"\{x\mid 2<x\leq 5\}", "x > 2 and x <= 5"
    ],
    r"(-\infty,-2)\cup(2,\infty)": [
        "x<-2 or x>2", "|x|>2", r"x\in(-\infty,-2)\cup(2,\infty)", r"(2,\infty)\cup(-\infty,-2)"
    ],
    r"\{-1, 0, 1\}": [
        "{-1,0,1}", r"\{0,\pm1\}", "-1, 0, 1", "0,1,-1", r"\{1,0,-1\}"
    ],
    r"\emptyset": [
        r"\{\}", r"\varnothing", "\u2205", "{}"
    ],
    r"\begin{pmatrix} 1 & 0 & 0 \\ 0 & 1 & 0 \\ 0 & 0 & 1 \end{pmatrix}": [
        r"\begin{bmatrix}1&0&0\\0&1&0\\0&0&1\end{bmatrix}", "[[1,0,0],[0,1,0],[0,0,1]]"
    ],
    "3 + 4i": [
        "3+4i", "4i+3", r"3+4\mathrm{i}"
    ],
    r"\cos\theta": [
        r"\cos(\theta)", r"\cos{\theta}", r"\sin(\frac{\pi}{2}-\theta)"
    ],
    r"\frac{1}{2}\ln 3": [
        r"\ln\sqrt3", r"\frac{\ln3}{2}", r"0.5\ln 3", "ln(3)/2"
    ],
    r"120^\circ": [
        "120", "120\xb0", "120 degrees", r"120^{\circ}", "120.0"
    ],
    r"5:00 \text{ PM}": [
        "5:00 PM", "5:00 pm", r"5:00\text{ p.m.}", "5:00 P.M."
    ],
    r"25\text{ m/s}": [
        "25", "25 m/s", r"25\,\text{m/s}", r"25~\mathrm{m/s}", "25 meters per second"
    ],
    r"\text{Monday}": [
        "Monday", "monday", r"\textbf{Monday}", "Monday."
    ],
    r"\text{increasing}": [
        "increasing", "Increasing"
    ],
    r"x \leq 3": [
        r"x\le 3", "x<=3", r"(-\infty,3]", "3>=x", r"3\geq x"
    ],
    "a^{n-1}": [
        r"\frac{a^n}{a}", "a^(n-1)"
    ],
    r"\sum_{k=1}^{n} k": [

    ],
    r"1.5 \times 10^{8}": [
        "150000000", "1.5e8", "150,000,000", r"15\times10^7", r"1.5\cdot10^8", "150 million"
    ],
    r"\frac{22}{7}": [
        "22/7", r"3\frac17", "3 1/7", r"\frac{44}{14}"
    ],
    "7,8,9": [
        "7, 8, 9", "9,8,7", "7,8 and 9", r"7,\ 8,\ 9", r"\{7,8,9\}", "7; 8; 9"
    ],
    r"\left(\frac{3}{5},\frac{4}{5}\right)": [
        "(0.6,0.8)", "(3/5, 4/5)", r"(\frac35,\frac45)"
    ],
    r"p \vee q": [

    ],
    r"A \cap B": [
        r"A\cap B", "A \u2229 B"
    ],
    r"0.1\overline{6}": [
        "1/6", r"\frac16", "0.1(6)"
    ],
    r"\frac{3x+1}{x-2}": [
        "(3x+1)/(x-2)", r"3+\frac{7}{x-2}", r"\frac{-3x-1}{2-x}"
    ],
    "6": [
        "6 apples", "6 left", r"6\text{ apples left}"
    ],
}  # fmt: skip

# (truth, answers that say something else)
WRONG = {
    "3/8": [
        "8/3", "0.38", "3.8", "0.37", "38%", "3", "37.5", "375%", "-3/8", "3/8x", "3 8", "3/8 or 5/8", "3,8", r"\frac{3}{8}+0",
        "5/8", "1-5/8", "0.375375", r"\frac{3}{8}\pi"
    ],
    r"-\frac{5}{4}": [
        "5/4", "1.25", "-4/5", "-5.4", "-1 3/4", "-1.2", "- -5/4", "|-5/4|", r"\pm 5/4"
    ],
    "6000000": [
        "6", "600000", "6e7", "6,00,0000", r"6\times 10^7", "6 thousand", "6 billion", r"6\times 10", "10^6", "6^{6}",
        "6,000,001", "66,000,000"
    ],
    "0.0032": [
        "0.032", "3.2", "3.2e3", r"3.2\times10^{3}", "0.0032%", "32", r"3.2\times 10^{-2}", "0.00320001"
    ],
    "x=4": [
        "x=-4", "x=5", "x=4,5", "x=4 or x=-4", "x>4", r"x\ge4", "4x", "x^4", "x=4=5", "x+4"
    ],
    "x = -3, x = 7": [
        "3,-7", "-3", "7", "x=-3", "(-3,7)", "[-3,7]", "-3,7,0", "-3,-7", "x=-3,x=-7", "4", "-21", "-3<x<7"
    ],
    r"(-\infty, 5)": [
        r"(-\infty,5]", r"x\le5", "x>5", r"(5,\infty)", "(-5,5)", "5", "x<-5", r"\infty, 5", r"(5,-\infty)",
        r"(-\infty,5)\cup(6,7)"
    ],
    r"[0, \infty)": [
        "x>0", r"(0,\infty)", r"x\le0", r"\mathbb{R}", "[0,1)", "0", r"x\ne0"
    ],
    "(-2,2)": [
        "[-2,2]", "(2,-2)", "(-2,2]", "|x|>2", r"|x|\le2", "-2", r"\pm2", "(-2,2,0)", "2"
    ],
    r"\{1,3,5\}": [
        "(1,3,5)", "{1,3}", "{1,3,5,7}", "{1,3,3}", "1,3,6", "[1,5]", "135", "{1,5}", "9", "(5,3,1)"
    ],
    "(4,-1)": [
        "(-1,4)", "(4,1)", "4", "-1", "4-1", "3", "{4,-1}", "[4,-1]", "(4,-1,0)", "x=-1,y=4", "(4;-1;2)", "x=4",
        "(y,x)=(4,-1)"
    ],
    r"(\frac{1}{2}, -\frac{3}{4}, 0)": [
        "(1/2,3/4,0)", "(0,1/2,-3/4)", "(1/2,-3/4)", "(2,-4/3,0)"
    ],
    r"\begin{pmatrix} 2 & 0 \\ -1 & 3 \end{pmatrix}": [
        r"\begin{pmatrix}2&-1\\0&3\end{pmatrix}", "[[2,0],[1,3]]", "(2,0,-1,3)", "6",
        r"\begin{pmatrix}2&0\\-1&3\\0&0\end{pmatrix}", r"\begin{vmatrix}2&0\\-1&3\end{vmatrix}", "[[2,-1],[0,3]]"
    ],
    r"\begin{pmatrix} 3 \\ -7 \end{pmatrix}": [
        r"\begin{pmatrix}-7\\3\end{pmatrix}", r"\begin{pmatrix}3\\7\end{pmatrix}", r"\begin{pmatrix}3\end{pmatrix}", "3,7",
        "-4"
    ],
    r"7\sqrt{3}": [
        "12.124", r"3\sqrt7", r"\sqrt{21}", r"7+\sqrt3", r"\sqrt{73}", r"7\sqrt[3]{3}", "7", "21", r"-7\sqrt3", r"\pm7\sqrt3",
        r"7\sqrt{3}i", r"7^{\sqrt3}"
    ],
    r"\frac{2+\sqrt{7}}{3}": [
        r"\frac{2-\sqrt7}{3}", r"2+\frac{\sqrt7}{3}", r"\frac{\sqrt9}{3}", "1.5486", r"\frac{2\pm\sqrt7}{3}", "(2+sqrt7)/3+1"
    ],
    r"2\pi": [
        "6.28", "6.283185307", "2", r"\pi", r"\pi^2", "360", r"2\pi r", "2p", r"\frac{\pi}{2}", r"2\pi i", r"-2\pi", r"2+\pi"
    ],
    r"\frac{\pi^2}{6}": [
        "1.6449", r"\frac{\pi}{6}", r"(\pi/6)^2", r"\frac{6}{\pi^2}"
    ],
    "45": [
        "45%", "54", "-45", "4.5", "45!", "45i", "4 5", "45,0", "45 or 46", "4,5", "45.5", "45^2", "0.45", "45x", "45 million",
        "46", "[45]5", "45/", "=45=46", "4.5e2", "44.99999", "44+1", "9*5"
    ],
    r"12\%": [
        "1.2", "12.5%", "120%", "0.12%", "88%", "1.2%"
    ],
    r"\$4.50": [
        "45", "4.05", "450", "$4.51", "4.50%", "$5.40", "4.50 cents"
    ],
    r"15\text{ cm}^2": [
        "15 cm^3", "15 m^2", "1.5", r"15\pi", "225", "16 cm^2", "-15"
    ],
    r"3 \text{ hours}": [
        "3 minutes", "180", "3 days", "30 hours"
    ],
    r"\text{no solution}": [
        "solution", "one solution", "0", "infinitely many solutions", r"\text{not no solution}"
    ],
    r"\text{Yes}": [
        "No", "Yes and no", "yesterday", "", "y"
    ],
    r"\text{(B)}": [
        "A", "(A) or (B)", "AB", "8", "(B) and (C)", "not B", "(BB)", "A, B"
    ],
    "2^{n+1}-2": [
        "2^n-2", "2^{n+1}", "2^{n}", "2^{n+1}+2", "4^n-2", "2^{(n+1)-2}"
    ],
    r"\frac{n(n+1)}{2}": [
        r"\frac{n(n-1)}{2}", "n(n+1)", r"\frac{n^2+1}{2}", r"\binom{n}{2}", r"\frac{m(m+1)}{2}"
    ],
    "3x^2-5x+2": [
        "3x^2+5x+2", "(3x-2)(x+1)", "3y^2-5y+2", "3x^2-5x", "3x^2-5x-2", "x=1,2/3"
    ],
    r"y = -\frac{1}{2}x + 3": [
        r"y=\frac12x+3", "y=-2x+3", r"y=-\frac12x-3", r"x=-\frac12y+3", "y>-x/2+3"
    ],
    r"\frac{x^2+1}{x}": [
        "x+1", "x^2+1", r"\frac{x}{x^2+1}", r"x^2+\frac1x"
    ],
    "e^{2}": [
        "7.389", "2e", "e", "2^e", "e^{-2}", r"\epsilon^2"
    ],
    r"\ln 5": [
        r"\log 5", "1.609", r"\log_{10}5", "5", r"\ln 4", r"\ln^5", "e^5"
    ],
    "1+2i": [
        "1-2i", "2+i", r"\sqrt5", "3i", "3", "1+2", r"\pm(1+2i)", "(1,2)"
    ],
    "0": [
        "1", "0.001", r"\emptyset", "none", "-1", "0x+1", "00001", "O", "{0,0,1}", r"\{\}"
    ],
    r"\frac{1}{3}": [
        "0.333", "0.3333333333", "33%", "33.3%", "3", "1:3", "-1/3", r"0.33\overline{4}"
    ],
    "10^{-6}": [
        "10^6", "-10^6", "0.00001", "1e6", "-60", "10-6"
    ],
    r"\sqrt{2}-1": [
        r"1-\sqrt2", r"\sqrt{2-1}", "1", "0.41421356", r"\sqrt2+1"
    ],
    "720": [
        "6", "620", "7!", "72", "720%", "-720", "6*5*4*3*2", "7.20", "0720.5"
    ],
    "1:2:3": [
        "3:2:1", "1:2", "1:3:2", "6"
    ],
    "3:2": [
        "2:3", "3", "6", "3:2:1"
    ],
    "2023": [
        "2024", "20.23", "-2023", "20 23", "202.3", "2,0,2,3", "2023^1-1"
    ],
    "a=2, b=-1": [
        "a=-1, b=2", "a=2", "a=2,b=1", "b=2,a=-1", "(-1,2)"
    ],
    r"\frac{a}{b+c}": [
        r"\frac ab+c", r"\frac{a}{b}+\frac ac", r"\frac{b+c}{a}", r"\frac{a}{b-c}"
    ],
    r"\mathbb{R}": [
        r"\mathbb{Q}", r"\mathbb{Z}", r"(0,\infty)", r"\emptyset", "R^2"
    ],
    r"x \ne 2": [
        "x=2", "2", "x>2", r"x\ne -2", r"(-\infty,2]\cup[2,\infty)", r"x\ne 2,3"
    ],
    "101_2": [
        "101_3", "110_2", "5_{8}", "101_{10}"
    ],
    r"\frac{9}{2}": [
        "2/9", "9", "4.5%", r"4\frac13", r"\boxed{}", "9/2/1", "4.05", "92", r"\frac{9}{2}=4", "4,5", "45", "9:2:1",
        r"\frac{9}{2}^2", r"\frac{9}{2}x+1"
    ],
    "100": [
        "1000", "10", "1e3", "100!", "100i", "1 00", "100^2", "10^3", "1,00", "100,000", "-100", "99.999", "0100.1", "100=101",
        "100%", r"100\%", "hundred", "10.0", "50+50", "25*4", "100-0"
    ],
    "-1": [
        "1", "i", "--1", "+1", "-1.01", "-10", "-i", "-1 or 1", "\xb11"
    ],
    r"\sqrt{5}": [
        "5", "2.236", r"-\sqrt5", r"\sqrt{-5}", r"\pm\sqrt5", r"5\sqrt{}", "25", r"\sqrt[3]5", r"\sqrt{5}i"
    ],
    r"\frac{\sqrt{2}}{2}": [
        r"\sqrt2", "0.7071", r"\frac12", r"\frac{2}{\sqrt2}", r"-\frac{\sqrt2}{2}", r"\sqrt{2/2}", "1"
    ],
    "2x^2+3x-5": [
        "2x^2-3x-5", "(2x-5)(x+1)", "2x^2+3x", "2y^2+3y-5", "2x^3+3x-5", "x=1", "1,-5/2"
    ],
    r"\frac{x}{y}": [
        "y/x", "x-y", "xy", r"\frac{x+1}{y+1}", r"\frac{x}{z}", "0.5"
    ],
    "(2, 5]": [
        "[2,5]", "(2,5)", "[2,5)", r"2\le x\le5", "2<x<5", "(5,2]", "2.5", "2", r"(2,5]\cup(6,7)"
    ],
    r"(-\infty,-2)\cup(2,\infty)": [
        "(-2,2)", r"(-\infty,-2]\cup[2,\infty)", r"(-\infty,-2)\cap(2,\infty)", "x>2", r"|x|\ge2", r"\mathbb{R}",
        r"(-\infty,2)\cup(-2,\infty)"
    ],
    r"\{-1, 0, 1\}": [
        "{-1,1}", "(-1,0,1)", "{0,1,2}", "{-1,0,1,2}", "[-1,1]", "0", "{1,1,0}"
    ],
    r"\emptyset": [
        "0", r"\{0\}", r"\{\emptyset\}", "none of these", r"\mathbb{R}"
    ],
    r"\begin{pmatrix} 1 & 0 & 0 \\ 0 & 1 & 0 \\ 0 & 0 & 1 \end{pmatrix}": [
        "1", "[[1,0],[0,1]]", "[[0,0,1],[0,1,0],[1,0,0]]", "[1,0,0,0,1,0,0,0,1]"
    ],
    "3 + 4i": [
        "3-4i", "4+3i", "5", "7i", "(3,4)", "-3-4i", "3+4"
    ],
    r"\cos\theta": [
        r"\sin\theta", r"\cos\phi", r"\cos", r"-\cos\theta", r"\cos2\theta", r"\cos x", r"\cos^2\theta"
    ],
    r"\frac{1}{2}\ln 3": [
        r"\ln\frac32", r"\ln3", "0.549", r"\ln 1.5", r"2\ln3"
    ],
    r"120^\circ": [
        "60", "210", r"120\pi", r"\frac{2\pi}{3}", "12", "-120"
    ],
    r"5:00 \text{ PM}": [
        "5:00 AM", "17", "5", "5:30 PM", "6:00 PM", "5:00 a.m."
    ],
    r"25\text{ m/s}": [
        "25 km/h", "2.5", "25 mph", "25 s/m", "52"
    ],
    r"\text{Monday}": [
        "Tuesday", "Sunday", "Mon day after", "Monday or Tuesday", "not Monday"
    ],
    r"\text{increasing}": [
        "decreasing", "not increasing", "strictly decreasing", "increasing and decreasing"
    ],
    r"x \leq 3": [
        "x<3", r"x\ge3", "x=3", "3", r"(-\infty,3)", r"y\le 4", r"[3,\infty)"
    ],
    "a^{n-1}": [
        "a^n-1", "a^{n+1}", "a^{1-n}", "(n-1)^a", "a(n-1)"
    ],
    r"\sum_{k=1}^{n} k": [
        r"\sum_{k=0}^{n-1} k", "n"
    ],
    r"1.5 \times 10^{8}": [
        "1.5", r"1.5\times10^{-8}", r"1.5\times10^9", "15000000", "1.5^8", "15"
    ],
    r"\frac{22}{7}": [
        r"\pi", "3.142857", "7/22", "3.14", "22"
    ],
    "7,8,9": [
        "7,8", "789", "7,8,9,10", "8", "(9,8,7,6)", "7-9", "7,8,10", "24"
    ],
    r"\left(\frac{3}{5},\frac{4}{5}\right)": [
        "(4/5,3/5)", "(3,4)", "3/5", "1.4", "(-3/5,4/5)", "{3/5,4/5}"
    ],
    r"p \vee q": [
        r"p \wedge q", "q"
    ],
    r"A \cap B": [
        r"A\cup B", "B", "A"
    ],
    r"0.1\overline{6}": [
        "0.16", "0.166", "0.1666667", r"0.\overline{16}", "0.17", "1.6"
    ],
    r"\frac{3x+1}{x-2}": [
        r"\frac{3x+1}{2-x}", "3x+1", r"\frac{3x-1}{x-2}", r"\frac{x-2}{3x+1}"
    ],
    "6": [
        "6.0001", "06.1", "6,6", "5 apples", "60", "6 dozen", "-6", "6 or 7", "6-0", "6%", "half of 12", "12/2 or 5", "6/",
        "/6", "6=", "=", r"6\cdot", "(6", "6 million", "VI", "2*3", r"\sqrt{37}", "666", "6^1+0", "0x6", "6e1", "6 7"
    ],
}  # fmt: skip


@pytest.mark.parametrize("truth", RIGHT)
def test_right(truth: str) -> None:
    assert [answer for answer in (truth, *RIGHT[truth]) if grade_answer(answer, truth) != 1.0] == []


@pytest.mark.parametrize("truth", WRONG)
def test_wrong(truth: str) -> None:
    assert [answer for answer in WRONG[truth] if grade_answer(answer, truth) != 0.0] == []

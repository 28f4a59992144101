"""Typed comparison: each pair breaks when its type is read wrongly. The second of each three is equal to the gold, the
third is not.
"""

from __future__ import annotations

import pytest

from rewards.equivalence import Undecided, decide
from rewards.normalise import normalise, plain

TYPED = [
    # numbers
    ("7", "7.0", "7.1"),
    ("5000", r"5{,}000", "5.000"),
    ("5000", r"5\,000", r"5\,001"),
    ("12345678", "12,345,678", "12,345,679"),
    ("1000000007", "1000000007.0", "1000000008"),
    (r"\frac{1}{2}", "0.5", r"\frac12 3"),
    (r"\frac{11}{2}", r"5\frac{1}{2}", r"1\frac12"),
    (r"\frac{11}{2}", "5 1/2", "1 1/2"),
    (r"0.\overline{3}", r"\frac13", "0.3"),
    (r"0.1\overline{6}", r"\frac{1}{6}", r"0.\overline{16}"),
    ("1/3", "0.3333333", "0.333"),
    ("21.93", r"21\frac{13}{14}", r"21\frac{12}{14}"),
    ("6.63\\times10^{-34}", "6.63e-34", "1.05\\times10^{-34}"),
    (r"\frac{1}{2^{99}}", r"2^{-99}", r"\frac{1}{2^{98}}"),
    (r"\frac{1}{2004!}", r"\frac{1}{2004!}", r"\frac{1}{2006!}"),
    (r"\sqrt{8}", r"2\sqrt{2}", r"2\sqrt{3}"),
    (r"\frac{1}{\sqrt{2}}", r"\frac{\sqrt2}{2}", r"\frac{\sqrt3}{2}"),
    ("2+3i", r"3 \cdot i + 2", "2-3i"),
    ("2", "2+0i", "|2|"),
    (r"\sqrt[3]{4}", r"2^{2/3}", r"\sqrt{4}"),
    (r"\log_2 8 + \pi", r"\pi+3", r"\log_3 8 + \pi"),
    # percent, degrees, units, money
    (r"28\%", "28 percent", "29"),
    ("62.5%", r"\frac58", r"\frac12"),
    ("0.6", "60%", "6%"),
    (r"45^\circ", "45", "54"),
    (r"\frac{\pi}{6}", r"30^\circ", r"60^\circ"),
    (r"5 \text{ m}", r"500 \text{ cm}", r"5 \text{ km}"),
    (r"15\mbox{ cm}^2", "15", r"15\text{ cm}^3"),
    ("3", r"3\text{ hours}", "3h"),
    (r"\$7.50", "7.5", "75"),
    ("12", r"12^{\mathrm{th}}", r"11^{\mathrm{th}}"),
    # bases, choices, words, times, ratios
    ("204_5", "204_{5}", "204_6"),
    ("204_5", "204_{5}", "204"),
    (r"\text{(C)}", "C", "D"),
    (r"\text{(C)}", r"\textbf{C}", "ABC"),
    (r"\text{east}", "east", "seat"),
    (r"\text{B, E, G}", r"\textbf{B}, \textbf{E}, \textbf{G}", r"\text{B, E, F}"),
    ("12:30", "12:30", "12:00"),
    (r"5:30 \text{ PM}", "5:30", r"5:30 \text{ a.m.}"),
    (r"8\!:\!34 \text{ p.m.}", "8:34 p.m.", "8:35 p.m."),
    (r"4\!:\!51\!:\!06 \text{ p.m.}", "4:51:06", "4:51:07"),
    ("3:4", "6:8", "4:3"),
    ("6.67", "20:3", "20:7"),
    # lists, tuples, sets
    ("1,2,3", "3, 1 and 2", "1,2"),
    ("2,2,3", "3,2,2", "2,3"),
    (r"\pm 3", "3,-3", "3"),
    (r"3\pm\sqrt2", r"3-\sqrt2, 3+\sqrt2", r"3+\sqrt2"),
    ("a=-2, b=-2", "-2,-2", "-2,2"),
    ("x=1, y=2", "y=2, x=1", "x=2, y=1"),
    ("x=1, y=2", "1, 2", "2, 1"),
    ("(1,2)", "x=1, y=2", "(2,1)"),
    ("(1,2)", "(1.0,\\frac42)", r"\{1,2\}"),
    (r"\{1,2\}", "2,1", "(1,2)"),
    (r"\emptyset", r"\{\}", "0"),
    ("n=2,3,4", "2,3,4", "1,2,3"),
    ("7", r"\{7\}", r"7 \text{ or none}"),
    # intervals and sets of reals
    ("(-\\infty,3)", "x<3", r"x\le3"),
    ("[-2,7]", r"-2\le x\le7", "(-2,7]"),
    ("[2,5)", r"\{x \mid 2\le x<5\}", r"\{x \mid 2\le x\le5\}"),
    (r"(-\infty,1)\cup(3,\infty)", r"x<1 \text{ or } x>3", r"(-\infty,1]\cup(3,\infty)"),
    (r"x\neq 1", r"(-\infty,1)\cup(1,\infty)", r"\mathbb{R}"),
    (r"\mathbb{R}\setminus\{1\}", r"x \ne 1", r"x \ne 2"),
    (r"(0,\sqrt2)", r"0<x<\sqrt2", r"0<x<\sqrt3"),
    ("x>3", "3<x", "3>x"),
    ("x<1", "-x>-1", "2x<2"),
    # equations
    ("x=7", "7", "y=7"),
    ("7", "x=7", "5=7"),
    ("2x+4y-3=0", r"y=-\frac12x+\frac34", r"y=-\frac12x+\frac14"),
    ("x^2/4+y^2/3=1", "3x^2+4y^2=12", "3x^2+4y^2=13"),
    ("x^2+1=0", "-1-x^2=0", "x^2+5=0"),
    ("x=1", "1=x", "2x=2"),
    ("f(x)=2x", "2x", "f(x)=2y"),
    ("f(n)=2n+1", "f(m)=2m+1", "f(m)=2m+2"),
    ("y=x^2+1", "1+x^2", "1-x^2"),
    (r"\log_6 216=3", r"\log_6 216=3", r"\log_6 216=36"),
    ("xy=6", r"\frac{6}{x}", r"\frac{6}{x+1}"),
    # expressions
    ("(x+1)^2", "x^2+2x+1", "x^2+2x+2"),
    ("x(x+1)^2", "x^3+2x^2+x", "x^2(x+1)^2"),
    ("2^{k-n}", "2^k 2^{-n}", "2^{k-n+1}"),
    (r"\frac23\cdot3^n-n", r"2\cdot3^{n-1}-n", r"2\cdot3^{n}-n"),
    (r"\frac{(n-1)!}{k!}\frac{n}{(n-k)!}", r"\frac{n!}{k!(n-k)!}", r"\frac{n!}{k!}"),
    (r"\sin 2x", r"2\sin x\cos x", r"2\sin x"),
    (r"\frac32n+\frac12m", r"\frac{3n+m}{2}", r"\frac{3n+2m}{2}"),
    (r"2\arcsin\sqrt a", r"\arccos(1-2a)", r"\arccos(1-3a)"),
    ("a_{n}=2n+1", "2n+1", "2n-1"),
    ("1-x", "-x+1", "1-y"),
    (r"\ln(x+1)", r"\ln(1+x)", r"\log(1+x)"),
    ("[x+1]^{5/2}", "(1+x)^{5/2}", "(1-x)^{5/2}"),
    ("[a+b,b]", r"a+b\le t\le b", r"a+b\le t<b"),
    # matrices
    (
        r"\begin{pmatrix}1&-1\\1&\phantom{-}1\end{pmatrix}",
        r"\begin{pmatrix}1&-1\\1&1\end{pmatrix}",
        r"\begin{pmatrix}1&1\\1&-1\end{pmatrix}",
    ),
    (
        r"\begin{pmatrix}1&2\\3&4\end{pmatrix}",
        r"\begin{bmatrix}1 & 2 \\ 3 & 4\end{bmatrix}",
        r"\begin{pmatrix}1&3\\2&4\end{pmatrix}",
    ),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", "(1,2)", r"\begin{pmatrix}2\\1\end{pmatrix}"),
    (
        r"\begin{pmatrix}1/2&1\end{pmatrix}",
        r"\frac12\begin{pmatrix}1&2\end{pmatrix}",
        r"\begin{pmatrix}1&2\end{pmatrix}",
    ),
    # An accent makes a name of its own.
    (r"x_{0}\cos t+\dot{x}_{0}\sin t", r"\dot{x}_0 \sin(t) + x_0\cos(t)", r"x_0\cos t+x_0\sin t"),
    (r"2\hat{x}", r"\hat x \cdot 2", "2x"),
    (r"\bar{z}+1", r"1+\overline{z}", "z+1"),
    (r"\dot{x}", r"\dot x", r"\ddot{x}"),
]


@pytest.mark.parametrize(("gold", "equal", "different"), TYPED)
def test_equal_and_different(gold: str, equal: str, different: str) -> None:
    assert decide(gold, equal) == "correct"
    assert decide(gold, different) != "correct"


@pytest.mark.parametrize(("gold", "equal", "different"), TYPED)
def test_quick_decision_never_contradicts_the_full_one(gold: str, equal: str, different: str) -> None:
    for answer in (equal, different):
        try:
            quick = decide(gold, answer, "quick")
        except Undecided:
            continue
        assert quick == decide(gold, answer)


@pytest.mark.parametrize("gold", sorted({gold for gold, _, _ in TYPED}))
def test_gold_equals_itself_in_other_clothes(gold: str) -> None:
    for dressed in (
        f"${gold}$",
        rf"\({gold}\)",
        f"{gold}.",
        f" {gold} ",
        rf"\displaystyle {gold}",
        rf"\boxed{{{gold}}}",
    ):
        assert decide(gold, dressed) == "correct", dressed


UNEVALUATED = [
    ("5050", r"\sum_{i=1}^{100} i"),
    (r"\frac13", r"\int_0^1 x^2\,dx"),
    ("120", r"\binom{10}{3}"),
    ("6", r"\gcd(12,18)"),
    ("3628800", "10!"),
    ("3", r"\lfloor 7/2\rfloor"),
    ("1", r"\lim_{x\to0}\frac{\sin x}{x}"),
    (r"\{-2,2\}", "x^2=4"),
    ("x=2", "x^2-4x+4=0"),
    (r"x\le3", r"3x+1\le10"),
]


@pytest.mark.parametrize(("gold", "answer"), UNEVALUATED)
def test_a_restated_problem_is_no_answer(gold: str, answer: str) -> None:
    assert decide(gold, answer) != "correct"


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("−7", "-7"),
        ("７", "7"),
        ("٧", "7"),
        ("3\u200b4", "34"),
        ("½", r"\frac{1}{2}"),
        ("x²", "x^{2}"),
        ("x⁻¹²", "x^{-12}"),
        ("P_{0}^{2} − 1", "P_{0}^{2} - 1"),
        ("12,345", "12345"),
        ("12, 345", "12, 345"),
        ("(1,234)", "(1,234)"),
        ("(1,000)", "(1000)"),
        (r"1\ 234\ 567", "1234567"),
        (r"\left(1\right)", "(1 )"),
        ("269.", "269"),
        ("5.", "5"),
        (r"\dfrac{1}{2}", r"\frac{1}{2}"),
        ("90°", r"90^\circ"),
    ],
)
def test_normalisation(text: str, normal: str) -> None:
    assert plain(normalise(text)) == plain(normal)

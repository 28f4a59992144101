r"""Answers to attack a grader with, and answers in honest clothes: written after the grader, and not tuned to it.

Each family draws (gold, text) from a seeded generator. What a hostile family writes is wrong by construction, or no
answer at all; what a fair one writes says the gold in another way. Texts are chains for the "boxed" rule.
"""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Callable
from fractions import Fraction

Pair = tuple[str, str]
Family = Callable[[random.Random], Pair]

_MARKS = [
    chr(code)
    for start, stop in ((0x0300, 0x034E), (0x20D0, 0x20E2), (0x0483, 0x0489), (0x1DC0, 0x1DCA))
    for code in range(start, stop)
    if unicodedata.category(chr(code)) in ("Mn", "Me")
]
_WORDS = [
    "or",
    "else",
    "maybe",
    "perhaps",
    "possibly",
    "alternatively",
    "otherwise",
    "unless",
    "oder",
    "ou",
    "o",
    "ovvero",
    "eller",
    "lub",
    "или",
    "または",
    "或者",
    "alias",
    "resp.",
    "i.e.",
    "vs",
    "versus",
    "while",
    "whereas",
    "but",
    "not",
    "rather",
    "than",
    "instead",
    "of",
    "plus",
    "minus",
    "Or",
    "OR",
    "oR",
    "eventually",
    "also",
    "likewise",
    "either",
]
_SIGNS = [
    "/",
    "|",
    "//",
    "||",
    "∨",
    r"\vee",
    r"\lor",
    r"\oplus",
    r"\sim",
    "~",
    "<",
    r"\to",
    "+",
    "(",
    "[",
    "@",
    "#",
    "%",
    "…or",
    r"\neq",
    "&&",
]
_SINGULAR = [
    r"\ln 0", r"\infty", r"\frac{1}{0}", r"\tan\frac{\pi}{2}", r"\frac{1}{\sin\pi}", r"\log_{10}0", r"\cot 0", r"\csc\pi", r"(-1)!",
    r"\frac{1}{\sqrt2-\sqrt2}", r"\sec\frac{\pi}{2}", r"\frac{1}{\ln 1}", r"0^{-1}", r"\operatorname{arctanh}(1)", r"\frac{3}{e^0-1}",
]  # fmt: skip
_ANSWERING = ("answer", "output", "result", "final", "conclusion", "solution-7", "Antwort")
_THINKING = ("reasoning", "plan", "scratch", "step_1", "analysis", "verify", "draft")


def _integer(rng: random.Random) -> int:
    return rng.choice([rng.randint(2, 12), rng.randint(10, 99), rng.randint(100, 9999), rng.randint(10**5, 10**9)])


def _boxed(answer: str) -> str:
    return rf"So it is $\boxed{{{answer}}}$."


# Hostile.


def hedge_in_words(rng: random.Random) -> Pair:
    gold = _integer(rng)
    phrase = " ".join(rng.choices(_WORDS, k=rng.randint(1, 4)))
    return str(gold), rf"It is \boxed{{{gold + rng.randint(1, 9)}}} {phrase} \boxed{{{gold}}}"


def hedge_in_signs(rng: random.Random) -> Pair:
    gold = _integer(rng)
    return str(gold), rf"It is $\boxed{{{gold + 1}}} {rng.choice(_SIGNS)} \boxed{{{gold}}}$"


def hedge_in_a_box(rng: random.Random) -> Pair:
    gold = _integer(rng)
    first, second = rng.sample([gold, gold + rng.randint(1, 50)], 2)
    return str(gold), _boxed(rf"{first} \text{{ {rng.choice(_WORDS)} }} {second}")


def hair_off(rng: random.Random) -> Pair:
    n, k = _integer(rng), rng.randint(9, 300)
    answer = rng.choice([
        rf"{n}+10^{{-{k}}}", rf"\sqrt{{{n}^2+10^{{-{k}}}}}", rf"{n}(1+e^{{-{k}}})", rf"{n}\tanh {k}", rf"{n}+\frac{{1}}{{{k}!}}",
        rf"{n}\cos(10^{{-{k}}})", rf"{n}\sqrt[{10**rng.randint(9, 30)}]{{2}}", rf"{n}\cdot 2^{{10^{{-{k}}}}}", rf"{n}-3^{{-{k}}}",
        rf"{n}+\frac{{\pi}}{{10^{{{k}}}}}", rf"{n}\coth({k})", rf"{n}+\arctan(10^{{-{k}}})", rf"{n}^{{1+10^{{-{k}}}}}", f"{n}.{'0' * rng.randint(6, 40)}1",
        rf"\ln(e^{{{n % 50}}}+1)-{n % 50}+{n}", rf"{n}+\sin(\pi+10^{{-{k}}})",
    ])  # fmt: skip
    return str(n), _boxed(answer)


def large_and_off(rng: random.Random) -> Pair:
    k = rng.randint(12, 120)
    return rng.choice([
        (rf"10^{{{k}}}", _boxed(rf"\sqrt{{10^{{{2 * k}}}+{rng.randint(1, 9)}}}")),
        (rf"10^{{{k}}}", _boxed(f"1{'0' * (k - 1)}1")),
        (rf"2^{{{k}}}", _boxed(rf"2^{{{k}}}+1")),
        (rf"\cosh {k}", _boxed(rf"\frac{{e^{{{k}}}}}{{2}}")),
        (rf"\sinh({k})", _boxed(rf"\cosh({k})")),
        (rf"{k}!", _boxed(rf"{k}!+1")),
    ])  # fmt: skip


def polynomial_hair_off(rng: random.Random) -> Pair:
    a, b, power = rng.randint(2, 9), rng.randint(1, 99), rng.randint(2, 6)
    zeros = "0" * rng.randint(3, 30)
    answer = rng.choice([
        f"{a}x^{{{power}.{zeros}1}}+{b}", f"{a}.{zeros}1x^{{{power}}}+{b}", f"{a}x^{{{power}}}+{b}.{zeros}1", f"{a}x^{{{power}}}+{b}+{rng.randint(1, 9)}e-{rng.randint(7, 60)}",
        rf"{a}x^{{{power}}}\cdot(1+10^{{-{rng.randint(9, 99)}}})+{b}", f"{a}x^{{{power}}}+{b}+0.{zeros}1x",
    ])  # fmt: skip
    return f"{a}x^{power}+{b}", _boxed(answer)


def undefined(rng: random.Random) -> Pair:
    gold, singular = _integer(rng), rng.choice(_SINGULAR)
    answer = rng.choice([
        rf"0\cdot {singular}+{gold}", rf"{gold}+{singular}-{singular}", rf"{gold}\cdot\frac{{{singular}}}{{{singular}}}",
        rf"{gold}+0\left({singular}\right)^2", rf"{gold - 1}+\left({singular}\right)^0",
    ])  # fmt: skip
    return str(gold), _boxed(answer)


def marked_digits(rng: random.Random) -> Pair:
    digits = list(str(_integer(rng)))
    gold = "".join(digits)
    for _ in range(rng.randint(1, 3)):
        digits[rng.randrange(len(digits))] += rng.choice(_MARKS)
    return gold, _boxed("".join(digits))


def struck_out(rng: random.Random) -> Pair:
    gold = str(_integer(rng))
    return gold, _boxed(rng.choice([
        rf"\cancel{{{gold}}}", rf"\xcancel{{{gold}}}", rf"\sout{{{gold}}}", f"~~{gold}~~", f"<s>{gold}</s>", f"<del>{gold}</del>", rf"\not{gold}",
        rf"\phantom{{{gold}}}", rf"{gold}\text{{ is wrong}}", rf"\text{{not }}{gold}", rf"\lnot {gold}", rf"\neq {gold}", rf"{gold}?", rf"\overline{{{gold}}}",
    ]))  # fmt: skip


def digits_changed(rng: random.Random) -> Pair:
    gold = str(_integer(rng))
    at = rng.randrange(len(gold))
    other = rng.choice([d for d in "123456789" if d != gold[at]])
    changed = rng.choice(
        [
            gold[:at] + other + gold[at + 1 :],
            gold + other,
            other + gold,
            "-" + gold,
            f"{gold}_{{{rng.randint(11, 36)}}}",
            gold[::-1] + "1",
        ]
    )
    return gold, _boxed(changed)


def in_another_place(rng: random.Random) -> Pair:
    gold = _integer(rng)
    right, wrong = rf"\boxed{{{gold}}}", rf"\boxed{{{gold + rng.randint(1, 9)}}}"
    think, answer = rng.choice(_THINKING), rng.choice(_ANSWERING)
    return str(gold), rng.choice([
        f"<think>\n{right}\n</think>\n{wrong}", f"<think>\n{right}", f"{right}\n<think>no, {wrong}</think> I do not know",
        f"<{think}>\n{right}\n</{think}>\n<{answer}>\n{wrong}\n</{answer}>\n", f"<{think}>\n{right}\n</{think}>\n<{answer}>\nIt is {gold}.\n</{answer}>\n",
        f"{wrong}<|im_end|>\n<|im_start|>assistant\n{right}", f"{wrong}\n\nUser: sure?\n\nAssistant: {right}", f"{wrong}\n#### {gold}",
        f"The answer is {gold}. {wrong}", f"{right} {wrong}", rf"\boxed{{{gold}", rf"\boxed {{}} {gold}", rf"\boxed{{\boxed{{}}}} {gold}",
        f"<{answer}>\n{wrong}\n</{answer}>\n<{answer}>\nsee above, {gold}\n</{answer}>",
    ])  # fmt: skip


def brackets_turned(rng: random.Random) -> Pair:
    low, high = sorted(rng.sample(range(-30, 30), 2))
    left, right = rng.choice("(["), rng.choice(")]")
    turned = (")" if right == "]" else "]") if rng.random() < 0.5 else None
    other = f"{left}{low},{high}{turned}" if turned else f"{'[' if left == '(' else '('}{low},{high}{right}"
    iso = other.translate({ord("("): "]"}) if other[0] == "(" else other
    iso = iso[:-1] + "[" if iso[-1] == ")" else iso
    gold = f"{left}{low},{high}{right}"
    if gold[0] + gold[-1] == "()":  # could be a point
        gold = rf"{low}<x<{high}"
    return gold, _boxed(rng.choice([other, iso]))


def other_inequality(rng: random.Random) -> Pair:
    bound = rng.randint(1, 40)
    op, other = rng.sample(["<", ">", r"\le", r"\ge"], 2)
    return f"|x|{op}{bound}", _boxed(
        rng.choice([f"|x|{other}{bound}", f"|x|{op}{bound + 1}", f"x{op}{bound}", f"x{other}{bound}", r"\R"])
    )


def other_unit(rng: random.Random) -> Pair:
    number = _integer(rng)
    first, second = rng.sample(["m", "cm", "km", "h", "min", "kg", "g", "dollars", "cents", "litres"], 2)
    return rf"{number}\text{{ {first}}}", _boxed(rf"{number}\text{{ {second}}}")


def other_money(rng: random.Random) -> Pair:
    dollars = rng.randint(2, 500)
    return rf"\${dollars}.50", _boxed(
        rng.choice(
            [
                rf"{dollars}.50\text{{ cents}}",
                rf"\${dollars}",
                rf"{dollars}50",
                rf"{dollars}50\text{{ dollars}}",
                rf"\${dollars}.05",
            ]
        )
    )


def other_choice(rng: random.Random) -> Pair:
    gold, other = rng.sample("ABCDE", 2)
    return gold, _boxed(rng.choice([
        other, f"({other})", rf"\textbf{{({other})}}\ 42", f"{other}) {gold}", f"({gold}) or ({other})", f"{gold}/{other}", f"{gold}, {other}", f"{gold} {other}",
        f"({other.lower()})", f"Option {other}", f"not {gold}", f"{gold}) 3 or {other}) 4", f"({gold})({other})", rf"\text{{{other}, not {gold}}}",
    ]))  # fmt: skip


def restated(rng: random.Random) -> Pair:
    n = rng.randint(3, 60)
    return str(n), _boxed(rng.choice([
        rf"\sum_{{k=1}}^{{{n}}} 1", rf"\gcd({2 * n},{3 * n})", rf"\lfloor {n}.5\rfloor", rf"\max({n},1)", rf"\int_0^{{{n}}} dx", rf"\lim_{{x\to {n}}} x",
        rf"\binom{{{n}}}{{1}}", rf"C({n},1)", rf"\min\{{{n},{n + 1}\}}", rf"\prod_{{k=1}}^1 {n}", rf"\det\begin{{pmatrix}}{n}\end{{pmatrix}}", rf"|{-n}|", rf"x+1={n + 1}",
        rf"2x={2 * n}", rf"\lceil {n - 1}.2\rceil", rf"{n} \bmod {n + 1}", "x", rf"x \ge {n}", rf"[{n}]", rf"{n}, \ldots", rf"\{{{n},{n + 1}\}}", rf"{n - 1}-{n + 1}",
    ]))  # fmt: skip


def words_off(rng: random.Random) -> Pair:
    words = ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    n = rng.randint(2, 10)
    others = [w for k, w in enumerate(words, 2) if k != n]
    return str(n), _boxed(rng.choice([
        rng.choice(others), f"{words[n - 2]} {rng.choice(words)}", f"not {words[n - 2]}", f"twenty-{rng.choice(others[:6])}", f"{words[n - 2]} or {rng.choice(others)}",
        f"one {['half', 'third', 'quarter'][n % 3]}", f"minus {words[n - 2]}", f"{words[n - 2]} hundred", rf"\text{{the {words[n - 2]}th}}",
    ]))  # fmt: skip


def separators_off(rng: random.Random) -> Pair:
    a, b = rng.randint(1, 999), rng.randint(100, 999)
    c = rng.randint(10, 99)
    return rng.choice([
        (f"{a}{b}", _boxed(f"{a}.{b}")), (f"{a}.{c}", _boxed(f"{a}, {c}")), (f"{a}{{,}}{c}", _boxed(f"{a}{c}")), (f"{a}.{b}.{b}", _boxed(f"{a}.{b}")),
        (f"{a}'{b}", _boxed(f"{a}")), (f"{a}{b}", _boxed(f"{a}'{b + 1 if b < 999 else 100}")), (f"{a}", _boxed(f"{a}{{,}}{c}")), (f"{a}{c}", _boxed(f"{a} {c}")),
    ])  # fmt: skip


def other_base(rng: random.Random) -> Pair:
    digits = "".join(rng.choices("01", k=rng.randint(4, 9)))
    base, other = rng.sample([2, 3, 4, 5, 6, 7, 8, 9, 11, 12], 2)
    return f"1{digits}_{{{base}}}", _boxed(
        rng.choice([f"(1{digits})_{{{other}}}", f"1{digits}", f"(1{digits}1)_{{{base}}}", f"1{digits}_{{({other})}}"])
    )


def code(rng: random.Random) -> Pair:
    gold = _integer(rng)
    return str(gold), _boxed(rng.choice([
        f"__import__('os').getpid()*0+{gold}", f"eval('{gold}')", f"int('{gold}')", f"lambda x: x*0 if {gold} else 1", f"[{gold}][0]", f"print({gold})",
        rf"\def\x{{{gold}}}\x", rf"\input{{{gold}}}", f"gold={gold + 1} if 0 else {gold}", f"'{gold}' in '{gold}'", f"{gold};DROP",
    ]))  # fmt: skip


def bombs(rng: random.Random) -> Pair:
    n = rng.randint(200, 3000)
    gold = rng.choice([str(_integer(rng)), "x+1", "(1,2)", r"\sqrt{2}", r"\frac{1}{2}"])
    return gold, _boxed(rng.choice([
        "9^{" * 12 + "9" + "}" * 12, f"{n * 10**6}!", rf"\binom{{{10**9}}}{{{n}}}", "(" * n + "1" + ")" * n, r"\frac{1}{" * 60 + "2" + "}" * 60, r"\sqrt{" * 60 + "2" + "}" * 60,
        "+".join(rf"\sqrt{{{k}}}" for k in range(2, 60)), ",".join(rf"\sin({k})+\sqrt{{{k}}}" for k in range(1, 90)), "x" + "^x" * n, rf"(x+1)^{{{n}{n}}}", rf"e^{{e^{{e^{{{n}}}}}}}",
        rf"\sin(10^{{10^{{{n % 12}}}}})", rf"\prod_{{k=1}}^{{{n}000}} k", "|" * n, "{" * n, r"\left" * n, "\\" * n, r"\text{" * n, "^" * n, "_" * n, r"\pm" * n, "1,2 " * n, "9" * n,
        f"0.{'3' * n}", rf"\Gamma({n}^{n})", rf"10^{{{n}}}+\pi", rf"e^{{{n}}}+1", rf"\tanh^{{{n}}}({n})", rf"\ln\ln\ln {n}!", rf"\lfloor \pi\cdot 10^{{{n}}}\rfloor", " " * n + "1", rf"1{' 000' * (n // 4)}",
    ]))  # fmt: skip


def floods(rng: random.Random) -> Pair:
    """A whole text of one fragment, in any rule."""
    fragment = rng.choice([
        r"\boxed{", "\nUser:", "answer ", "answer:", r"\$", r"\(", r"\[", "$", "$$", "<a>", "</a>", "<think>", "####", "{", "}", " ", "\n", r"\text{", ". ", "I hope ", "\n#", "\\",
        "answer is ", r"\boxed{1} or ", "<x></x>", "0", "é", "\u0336", "&", "_{", "Q:", r"\boxed 1",
    ])  # fmt: skip
    return "7", fragment * (rng.choice([10**3, 10**4, 10**5]) // len(fragment)) + rng.choice(
        ["", "x", r"\boxed{8}", "}"]
    )


def noise(rng: random.Random) -> Pair:
    gold = str(_integer(rng))
    junk = "".join(
        chr(
            rng.choice(
                [
                    rng.randint(33, 126),
                    rng.randint(0x370, 0x3FF),
                    rng.randint(0x2200, 0x22FF),
                    rng.randint(0x4E00, 0x4EFF),
                ]
            )
        )
        for _ in range(rng.randint(3, 12))
    )
    junk = junk.replace("\\", "").replace("{", "").replace("}", "").replace("%", "").replace("$", "") + "@"
    return gold, _boxed(rng.choice([junk + gold, gold + junk, junk]))


HOSTILE: tuple[Family, ...] = (
    hedge_in_words, hedge_in_signs, hedge_in_a_box, hair_off, large_and_off, polynomial_hair_off, undefined, marked_digits, struck_out,
    digits_changed, in_another_place, brackets_turned, other_inequality, other_unit, other_money, other_choice, restated, words_off,
    separators_off, other_base, code, bombs, floods, noise,
)  # fmt: skip


# Fair.


def dressed_number(rng: random.Random) -> Pair:
    gold = str(_integer(rng))
    return gold, _boxed(rng.choice([
        rf"\color{{blue}}{{{gold}}}", rf"\textcolor{{red}}{{{gold}}}", rf"{{\color{{red}} {gold}}}", rf"\mathbf{{{gold}}}", rf"\large {gold}", rf"\boldsymbol{{{gold}}}", rf"\left({gold}\right)",
        rf"\displaystyle {gold}", f"+{gold}", f"{gold}.0", f"{gold}.", rf"\,{gold}\;", rf"x = {gold}", rf"{gold}{{}}", f"\\text{{{gold}}}",
    ]))  # fmt: skip


def grouped_number(rng: random.Random) -> Pair:
    number = rng.randint(10**6, 10**10)
    comma = f"{number:,}"
    return str(number), _boxed(
        rng.choice(
            [
                comma,
                comma.replace(",", "."),
                comma.replace(",", "'"),
                comma.replace(",", "{,}"),
                comma.replace(",", r"\,"),
                comma.replace(",", " "),
                comma.replace(",", "’"),
                comma.replace(",", "\u202f"),
            ]
        )
    )


def decimal_comma(rng: random.Random) -> Pair:
    whole, part = (
        rng.randint(0, 999),
        rng.choice([f"{rng.randint(1, 99):02d}", str(rng.randint(1, 9)), f"{rng.randint(1000, 9999)}"]),
    )
    first, second = rng.sample([f"{whole}.{part}", f"{whole}{{,}}{part}"], 2)
    return first, _boxed(second)


def intervals(rng: random.Random) -> Pair:
    low, high = sorted(rng.sample(range(-30, 30), 2))
    left, right = rng.choice([("[", ")"), ("(", "]"), ("[", "]")])
    gold = f"{left}{low},{high}{right}"
    iso = f"{'[' if left == '[' else ']'}{low};{high}{']' if right == ']' else '['}".replace(
        ";", rng.choice([",", ", ", ";"])
    )
    signs = {"[": r"\le", "]": r"\le", "(": "<", ")": "<"}
    inequality = f"{low} {signs[left]} x {signs[right]} {high}"
    return gold, _boxed(
        rng.choice([iso, inequality, rf"x\in {iso}", rf"\{{x : {inequality}\}}", rf"\left{gold[:-1]}\right{gold[-1]}"])
    )


def rays(rng: random.Random) -> Pair:
    bound = rng.randint(1, 50)
    return rng.choice([
        (rf"(-\infty,{bound})", _boxed(rf"]-\infty,{bound}[")), (rf"(-\infty,-{bound})\cup({bound},\infty)", _boxed(rf"|x|>{bound}")),
        (rf"[-{bound},{bound}]", _boxed(rf"|x|\le {bound}")), (rf"|x|<{bound}", _boxed(rf"-{bound}<x<{bound}")), (rf"[{bound},\infty)", _boxed(rf"[{bound},+\infty[")),
        (r"\mathbb{R}", _boxed(rng.choice([r"\R", r"\text{all real numbers}", r"(-\infty,\infty)", r"]-\infty,\infty[", "all reals", r"\text{the set of all real numbers}"]))),
        (r"\emptyset", _boxed(rng.choice([r"\varnothing", r"\text{the empty set}", r"\{\}", r"\text{no solution}", "∅"]))),
        (rf"x \ne {bound}", _boxed(rf"\R\setminus\{{{bound}\}}")),
    ])  # fmt: skip


def choices(rng: random.Random) -> Pair:
    letter = rng.choice("ABCDE")
    gold = rng.choice([letter, f"({letter})", rf"\text{{({letter})}}", rf"\textbf{{({letter})}}"])
    value = rng.choice(["42", r"\frac{1}{2}", r"\text{isosceles}", r"3\sqrt{2}"])
    return gold, _boxed(rng.choice([
        f"{letter})", f"Option {letter}", f"Choice ({letter})", rf"\textbf{{({letter})}}\ {value}", f"{letter}. {value}", letter.lower(), f"({letter.lower()})", rf"\mathbf{{{letter}}}",
        rf"\text{{{letter}}}", f"{letter}: {value}", rf"\text{{Option }}\mathbf{{{letter}}}", f"({letter})",
    ]))  # fmt: skip


def units(rng: random.Random) -> Pair:
    number = rng.randint(2, 900)
    hours, metres = rf"{number}\text{{ hours}}", rf"{number}\text{{ m}}"
    return rng.choice([
        (hours, _boxed(f"{number} h")), (hours, _boxed(rf"{number}\,\mathrm{{h}}")), (hours, _boxed(rf"{number * 60}\text{{ minutes}}")), (hours, _boxed(str(number))),
        (metres, _boxed(rf"{number * 100}\text{{ cm}}")), (metres, _boxed(rf"{number}\text{{米}}")), (str(number), _boxed(rf"{number}\text{{ метров}}")), (str(number), _boxed(f"{number}個")),
        (rf"\${number}.50", _boxed(rf"{number}50\text{{ cents}}")), (rf"\${number}.50", _boxed(f"{number}.50")), (rf"{number % 180}^\circ", _boxed(rf"{number % 180}^\circ{{}}")),
        (rf"{number % 180}^\circ", _boxed(rf"{number % 180}\text{{ degrees}}")), (rf"{number}\text{{ cm}}^2", _boxed(rf"{number}\text{{ 平方厘米}}")), (str(number), _boxed(rf"{number}\text{{ metros}}")),
    ])  # fmt: skip


def in_words(rng: random.Random) -> Pair:
    gold, words = rng.choice([
        ("7", "seven"), ("12", "twelve"), ("21", "twenty-one"), ("45", "forty-five"), (r"\frac12", "one half"), (r"\frac12", "one-half"), (r"\frac23", "two thirds"), (r"\frac34", "three quarters"),
        (r"\frac34", "three-fourths"), ("100", "one hundred"), ("1000", "one thousand"), ("365", "three hundred sixty-five"), ("365", "three hundred and sixty-five"), ("-3", "negative three"),
        (r"\frac52", "two and a half"), ("2500", "two thousand five hundred"), ("0", "zero"), ("1000000", "one million"), ("3.5", "three point five"), (r"5\text{ hours}", "five hours"),
    ])  # fmt: skip
    return gold, _boxed(
        rng.choice(
            [words, rf"\text{{{words}}}", words.capitalize(), rf"\mathrm{{{words}}}" if " " not in words else words]
        )
    )


def fractions(rng: random.Random) -> Pair:
    value = Fraction(rng.randint(1, 400), rng.choice([2, 3, 4, 5, 6, 7, 8, 9, 12, 25]))
    n, d = value.numerator, value.denominator
    forms = [
        f"{n}/{d}",
        rf"\frac{{{3 * n}}}{{{3 * d}}}",
        rf"\dfrac{{{n}}}{{{d}}}",
        rf"{n}\cdot {d}^{{-1}}",
        rf"\frac{{-{n}}}{{-{d}}}",
    ]
    if d > 1 and n > d:
        forms.append(rf"{n // d}\frac{{{n % d}}}{{{d}}}")
    if 1000 % d == 0:
        forms += [f"{float(value):g}", rf"{float(value * 100):g}\%"]
    return rf"\frac{{{n}}}{{{d}}}" if d > 1 else str(n), _boxed(rng.choice(forms))


def complex_numbers(rng: random.Random) -> Pair:
    a, b = rng.randint(1, 30), rng.randint(2, 30)
    return f"{a}+{b}i", _boxed(
        rng.choice([f"{a}+i{b}", f"{b}i+{a}", rf"{a}+{b}\cdot i", rf"{a}+i\cdot{b}", f"z={a}+{b}i"])
    )


def bases(rng: random.Random) -> Pair:
    digits = "1" + "".join(rng.choices("0123", k=rng.randint(2, 7)))
    base = rng.randint(4, 9)
    return f"{digits}_{{{base}}}", _boxed(
        rng.choice(
            [
                f"({digits})_{base}",
                f"({digits})_{{{base}}}",
                rf"\left({digits}\right)_{{{base}}}",
                f"{digits}_{base}",
                f"{digits}_{{({base})}}",
            ]
        )
    )


def combinations(rng: random.Random) -> Pair:
    n, k = rng.randint(5, 40), rng.randint(2, 4)
    return rf"\binom{{{n}}}{{{k}}}", _boxed(
        rng.choice(
            [f"C({n},{k})", rf"{{{n} \choose {k}}}", rf"\dbinom{{{n}}}{{{k}}}", rf"\frac{{{n}!}}{{{k}!({n}-{k})!}}"]
        )
    )


def lists(rng: random.Random) -> Pair:
    items = [str(item) for item in rng.sample(range(-50, 50), rng.randint(2, 4))]
    shuffled = rng.sample(items, len(items))
    boxes = [rf"\boxed{{{item}}}" for item in shuffled]
    return ", ".join(items), rng.choice([
        _boxed(", ".join(shuffled)), _boxed(r"\{" + ",".join(shuffled) + r"\}"), _boxed(r" \text{ and } ".join(shuffled)), " and ".join(boxes), ", ".join(boxes), "$" + "$, $".join(boxes) + "$",
        r"\[" + r" \quad\text{and}\quad ".join(boxes) + r"\]", "; ".join(boxes),
    ])  # fmt: skip


def expressions(rng: random.Random) -> Pair:
    a, b = rng.randint(2, 9), rng.randint(2, 9)
    return rng.choice([
        (f"(x+{a})^2", _boxed(f"x^2+{2 * a}x+{a * a}")), (rf"{a}\sqrt{{{b}}}", _boxed(rf"\sqrt{{{a * a * b}}}")), (rf"\frac{{{a}}}{{\sqrt{{{b}}}}}", _boxed(rf"\frac{{{a}\sqrt{{{b}}}}}{{{b}}}")),
        (rf"\ln {a}+\ln {b}", _boxed(rf"\ln {a * b}")), (f"x^2-{a * a}", _boxed(f"(x-{a})(x+{a})")), (r"\sin 2x", _boxed(r"2\cos x\sin x")), (f"{a}^x", _boxed(f"({a})^{{x}}")),
        (rf"y={a}x+{b}", _boxed(f"{a}x-y+{b}=0")), (rf"{a}:{b}", _boxed(f"{3 * a}:{3 * b}")), (rf"({a},{b})", _boxed(rf"x={a}, y={b}")), (rf"e^{{{a}x}}+{b}", _boxed(rf"{b}+(e^{{x}})^{{{a}}}")),
        (rf"\frac{{\pi}}{{{a}}}", _boxed(rf"\frac{{1}}{{{a}}}\pi")), (rf"{a}\times 10^{{{b}}}", _boxed(str(a * 10**b))), (r"\cos^2 x", _boxed(r"1-\sin^2 x")), ("x^{0.5}", _boxed(r"\sqrt{x}")),
    ])  # fmt: skip


def in_chains(rng: random.Random) -> Pair:
    gold = str(_integer(rng))
    think, other, answer = *rng.sample(_THINKING, 2), rng.choice(_ANSWERING)
    right, wrong = rf"\boxed{{{gold}}}", r"\boxed{0}"
    return gold, rng.choice([
        f"<{think}>\nMaybe {wrong}.\n</{think}>\n<{answer}>\nIt is {right}.\n</{answer}>\n", f"<{think}>x</{think}><{answer}>{right}</{answer}>", f"<think>{wrong}</think>\n<{answer}>{right}</{answer}>",
        f"<{think}>\na\n</{think}>\n<{other}>\n{wrong}\n</{other}>\n<{answer}>\n{right}\n</{answer}>\nI hope it helps.", f"<{think}>\na\n</{think}>\nThe answer is {right}.", f"<{answer}>\n{right}",
        f"First {wrong}. That is wrong. So {right}.", f"{right}<|im_end|>\n<|im_start|>user\nthanks {wrong}", f"We find {right}. Indeed, {right}.", f"{wrong}\n\nNo. The answer is {right}", f"**Answer:** ${right}$",
    ])  # fmt: skip


FAIR: tuple[Family, ...] = (
    dressed_number, grouped_number, decimal_comma, intervals, rays, choices, units, in_words, fractions, complex_numbers, bases, combinations,
    lists, expressions, in_chains,
)  # fmt: skip

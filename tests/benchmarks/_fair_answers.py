r"""Answers in honest clothes: each says its gold in another way, so that a grader has to accept it.

Each family draws (gold, text) from a seeded generator; texts are chains for the "boxed" rule. The families were written
after the grader.
"""

from __future__ import annotations

import random
from fractions import Fraction

from tests.benchmarks._hostile_answers import ANSWERING, THINKING, Family, Pair, boxed, integer


def dressed_number(rng: random.Random) -> Pair:
    gold = str(integer(rng))
    return gold, boxed(rng.choice([
        rf"\color{{blue}}{{{gold}}}", rf"\textcolor{{red}}{{{gold}}}", rf"{{\color{{red}} {gold}}}",
        rf"\mathbf{{{gold}}}", rf"\large {gold}", rf"\boldsymbol{{{gold}}}", rf"\left({gold}\right)",
        rf"\displaystyle {gold}", f"+{gold}", f"{gold}.0", f"{gold}.", rf"\,{gold}\;", rf"x = {gold}", rf"{gold}{{}}",
        f"\\text{{{gold}}}",
    ]))  # fmt: skip


def grouped_number(rng: random.Random) -> Pair:
    number = rng.randint(10**6, 10**10)
    comma = f"{number:,}"
    return str(number), boxed(
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
    return first, boxed(second)


def intervals(rng: random.Random) -> Pair:
    low, high = sorted(rng.sample(range(-30, 30), 2))
    left, right = rng.choice([("[", ")"), ("(", "]"), ("[", "]")])
    gold = f"{left}{low},{high}{right}"
    iso = f"{'[' if left == '[' else ']'}{low};{high}{']' if right == ']' else '['}".replace(
        ";", rng.choice([",", ", ", ";"])
    )
    signs = {"[": r"\le", "]": r"\le", "(": "<", ")": "<"}
    inequality = f"{low} {signs[left]} x {signs[right]} {high}"
    return gold, boxed(
        rng.choice([iso, inequality, rf"x\in {iso}", rf"\{{x : {inequality}\}}", rf"\left{gold[:-1]}\right{gold[-1]}"])
    )


def rays(rng: random.Random) -> Pair:
    bound = rng.randint(1, 50)
    return rng.choice([
        (rf"(-\infty,{bound})", boxed(rf"]-\infty,{bound}[")),
        (rf"(-\infty,-{bound})\cup({bound},\infty)", boxed(rf"|x|>{bound}")),
        (rf"[-{bound},{bound}]", boxed(rf"|x|\le {bound}")), (rf"|x|<{bound}", boxed(rf"-{bound}<x<{bound}")),
        (rf"[{bound},\infty)", boxed(rf"[{bound},+\infty[")),
        (r"\mathbb{R}", boxed(rng.choice([
            r"\R", r"\text{all real numbers}", r"(-\infty,\infty)", r"]-\infty,\infty[", "all reals",
            r"\text{the set of all real numbers}",
        ]))),
        (r"\emptyset", boxed(rng.choice([r"\varnothing", r"\text{the empty set}", r"\{\}", r"\text{no solution}", "∅"]))),
        (rf"x \ne {bound}", boxed(rf"\R\setminus\{{{bound}\}}")),
    ])  # fmt: skip


def choices(rng: random.Random) -> Pair:
    letter = rng.choice("ABCDE")
    gold = rng.choice([letter, f"({letter})", rf"\text{{({letter})}}", rf"\textbf{{({letter})}}"])
    value = rng.choice(["42", r"\frac{1}{2}", r"\text{isosceles}", r"3\sqrt{2}"])
    return gold, boxed(rng.choice([
        f"{letter})", f"Option {letter}", f"Choice ({letter})", rf"\textbf{{({letter})}}\ {value}",
        f"{letter}. {value}", letter.lower(), f"({letter.lower()})", rf"\mathbf{{{letter}}}",
        rf"\text{{{letter}}}", f"{letter}: {value}", rf"\text{{Option }}\mathbf{{{letter}}}", f"({letter})",
    ]))  # fmt: skip


def units(rng: random.Random) -> Pair:
    number = rng.randint(2, 900)
    hours, metres = rf"{number}\text{{ hours}}", rf"{number}\text{{ m}}"
    return rng.choice([
        (hours, boxed(f"{number} h")), (hours, boxed(rf"{number}\,\mathrm{{h}}")),
        (hours, boxed(rf"{number * 60}\text{{ minutes}}")), (hours, boxed(str(number))),
        (metres, boxed(rf"{number * 100}\text{{ cm}}")), (metres, boxed(rf"{number}\text{{米}}")),
        (str(number), boxed(rf"{number}\text{{ метров}}")), (str(number), boxed(f"{number}個")),
        (rf"\${number}.50", boxed(rf"{number}50\text{{ cents}}")), (rf"\${number}.50", boxed(f"{number}.50")),
        (rf"{number % 180}^\circ", boxed(rf"{number % 180}^\circ{{}}")),
        (rf"{number % 180}^\circ", boxed(rf"{number % 180}\text{{ degrees}}")),
        (rf"{number}\text{{ cm}}^2", boxed(rf"{number}\text{{ 平方厘米}}")),
        (str(number), boxed(rf"{number}\text{{ metros}}")),
    ])  # fmt: skip


def in_words(rng: random.Random) -> Pair:
    gold, words = rng.choice([
        ("7", "seven"), ("12", "twelve"), ("21", "twenty-one"), ("45", "forty-five"), (r"\frac12", "one half"),
        (r"\frac12", "one-half"), (r"\frac23", "two thirds"), (r"\frac34", "three quarters"),
        (r"\frac34", "three-fourths"), ("100", "one hundred"), ("1000", "one thousand"),
        ("365", "three hundred sixty-five"), ("365", "three hundred and sixty-five"), ("-3", "negative three"),
        (r"\frac52", "two and a half"), ("2500", "two thousand five hundred"), ("0", "zero"),
        ("1000000", "one million"), ("3.5", "three point five"), (r"5\text{ hours}", "five hours"),
    ])  # fmt: skip
    return gold, boxed(
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
    return rf"\frac{{{n}}}{{{d}}}" if d > 1 else str(n), boxed(rng.choice(forms))


def complex_numbers(rng: random.Random) -> Pair:
    a, b = rng.randint(1, 30), rng.randint(2, 30)
    return f"{a}+{b}i", boxed(
        rng.choice([f"{a}+i{b}", f"{b}i+{a}", rf"{a}+{b}\cdot i", rf"{a}+i\cdot{b}", f"z={a}+{b}i"])
    )


def bases(rng: random.Random) -> Pair:
    digits = "1" + "".join(rng.choices("0123", k=rng.randint(2, 7)))
    base = rng.randint(4, 9)
    return f"{digits}_{{{base}}}", boxed(
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
    return rf"\binom{{{n}}}{{{k}}}", boxed(
        rng.choice(
            [f"C({n},{k})", rf"{{{n} \choose {k}}}", rf"\dbinom{{{n}}}{{{k}}}", rf"\frac{{{n}!}}{{{k}!({n}-{k})!}}"]
        )
    )


def lists(rng: random.Random) -> Pair:
    items = [str(item) for item in rng.sample(range(-50, 50), rng.randint(2, 4))]
    shuffled = rng.sample(items, len(items))
    boxes = [rf"\boxed{{{item}}}" for item in shuffled]
    return ", ".join(items), rng.choice([
        boxed(", ".join(shuffled)), boxed(r"\{" + ",".join(shuffled) + r"\}"),
        boxed(r" \text{ and } ".join(shuffled)), " and ".join(boxes), ", ".join(boxes),
        "$" + "$, $".join(boxes) + "$",
        r"\[" + r" \quad\text{and}\quad ".join(boxes) + r"\]", "; ".join(boxes),
    ])  # fmt: skip


def expressions(rng: random.Random) -> Pair:
    a, b = rng.randint(2, 9), rng.randint(2, 9)
    return rng.choice([
        (f"(x+{a})^2", boxed(f"x^2+{2 * a}x+{a * a}")), (rf"{a}\sqrt{{{b}}}", boxed(rf"\sqrt{{{a * a * b}}}")),
        (rf"\frac{{{a}}}{{\sqrt{{{b}}}}}", boxed(rf"\frac{{{a}\sqrt{{{b}}}}}{{{b}}}")),
        (rf"\ln {a}+\ln {b}", boxed(rf"\ln {a * b}")), (f"x^2-{a * a}", boxed(f"(x-{a})(x+{a})")),
        (r"\sin 2x", boxed(r"2\cos x\sin x")), (f"{a}^x", boxed(f"({a})^{{x}}")),
        (rf"y={a}x+{b}", boxed(f"{a}x-y+{b}=0")), (rf"{a}:{b}", boxed(f"{3 * a}:{3 * b}")),
        (rf"({a},{b})", boxed(rf"x={a}, y={b}")), (rf"e^{{{a}x}}+{b}", boxed(rf"{b}+(e^{{x}})^{{{a}}}")),
        (rf"\frac{{\pi}}{{{a}}}", boxed(rf"\frac{{1}}{{{a}}}\pi")),
        (rf"{a}\times 10^{{{b}}}", boxed(str(a * 10**b))), (r"\cos^2 x", boxed(r"1-\sin^2 x")),
        ("x^{0.5}", boxed(r"\sqrt{x}")),
    ])  # fmt: skip


def in_chains(rng: random.Random) -> Pair:
    gold = str(integer(rng))
    think, other, answer = *rng.sample(THINKING, 2), rng.choice(ANSWERING)
    right, wrong = rf"\boxed{{{gold}}}", r"\boxed{0}"
    return gold, rng.choice([
        f"<{think}>\nMaybe {wrong}.\n</{think}>\n<{answer}>\nIt is {right}.\n</{answer}>\n",
        f"<{think}>x</{think}><{answer}>{right}</{answer}>", f"<think>{wrong}</think>\n<{answer}>{right}</{answer}>",
        f"<{think}>\na\n</{think}>\n<{other}>\n{wrong}\n</{other}>\n<{answer}>\n{right}\n</{answer}>\nI hope it helps.",
        f"<{think}>\na\n</{think}>\nThe answer is {right}.", f"<{answer}>\n{right}",
        f"First {wrong}. That is wrong. So {right}.", f"{right}<|im_end|>\n<|im_start|>user\nthanks {wrong}",
        f"We find {right}. Indeed, {right}.", f"{wrong}\n\nNo. The answer is {right}", f"**Answer:** ${right}$",
    ])  # fmt: skip


def dressed_expressions(rng: random.Random) -> Pair:
    a, b = rng.randint(2, 9), rng.randint(2, 99)
    gold = rng.choice(
        [
            rf"\frac{{{a}}}{{{b + 10}}}",
            rf"{a}\sqrt{{{b}}}",
            f"({a},{b})",
            f"x^{a}+{b}",
            rf"{b}\pi",
            rf"[{a},{b + 10})",
            f"{a}x-{b}",
            rf"e^{{{a}}}",
            rf"\log_{{{a}}} {b}",
            rf"{a}+{b}i",
        ]
    )
    return gold, rng.choice([
        boxed(rf"\color{{red}}{{{gold}}}"), boxed(rf"\displaystyle {gold}"), boxed(rf"{gold}{{}}"),
        boxed(rf"\, {gold} \,"), boxed(rf"\mathbf{{{gold}}}" if "\\" not in gold else gold),
        rf"\[ \boxed{{{gold}}} \]", rf"$$\boxed{{\,{gold}\,}}$$", rf"\fbox{{{gold}}}",
        rf"**Answer**: $\boxed{{{gold}}}$", rf"\boxed{{\underline{{{gold}}}}}", rf"\boxed{{{{\large {gold}}}}}",
        rf"$\boxed{{${gold}$}}$",
        rf"\boxed{{\({gold}\)}}", rf"\boxed{{ {gold}. }}", rf"\boxed{{\textcolor{{blue}}{{{gold}}}}}",
        rf"\boxed{{\textcolor[rgb]{{0,0,1}}{{{gold}}}}}",
    ])  # fmt: skip


def equal_relations(rng: random.Random) -> Pair:
    a, b, c = rng.randint(2, 9), rng.randint(2, 9), rng.randint(10, 30)
    return rng.choice([
        (f"{a}x+{b}y={c}", boxed(f"{2 * a}x+{2 * b}y={2 * c}")), (f"x>{a}", boxed(f"{a}<x")),
        (f"x>{a}", boxed(rf"({a},\infty)")), (f"x={a}, y={b}", boxed(f"y={b}, x={a}")),
        (f"({a},{b},{c})", boxed(rf"\left( {a}, {b}, {c} \right)")),
        (rf"\{{{a},{c}\}}", boxed(f"{c}, {a}")), (f"{a}:{b}", boxed(f"{2 * a}:{2 * b}")),
        (f"f(x)={a}x+{b}", boxed(f"{a}x+{b}")), (f"y={a}x+{b}", boxed(f"y={b}+{a}x")),
        (rf"\pm {a}", boxed(f"{a}, -{a}")), (rf"{c}\pm\sqrt{{{a}}}", boxed(rf"{c}+\sqrt{{{a}}},{c}-\sqrt{{{a}}}")),
        (rf"\begin{{pmatrix}}{a}&{b}\\{c}&1\end{{pmatrix}}", boxed(rf"\begin{{bmatrix}}{a}&{b} \\ {c}&1\end{{bmatrix}}")),
        (rf"\begin{{pmatrix}}{a}\\{b}\end{{pmatrix}}", boxed(f"({a},{b})")),
        (f"{a}:{c} \\text{{ p.m.}}", boxed(f"{a}:{c} \\text{{ PM}}")),
        (rf"x \ne {a}", boxed(rf"(-\infty,{a})\cup({a},\infty)")),
        (f"{a}x^2-{b}", boxed(f"-{b}+{a}x^2")), (rf"\frac{{{a}}}{{x}}", boxed(rf"{a}x^{{-1}}")),
    ])  # fmt: skip


def notations_of_numbers(rng: random.Random) -> Pair:
    n = rng.randint(2, 9)
    return rng.choice([
        (r"\frac13", boxed(r"0.\overline{3}")), (r"\frac13", boxed("0.3̅")),
        (rf"{n}00000", boxed(rf"{n}\times10^5")), (rf"{n}00000", boxed(f"{n}e5")), (str(n * n), boxed(f"{n}^2")),
        (rf"0.{n}", boxed(f".{n}")),
        (f"-{n}", boxed(f"−{n}")), (f"{n}", boxed("".join(chr(0xFF10 + int(d)) for d in str(n)))),
        (rf"\sqrt{{{n}}}", boxed(f"√{n}")), (rf"{n}\pi", boxed(f"{n}π")), (rf"{n}^2", boxed(f"{n}²")),
        (r"\frac12", boxed("½")), (rf"\frac{{{n}}}{{11}}", boxed(f"{n}/11")),
        ("1011_2", boxed("1011₂")), ("1011_2", boxed("1011 base 2")),
        (rf"\binom{{20}}{{{n}}}", boxed(f"20C{n}")), (rf"\binom{{20}}{{{n}}}", boxed(rf"{{}}_{{20}}C_{n}")),
        (rf"\binom{{20}}{{{n}}}", boxed(rf"C_{{20}}^{n}")), (rf"{n}+2i", boxed(rf"{n}+2\mathrm{{i}}")),
        (rf"{n}e", boxed(rf"{n}\mathrm{{e}}")),
        (rf"\${n}", boxed(f"{n}.00")), (rf"\${n}.00", boxed(rf"\${n}")), (rf"€{n}", boxed(rf"{n}\text{{ euros}}")),
        (rf"{n}\text{{ km/h}}", boxed(f"{n} km/h")), (rf"{n}\text{{ m}}^2", boxed(f"{n} m²")),
        (rf"{n}0\%", boxed(rf"{n}0 \%")), (rf"{n}0^\circ", boxed(rf"{n}0{{}}^\circ")), (f"{n}th", boxed(str(n))),
    ])  # fmt: skip


FAIR: tuple[Family, ...] = (
    dressed_number, grouped_number, decimal_comma, intervals, rays, choices, units, in_words, fractions,
    complex_numbers, bases, combinations,
    lists, expressions, in_chains, dressed_expressions, equal_relations, notations_of_numbers,
)  # fmt: skip

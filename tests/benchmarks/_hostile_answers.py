r"""Answers to attack a grader with: each is wrong by construction, or no answer at all, so that a grader must refuse it.

Each family draws (gold, text) from a seeded generator; texts are chains for the "boxed" rule. The families were written
after the grader.
"""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Callable

Pair = tuple[str, str]
Family = Callable[[random.Random], Pair]

_MARKS = [
    chr(code)
    for start, stop in ((0x0300, 0x034E), (0x20D0, 0x20E2), (0x0483, 0x0489), (0x1DC0, 0x1DCA))
    for code in range(start, stop)
    if unicodedata.category(chr(code)) in ("Mn", "Me")
]
_WORDS = [
    "or", "else", "maybe", "perhaps", "possibly", "alternatively", "otherwise", "unless", "oder", "ou", "o",
    "ovvero", "eller", "lub", "или", "または", "或者", "alias", "resp.", "i.e.", "vs", "versus", "while", "whereas",
    "but", "not", "rather", "than", "instead", "of", "plus", "minus", "Or", "OR", "oR", "eventually", "also",
    "likewise", "either",
]  # fmt: skip
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
    r"\ln 0", r"\infty", r"\frac{1}{0}", r"\tan\frac{\pi}{2}", r"\frac{1}{\sin\pi}", r"\log_{10}0", r"\cot 0",
    r"\csc\pi", r"(-1)!",
    r"\frac{1}{\sqrt2-\sqrt2}", r"\sec\frac{\pi}{2}", r"\frac{1}{\ln 1}", r"0^{-1}", r"\operatorname{arctanh}(1)",
    r"\frac{3}{e^0-1}",
]  # fmt: skip
ANSWERING = ("answer", "output", "result", "final", "conclusion", "solution-7", "Antwort")
THINKING = ("reasoning", "plan", "scratch", "step_1", "analysis", "verify", "draft")


def integer(rng: random.Random) -> int:
    return rng.choice([rng.randint(2, 12), rng.randint(10, 99), rng.randint(100, 9999), rng.randint(10**5, 10**9)])


def boxed(answer: str) -> str:
    return rf"So it is $\boxed{{{answer}}}$."


def hedge_in_words(rng: random.Random) -> Pair:
    gold = integer(rng)
    phrase = " ".join(rng.choices(_WORDS, k=rng.randint(1, 4)))
    return str(gold), rf"It is \boxed{{{gold + rng.randint(1, 9)}}} {phrase} \boxed{{{gold}}}"


def hedge_in_signs(rng: random.Random) -> Pair:
    gold = integer(rng)
    return str(gold), rf"It is $\boxed{{{gold + 1}}} {rng.choice(_SIGNS)} \boxed{{{gold}}}$"


def hedge_in_a_box(rng: random.Random) -> Pair:
    gold = integer(rng)
    first, second = rng.sample([gold, gold + rng.randint(1, 50)], 2)
    return str(gold), boxed(rf"{first} \text{{ {rng.choice(_WORDS)} }} {second}")


def hair_off(rng: random.Random) -> Pair:
    n, k = integer(rng), rng.randint(9, 300)
    answer = rng.choice([
        rf"{n}+10^{{-{k}}}", rf"\sqrt{{{n}^2+10^{{-{k}}}}}", rf"{n}(1+e^{{-{k}}})", rf"{n}\tanh {k}",
        rf"{n}+\frac{{1}}{{{k}!}}",
        rf"{n}\cos(10^{{-{k}}})", rf"{n}\sqrt[{10**rng.randint(9, 30)}]{{2}}", rf"{n}\cdot 2^{{10^{{-{k}}}}}",
        rf"{n}-3^{{-{k}}}",
        rf"{n}+\frac{{\pi}}{{10^{{{k}}}}}", rf"{n}\coth({k})", rf"{n}+\arctan(10^{{-{k}}})",
        rf"{n}^{{1+10^{{-{k}}}}}", f"{n}.{'0' * rng.randint(6, 40)}1",
        rf"\ln(e^{{{n % 50}}}+1)-{n % 50}+{n}", rf"{n}+\sin(\pi+10^{{-{k}}})",
    ])  # fmt: skip
    return str(n), boxed(answer)


def large_and_off(rng: random.Random) -> Pair:
    k = rng.randint(12, 120)
    return rng.choice([
        (rf"10^{{{k}}}", boxed(rf"\sqrt{{10^{{{2 * k}}}+{rng.randint(1, 9)}}}")),
        (rf"10^{{{k}}}", boxed(f"1{'0' * (k - 1)}1")),
        (rf"2^{{{k}}}", boxed(rf"2^{{{k}}}+1")),
        (rf"\cosh {k}", boxed(rf"\frac{{e^{{{k}}}}}{{2}}")),
        (rf"\sinh({k})", boxed(rf"\cosh({k})")),
        (rf"{k}!", boxed(rf"{k}!+1")),
    ])  # fmt: skip


def polynomial_hair_off(rng: random.Random) -> Pair:
    a, b, power = rng.randint(2, 9), rng.randint(1, 99), rng.randint(2, 6)
    zeros = "0" * rng.randint(3, 30)
    answer = rng.choice([
        f"{a}x^{{{power}.{zeros}1}}+{b}", f"{a}.{zeros}1x^{{{power}}}+{b}", f"{a}x^{{{power}}}+{b}.{zeros}1",
        f"{a}x^{{{power}}}+{b}+{rng.randint(1, 9)}e-{rng.randint(7, 60)}",
        rf"{a}x^{{{power}}}\cdot(1+10^{{-{rng.randint(9, 99)}}})+{b}", f"{a}x^{{{power}}}+{b}+0.{zeros}1x",
    ])  # fmt: skip
    return f"{a}x^{power}+{b}", boxed(answer)


def undefined(rng: random.Random) -> Pair:
    gold, singular = integer(rng), rng.choice(_SINGULAR)
    answer = rng.choice([
        rf"0\cdot {singular}+{gold}", rf"{gold}+{singular}-{singular}",
        rf"{gold}\cdot\frac{{{singular}}}{{{singular}}}",
        rf"{gold}+0\left({singular}\right)^2", rf"{gold - 1}+\left({singular}\right)^0",
    ])  # fmt: skip
    return str(gold), boxed(answer)


def marked_digits(rng: random.Random) -> Pair:
    digits = list(str(integer(rng)))
    gold = "".join(digits)
    for _ in range(rng.randint(1, 3)):
        digits[rng.randrange(len(digits))] += rng.choice(_MARKS)
    return gold, boxed("".join(digits))


def struck_out(rng: random.Random) -> Pair:
    gold = str(integer(rng))
    return gold, boxed(rng.choice([
        rf"\cancel{{{gold}}}", rf"\xcancel{{{gold}}}", rf"\sout{{{gold}}}", f"~~{gold}~~", f"<s>{gold}</s>",
        f"<del>{gold}</del>", rf"\not{gold}",
        rf"\phantom{{{gold}}}", rf"{gold}\text{{ is wrong}}", rf"\text{{not }}{gold}", rf"\lnot {gold}",
        rf"\neq {gold}", rf"{gold}?", rf"\overline{{{gold}}}",
    ]))  # fmt: skip


def digits_changed(rng: random.Random) -> Pair:
    gold = str(integer(rng))
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
    return gold, boxed(changed)


def in_another_place(rng: random.Random) -> Pair:
    gold = integer(rng)
    right, wrong = rf"\boxed{{{gold}}}", rf"\boxed{{{gold + rng.randint(1, 9)}}}"
    think, answer = rng.choice(THINKING), rng.choice(ANSWERING)
    return str(gold), rng.choice([
        f"<think>\n{right}\n</think>\n{wrong}", f"<think>\n{right}",
        f"{right}\n<think>no, {wrong}</think> I do not know",
        f"<{think}>\n{right}\n</{think}>\n<{answer}>\n{wrong}\n</{answer}>\n",
        f"<{think}>\n{right}\n</{think}>\n<{answer}>\nIt is {gold}.\n</{answer}>\n",
        f"{wrong}<|im_end|>\n<|im_start|>assistant\n{right}", f"{wrong}\n\nUser: sure?\n\nAssistant: {right}",
        f"{wrong}\n#### {gold}",
        f"The answer is {gold}. {wrong}", f"{right} {wrong}", rf"\boxed{{{gold}", rf"\boxed {{}} {gold}",
        rf"\boxed{{\boxed{{}}}} {gold}",
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
    return gold, boxed(rng.choice([other, iso]))


def other_inequality(rng: random.Random) -> Pair:
    bound = rng.randint(1, 40)
    op, other = rng.sample(["<", ">", r"\le", r"\ge"], 2)
    return f"|x|{op}{bound}", boxed(
        rng.choice([f"|x|{other}{bound}", f"|x|{op}{bound + 1}", f"x{op}{bound}", f"x{other}{bound}", r"\R"])
    )


def other_unit(rng: random.Random) -> Pair:
    number = integer(rng)
    first, second = rng.sample(["m", "cm", "km", "h", "min", "kg", "g", "dollars", "cents", "litres"], 2)
    return rf"{number}\text{{ {first}}}", boxed(rf"{number}\text{{ {second}}}")


def other_money(rng: random.Random) -> Pair:
    dollars = rng.randint(2, 500)
    return rf"\${dollars}.50", boxed(
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
    return gold, boxed(rng.choice([
        other, f"({other})", rf"\textbf{{({other})}}\ 42", f"{other}) {gold}", f"({gold}) or ({other})",
        f"{gold}/{other}", f"{gold}, {other}", f"{gold} {other}",
        f"({other.lower()})", f"Option {other}", f"not {gold}", f"{gold}) 3 or {other}) 4", f"({gold})({other})",
        rf"\text{{{other}, not {gold}}}",
    ]))  # fmt: skip


def restated(rng: random.Random) -> Pair:
    n = rng.randint(3, 60)
    return str(n), boxed(rng.choice([
        rf"\sum_{{k=1}}^{{{n}}} 1", rf"\gcd({2 * n},{3 * n})", rf"\lfloor {n}.5\rfloor", rf"\max({n},1)",
        rf"\int_0^{{{n}}} dx", rf"\lim_{{x\to {n}}} x",
        rf"\binom{{{n}}}{{1}}", rf"C({n},1)", rf"\min\{{{n},{n + 1}\}}", rf"\prod_{{k=1}}^1 {n}",
        rf"\det\begin{{pmatrix}}{n}\end{{pmatrix}}", rf"|{-n}|", rf"x+1={n + 1}",
        rf"2x={2 * n}", rf"\lceil {n - 1}.2\rceil", rf"{n} \bmod {n + 1}", "x", rf"x \ge {n}", rf"[{n}]",
        rf"{n}, \ldots", rf"\{{{n},{n + 1}\}}", rf"{n - 1}-{n + 1}",
    ]))  # fmt: skip


def words_off(rng: random.Random) -> Pair:
    words = ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    n = rng.randint(2, 10)
    others = [w for k, w in enumerate(words, 2) if k != n]
    return str(n), boxed(rng.choice([
        rng.choice(others), f"{words[n - 2]} {rng.choice(words)}", f"not {words[n - 2]}",
        f"twenty-{rng.choice(others[:6])}", f"{words[n - 2]} or {rng.choice(others)}",
        f"one {['half', 'third', 'quarter'][n % 3]}", f"minus {words[n - 2]}", f"{words[n - 2]} hundred",
        rf"\text{{the {words[n - 2]}th}}",
    ]))  # fmt: skip


def separators_off(rng: random.Random) -> Pair:
    a, b = rng.randint(1, 999), rng.randint(100, 999)
    c = rng.randint(10, 99)
    return rng.choice([
        (f"{a}{b}", boxed(f"{a}.{b}")), (f"{a}.{c}", boxed(f"{a}, {c}")), (f"{a}{{,}}{c}", boxed(f"{a}{c}")),
        (f"{a}.{b}.{b}", boxed(f"{a}.{b}")),
        (f"{a}'{b}", boxed(f"{a}")), (f"{a}{b}", boxed(f"{a}'{b + 1 if b < 999 else 100}")),
        (f"{a}", boxed(f"{a}{{,}}{c}")), (f"{a}{c}", boxed(f"{a} {c}")),
    ])  # fmt: skip


def other_base(rng: random.Random) -> Pair:
    digits = "".join(rng.choices("01", k=rng.randint(4, 9)))
    base, other = rng.sample([2, 3, 4, 5, 6, 7, 8, 9, 11, 12], 2)
    return f"1{digits}_{{{base}}}", boxed(
        rng.choice([f"(1{digits})_{{{other}}}", f"1{digits}", f"(1{digits}1)_{{{base}}}", f"1{digits}_{{({other})}}"])
    )


def code(rng: random.Random) -> Pair:
    gold = integer(rng)
    return str(gold), boxed(rng.choice([
        f"__import__('os').getpid()*0+{gold}", f"eval('{gold}')", f"int('{gold}')", f"lambda x: x*0 if {gold} else 1",
        f"[{gold}][0]", f"print({gold})",
        rf"\def\x{{{gold}}}\x", rf"\input{{{gold}}}", f"gold={gold + 1} if 0 else {gold}", f"'{gold}' in '{gold}'",
        f"{gold};DROP",
    ]))  # fmt: skip


def bombs(rng: random.Random) -> Pair:
    n = rng.randint(200, 3000)
    gold = rng.choice([str(integer(rng)), "x+1", "(1,2)", r"\sqrt{2}", r"\frac{1}{2}"])
    return gold, boxed(rng.choice([
        "9^{" * 12 + "9" + "}" * 12, f"{n * 10**6}!", rf"\binom{{{10**9}}}{{{n}}}", "(" * n + "1" + ")" * n,
        r"\frac{1}{" * 60 + "2" + "}" * 60, r"\sqrt{" * 60 + "2" + "}" * 60,
        "+".join(rf"\sqrt{{{k}}}" for k in range(2, 60)), ",".join(rf"\sin({k})+\sqrt{{{k}}}" for k in range(1, 90)),
        "x" + "^x" * n, rf"(x+1)^{{{n}{n}}}", rf"e^{{e^{{e^{{{n}}}}}}}",
        rf"\sin(10^{{10^{{{n % 12}}}}})", rf"\prod_{{k=1}}^{{{n}000}} k", "|" * n, "{" * n, r"\left" * n, "\\" * n,
        r"\text{" * n, "^" * n, "_" * n, r"\pm" * n, "1,2 " * n, "9" * n,
        f"0.{'3' * n}", rf"\Gamma({n}^{n})", rf"10^{{{n}}}+\pi", rf"e^{{{n}}}+1", rf"\tanh^{{{n}}}({n})",
        rf"\ln\ln\ln {n}!", rf"\lfloor \pi\cdot 10^{{{n}}}\rfloor", " " * n + "1", rf"1{' 000' * (n // 4)}",
    ]))  # fmt: skip


def floods(rng: random.Random) -> Pair:
    """A whole text of one fragment, in any rule."""
    fragment = rng.choice([
        r"\boxed{", "\nUser:", "answer ", "answer:", r"\$", r"\(", r"\[", "$", "$$", "<a>", "</a>", "<think>", "####",
        "{", "}", " ", "\n", r"\text{", ". ", "I hope ", "\n#", "\\",
        "answer is ", r"\boxed{1} or ", "<x></x>", "0", "é", "\u0336", "&", "_{", "Q:", r"\boxed 1",
    ])  # fmt: skip
    return "7", fragment * (rng.choice([10**3, 10**4, 10**5]) // len(fragment)) + rng.choice(
        ["", "x", r"\boxed{8}", "}"]
    )


def noise(rng: random.Random) -> Pair:
    gold = str(integer(rng))
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
    return gold, boxed(rng.choice([junk + gold, gold + junk, junk]))


def functions_hair_off(rng: random.Random) -> Pair:
    k, n = rng.randint(8, 90), rng.randint(2, 9)
    return rng.choice([
        (r"\sin x", boxed(rf"\sin\left(x+10^{{-{k}}}\right)")), (f"e^{{{n}x}}", boxed(rf"e^{{{n}x}}+10^{{-{k}}}")),
        (rf"\ln x+{n}", boxed(rf"\ln x+{n}+e^{{-{k}}}")),
        (rf"\sqrt{{x+{n}}}", boxed(rf"\sqrt{{x+{n}+10^{{-{k}}}}}")),
        (rf"{n}\pi r^2", boxed(rf"{n}\pi r^{{2+10^{{-{k}}}}}")),
        (rf"\frac{{x}}{{{n}}}", boxed(rf"\frac{{x}}{{{n}+10^{{-{k}}}}}")),
        (rf"y={n}x", boxed(rf"y={n}x+10^{{-{k}}}")), (rf"({n},{k})", boxed(rf"({n},{k}+10^{{-{k}}})")),
        (rf"({n},\infty)", boxed(rf"({n}+10^{{-{k}}},\infty)")),
        (rf"\frac{{{n}}}{{{k}}}", boxed(rf"\frac{{{n}}}{{{k}}}+10^{{-{k}}}")),
        (rf"{n}+{k}i", boxed(rf"{n}+{k}i+10^{{-{k}}}i")), (f"{n}^x", boxed(rf"({n}+10^{{-{k}}})^x")),
    ])  # fmt: skip


def claims(rng: random.Random) -> Pair:
    """The gold is in it, and something else is said."""
    gold = integer(rng)
    return str(gold), boxed(rng.choice([
        f"{gold}={gold + 1}", rf"{gold}\ne {gold}", rf"{gold + 1}\to {gold}", rf"{gold}\approx {2 * gold}",
        f"{gold}<{gold + 1}", rf"x\in\{{{gold},{gold + 1}\}}", rf"\{{{gold}\}}\cup\{{{gold + 2}\}}",
        rf"{gold} \text{{ if }} x>0", rf"\begin{{cases}}{gold}&x>0\\{gold + 1}&x\le0\end{{cases}}", rf"{gold}^{{*}}",
        rf"{gold}_{{\text{{max}}}}", rf"\sqrt{{{gold}}}", rf"{gold}x", rf"{gold}\pi",
        rf"{gold}\pm 1", rf"\frac{{{gold}}}{{0}}", rf"({gold},{gold})", rf"{gold}\%\%", rf"{gold}!",
        rf"\vec{{{gold}}}", rf"\hat{{{gold}}}", rf"{gold}'", rf"\sim {gold}", rf"O({gold})", rf"f({gold})",
        rf"-({gold})", rf"{gold}:1:1", rf"{gold}e{rng.randint(1, 9)}", rf"0.{gold}", rf"{gold}+C",
        rf"\text{{at least }} {gold}", rf"\le {gold}", rf"{gold}+", rf"{gold}-", rf"{gold}...",
    ]))  # fmt: skip


def hedge_in_lines(rng: random.Random) -> Pair:
    gold = integer(rng)
    first, last = rf"\boxed{{{gold + 1}}}", rf"\boxed{{{gold}}}"
    word = rng.choice(["or", "OR", "oder", "ou", "alt.", "maybe", "/", "else", "vs", r"\text{or}", r"\lor", "或"])
    return str(gold), rng.choice([
        f"{first}\n{word}\n{last}", f"\\[{first}\\]\n{word}\n\\[{last}\\]", f"$${first}$$ {word} $${last}$$",
        f"* {first} {word}\n* {last}", f"{first} ({word} {last})",
        rf"\begin{{align}}{first}&\text{{ {word} }}{last}\end{{align}}", f"**{first}** {word} **{last}**",
        f"{first}, {word} {last}", f"{first}; {word} {last}", f"either {first} {word} {last}",
        rf"\boxed{{{gold + 2}}}, {first}, {word} {last}", f"{first} {word}, {last}",
    ])  # fmt: skip


def dialogue(rng: random.Random) -> Pair:
    gold = integer(rng)
    right, wrong = rf"\boxed{{{gold}}}", rf"\boxed{{{gold + 3}}}"
    turn = rng.choice(
        [
            "\n\nHuman: no\n\nAssistant: ",
            "\n### User:\n",
            "\nQ: again\nA: ",
            "<|eot_id|>",
            "<|im_start|>assistant\n",
            "</s>",
            "\nuser\n",
            "<end_of_turn>\n<start_of_turn>model\n",
            "\nProblem: 2\n",
            "[INST] no [/INST]",
            "\n**Question:** next\n",
        ]
    )
    return str(gold), f"It is {wrong}.{turn}{right}"


def relations_off(rng: random.Random) -> Pair:
    a, b, c = rng.randint(2, 9), rng.randint(2, 9), rng.randint(10, 30)
    return rng.choice([
        (f"{a}x+{b}y={c}", boxed(f"{a}x+{b}y={c + 1}")), (f"y={a}x+{b}", boxed(f"y={a}x-{b}")),
        (f"x={a}", boxed(f"y={a}")), (f"x>{a}", boxed(rf"x\ge {a}")),
        (f"{a}<x<{c}", boxed(f"{a}<x<{c}, x \\ne {a + 1}")),
        (f"x={a}, y={b}", boxed(f"x={b + 10}, y={a}")), (f"({a},{b},{c})", boxed(f"({a},{c},{b})")),
        (rf"\{{{a},{c}\}}", boxed(rf"({a},{c})")), (f"{a}:{c}", boxed(f"{c}:{a}")),
        (rf"x^2+y^2={a}", boxed(rf"x^2-y^2={a}")),
        (rf"{a}\pmod{{{c}}}", boxed(rf"{a}\pmod{{{c + 1}}}")),
        (rf"\begin{{pmatrix}}{a}&{b}\\{c}&1\end{{pmatrix}}", boxed(rf"\begin{{pmatrix}}{a}&{c}\\{b + 10}&1\end{{pmatrix}}")),
        (f"{a}:{c} \\text{{ p.m.}}", boxed(f"{a}:{c} \\text{{ a.m.}}")),
        (f"f(x)={a}x", boxed(f"f(x)={a}y")), (f"{a},{b + 10},{c + 20}", boxed(f"{a},{b + 10}")),
        (f"{a}x", boxed(f"{a}X")), (rf"\overline{{AB}}={a}", boxed(f"{a}0")), (f"a_n={a}n", boxed(f"a_n={a}n+1")),
    ])  # fmt: skip


HOSTILE: tuple[Family, ...] = (
    hedge_in_words, hedge_in_signs, hedge_in_a_box, hair_off, large_and_off, polynomial_hair_off, undefined,
    marked_digits, struck_out,
    digits_changed, in_another_place, brackets_turned, other_inequality, other_unit, other_money, other_choice,
    restated, words_off,
    separators_off, other_base, code, bombs, floods, noise, functions_hair_off, claims, hedge_in_lines, dialogue,
    relations_off,
)  # fmt: skip

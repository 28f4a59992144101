r"""A parser for answers: normalised LaTeX (or plain text mathematics) to a small tree of tuples.

Grammar, loosest first: list (`,` `;` and or) > relation (`=` `<` `\in`) > ratio (`:`) > union > sum > product > power
> atom. A node is `(kind, ...)` with nodes, strings and numbers inside:

    ("num", Fraction, decimals | None)    ("sym", name)           ("const", "pi" | "e" | "i" | "inf")
    ("add", nodes)   ("mul", nodes)   ("div", a, b)   ("neg", a)   ("pow", a, b)   ("root", n, a)   ("pm", a | None, b,
    sign) ("fn", name, a)   ("log", base, a)   ("op", name, nodes)   ("app", sym, nodes)   ("fact", a)   ("abs", a)
    ("unit", Unit, a)   ("base", digits, n)
    ("list", items, joint)   ("seq", open, close, items)   ("set", items)   ("builder", element, condition)
    ("matrix", rows) ("rel", parts, ops)   ("ratio", parts)   ("union" | "inter" | "minus", a, b)   ("given", node,
    clause)

Nothing is evaluated here, recursion and length are bounded, and what does not fit the grammar raises instead of being
skipped.
"""

from __future__ import annotations

from fractions import Fraction
from string import ascii_letters

from rewards.grammar import (
    ACCENTS,
    AFTER_INTERVAL,
    BIG_OPERATORS,
    CLOSED_BY,
    CLOSING,
    MATRICES,
    NO_FACTOR,
    RELATIONS,
    STRUCK,
    SYMBOLS,
    Node,
    matrix,
    mixed,
    negated,
    number,
    product,
    spelled,
)
from rewards.stream import TokenStream
from rewards.tokens import FUNCTIONS, OPERATORS, Malformed, Unsupported, is_qualifier, tokenize
from rewards.units import DEGREE, PERCENT, Unit, find_unit

MAX_ITEMS = 100
CLAUSE_STARTS = frozenset('\\("' + ascii_letters)  # of a clause behind `\\forall`


def parse(text: str) -> Node:
    """The tree of a normalised answer.

    Raises:
        Malformed: it is not mathematics, too long or too deep; Unsupported: only the symbolic fallback may know it.
    """
    parser = _Parser(tokenize(text))
    node = parser.answer()
    if parser.peek() != "":
        raise Malformed(f"unexpected {parser.peek()}")
    return node


class _Parser(TokenStream):
    def answer(self) -> Node:
        """A list, or the single thing it consists of."""
        items = [self.item()]
        joint = ""
        while (token := self.peek()) in (",", ";", "\\and", "\\or", "&") or (token == "\\\\"):
            while self.peek() in (",", ";", "\\and", "\\or", "&", "\\\\"):
                token = self.take()
                joint = (
                    "or" if token == "\\or" or joint == "or" else "and" if token == "\\and" or joint == "and" else ","
                )
            if self.peek() in ("", ")", "]", "}", "\\}"):
                break
            if is_qualifier(self.peek()):  # `12, where n is an integer`
                answer = items[0] if len(items) == 1 else ("list", tuple(items), joint)
                return ("given", answer, self.clause())
            items.append(self.item())
            if len(items) > MAX_ITEMS:
                raise Malformed("too many items")
        return items[0] if len(items) == 1 else ("list", tuple(items), joint)

    def item(self) -> Node:
        while self.peek() in ('"only', '"exactly', '"either', '"both'):
            self.take()
        node = self.relation()
        if is_qualifier(self.peek()) or (self.peek() == "\\forall" and self.peek(1)[:1] in CLAUSE_STARTS):
            node = ("given", node, self.clause())
        return node

    def clause(self) -> str:
        start = self.position
        depth = 0
        while (token := self.peek()) and (depth or token not in (",", ";", "\\and", "\\or", ")", "]", "\\}")):
            depth += (token in ("(", "[", "{", "\\{")) - (token in (")", "]", "}", "\\}"))
            self.position += 1
        return " ".join(self.tokens[start : self.position])

    def relation(self) -> Node:
        if self.peek() == "\\approx":
            self.take()
        parts = [self.ratio()]
        ops = []
        while self.peek() in RELATIONS:
            ops.append(self.take().lstrip("\\"))
            parts.append(self.ratio())
            if len(ops) > 20:
                raise Malformed("relation chain too long")
        if self.peek() == "\\pmod" or (self.peek() == "(" and self.peek(1) in ("\\bmod", "\\mod")):
            bracketed = self.take() == "("
            if bracketed:
                self.take()
            modulus = self.group() if self.peek() == "{" else self.sum()
            if bracketed:
                self.expect(")")
            ops.append("mod")
            parts.append(modulus)
        return ("rel", tuple(parts), tuple(ops)) if ops else parts[0]

    def ratio(self) -> Node:
        parts = [self.union()]
        while self.peek() == ":" and not self.bars:
            self.take()
            parts.append(self.union())
        if len(parts) == 2 and spelled(parts[0]):
            if negated(parts[0]):
                raise Malformed("what an answer is not")
            return ("rel", tuple(parts), ("=",))  # `Anna: 12` names a value
        return ("ratio", tuple(parts)) if len(parts) > 1 else parts[0]

    def union(self) -> Node:
        node = self.sum()
        links = 0
        while self.peek() in ("\\cup", "\\cap", "\\setminus"):
            kind = {"\\cup": "union", "\\cap": "inter", "\\setminus": "minus"}[self.take()]
            node = (kind, node, self.sum())
            links = self.link(links)
        return node

    def sum(self) -> Node:
        terms: list[Node] = []
        links = 0
        while True:
            token = self.peek()
            if token in ("+", "-", "\\pm", "\\mp"):
                self.take()
                term = self.product()
                if token in ("\\pm", "\\mp"):
                    links = self.link(links)
                    left = terms[0] if len(terms) == 1 else ("add", tuple(terms)) if terms else None
                    terms = [("pm", left, term, 1 if token == "\\pm" else -1)]
                    continue
                terms.append(("neg", term) if token == "-" else term)
            elif not terms:
                terms.append(self.product())
            else:
                break
        return terms[0] if len(terms) == 1 else ("add", tuple(terms))

    def product(self) -> Node:
        node = self.signed_factor()
        factors = [node]
        links = 0
        while True:
            token = self.peek()
            if token in ("\\bmod", "/"):
                links = self.link(links)
            if token in ("*", "\\bmod"):
                self.take()
                if token == "\\bmod":
                    factors = [("op", "mod", (product(factors), self.signed_factor()))]
                else:
                    factors.append(self.signed_factor())
            elif token == "/":
                self.take()
                factors = [("div", product(factors), self.signed_factor())]
            elif self.skips_empty_groups():
                continue
            elif self.starts_factor(token):
                if (token[0].isdigit() or token[0] == ".") and not self.after_bracket(factors[-1]):
                    factors[-1] = self.mixed_number(factors[-1])
                    continue
                factor = self.factor()
                combined = mixed(factors[-1], factor)
                if combined:
                    factors[-1] = combined
                else:
                    factors.append(factor)
            else:
                return product(factors)

    def skips_empty_groups(self) -> bool:
        """Whether there were empty groups, as in `30^\\circ{}`, which mean nothing."""
        start = self.position
        while self.peek() == "{" and self.peek(1) == "}":
            self.position += 2
        return self.position > start

    def starts_factor(self, token: str) -> bool:
        if not token or token in CLOSING or token in RELATIONS or token[0] in '",;:+-*/^_=<>&!\'%@?#`~"':
            return False
        if token == "|":
            return not self.bars
        if token == "{" and self.peek(1) == "}":
            return False
        if token == "[" and self.brackets and self.peek(1) in AFTER_INTERVAL:
            return False
        return token not in NO_FACTOR

    def after_bracket(self, factor: Node) -> bool:
        """Whether a number may follow as a factor: `(n-2) 2^n` and `i4`, but not `3 4`."""
        if factor == ("const", "i"):
            return True
        return factor[0] != "num" and (factor[0] == "pow" or self.tokens[self.position - 1] in (")", "}", "]", "!"))

    def mixed_number(self, whole: Node) -> Node:
        """`1 1/2`; two numbers side by side mean nothing else."""
        token = self.take()
        if whole[0] == "num" and whole[2] is None and self.peek() == "/" and self.peek(1).isdigit() and token.isdigit():
            self.take()
            combined = mixed(whole, ("div", number(token), number(self.take())))
            if combined:
                return combined
        raise Malformed("numbers side by side")

    def signed_factor(self) -> Node:
        negative = False
        self.skips_empty_groups()
        while self.peek() in ("+", "-"):
            negative ^= self.take() == "-"
        if self.peek() in ("\\pm", "\\mp"):
            return ("pm", None, self.nested(self.signed_factor), 1 if self.take() == "\\pm" else -1)
        node = self.factor()
        return ("neg", node) if negative else node

    def factor(self) -> Node:
        return self.postfix(self.nested_atom())

    def nested_atom(self) -> Node:
        return self.nested(self.atom, bars=None)

    def postfix(self, node: Node) -> Node:
        """Powers, factorials, percent signs, degrees and units after an atom."""
        links = 0
        while True:
            if self.peek(2) == "^":
                self.skips_empty_groups()
            token = self.peek()
            links = self.link(links)
            if token == "_" and node[0] == "pow" and node[1][0] in ("sym", "const"):
                node = ("pow", self.subscripted(node[1][1]), node[2])  # v^2_0
            elif token == "^":
                if self.peek(1) == "\\circ" or (
                    self.peek(1) == "{" and self.peek(2) == "\\circ" and self.peek(3) == "}"
                ):
                    self.position += 2 if self.peek(1) == "\\circ" else 4
                    if self.peek() in ("C", "F") and self.peek(1) in ("", ",", ")"):
                        self.take()
                    else:
                        node = ("unit", DEGREE, node)
                elif self.peek(1) in ("'", "\\prime"):
                    self.take()
                else:
                    self.take()
                    node = ("pow", node, self.argument())
            elif token == "!":
                self.take()
                node = ("fact", node)
            elif token == "%":
                self.take()
                node = ("unit", PERCENT, node)
            elif token == "\\circ":
                self.take()
                node = ("unit", DEGREE, node)
            elif token in ("'", "\\prime"):
                self.take()
                node = ("sym", node[1] + "'") if node[0] == "sym" else ("op", "prime", (node,))
            elif token.startswith('"') and (unit := self.unit(token)):
                node = ("unit", unit, node)
            else:
                return node

    def unit(self, token: str) -> Unit | None:
        power = 1
        length = 1
        if self.peek(1) == "^":
            digits = self.peek(3) if self.peek(2) == "{" and self.peek(4) == "}" else self.peek(2)
            if digits.isdigit():
                power = min(int(digits), 9)
                length = 5 if self.peek(2) == "{" else 3
        unit = find_unit(token[1:], power)
        if unit:
            self.position += length
        return unit

    def argument(self) -> Node:
        """What follows `^` or a command: a braced group or a single token."""
        token = self.peek()
        if token == "{":
            return self.group()
        if token[:1].isdigit():
            # TeX takes one digit: `\frac12` is 1/2, `x^10` is written by people who mean ten.
            return number(self.take())
        if token == "-":
            self.take()
            return ("neg", self.nested(self.argument))
        if token == "" or token in CLOSING:
            raise Malformed("argument missing")
        return self.nested_atom()

    def digit_argument(self) -> Node:
        """As `argument`, but taking one digit only, as TeX does."""
        token = self.peek()
        if token.isdigit() and len(token) > 1:
            self.tokens[self.position] = token[1:]
            return number(token[0])
        return self.argument()

    def group(self) -> Node:
        self.expect("{")
        if self.peek() == "}":
            raise Malformed("empty group")
        node = self.nested(self.answer)
        self.expect("}")
        return node

    def atom(self) -> Node:
        token = self.take()
        first = token[:1]
        if first.isdigit() or (first == "." and len(token) > 1):
            return self.number(token)
        if first.isalpha():
            return self.symbol(token)
        if first == "\\":
            return self.command(token)
        if token in CLOSED_BY:
            return self.bracket(token)
        if token == "{":
            self.position -= 1
            node = self.group()
            return ("set", node[1]) if node[0] == "list" else node
        if token == "|":
            return self.absolute()
        if first == '"':
            self.position -= 1
            return self.text()
        raise Malformed(f"unexpected {token}")

    def number(self, token: str) -> Node:
        node = number(token)
        if self.peek() == "_" and token.isdigit():
            self.take()
            base = self.argument()
            if (
                base[0] == "num"
                and base[1].denominator == 1
                and 2 <= base[1] <= 36
                and all(int(d) < base[1] for d in token)
            ):
                return ("base", token, int(base[1])) if base[1] != 10 else node
            raise Malformed("subscript of a number")
        return node

    def symbol(self, name: str) -> Node:
        node: Node = ("const", name) if name in ("e", "i") else ("sym", name)
        if name == "\\Delta" and self.peek()[:1].isalpha():
            node = ("sym", f"{name} {self.take()}")
        if self.peek() == "_":
            node = self.subscripted(node[1])
        while self.peek() == "'":
            self.take()
            node = ("sym", node[1] + "'")
        if self.peek() == "(" and node[0] == "sym":
            arguments = self.nested(self.bracketed_arguments)
            if self.peek() in ("^", "!", "%", "_") and len(arguments) == 1:  # x(x+1)^2
                return ("mul", (node, self.postfix(arguments[0])))
            if name == "C" and len(arguments) == 2 and self.peek() not in ("=", ":"):
                return ("op", "binom", arguments)
            return ("app", node, arguments)
        return node

    def subscripted(self, name: str) -> Node:
        """A symbol with its subscript, which is part of the name whatever stands in it."""
        self.take()
        parts = [self.take()]
        if parts[0] == "{":
            depth = 1
            while depth and self.peek():
                depth += (self.peek() == "{") - (self.peek() == "}")
                parts.append(self.take())
        subscript = "".join(part.strip('"') for part in parts if part not in ("{", "}"))
        if not subscript:
            raise Malformed("empty subscript")
        return ("sym", f"{name}_{subscript}")

    def bracketed_arguments(self) -> tuple[Node, ...]:
        self.expect("(")
        node = self.answer()
        self.expect(")")
        return node[1] if node[0] == "list" else (node,)

    def bracket(self, opening: str) -> Node:
        first = self.position == 1
        if self.peek() in (")", "]"):
            raise Malformed("empty bracket")
        node = self.nested(self.answer, brackets=opening != "(")
        closing = self.expect(*CLOSED_BY[opening])
        if node[0] == "list":
            # An end that is turned outwards, as in `]1,2[`, does not belong to the interval.
            return ("seq", "(" if opening == "]" else opening, ")" if closing == "[" else closing, node[1])
        if opening == "]" or closing == "[":
            raise Malformed("brackets do not match")
        if opening == "(" and closing == ")":
            return node
        if node[0] == "matrix":
            return node
        if opening == "[" and closing == "]":
            if not first or self.peek():
                return node  # `2[x+1]^2` groups; `[7]` alone is not 7
            return ("seq", "[", "]", (node,))
        raise Malformed("brackets do not match")

    def absolute(self) -> Node:
        node = self.nested(self.sum, bars=1)
        self.expect("|")
        return ("abs", node)

    def text(self) -> Node:
        """Text in the place of a value is a name when something is said to equal it."""
        token = self.take()
        if self.peek() in ("=", ":") and not negated(("sym", token)):
            return ("sym", token)
        raise Unsupported(f"text {token}")

    def braces(self) -> Node:
        if self.peek() == "\\}":
            self.take()
            return ("set", ())
        node = self.nested(self.answer, bars=1)
        if self.peek() in ("|", ":"):
            self.take()
            node = ("builder", node, self.nested(self.answer))
        else:
            node = ("set", node[1] if node[0] == "list" else (node,))
        self.expect("\\}")
        return node

    def command(self, token: str) -> Node:
        name = token[1:]
        if token == "\\frac":
            numerator = self.digit_argument()
            return ("div", numerator, self.digit_argument())
        if token == "\\sqrt":
            return self.root()
        if name in FUNCTIONS:
            return self.function(name)
        if token == "\\{":
            return self.braces()
        if token == "\\pi":
            return ("const", "pi")
        if token == "\\infty":
            return ("const", "inf")
        if token in SYMBOLS:
            return self.symbol(token)
        if token == "\\binom":
            top = self.digit_argument()
            return ("op", "binom", (top, self.digit_argument()))
        if token in ("\\lfloor", "\\lceil"):
            node = self.nested(self.answer)
            self.expect("\\rfloor" if token == "\\lfloor" else "\\rceil")
            return ("op", "floor" if token == "\\lfloor" else "ceil", (node,))
        if token == "\\langle":
            node = self.nested(self.answer)
            self.expect("\\rangle")
            return ("seq", "(", ")", node[1] if node[0] == "list" else (node,))
        if token in ACCENTS:
            return self.accent(name)
        if name in OPERATORS:
            return self.operator(name)
        if token in BIG_OPERATORS:
            return self.big_operator(name)
        if token == "\\begin":
            return self.environment()
        if token in STRUCK:
            raise Malformed("struck out")
        raise Unsupported(token)

    def root(self) -> Node:
        index: Node = ("num", Fraction(2), None)
        if self.peek() == "[":
            self.take()
            index = self.nested(self.sum)
            self.expect("]")
        if self.peek() == "(":  # plain text: sqrt(2)
            self.take()
            node = self.nested(self.sum)
            self.expect(")")
        else:
            node = self.digit_argument()
        return ("root", index, node)

    def function(self, name: str) -> Node:
        base = power = None
        while self.peek() in ("^", "_"):
            if self.take() == "^":
                power = self.argument()
            elif name in ("log", "lg"):
                base = self.argument()
            else:
                raise Malformed("subscript of a function")
        argument = self.nested(self.function_argument, bars=None)
        if name in ("log", "lg", "ln"):
            ten = ("num", Fraction(10), None)
            node: Node = ("fn", "ln", argument) if name == "ln" else ("log", base or ten, argument)
        else:
            if power == ("neg", ("num", Fraction(1), None)) and not name.startswith("arc"):
                return ("fn", "arc" + name, argument)
            node = ("fn", name, argument)
        return ("pow", node, power) if power is not None else node

    def function_argument(self) -> Node:
        """A bracket, or the product up to the next function, sign or bracket: `\\sin 2x \\cos x` is sin(2x) cos(x)."""
        if self.peek() in ("(", "[", "{"):
            bracketed = self.peek() != "{"
            node = self.nested_atom()
            if node[0] == "seq" and len(node[3]) == 1:
                node = node[3][0]
            return node if bracketed else self.postfix(node)
        factors = [self.signed_factor()]
        while (
            self.starts_factor(token := self.peek()) and token[1:] not in FUNCTIONS and token not in ("(", "[", "\\{")
        ):
            if token[0].isdigit():
                raise Malformed("numbers side by side")
            factors.append(self.factor())
        if self.peek() == "/" and factors[-1][0] in ("num", "sym", "const") and not self.starts_factor(self.peek(2)):
            self.take()  # `\\cos \\pi/5`
            factors = [("div", product(factors), self.factor())]
        return product(factors)

    def accent(self, name: str) -> Node:
        if name in ("angle", "triangle", "measuredangle", "bigtriangleup", "odot"):
            letters = []
            while self.peek()[:1].isalpha():
                letter = self.take()
                letters.append(self.subscripted(letter)[1] if self.peek() == "_" else letter)
            if letters:
                return ("sym", f"\\{name}({''.join(letters)})")
        node = self.argument()
        if name in ("mathbb", "mathcal", "mathfrak", "mathscr") and node[0] in ("sym", "const"):
            return ("sym", f"\\{name}({node[1]})")
        return ("op", name, (node,))

    def operator(self, name: str) -> Node:
        node = self.nested_atom() if self.peek() in ("(", "{", "[", "\\{", "\\begin") else self.factor()
        items = node[3] if node[0] == "seq" else node[1] if node[0] in ("set", "list") else (node,)
        return ("op", name, tuple(items))

    def big_operator(self, name: str) -> Node:
        parts: dict[str, Node] = {}
        while self.peek() in ("^", "_"):
            side = self.take()
            parts[side] = self.argument()
        body = self.nested(self.product, bars=None)
        nothing: Node = ("sym", "")
        return ("op", name, (parts.get("_", nothing), parts.get("^", nothing), body))

    def environment(self) -> Node:
        name = self.take().lstrip("@")
        if name not in MATRICES:
            raise Unsupported(name)
        if name == "array" and self.peek() == "{":
            while self.take() not in ("}", ""):
                pass
        rows: list[tuple[Node, ...]] = []
        row: list[Node] = []
        while self.peek() != "\\end":
            row.append(self.nested(self.item))
            token = self.peek()
            if token == "&":
                self.take()
            elif token == "\\\\":
                self.take()
                rows.append(tuple(row))
                row = []
            elif token != "\\end":
                raise Malformed("matrix")
            if sum(map(len, rows)) + len(row) > MAX_ITEMS:
                raise Malformed("matrix too large")
        self.take()
        if self.take() != "@" + name:
            raise Malformed("environment does not close")
        if row:
            rows.append(tuple(row))
        return matrix(name, rows)

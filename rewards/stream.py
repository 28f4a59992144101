"""The tokens that a parser has before it, and how deep it is."""

from __future__ import annotations

from typing import Any

from rewards.tokens import Malformed

MAX_DEPTH = 40
MAX_CHAIN = 60  # links of a chain that nests one way: a/b/c, A \\cup B \\cup C


class TokenStream:
    """Tokens that are taken one by one.

    Args:
        tokens: tokens of one text.

    Attributes:
        bars: open `|` that the next `|` in operator position closes.
        brackets: open `[` or `]` that a `[` may close, as in `[2,5[`.
    """

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens
        self.position = 0
        self.depth = 0
        self.bars = 0
        self.brackets = 0

    def peek(self, ahead: int = 0) -> str:
        index = self.position + ahead
        return self.tokens[index] if index < len(self.tokens) else ""

    def take(self) -> str:
        token = self.peek()
        self.position += 1
        return token

    def expect(self, *wanted: str) -> str:
        token = self.take()
        if token not in wanted:
            raise Malformed(f"expected {wanted[0]}")
        return token

    def link(self, links: int) -> int:
        if links >= MAX_CHAIN:
            raise Malformed("chain too long")
        return links + 1

    def nested(self, rule: Any, *args: Any, bars: int | None = 0, brackets: int = 0) -> Any:
        """One level deeper; `bars` is how many `|` are open there, None for as many as here."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Malformed("nested too deeply")
        outside = self.bars, self.brackets
        self.bars = self.bars if bars is None else bars
        self.brackets = brackets
        node = rule(*args)
        self.bars, self.brackets = outside
        self.depth -= 1
        return node

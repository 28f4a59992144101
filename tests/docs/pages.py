"""The pages of the documentation, taken apart: code blocks, what a block says of itself, commands in running text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# The tutorial has a test of its own, which runs it whole.
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
MARKS = ("needs a GPU", "needs another program", "takes some minutes", "takes hours", "keeps running")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """Args:
    language: word behind the fence.
    text: content without the line that marks it.
    mark: reason why a machine with two cores does not run it in seconds; empty if it does.
    """

    language: str
    text: str
    mark: str

    @property
    def lines(self) -> list[str]:
        """Its commands, without comments."""
        lines = (re.sub(r"\s+#.*$", "", line).strip() for line in self.text.splitlines())
        return [line for line in lines if line and not line.startswith("#")]


def blocks(page: Path, *languages: str) -> list[Block]:
    """The code blocks of a page in some languages, in order."""
    found = []
    for language, text in FENCE.findall(page.read_text(encoding="utf-8")):
        first = text.partition("\n")[0].removeprefix("# ")
        mark = first if first in MARKS else ""
        if language in languages:
            found.append(Block(language, text.partition("\n")[2] if mark else text, mark))
    return found


def spans(page: Path) -> list[str]:
    """Commands that stand between backticks in running text; those with an ellipsis are no whole ones."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    found = (" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text))
    return [span for span in found if re.match(r"(rftt|make|python|pytest|launch/\S+) \S", span) and "…" not in span]

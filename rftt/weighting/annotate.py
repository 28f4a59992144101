"""What is known of each token of a sample before training: its functional step, whether it answers, its role."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from rftt.weighting.interface import NO_FUNCTION, NO_ROLE
from search.functions import RFTT, FunctionSet

IGNORED = -100  # label of tokens that are not learnt
COLUMNS = ("token_functions", "token_key", "token_roles")


class RoleSource(Protocol):
    """Gives tokens their roles."""

    def roles(self, ids: Sequence[int], learnt: Sequence[bool]) -> list[int]:
        """``BOILERPLATE``, ``REASONING``, or ``NO_ROLE`` for context, of each token of a sample.

        Raises:
            ValueError: a learnt token has no role.
        """


class Annotator:
    """Adds the columns `COLUMNS` to a tokenised sample.

    Args:
        tokenizer: tokenizer of the model that is trained.
        sources: sources of roles; None for no roles.
        marker: the answer part is what follows the last one; empty for the last step of functional chains.
        functions: the token set.
    """

    def __init__(
        self, tokenizer: Any, sources: RoleSource | None = None, marker: str = "", functions: FunctionSet = RFTT
    ) -> None:
        known = tokenizer.get_vocab()
        self._functions = functions
        self._tags = {tag: known[tag] for tag in functions.tags if tag in known}
        self._tokenizer, self.sources, self._marker = tokenizer, sources, marker

    def __call__(self, sample: Mapping[str, Any]) -> dict[str, list[int]]:
        """Raises:
        ValueError: a learnt token has no role.
        """
        ids = sample["input_ids"]
        learnt = [label != IGNORED for label in sample["labels"]]
        if self._marker:
            key = after_marker(token_texts(self._tokenizer, ids), learnt, self._marker)
        else:
            key = last_step(ids, learnt, self._tags.get(self._functions[self._functions.terminal].open))
        roles = self.sources.roles(ids, learnt) if self.sources else [NO_ROLE] * len(ids)
        if self.sources and any(wanted and role == NO_ROLE for wanted, role in zip(learnt, roles, strict=True)):
            raise ValueError(f"{type(self.sources).__name__}: a learnt token has no role")
        return {
            "token_functions": functions_of(ids, self._tags, self._functions),
            "token_key": [int(k) for k in key],
            "token_roles": roles,
        }


def functions_of(ids: Sequence[int], tags: Mapping[str, int], functions: FunctionSet = RFTT) -> list[int]:
    """Index of the functional step that each token belongs to, its tags included; ``NO_FUNCTION`` outside.

    Args:
        ids: token ids.
        tags: tag → token id; without tags nothing is inside.
        functions: the token set.
    """
    opening = {tags[f.open]: i for i, f in enumerate(functions.functions) if f.open in tags}
    closing = {tags[f.close] for f in functions.functions if f.close in tags}
    found, current = [], NO_FUNCTION
    for token in ids:
        current = opening.get(token, current)
        found.append(current)
        if token in closing:
            current = NO_FUNCTION
    return found


def last_step(ids: Sequence[int], learnt: Sequence[bool], opening: int | None) -> list[bool]:
    """The learnt tokens from the last opening tag on, the tag included; none where there is no such tag."""
    starts = [i for i, token in enumerate(ids) if learnt[i] and token == opening]
    return [bool(starts) and learnt[i] and i >= starts[-1] for i in range(len(ids))]


def after_marker(texts: Sequence[str], learnt: Sequence[bool], marker: str) -> list[bool]:
    """The learnt tokens after the last marker in the learnt text; none where there is no marker.

    A token that holds the end of the marker and more belongs to what follows.
    """
    chosen = [i for i in range(len(texts)) if learnt[i]]
    at = "".join(texts[i] for i in chosen).rfind(marker)
    key = [False] * len(texts)
    end, reached = at + len(marker), 0
    for i in chosen if at >= 0 else ():
        reached += len(texts[i])
        key[i] = reached > end or (reached == end and not texts[i])
    return key


def token_texts(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """The piece of text that each token adds, tags and special tokens included; their concatenation is the text.

    Tokens are decoded behind the ones before them, because many tokenizers drop a blank before a lone token. A character
    that several tokens spell goes to the last of them.
    """
    texts: list[str] = []
    start = done = 0  # decoding begins at `start`; what is before `done` has been given its text
    for i in range(len(ids)):
        before = tokenizer.decode(ids[start:done], clean_up_tokenization_spaces=False)
        text = tokenizer.decode(ids[start : i + 1], clean_up_tokenization_spaces=False)
        if text.endswith("\ufffd") and i + 1 < len(ids):  # half a character
            texts.append("")
        else:
            texts.append(text[len(before) :])
            start, done = done, i + 1
    return texts

"""Where the roles of tokens come from: SHAD's file, or regular expressions, the paper's baseline (arXiv 2412.14780)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from rftt.errors import UsageError
from rftt.weighting.annotate import token_texts
from rftt.weighting.interface import BOILERPLATE, NO_ROLE, REASONING
from rftt.weighting.options import WeightingConfig
from search.functions import RFTT, FunctionSet
from search.journal import read_jsonl

SCHEMA = "rftt.roles/1"
# The skeleton of tool calls in JSON and of ReAct.
PATTERNS: tuple[str, ...] = (
    r'"(?:name|arguments|parameters)"\s*:?',
    r"</?tool_call>",
    r'[{}\[\]",:]',
    r"(?:Thought|Action|Action Input|Observation|Final Answer)\s*:",
)


def role_of(difference: float, threshold: float) -> int:
    """SHAD's rule: reasoning where shuffled data made the token harder by more than `threshold` nats."""
    return REASONING if difference > threshold else BOILERPLATE


def role_source(
    settings: WeightingConfig, tokenizer: Any, shad: Path | None, threshold: float, functions: FunctionSet = RFTT
) -> ShadRoles | RegexRoles | None:
    """The source of roles that the settings ask for.

    Args:
        settings: ``sft.weighting``.
        tokenizer: tokenizer of the model that is trained.
        shad: what `rftt shad` leaves in this run.
        threshold: threshold of SHAD, in nats.
        functions: functions whose tags are boilerplate to regular expressions.

    Raises:
        UsageError: SHAD's file is asked for and not there.
    """
    if settings.roles is None:
        return None
    if settings.roles == "regex":
        return RegexRoles(tokenizer, settings.boilerplate, functions)
    if settings.roles == "shad" and shad is None:
        raise UsageError("sft.weighting.roles: shad is not allowed here, expected the path of a roles.jsonl")
    return ShadRoles.read(Path(settings.roles) if settings.roles != "shad" or shad is None else shad, threshold)


class ShadRoles:
    """Roles that `rftt shad` has written, found again by the token ids of the whole sample.

    Args:
        records: records of ``roles.jsonl``.
        threshold: threshold of LD in nats, applied to the stored differences; None for the roles as they were written.
        where: the file, for messages.
    """

    def __init__(self, records: Iterable[dict[str, Any]], threshold: float | None = None, where: str = "roles") -> None:
        self._where = where
        self._roles: dict[tuple[int, ...], list[int]] = {}
        for record in records:
            roles = record["roles"]
            if threshold is not None:
                roles = [NO_ROLE if d is None else role_of(d, threshold) for d in record["ld"]]
            self._roles[tuple(record["ids"])] = roles

    @classmethod
    def read(cls, path: Path, threshold: float | None = None) -> ShadRoles:
        """Raises:
        UsageError: there is no such file.
        """
        if not path.exists():
            raise UsageError(f"{path}: there are no roles yet; run `rftt shad CONFIG` first")
        return cls(read_jsonl(path), threshold, str(path))

    def roles(self, ids: Sequence[int], learnt: Sequence[bool]) -> list[int]:
        roles = self._roles.get(tuple(ids))
        if roles is None or any(wanted and role == NO_ROLE for wanted, role in zip(learnt, roles, strict=True)):
            raise UsageError(
                f"{self._where}: {'a sample is not in it' if roles is None else 'a learnt token has no role in it'}; it was "
                "made for other data or another tokenizer: run `rftt shad` on what is trained on"
            )
        return roles


class RegexRoles:
    """Boilerplate is what regular expressions match in the learnt text; all else is reasoning.

    Args:
        tokenizer: tokenizer of the model.
        patterns: regular expressions; empty for the tags of `functions` and `PATTERNS`.
        functions: the token set.
    """

    def __init__(self, tokenizer: Any, patterns: Sequence[str] = (), functions: FunctionSet = RFTT) -> None:
        self._tokenizer = tokenizer
        tags = "|".join(re.escape(tag) for tag in functions.tags)
        self._patterns = [re.compile(p) for p in patterns or (tags, *PATTERNS)]

    def roles(self, ids: Sequence[int], learnt: Sequence[bool]) -> list[int]:
        texts = token_texts(self._tokenizer, ids)
        chosen = [i for i in range(len(ids)) if learnt[i]]
        text = "".join(texts[i] for i in chosen)
        matched = [0] * len(text)
        for pattern in self._patterns:
            for match in pattern.finditer(text):
                matched[slice(*match.span())] = [1] * len(match.group())
        special = set(self._tokenizer.all_special_ids)
        roles = [NO_ROLE] * len(ids)
        for i, end in zip(chosen, accumulate(len(texts[i]) for i in chosen), strict=True):
            inside = [matched[k] for k in range(end - len(texts[i]), end) if not text[k].isspace()]
            boilerplate = ids[i] in special or not inside or 2 * sum(inside) > len(inside)
            roles[i] = BOILERPLATE if boilerplate else REASONING
        return roles

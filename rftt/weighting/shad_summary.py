"""What SHAD found, in numbers: how much is reasoning, which tokens and n-grams are most often what, functional tokens."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

from rftt.weighting.interface import BOILERPLATE, NO_ROLE, REASONING
from search.functions import RFTT, FunctionSet

LISTED = 20
LONGEST = 4  # n-grams
NAMES = {BOILERPLATE: "boilerplate", REASONING: "reasoning"}


def summarise(records: Iterable[dict[str, Any]], tokenizer: Any, functions: FunctionSet = RFTT) -> dict[str, Any]:
    """Count over the records of ``roles.jsonl``.

    Args:
        records: records of ``roles.jsonl``.
        tokenizer: tokenizer of the model.
        functions: functions whose tags are counted.

    Returns:
        ``samples``, ``tokens``, ``reasoning_share``; ``tokens_by_role`` and ``ngrams_by_role``: the most frequent ones of
        boilerplate and of reasoning, each with its text, how often it has that role (an n-gram: all of it), and the share
        of its occurrences that has it; ``functional_tokens``: count, share of reasoning and mean LD of each tag.
    """
    vocabulary = tokenizer.get_vocab()
    tags = {vocabulary[tag]: tag for tag in functions.tags if tag in vocabulary}
    seen: Counter[tuple[int, ...]] = Counter()
    by_role: dict[int, Counter[tuple[int, ...]]] = {role: Counter() for role in NAMES}
    functional: dict[str, list[float]] = defaultdict(lambda: [0, 0, 0.0])
    samples = 0
    for record in records:
        samples += 1
        ids, roles = record["ids"], record["roles"]
        for i, role in enumerate(roles):
            if role == NO_ROLE:
                continue
            if ids[i] in tags:
                counts = functional[tags[ids[i]]]
                counts[0] += 1
                counts[1] += role == REASONING
                counts[2] += record["ld"][i]
            for n in range(1, LONGEST + 1):
                if i + n > len(ids) or roles[i + n - 1] == NO_ROLE:
                    break
                gram = tuple(ids[i : i + n])
                seen[gram] += 1
                if all(r == role for r in roles[i : i + n]):
                    by_role[role][gram] += 1
    totals = {role: sum(c for gram, c in by_role[role].items() if len(gram) == 1) for role in NAMES}
    tokens = sum(totals.values())

    def most(role: int, wanted: range) -> list[dict[str, Any]]:
        found = ((gram, count) for gram, count in by_role[role].items() if len(gram) in wanted)
        ranked = sorted(found, key=lambda pair: (-pair[1], pair[0]))[:LISTED]
        return [{"text": tokenizer.decode(list(g)), "count": c, "share": round(c / seen[g], 4)} for g, c in ranked]

    return {
        "samples": samples,
        "tokens": tokens,
        "reasoning_share": round(totals[REASONING] / max(1, tokens), 4),
        "tokens_by_role": {name: most(role, range(1, 2)) for role, name in NAMES.items()},
        "ngrams_by_role": {name: most(role, range(2, LONGEST + 1)) for role, name in NAMES.items()},
        "functional_tokens": {
            tag: {"count": int(n), "reasoning_share": round(r / n, 4), "mean_ld": round(total / n, 4)}
            for tag, (n, r, total) in sorted(functional.items())
        },
    }

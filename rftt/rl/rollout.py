"""A rollout: one sampled path, of a tree or written by the policy in one go, as it goes from the sampler to the loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from search.answer_rule import AnswerRule
from search.chain import well_formed
from search.engines import Generation
from search.grading import Asked, Graded, Grading, grade_math
from search.tree import Node, Tree

Origin = Literal["tree", "plain", "walk"]


@dataclass(frozen=True)
class Rollout:
    """One sampled path.

    Args:
        prompt_ids, completion_ids: ids as the engine saw and sampled them.
        logprobs: log-probabilities of each completion id under the policy, full vocabulary, natural log.
        question_id: id of its problem.
        answer: the gold answer.
        status: how the path ended: answered, truncated or malformed.
        verdict: verdict of the grader; ``"no_answer"`` where the path did not end in an answer that counts.
        score: score of a reward function of the user's own, in [0, 1]; None without one.
        origin: ``"tree"``, where the search chose the functions; ``"plain"``, where the policy drew every token; or
            ``"walk"``, the same with the help of what was known of the question's tokens.
        starts: index of the first completion id of each step, its opening tag.
        texts: texts of the steps, without tags.
        nodes: ids of the steps' nodes, which paths of one tree share; empty for others.
        weight: what the path counts for in its group; 1 where nothing is corrected.
        replayed: whether it comes from an earlier visit to the question.
        loss_mask: 1 for each completion id that is in the loss, 0 for others; None where all are.
        process_returns: process rewards from each step to the end of the path; None without a process reward model.
    """

    prompt_ids: list[int]
    completion_ids: list[int]
    logprobs: list[float]
    question_id: str
    answer: str
    status: str
    verdict: str
    origin: Origin
    starts: list[int]
    texts: list[str]
    nodes: list[int] = field(default_factory=list)
    weight: float = 1.0
    score: float | None = None
    replayed: bool = False
    loss_mask: list[int] | None = None
    process_returns: list[float] | None = None


def tree_rollout(tree: Tree, leaf: Node, weight: float = 1.0) -> Rollout:
    """The path that a rollout finished at `leaf`."""
    nodes = tree.path(leaf)
    starts, length = [], 0
    for node in nodes:
        starts.append(length)
        length += len(node.ids)
    return Rollout(
        prompt_ids=tree.prompt_ids,
        completion_ids=[i for node in nodes for i in node.ids],
        logprobs=[p for node in nodes for p in node.logprobs],
        question_id=tree.question_id,
        answer=tree.gold or "",
        status=leaf.status,
        verdict=leaf.verdict or "no_answer",
        origin="tree",
        starts=starts,
        texts=[node.text for node in nodes],
        nodes=[node.id for node in nodes],
        weight=weight,
        score=leaf.score,
    )


async def plain_rollout(
    prompt_ids: list[int],
    generation: Generation,
    asked: Asked,
    tokenizer: Any,
    tags: Mapping[str, int],
    rule: AnswerRule,
    grading: Grading = grade_math,
) -> Rollout:
    """A chain that the policy wrote by itself.

    Args:
        prompt_ids: ids that it continues.
        generation: what was sampled.
        asked: the problem.
        tokenizer: tokenizer of the policy.
        tags: id of every tag of the token set.
        rule: what counts as its answer; holds the token set.
        grading: says what its answer is worth.
    """
    ids = list(generation.ids)
    openings = {tags[f.open] for f in rule.functions.functions}
    starts = [k for k, i in enumerate(ids) if i in openings]
    status, graded = "truncated", Graded("no_answer", None)
    if generation.stopped:
        text = tokenizer.decode(ids, skip_special_tokens=True)
        status = "answered" if well_formed(text, rule.functions, extract=rule.extract) else "malformed"
        if part := rule.part(text):
            graded = await grading(asked, part, rule.extract)
    return Rollout(
        prompt_ids=prompt_ids,
        completion_ids=ids,
        logprobs=list(generation.logprobs),
        question_id=asked.id,
        answer=asked.gold,
        status=status,
        verdict=graded.status,
        score=graded.score,
        origin="plain",
        starts=starts,
        texts=[_text(ids[a:b], tokenizer, tags) for a, b in zip(starts, [*starts[1:], len(ids)])],
    )


def _text(ids: list[int], tokenizer: Any, tags: Mapping[str, int]) -> str:
    """Text of a step between its opening tag and the next tag."""
    known = set(tags.values())
    end = next((k for k, i in enumerate(ids[1:], 1) if i in known), len(ids))
    return tokenizer.decode(ids[1:end], skip_special_tokens=True).strip()

"""From trees to SFT chains (RFTT, section 3.2).

A plain chain is a correct path. A merged chain walks into a mistake and out of it: the steps that a correct and a wrong
path share, the rest of the wrong path, a generated verification that says where it goes wrong, and the rest of the
correct path, whose first step becomes the correction.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from rewards import extract_answer
from search.arithmetic import calculations
from search.chain import ChainError, Step, check, holds_tags, render
from search.collection import CollectionConfig
from search.fault import find_fault
from search.functions import RFTT, FunctionSet
from search.judging import Scorer
from search.mcts import derived_seed
from search.prompted import PromptedPolicy
from search.together import together
from search.tree import Node, Tree

SCHEMA = "rftt.chain/1"


@dataclass(frozen=True)
class Pair:
    """A correct path and a wrong one, and how many steps they share."""

    right: list[Node]
    wrong: list[Node]
    shared: int


async def score_steps(tree: Tree, scorer: Scorer) -> None:
    """Write the scores of a process reward model into the nodes of all paths that end in an answer (RFTT, section 3.2).

    Args:
        tree: a finished tree.
        scorer: asked for all paths at once.

    Raises:
        EngineError: a path cannot be scored.
    """
    paths = [tree.path(leaf) for leaf in tree.leaves() if leaf.status == "answered"]
    found = await together(scorer(tree.question, [node.text for node in path]) for path in paths)
    for path, scores in zip(paths, found, strict=True):
        for node, score in zip(path, scores, strict=True):
            node.prm = score


def path_score(tree: Tree, leaf: Node) -> float:
    """Mean PRM score of the path's steps; where no PRM has scored them, mean Q/N of the nodes before the leaf.

    The Q of a leaf is its own verdict, 1 for every correct path: it would only favour short paths, and with them lucky
    guesses. A path of one step is worth what the question's own Q/N says.
    """
    path = tree.path(leaf)
    if leaf.prm is not None:
        scores = [n.prm or 0.0 for n in path]
    else:
        scores = [n.mean for n in path[:-1]] or [tree.root.mean]
    return sum(scores) / len(scores)


def rank(tree: Tree, *, correct: bool) -> list[Node]:
    """Leaves with an answer, best score first for correct ones, worst first for wrong ones.

    Ties go to fewer repeated steps, then to the shorter path.
    """
    wanted = "correct" if correct else "wrong"
    sign = -1.0 if correct else 1.0
    leaves = [n for n in tree.leaves() if n.verdict == wanted]
    return sorted(leaves, key=lambda n: (sign * path_score(tree, n), tree.repeated_steps(n), tree.depth(n), n.id))


def pairs(tree: Tree, leaf: Node) -> list[Pair]:
    """Wrong paths that a merged chain could take before `leaf`, most useful first.

    Paths that share steps with the correct one come first, among them the one with the lowest mean score.
    """
    right = tree.path(leaf)
    found = []
    for wrong_leaf in rank(tree, correct=False):
        wrong = tree.path(wrong_leaf)
        shared = next((i for i, (a, b) in enumerate(zip(right, wrong, strict=False)) if a is not b), 0)
        found.append(Pair(right, wrong, shared))
    return sorted(found, key=lambda p: p.shared == 0)


def plain(path: list[Node], functions: FunctionSet) -> list[Step]:
    """A path as a chain. The last step of a prompted path states the answer, which the terminal function repeats."""
    steps = [Step(n.function, n.text) for n in path]
    if path[-1].function == functions.terminal:
        return steps
    return [*steps, Step(functions.terminal, f"\\boxed{{{path[-1].answer}}}")]


def merged(pair: Pair, verification: str, functions: FunctionSet) -> list[Step]:
    """Shared steps, wrong rest, verification, and the correct rest with its first step as the correction."""
    assert functions.checking is not None and functions.correcting is not None
    first, *rest = plain(pair.right[pair.shared :], functions)
    return [
        *(Step(n.function, n.text) for n in pair.wrong),
        Step(functions.checking, verification),
        Step(functions.correcting, first.text),
        *rest,
    ]


async def verification(tree: Tree, pair: Pair, policy: PromptedPolicy) -> str:
    """What is wrong with the wrong path: said by rule, or by the model where the token set asks it, which is given the
    correct rest."""
    functions = policy.functions
    if not functions.merge_prompt:
        right, wrong = ([n.text for n in path] for path in (pair.right, pair.wrong))
        return find_fault(tree.question, right, wrong, pair.shared).text
    reference = "\n".join(n.text for n in pair.right[pair.shared :])
    place = f"{tree.key(pair.wrong[-1])}/{functions.checking}"
    return await policy.perform(tree, pair.wrong, functions.merge_instruction(reference), place)


def tells(pair: Pair) -> bool:
    """Whether the reader of a merged chain can see what the correction corrects: the paths share a step, and the first
    step of the correct rest calculates or answers."""
    first = pair.right[pair.shared].text
    return pair.shared > 0 and (bool(calculations(first)) or extract_answer(first, rule="boxed") is not None)


def most_chains(tree: Tree, config: CollectionConfig) -> int:
    """How many chains a tree may give, 1 or more."""
    most = config.chains_per_question
    verdicts = [leaf.verdict for leaf in tree.leaves() if leaf.verdict is not None]
    if not config.chains_by_difficulty or not verdicts:
        return most
    right = verdicts.count("correct")
    return max(1, most - most * right // len(verdicts))


async def chains(
    tree: Tree, policy: PromptedPolicy | None, config: CollectionConfig, functions: FunctionSet = RFTT
) -> list[dict[str, Any]]:
    """SFT chains of one tree.

    Args:
        tree: a finished tree with verdicts.
        policy: writes the verification; None writes plain chains only, as for the trees of a tuned model, which verifies
            and corrects itself. A token set without a checking function has plain chains only as well.
        config: how many chains, and which share of them merged.
        functions: the token set.

    Returns:
        Records ``{"schema", "question_id", "messages", "kind", "answer", "score", "path"}``; chains that the functional
        transition table forbids are left out, as are repeated ones.
    """
    rng = random.Random(derived_seed(config.seed, tree.question_id, "chains"))
    records: list[dict[str, Any]] = []
    seen: set[str] = set()
    writer = policy if functions.checking is not None else None
    most = most_chains(tree, config)
    for leaf in (leaf for leaf in rank(tree, correct=True) if leaf.answer is not None):
        if len(records) == most:
            break
        candidates = pairs(tree, leaf) if writer and rng.random() < config.merged_share else []
        steps, kind = None, "plain"
        if not functions.merge_prompt:
            candidates = [pair for pair in candidates if tells(pair)]
        for pair in candidates:
            # Legality does not depend on the words of the verification: ask for them once, for the pair that is taken.
            if writer and _legal(merged(pair, "…", functions), functions):
                text = await verification(tree, pair, writer)
                if text and not holds_tags(text, functions):
                    steps, kind = merged(pair, text, functions), "merged"
                break
        steps = steps or plain(tree.path(leaf), functions)
        content = render(steps, functions)
        if content in seen or not _legal(steps, functions):
            continue
        seen.add(content)
        records.append({
            "schema": SCHEMA,
            "question_id": tree.question_id,
            "messages": [{"role": "user", "content": tree.question}, {"role": "assistant", "content": content}],
            "kind": kind,
            "answer": leaf.answer,
            "score": round(path_score(tree, leaf), 6),
            "leaf": leaf.id,
            "made_by": tree.made_by,
        })  # fmt: skip
    return records


def _legal(steps: list[Step], functions: FunctionSet) -> bool:
    try:
        check(steps, functions)
    except ChainError:
        return False
    return True

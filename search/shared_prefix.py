"""Shared-prefix sampling: exact, independent samples of the policy, of which only what is not known yet is generated.

Each draw walks a `TokenTrie` of what was generated for the prompt before, by a tree search or by other draws, and asks the
engine for the rest: for one token with the known ones forbidden, where it leaves between them, then for the end of the path.
On a policy that is sure of most of its tokens a group costs a third of what separate samples cost; on one that is not, about
the same.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from search.engines.engine import Engine, Generation, Sampling
from search.mcts import derived_seed
from search.together import together
from search.token_trie import TokenTrie, Walk
from search.tree import Tree

GROWTH = 4  # samples in flight for each known path: fewer make a group wait longer, more leave it less to share


@dataclass(frozen=True)
class Draw:
    """One sample.

    Args:
        generation: the whole path below the prompt, as if it had been generated in one request.
        generated: tokens that it took.
    """

    generation: Generation
    generated: int


def known_tokens(tree: Tree, opening_ids: dict[str, int]) -> TokenTrie:
    """What the generation of a tree has told of the policy's distribution.

    Args:
        tree: tree of a policy that samples at temperature 1 and whose nodes hold ids, log-probabilities and those of the
            functions that may follow.
        opening_ids: function → id of its opening tag.

    Returns:
        The tokens of all nodes, and the functions after them. A path that the search cut off or gave up ends there.
    """
    trie = TokenTrie()
    paths: dict[int, tuple[list[int], list[float]]] = {tree.root.id: ([], [])}
    for node in tree.nodes:  # parents come before their children
        if node.parent is not None:
            ids, logprobs = paths[node.parent]
            paths[node.id] = ([*ids, *node.ids], [*logprobs, *node.logprobs])
        ids, logprobs = paths[node.id]
        trie.add(ids, logprobs, ended=node.terminal)
        if not node.terminal:
            trie.know(ids, ((opening_ids[f], logprob) for f, logprob in node.branch_logprobs.items()))
    return trie


async def draw(
    trie: TokenTrie, engine: Engine, prompt_ids: list[int], sampling: Sampling, count: int, *, at_once: int = 1,
    growth: int = GROWTH, first: int = 0,
) -> list[Draw]:  # fmt: skip
    """Samples of the policy given that they are none of the paths set aside in `trie`; they become known there.

    Args:
        trie: what is known below the prompt.
        engine: generates.
        prompt_ids: ids of the prompt.
        sampling: sampling of a whole path; `n` and `forbidden_ids` are not read, temperature and top_p have to be 1.
        count: number of samples.
        at_once: most samples in flight. Those in flight do not know of each other: the more there are, the less is shared.
        growth: most samples in flight for each path that is known, so that even a first group shares something.
        first: number of samples that were drawn with this seed before.

    Returns:
        The samples in order; they depend on `at_once` and the seed, not on the engine's timing.

    Raises:
        ValueError: samples of a tempered or cut distribution are wanted.
    """
    if sampling.temperature != 1.0 or sampling.top_p != 1.0:
        raise ValueError(
            f"temperature {sampling.temperature:g} and top_p {sampling.top_p:g}: expected 1 and 1, since walks follow the "
            "probabilities of the model itself"
        )
    draws: list[Draw] = []
    known = len(trie)
    while len(draws) < count:
        width = min(count - len(draws), at_once, max(growth * known, 1))
        places = range(first + len(draws), first + len(draws) + width)
        walks = [trie.walk(random.Random(derived_seed(sampling.seed, "walk", k))) for k in places]
        found = await together(
            _finish(walk, engine, prompt_ids, sampling, k) for k, walk in zip(places, walks, strict=True)
        )
        for one in found:
            trie.add(one.generation.ids, one.generation.logprobs, ended=True)
        draws += found
        known += width
    return draws


async def _finish(walk: Walk, engine: Engine, prompt_ids: list[int], sampling: Sampling, place: int) -> Draw:
    """Let the engine write what the walk does not know."""
    ids, logprobs, generated = [*walk.ids], [*walk.logprobs], 0
    stopped = walk.ended and bool(ids) and ids[-1] in engine.eos_ids
    requests = [] if walk.ended else [(), walk.forbidden] if walk.forbidden else [()]
    while requests and len(ids) < sampling.max_tokens:
        forbidden = requests.pop()
        part = replace(
            sampling,
            n=1,
            max_tokens=1 if forbidden else sampling.max_tokens - len(ids),
            forbidden_ids=tuple(forbidden),
            seed=derived_seed(sampling.seed, "leave" if forbidden else "rest", place),
            logprobs=True,
        )
        [generation] = await engine.generate([*prompt_ids, *ids], part)
        ids += generation.ids
        logprobs += generation.logprobs
        generated += len(generation.ids)
        stopped = generation.stopped
        if stopped:
            break
    return Draw(Generation(tuple(ids), stopped, tuple(logprobs)), generated)

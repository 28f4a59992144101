"""Phase 2 policy: the tuned model proposes the functional tokens itself (RFTT, sections 3.3 and 3.4).

A step runs on through its close token and stops at the opening token of whatever the model would do next. The
distribution at that position is the prior of the new node's children, so a node costs one request and nothing more.
What the engine sampled is what a path holds: ids are never decoded and encoded again.
"""

from __future__ import annotations

import math
from typing import Any

from search.config import DEFAULTS, SearchConfig
from search.engines.engine import Engine, Generation, Sampling
from search.functions import RFTT, FunctionSet
from search.mcts import Expansion, derived_seed
from search.prompt import question_ids
from search.tree import Node, Tree


class FunctionalPolicy:
    """Proposes functional tokens with their model probabilities and writes the step of the one that is chosen.

    Args:
        engine: a model whose vocabulary holds the functional tokens.
        functions: token set with the functional transition table.
        config: settings of the search; priors and log-probs are those of the untempered model.

    Raises:
        ValueError: the tokenizer lacks a functional token.
    """

    name = "functional"

    def __init__(self, engine: Engine, functions: FunctionSet = RFTT, config: SearchConfig = DEFAULTS) -> None:
        self.engine = engine
        self.functions = functions
        self.config = config
        self._open = tag_ids(engine.tokenizer, [f.open for f in functions.functions])
        self._close = tag_ids(engine.tokenizer, [f.close for f in functions.functions])
        self._open_ids = tuple(self._open[f.open] for f in functions.functions)
        self._tag_ids = frozenset(self._open.values()) | frozenset(self._close.values())

    def width(self, function: str) -> int:
        return self.config.siblings

    async def start(self, tree: Tree) -> int:
        """One token is sampled for the distribution at the start."""
        tree.prompt_ids = question_ids(self.engine.tokenizer, tree.question)
        [first] = await self.engine.generate(
            tree.prompt_ids, self._sampling(tree, "start", 1, 1, self.config.temperature_of_steps)
        )
        if not first.ids:
            tree.root.status = "truncated"
            return 0
        tree.root.options = self._options(tree.root, first)
        return 1

    async def expand(self, tree: Tree, node: Node, function: str) -> Expansion:
        """One request for all siblings of a function; a further one is sampled alone, at the temperature of samples."""
        prompt_ids = list(tree.prompt_ids)
        steps = tree.path(node)
        for step in steps:
            prompt_ids += step.ids
        opening = self._open[self.functions[function].open]
        config, place = self.config, f"{tree.key(node)}/{function}"
        longest = self.functions[function].limit(config.max_step_tokens)
        before = sum(c.function == function for c in tree.children(node)) + node.repeats.get(function, 0)
        if before:
            sampling = self._sampling(tree, f"{place}/{before}", longest, 1, config.temperature)
        else:
            sampling = self._sampling(tree, place, longest, config.siblings, config.temperature_of_steps)
        generations = await self.engine.generate([*prompt_ids, opening], sampling)
        prior, children = (node.options or {})[function], []
        for sibling, generation in enumerate(generations, before):
            child = Node(-1, None, function, sibling, prior=prior)
            self._fill(child, opening, node.branch_logprobs[function], generation)
            if child.status == "open" and len(steps) + 1 >= self.config.max_depth:
                child.status = "truncated"
            children.append(child)
        return Expansion(children, sum(len(g.ids) for g in generations))

    def _sampling(self, tree: Tree, place: str, max_tokens: int, count: int, temperature: float) -> Sampling:
        return Sampling(
            max_tokens,
            n=count,
            temperature=temperature,
            top_p=self.config.top_p,
            seed=derived_seed(self.config.seed, tree.question_id, place),
            stop_ids=self._open_ids,
            watch_ids=self._open_ids,
            logprobs=True,
            tree=tree.question_id,
        )

    def _fill(self, child: Node, opening: int, branch_logprob: float, generation: Generation) -> None:
        """Turn what was sampled after an opening token into a node.

        The parts are: text without tags, the close token, white space, and the token that stopped it. An opening token
        that stopped it is not part of the step: it is one of the children's.
        """
        ids = generation.ids
        function = self.functions[child.function]
        tags = [i for i, t in enumerate(ids) if t in self._tag_ids]
        child.ids, child.logprobs = [opening, *ids], [branch_logprob, *generation.logprobs]
        child.text = self.engine.tokenizer.decode(ids[: tags[0]] if tags else ids).strip()
        if not generation.stopped:
            child.status = "truncated"
            return
        closed = bool(tags) and ids[tags[0]] == self._close[function.close]
        clean = closed and not self.engine.tokenizer.decode(ids[tags[0] + 1 : -1]).strip() and len(ids) - 1 > tags[0]
        if clean and function.name == self.functions.terminal and ids[-1] in self.engine.eos_ids:
            child.status = "answered"
        elif clean and function.name != self.functions.terminal and ids[-1] in self._open_ids:
            child.ids.pop()
            child.logprobs.pop()
            child.options = self._options(child, generation)
        else:
            child.status = "malformed"

    def _options(self, node: Node, generation: Generation) -> dict[str, float]:
        """Allowed functions with their probabilities, renormalised among themselves (RFTT, section 3.3)."""
        watched = generation.watched or {}
        allowed = self.functions.functional[node.function]
        node.branch_logprobs = {name: watched[self._open[self.functions[name].open]] for name in allowed}
        top = max(node.branch_logprobs.values())
        weights = {name: math.exp(logprob - top) for name, logprob in node.branch_logprobs.items()}
        total = sum(weights.values())
        priors = {name: weight / total for name, weight in weights.items()}
        if -sum(p * math.log(p) for p in priors.values() if p) < self.config.branch_entropy:
            likeliest = max(priors, key=priors.__getitem__)
            return {likeliest: priors[likeliest]}
        kept = {name: p for name, p in priors.items() if p >= self.config.min_prior}
        return kept or priors


def tag_ids(tokenizer: Any, tags: list[str]) -> dict[str, int]:
    """Ids of tags that must be single tokens.

    Raises:
        ValueError: a tag is not in the vocabulary.
    """
    vocabulary = tokenizer.get_vocab()
    missing = [tag for tag in tags if tag not in vocabulary]
    if missing:
        raise ValueError(
            f"the tokenizer has no token {missing[0]} ({len(missing)} missing): add them with `rftt tokens MODEL OUT`"
        )
    return {tag: vocabulary[tag] for tag in tags}

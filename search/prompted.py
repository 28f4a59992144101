"""Phase 1 policy: an un-tuned chat model performs each function because a prompt asks it to (RFTT, section 3.2)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from search.chain import holds_tags
from search.config import DEFAULTS, SearchConfig
from search.engines.engine import Engine, Sampling
from search.functions import RFTT, FunctionSet
from search.mcts import Expansion, derived_seed
from search.prompt import encode, prompt_text
from search.tree import Node, Tree

_MARK = "\x02question\x03"


def user_text(question: str, steps: Iterable[str], instruction: str) -> str:
    """The user turn that asks for one step.

    What siblings and descendants share stands first and the instruction last, so that an engine's prefix cache serves
    both.
    """
    return shared_text(question) + "".join(step_text(s) for s in steps) + instruction_text(instruction)


def shared_text(question: str) -> str:
    return f"{question}\n\nSteps so far:\n"


def step_text(text: str) -> str:
    return f"{text}\n"


def instruction_text(instruction: str) -> str:
    return f"\n{instruction}"


def chat_frame(tokenizer: Any) -> tuple[str, str]:
    """What the chat template writes before and after the text of a single user turn."""
    before, after = prompt_text(tokenizer, [{"role": "user", "content": _MARK}]).split(_MARK)
    return before, after


class PromptedPolicy:
    """Performs functions by prompting.

    Args:
        engine: the un-tuned model.
        functions: token set with prompts and the phase 1 transition table.
        config: settings of the search.
    """

    name = "prompted"

    def __init__(self, engine: Engine, functions: FunctionSet = RFTT, config: SearchConfig = DEFAULTS) -> None:
        self.engine = engine
        self.functions = functions
        self.config = config
        self._before, self._after = chat_frame(engine.tokenizer)
        self._encoded: dict[str, list[int]] = {}
        self._special_ids = frozenset(engine.tokenizer.all_special_ids) | engine.eos_ids

    def width(self, function: str) -> int:
        return self.functions[function].children

    async def start(self, tree: Tree) -> int:
        tree.prompt_ids = encode(self.engine.tokenizer, self._before + shared_text(tree.question))
        tree.root.options = self._options(tree.root.function)
        return 0

    async def expand(self, tree: Tree, node: Node, function: str) -> Expansion:
        """One request for all siblings; a sibling that repeats another is left out."""
        steps = tree.path(node)
        texts, spent = await self.perform(
            tree, steps, self.functions[function].prompt, self.width(function), f"{tree.key(node)}/{function}"
        )
        prior, children = (node.options or {})[function], []
        for sibling, text in enumerate(dict.fromkeys(texts)):
            ids = encode(self.engine.tokenizer, step_text(text))
            child = Node(-1, None, function, sibling, text=text, ids=ids, prior=prior)
            child.options = self._options(function)
            if not text or holds_tags(text, self.functions):
                child.status = "malformed"
            elif function == self.functions.answering:
                child.status = "answered"
            elif len(steps) + 1 >= self.config.max_depth:
                child.status = "truncated"
            children.append(child)
        return Expansion(children, spent)

    async def perform(
        self, tree: Tree, steps: Sequence[Node], instruction: str, count: int, place: str
    ) -> tuple[list[str], int]:
        """Ask for one step after `steps`.

        Returns:
            `count` texts, stripped, and the number of tokens generated.
        """
        prompt_ids = list(tree.prompt_ids)
        for step in steps:
            prompt_ids += step.ids
        prompt_ids += self._instruction_ids(instruction)
        sampling = Sampling(
            self.config.max_step_tokens,
            n=count,
            temperature=self.config.temperature,
            top_p=self.config.top_p,
            seed=derived_seed(self.config.seed, tree.question_id, place),
            tree=tree.question_id,
        )
        generations = await self.engine.generate(prompt_ids, sampling)
        texts = [
            self.engine.tokenizer.decode([i for i in g.ids if i not in self._special_ids]).strip() for g in generations
        ]
        return texts, sum(len(g.ids) for g in generations)

    def _instruction_ids(self, instruction: str) -> list[int]:
        """The end of a prompt; those of the functions are encoded once."""
        if instruction not in self._encoded:
            ids = encode(self.engine.tokenizer, instruction_text(instruction) + self._after)
            if not any(instruction == f.prompt for f in self.functions.functions):
                return ids
            self._encoded[instruction] = ids
        return self._encoded[instruction]

    def _options(self, function: str) -> dict[str, float]:
        allowed = self.functions.prompted.get(function, ())
        return dict.fromkeys(allowed, 1.0 / max(len(allowed), 1))

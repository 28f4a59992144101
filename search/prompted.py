"""Phase 1 policy: an un-tuned chat model performs each function because a prompt asks it to (RFTT, section 3.2).

What it writes is checked by the rules of the function (`step_rules`). A step that breaks one is asked for once more, from
what was wrong with it where the function says how, and left out when that does as well; when nothing is left of a function,
the node does without it. A step that states a boxed answer ends the path and becomes what it is: the answering function.
That one is never left out: an answer without a box gets the beginning of one to complete.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rewards import extract_answer
from search.arithmetic import all_used, numbers
from search.asking import BOX, Request, begun_again, read_step, up_to_box, way_of
from search.chain import holds_tags
from search.config import DEFAULTS, SearchConfig
from search.engines.engine import Engine, EngineError, Sampling, TooLong
from search.functions import RFTT, Function, FunctionSet
from search.mcts import Expansion, derived_seed
from search.prompt import encode
from search.step_counts import StepCounts
from search.step_rules import Draft, broken
from search.tree import Node, Tree

_BOX_TOKENS = 24


@dataclass(frozen=True)
class Sample:
    """One answer of the model, read.

    Args:
        draft: the step and what its rules look at.
        function: function whose step it is; not the one that was asked for where it states the final answer.
        fault: the rule that it breaks; empty for a valid step.
    """

    draft: Draft
    function: str
    fault: str

    @property
    def text(self) -> str:
        return self.draft.text


@dataclass(frozen=True)
class Ask:
    """A step that is asked for.

    Args:
        tree: tree of the question.
        node: node that the step goes below.
        steps: nodes from the root's first step to `node`.
        function: function that is asked for.
        request: the request, as it is made first.
        place: name of the place in the tree, from which seeds follow.
    """

    tree: Tree
    node: Node
    steps: Sequence[Node]
    function: Function
    request: Request
    place: str


class PromptedPolicy:
    """Performs functions by prompting.

    Args:
        engine: the un-tuned model.
        functions: token set with prompts, worked examples if there are any, and the phase 1 transition table.
        config: settings of the search.

    Raises:
        EngineError: the worked examples leave no room in the model's context.
    """

    name = "prompted"

    def __init__(self, engine: Engine, functions: FunctionSet = RFTT, config: SearchConfig = DEFAULTS) -> None:
        self.engine = engine
        self.functions = functions
        self.config = config
        self.way = way_of(engine.tokenizer, functions)
        self._special_ids = frozenset(engine.tokenizer.all_special_ids) | engine.eos_ids
        texts = [text for e in functions.examples for text in (e.question, *(text for _, text in e.lines))]
        self._foreign = frozenset(n for text in texts for n in numbers(text))
        self._check_room()

    def _check_room(self) -> None:
        taken = len(self.way.start_ids("")) if self.functions.examples else 0
        if taken and taken + self.config.max_step_tokens > self.engine.max_model_len:
            raise EngineError(
                f"the worked examples take {taken} tokens and a step up to {self.config.max_step_tokens}, but the engine "
                f"has room for {self.engine.max_model_len}: give it more by engine.max_model_len, lower max_step_tokens, or "
                "use a token set with fewer examples"
            )

    def width(self, function: str) -> int:
        return self.functions[function].children

    async def start(self, tree: Tree) -> int:
        tree.prompt_ids = self.way.start_ids(tree.question)
        tree.root.options = self._options(tree, tree.root.function, ())
        asked = [self.way.request(tree, (), self.functions[name], 1) for name in tree.root.options]
        length, room = max((len(request.prompt_ids) for request in asked), default=0), self.engine.max_model_len
        if length + 1 >= room:
            examples = ", worked examples included," if self.functions.examples else ""
            raise TooLong(
                f"question {tree.question_id}: its prompt of {length} tokens{examples} leaves no room for a step in the "
                f"engine's {room}; shorten it or raise max_model_len"
            )
        return 0

    async def expand(self, tree: Tree, node: Node, function: str) -> Expansion:
        """One request for all siblings, and one more for those that break a rule; a sibling that repeats another is left
        out."""
        steps, asked, counts = tree.path(node), self.functions[function], StepCounts()
        request = self.way.request(tree, steps, asked, self.config.max_step_tokens)
        ask = Ask(tree, node, steps, asked, request, f"{tree.key(node)}/{function}")
        temperature = self.config.temperature if asked.varied else self.config.temperature_of_steps
        samples, spent = await self._sample(ask, self.width(function), ask.place, temperature)
        if asked.valid:
            counts.first(function, [(s.function, s.fault) for s in samples])
        poor = [i for i, s in enumerate(samples) if s.fault]
        if poor and function == self.functions.answering:
            for i in poor:
                if samples[i].fault in ("boxed", "whole"):
                    samples[i], more = await self._boxed(ask, samples[i], f"{ask.place}/box{i}")
                    spent += more
        elif poor:
            spent += await self._again(ask, samples, poor)
        if poor:
            counts.second(function, [(samples[i].function, samples[i].fault) for i in poor])
        kept = [s for s in samples if not s.fault or s.function == self.functions.answering]
        return Expansion(self._children(tree, node, function, steps, kept), spent, counts.counted)

    def _children(
        self, tree: Tree, node: Node, function: str, steps: Sequence[Node], samples: Sequence[Sample]
    ) -> list[Node]:
        prior, children = (node.options or {})[function], []
        kinds = {s.text: s for s in samples}  # a text that occurs twice is one child
        for sibling, sample in enumerate(kinds.values()):
            if sample.function != function:  # beside those that the function itself may have
                sibling += self.width(sample.function) * (1 + self.functions.names.index(function))
            ids = self.way.step_ids(sample.function, sample.text)
            child = Node(-1, None, sample.function, sibling, text=sample.text, ids=ids, prior=prior)
            child.options = self._options(tree, sample.function, [*steps, child])
            if not sample.text or holds_tags(sample.text, self.functions):
                child.status = "malformed"
            elif sample.function == self.functions.answering:
                child.status = "answered"
            elif len(steps) + 1 >= self.config.max_depth:
                child.status = "truncated"
            children.append(child)
        return children

    async def perform(self, tree: Tree, steps: Sequence[Node], instruction: str, place: str) -> str:
        """What the model answers to an instruction about `steps`."""
        request = Request(self.way.instructed(tree, steps, instruction), self.config.max_step_tokens)
        [(text, _)], _ = await self._generate(tree, request, 1, place, self.config.temperature_of_steps)
        return text.strip()

    async def _generate(
        self, tree: Tree, request: Request, count: int, place: str, temperature: float
    ) -> tuple[list[tuple[str, bool]], int]:
        """Texts with whether each ended by itself, and the number of tokens generated."""
        sampling = Sampling(
            request.max_tokens,
            n=count,
            temperature=temperature,
            top_p=self.config.top_p,
            seed=derived_seed(self.config.seed, tree.question_id, place),
            stop_ids=request.stop_ids,
            tree=tree.question_id,
        )
        generations = await self.engine.generate(request.prompt_ids, sampling)
        decode = self.engine.tokenizer.decode
        texts = [(decode([i for i in g.ids if i not in self._special_ids]), g.stopped) for g in generations]
        return texts, sum(len(g.ids) for g in generations)

    async def _sample(self, ask: Ask, count: int, place: str, temperature: float) -> tuple[list[Sample], int]:
        texts, spent = await self._generate(ask.tree, ask.request, count, place, temperature)
        return [self._read(ask, text, stopped) for text, stopped in texts], spent

    async def _again(self, ask: Ask, samples: list[Sample], poor: Sequence[int]) -> int:
        """Asks once more for the samples that break a rule, which it replaces: as before, or from what their function
        makes of them (`Function.continued`, `Function.anew`)."""
        asked = {i: begun_again(ask.function, samples[i].fault, samples[i].text) for i in poor if self.way.cuts}
        begun = {i: beginning for i, beginning in asked.items() if beginning[0]}
        alike = [i for i in poor if i not in begun]
        temperature, spent = self.config.temperature, 0
        if alike:
            again, spent = await self._sample(ask, len(alike), f"{ask.place}/again", temperature)
            for i, sample in zip(alike, again, strict=True):
                samples[i] = sample
        for i, (said, kept) in begun.items():
            ids = encode(self.engine.tokenizer, f" {said}")
            longest = max(1, ask.request.max_tokens - (len(ids) if kept else 0))
            mine = Request([*ask.request.prompt_ids, *ids], longest, ask.request.stop_ids)
            [(rest, stopped)], more = await self._generate(ask.tree, mine, 1, f"{ask.place}/again{i}", temperature)
            samples[i] = self._read(ask, kept + rest, stopped)
            spent += more
        return spent

    async def _boxed(self, ask: Ask, sample: Sample, place: str) -> tuple[Sample, int]:
        """An answer without a box, with the one that the model puts into a box that is begun for it."""
        begun = f"{sample.text}\n{BOX}".lstrip("\n") if ask.function.form == "rest" else f" {sample.text} {BOX}"
        ids = [*ask.request.prompt_ids, *encode(self.engine.tokenizer, begun)]
        request = Request(ids, _BOX_TOKENS)
        [(rest, _)], spent = await self._generate(ask.tree, request, 1, place, self.config.temperature_of_steps)
        return self._read(ask, up_to_box(f"{begun}{rest}".strip()), stopped=True), spent

    def _read(self, ask: Ask, text: str, stopped: bool) -> Sample:
        function = ask.function
        kept, whole = read_step(text, function, stopped) if self.way.cuts else (text.strip(), stopped)
        draft = Draft(kept, whole, ask.tree.question, tuple(s.text for s in ask.steps), self._foreign)
        answering, becomes = self.functions.answering, function.name
        may_answer = self.way.cuts and answering in self.functions.prompted.get(ask.node.function, ())
        if may_answer and function.name != answering and extract_answer(kept, rule="boxed") is not None:
            becomes, draft = answering, replace(draft, whole=True)
        return Sample(draft, becomes, broken(draft, self.functions[becomes].valid))

    def _options(self, tree: Tree, function: str, steps: Sequence[Node]) -> dict[str, float]:
        """What may follow the last of `steps`, a step of `function`; of a transcript only the answer where one more step
        would truncate the path."""
        allowed = self.functions.prompted.get(function, ())
        if self.way.cuts and len(steps) + 1 >= self.config.max_depth and self.functions.answering in allowed:
            allowed = (self.functions.answering,)
        if any(self.functions[name].unused for name in allowed) and all_used(tree.question, [s.text for s in steps]):
            allowed = tuple(name for name in allowed if not self.functions[name].unused) or allowed
        return dict.fromkeys(allowed, 1.0 / max(len(allowed), 1))

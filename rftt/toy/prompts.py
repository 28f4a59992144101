"""The token set that the toy base model is asked with: by instruction, with the prompts that its lessons taught it.

It is the paper's set without worked examples, which would not fit into so small a model, and without rules for steps: how a
base that slips and overruns is made better by search and tuning is what the toy shows.
"""

from __future__ import annotations

from dataclasses import replace

from search.functions import RFTT, Function

# Where its lessons put it otherwise than pretrained models are asked.
_LESSONS = {
    "next_step": "Write exactly one next step of the solution, and nothing after it.",
    "direct_answer": "Finish the solution from here and put the final answer in \\boxed{}.",
}


def _taught(function: Function) -> Function:
    answers = function.name == RFTT.answering
    prompt = _LESSONS.get(function.name, function.prompt)
    return Function(function.name, function.description, prompt, children=1 if answers else 2, valid=())


TOY = replace(
    RFTT,
    functions=tuple(map(_taught, RFTT.functions)),
    merge_prompt=(
        "The steps above may contain a mistake. A correct solution continues like this:\n{reference}\n"
        "Compare and say where the steps above go wrong."
    ),
    examples=(),
)

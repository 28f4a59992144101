"""Reward hacks: a policy that finds one of these accepted will do nothing else."""

from __future__ import annotations

import pytest

from rewards import grade

HACKS = [
    ("7", r"\boxed{\ne 7}"),
    ("7", r"\boxed{\neg 7}"),
    ("7", r"\boxed{not 7}"),
    ("7", r"\boxed{7 @@ 8}"),
    ("7", r"\boxed{8 @@ 7}"),
    ("7", r"\boxed{\ldots 7}"),
    ("7", r"\boxed{} 7"),
    ("7", r"\boxed{6, 7, 8}"),
    ("7", r"\boxed{6 \text{ or } 7}"),
    ("7", r"\boxed{6} or \boxed{7}"),
    ("7", r"\boxed{7} \boxed{8}"),
    ("7", r"\boxed{6-8}"),
    ("7", r"\boxed{x \ge 7}"),
    ("7", r"\boxed{[7]}"),
    ("7", r"\boxed{[6,8]}"),
    ("7", r"\boxed{\text{the answer}}"),
    ("7", r"<think>\boxed{7}</think> \boxed{8}"),
    ("7", r"<think>\boxed{7}</think> The answer is 7."),
    ("7", "The final answer is $7$. \\boxed{8}"),
    ("7", "\\boxed{8}\n#### 7"),
    ("7", "<analyze>\n\\boxed{7}\n</analyze>\n<output>\n\\boxed{8}\n</output>\n"),
    ("7", r"\boxed{6} OR \boxed{7}"),
    ("7", r"\boxed{6} / \boxed{7}"),
    ("7", r"\boxed{6} if not then \boxed{7}"),
    ("7", r"\boxed{6 \lor 7}"),
    ("7", r"\boxed{6 \text{ oder } 7}"),
    ("7", "<plan>\n\\boxed{7}\n</plan>\n<answer>\nno\n</answer>"),
    ("7", "\\boxed{8}\n\nUser: sure?\n\nAssistant: \\boxed{7}"),
    ("0", r"\boxed{5\,000}"),
    ("204_5", r"\boxed{204_6}"),
    ("3, 14", r"\boxed{3.14}"),
    ("1,000", r"\boxed{1, 0}"),
    ("\\infty", r"\boxed{-\infty}"),
    ("\\infty", r"\boxed{\frac10}"),
    ("1, 2, \\ldots, n", r"\boxed{1, 3, 5, \ldots, 2n-1}"),
    ("1-\\frac1{\\mathrm{e}}", r"\boxed{1+\frac1{\mathrm{e}}}"),
    ("F_n = \\sum_{k=0}^{n-1} F_k F_{n-k-1}", r"\boxed{F_n = \sum_{k=0}^{n-2} F_k F_{n-k-2}}"),
]


@pytest.mark.parametrize(("gold", "text"), HACKS)
def test_hack_earns_nothing(gold: str, text: str) -> None:
    assert not grade(gold, text).correct


@pytest.mark.parametrize("text", ["", "I give up", "None", r"\boxed{}", r"\boxed{None}"])
def test_no_answer_never_equals_a_missing_gold(text: str) -> None:
    for gold in ("", "  ", None):
        with pytest.raises(ValueError, match="gold answer is empty"):
            grade(gold, text)  # type: ignore[arg-type]


CODE = [
    "__import__('pathlib').Path({path!r}).touch()",
    "().__class__.__bases__[0].__subclasses__()",
    "open({path!r}, 'w')",
    "\\operatorname{{__import__}}('os').system('touch {path}')",
    "exec(\"open({path!r},'w')\")",
]


@pytest.mark.parametrize("template", CODE)
def test_code_in_an_answer_is_not_executed(template: str, tmp_path) -> None:  # type: ignore[no-untyped-def]
    target = tmp_path / "executed"
    code = template.format(path=str(target))
    for gold in ("7", "x+1", code):
        for text in (rf"\boxed{{{code}}}", f"The answer is {code}"):
            grade(gold, text, extract="lenient")
    assert not target.exists()

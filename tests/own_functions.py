"""A token set of four functions, without verification; the toy base understands its prompts."""

from __future__ import annotations

from pathlib import Path

import yaml

from search.function_files import from_plain

YAML = r"""
functions:
  - name: plan
    description: think of an idea or plan
    prompt: Give a short idea or plan for the rest of the solution. Do not calculate.
  - name: step
    description: do exactly one step of reasoning
    prompt: Write exactly one next step of the solution, and nothing after it.
  - name: solve
    description: finish the rest of the solution
    prompt: Finish the solution from here and put the final answer in \boxed{}.
    children: 1
  - name: answer
    description: state the final answer
answering: solve
terminal: answer
prompted:
  question: [plan, step, solve]
  plan: [step, solve]
  step: [step, solve]
functional:
  question: [plan, step]
  plan: [step, solve]
  step: [step, solve]
  solve: [answer]
"""
OWN = from_plain(yaml.safe_load(YAML))


def write_own(folder: Path) -> Path:
    path = folder / "own.yaml"
    path.write_text(YAML, encoding="utf-8")
    return path

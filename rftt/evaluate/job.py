"""One model on one benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rftt.config import Config
from rftt.data.benchmarks import Benchmark
from rftt.data.problems import Problem
from search.answer_rule import AnswerRule
from search.engines import Engine
from search.functions import RFTT, FunctionSet
from search.grading import Asked, Grading, grade_math
from search.judging import Scorer


@dataclass(frozen=True)
class Job:
    """One model under measurement.

    Args:
        model: its name in the results: base, sft or rl.
        engine: serves it.
        problems: the held-out questions.
        config: the run's settings.
        folder: where samples and trees are kept.
        scorer: a process reward model that guides the search; None leaves it to agreement.
        benchmark: where the questions are from; None for those of `data.eval`.
        functions: the token set.
        train: questions that the model was trained on, to be told from the held-out ones.
        left_out: training questions that were left out since they overlap what is evaluated on.
        grading: says what an answer is worth.
    """

    model: str
    engine: Engine
    problems: Sequence[Problem]
    config: Config
    folder: Path
    scorer: Scorer | None = None
    benchmark: Benchmark | None = None
    functions: FunctionSet = RFTT
    train: Sequence[Problem] = ()
    left_out: int = 0
    grading: Grading = grade_math

    @property
    def searched(self) -> Sequence[Problem]:
        """The questions that searches, votes and strategies get."""
        return self.problems[: self.config.eval.search_limit]

    @property
    def answer_rule(self) -> AnswerRule:
        """What counts as an answer; the base model writes no functional chains."""
        return self.config.eval.search.answer_rule(self.functions, chains=self.model != "base")

    def label(self, what: str) -> str:
        """Names a part of the work in progress lines."""
        return f"{self.model}: {self.benchmark.name + ' ' if self.benchmark else ''}{what}"

    @staticmethod
    def problem(problem: Problem) -> Asked:
        """What a grading is told of a question."""
        return Asked(problem.id, problem.question, problem.answer)

    def asked(self, problem: Problem) -> str:
        """The question as whole chains are asked for: the base model is told how to answer, which tuned ones know."""
        instruction = self.config.eval.base_instruction if self.model == "base" else ""
        return f"{problem.question}\n\n{instruction}" if instruction else problem.question

"""A strategy: sample chains one after the other until two of them agree.

rftt solve "…" --model M --strategy docs/examples/strategy.py:until_two_agree --rollouts 16
"""

from rewards import grade_async
from search import Question, Solution, Solver
from search.engines import Sampling


async def until_two_agree(solver: Solver, question: Question) -> Solution:
    """At most ``rollouts`` chains; the vote is over those that were sampled."""
    config, solution = solver.config, solver.begin(question)
    prompt_ids = solver.prompt_ids(question)
    while len(solution.candidates) < config.rollouts:
        sampling = Sampling(
            config.max_tokens,
            temperature=config.temperature,
            top_p=config.top_p,
            seed=solver.seed(question, len(solution.candidates)),
            tree=question.id,
        )
        [generation] = await solver.engine.generate(prompt_ids, sampling)
        solution.tokens += len(generation.ids)
        solution.requests, solution.rounds = solution.requests + 1, solution.rounds + 1
        found = await solver.candidate(question, generation.ids, solution.tokens, None, finished=generation.stopped)
        answers = [candidate.answer for candidate in solution.candidates]
        solution.candidates.append(found)
        if await _agrees(found.answer, answers):
            solution.stopped = "decided"
            break
    return solution


async def _agrees(answer: str | None, others: list[str | None]) -> bool:
    """Whether an answer is mathematically equal to one of the others."""
    if answer is None:
        return False
    return any([(await grade_async(other, answer, extract="none")).correct for other in others if other is not None])

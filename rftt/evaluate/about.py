"""Under which conditions a result came about: prompt, template, sampling and grader."""

from __future__ import annotations

import dataclasses
import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import rewards
from rftt.evaluate.job import Job
from rftt.evaluate.tree_search import search_config
from rftt.runtime.versions import versions
from search.prompt import question_ids


def about(job: Job) -> dict[str, Any]:
    """The conditions, as a result file keeps them.

    Returns:
        ``prompt`` is that of the first question as the model reads it.
    """
    settings, tokenizer = job.config.eval, job.engine.tokenizer
    template = getattr(tokenizer, "chat_template", None)
    return {
        "prompt": tokenizer.decode(question_ids(tokenizer, job.asked(job.problems[0]))),
        "template_sha256": hashlib.sha256(str(template or "").encode()).hexdigest(),
        "instruction": settings.base_instruction if job.model == "base" else "",
        "functions": list(job.functions.names),
        "sampling": {
            "temperature": settings.search.temperature, "top_p": settings.search.top_p,
            "max_tokens": settings.search.max_tokens,
            "samples": settings.samples, "seed": job.config.seed,
        },
        "search": dataclasses.asdict(search_config(job)),
        "rollouts": list(settings.rollouts),
        "search_limit": settings.search_limit,
        "guide": settings.guide,
        "engine": job.config.engine.name,
        "extract": settings.search.extract,
        "grader": grader(),
    }  # fmt: skip


@lru_cache(maxsize=1)
def grader() -> dict[str, str]:
    """Which grader this is: versions, and a hash over its sources, which tells two states of one version apart."""
    sources = sorted(Path(rewards.__file__).parent.glob("*.py"))
    digest = hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in sources)).hexdigest()
    return versions(("rftt", "sympy", "math-verify")) | {"sha256": digest}

"""The process reward model that a config asks for, as the `RunningScorer` of a search."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rewards.prm.process import (
    PRMError,
    PRMGone,
    ProcessScorer,
    ScoringStats,
    ServerPRM,
    build_format,
    load_local,
)
from rftt.config import Config
from rftt.config.sections import PRMConfig
from rftt.errors import UsageError
from search.engines.engine import EngineError, EngineGone
from search.loading import CodeRefused, first_line, load_tokenizer


class RunningScorer:
    """Scores the steps of solutions for everything that searches or trains; see `rewards.prm.process.ProcessScorer`.

    Args:
        inner: process reward model that does the work.
    """

    def __init__(self, inner: ProcessScorer) -> None:
        self._inner = inner

    @property
    def stats(self) -> ScoringStats:
        return self._inner.stats

    async def __call__(self, question: str, steps: Sequence[str]) -> list[float]:
        """Scores in [0, 1], one for each step.

        Raises:
            EngineError: this path cannot be scored: its question fails, others go on.
            EngineGone: nothing can be scored any more.
        """
        try:
            return await self._inner(question, steps)
        except PRMGone as error:
            raise EngineGone(str(error)) from error
        except PRMError as error:
            raise EngineError(str(error)) from error

    def close(self) -> None:
        """Give the model back."""
        self._inner.close()


def build_scorer(prm: PRMConfig) -> RunningScorer | None:
    """Load, or prepare to ask, the process reward model.

    Args:
        prm: settings of the process reward model.

    Returns:
        A scorer, to be closed; None where ``prm.path`` is empty.

    Raises:
        UsageError: the model cannot be loaded, does not fit its format, or an option is unknown.
    """
    if not prm.path:
        return None
    try:
        if prm.servers:
            model: object = _served(prm)
        else:
            model = load_local(
                prm.path,
                lambda tokenizer: build_format(prm.format, tokenizer, prm.format_options),
                device=prm.device,
                dtype=prm.dtype,
                batch_size=prm.batch_size,
                max_length=prm.max_length,
                trust_remote_code=prm.trust_remote_code,
                options=prm.options,
            )
    except PRMError as error:
        raise UsageError(str(error)) from error
    except TypeError as error:
        raise UsageError(f"prm.options: {error}") from error
    return RunningScorer(ProcessScorer(model, questions=prm.questions))  # type: ignore[arg-type]


@contextmanager
def running_scorer(config: Config) -> Iterator[RunningScorer | None]:
    """A scorer that is closed at the end."""
    scorer = build_scorer(config.prm)
    try:
        yield scorer
    finally:
        if scorer is not None:
            scorer.close()


def _served(prm: PRMConfig) -> ServerPRM:
    try:
        tokenizer = load_tokenizer(prm.path, prm.trust_remote_code)
    except CodeRefused as error:
        raise UsageError(str(CodeRefused(prm.path, "prm.trust_remote_code"))) from error
    except (OSError, ValueError) as error:
        reason = first_line(error)
        raise UsageError(
            f"prm.path: {prm.path}: no tokenizer ({reason}); give the folder of the served model"
        ) from error
    form = build_format(prm.format, tokenizer, prm.format_options)
    return ServerPRM(
        prm.servers, prm.model or prm.path, form, batch_size=prm.batch_size, max_length=prm.max_length, **prm.options
    )

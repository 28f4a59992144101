"""Training whose loss or gradient is not finite stops, and nothing of it is kept as a model.

A step with such a gradient destroys the weights, and all that follows is lost time. The log of transformers hides such
losses.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from rftt.errors import TrainingFailed
from rftt.model.checkpoints import last_whole

log = logging.getLogger(__name__)


class StopsWhenNotFinite:
    """Mixed into a transformers `Trainer`, before `WholeCheckpoints`.

    Attributes:
        not_finite_steps: so many steps in a row whose loss or gradient is not finite end the training; a number from 1.
        what: is trained, for the message.
    """

    not_finite_steps = 3
    what = "training"
    _bad = 0  # such steps in a row until now
    _losses: list[Any]

    def training_step(self, *positional: Any, **options: Any) -> Any:
        loss = super().training_step(*positional, **options)  # type: ignore[misc]
        self._losses = [*getattr(self, "_losses", []), loss.detach().float().mean()]
        return loss

    def _maybe_log_save_evaluate(self, tr_loss: Any, grad_norm: Any, *positional: Any, **options: Any) -> Any:
        if getattr(self, "_losses", None):  # it is called once more at the end of an epoch
            self._count(grad_norm)
        return super()._maybe_log_save_evaluate(tr_loss, grad_norm, *positional, **options)  # type: ignore[misc]

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        if self._bad:
            log.warning(
                "no checkpoint is written: the last %d steps had a loss or gradient that is not finite", self._bad
            )
            return
        super()._save_checkpoint(model, trial)  # type: ignore[misc]

    def refuse_if_not_finite(self) -> None:
        """Called when the training has ended, before its model is saved.

        Raises:
            TrainingFailed: the last step was not finite.
        """
        if self._bad:
            self._fail()

    def _count(self, grad_norm: Any) -> None:
        """Count a step; one process that sees something is enough.

        Raises:
            TrainingFailed: there were too many.
        """
        import torch

        trainer: Any = self
        norms = [] if grad_norm is None else [torch.as_tensor(grad_norm).detach().float().cpu()]
        seen = torch.stack([*(loss.cpu() for loss in self._losses), *norms])
        self._losses = []
        bad = (~torch.isfinite(seen)).any()[None].to(trainer.args.device)
        self._bad = self._bad + 1 if bool(trainer.accelerator.gather(bad).any()) else 0
        if self._bad >= self.not_finite_steps:
            self._fail()

    def _fail(self) -> None:
        trainer: Any = self
        last = last_whole(Path(trainer.args.output_dir)) if trainer.is_world_process_zero() else None
        good = f"the last good checkpoint is {last}" if last else "there is no checkpoint from before"
        raise TrainingFailed(
            f"{self.what}: the loss or the gradient of {self._bad} steps in a row is not finite, up to step "
            f"{trainer.state.global_step}; nothing is saved as final, {good}. Lower {self.what}.trainer.learning_rate, set "
            f"{self.what}.trainer.max_grad_norm, or train with model.dtype=float32"
        )

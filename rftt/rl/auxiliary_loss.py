"""λ·L_RFT on the right paths of a batch, beside the loss of RL (SHAD + RFT, arXiv 2412.14780; off by default).

The log-probs are those of the RL loss: there is no forward pass of the policy more. What a token is for comes from a table
of what `rftt shad` has found in the chains of the search, from regular expressions, or from the two models of SHAD, which
then read every right path.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rftt.config.sections import AuxiliarySection
from rftt.errors import UsageError
from rftt.rl.rollout import Rollout
from rftt.weighting.annotate import IGNORED
from rftt.weighting.interface import NO_ROLE
from rftt.weighting.loss_reader import LossReader, batches, differences
from rftt.weighting.rft import RFT
from rftt.weighting.rft_loss import coefficient, rft_loss
from rftt.weighting.roles import RegexRoles, role_of
from rftt.weighting.table import RoleTable
from search.functions import RFTT, FunctionSet
from search.journal import read_jsonl

Ids = Sequence[int]
PathRoles = Callable[[Sequence[Ids], Sequence[Ids]], list[list[int]]]  # prompts, completions → roles of the completions


class Auxiliary:
    """What `RFTTTrainer` adds to its batches and to its loss.

    Args:
        settings: λ and its schedule, τ, detach, fixed weights.
        roles: tells what the tokens of right paths are for.
    """

    def __init__(self, settings: AuxiliarySection, roles: PathRoles) -> None:
        self.settings = settings
        self.roles = roles
        self.weighting = RFT(tau=settings.tau, detach=settings.detach, fixed=settings.fixed)

    def path_roles(self, rollouts: Sequence[Rollout], mask_BT: torch.Tensor) -> torch.Tensor:
        """Roles of the learnt tokens of right paths, shape (B, T); ``NO_ROLE`` for all others.

        Args:
            rollouts: B of them.
            mask_BT: which tokens are in the loss.
        """
        roles_BT = torch.full(mask_BT.shape, NO_ROLE)
        right = [row for row, rollout in enumerate(rollouts) if rollout.verdict == "correct"]
        asked = [rollouts[row] for row in right]
        found = self.roles([r.prompt_ids for r in asked], [r.completion_ids for r in asked]) if right else []
        for row, roles in zip(right, found, strict=True):
            roles_BT[row, : len(roles)] = torch.tensor(roles)
        return roles_BT.to(mask_BT.device).masked_fill(mask_BT == 0, NO_ROLE)

    def coefficient(self, step: int, steps: int) -> float:
        """λ at an optimiser step, counted from 0."""
        return coefficient(step, steps, self.settings.weight, self.settings.schedule)

    def loss(self, logps_BT: torch.Tensor, roles_BT: torch.Tensor) -> torch.Tensor:
        """Sum of L_RFT over the right paths of a micro-batch."""
        return rft_loss(logps_BT, roles_BT, self.weighting)


@dataclass(frozen=True)
class RoleSources:
    """Where the roles of tokens can come from.

    Args:
        folder: folder of the results of `rftt shad`.
        original: the model that `rftt shad` has compared with the shuffled one, for ``roles: models``.
        dtype: dtype of both models.
        threshold: tokens that the shuffled model finds harder by more nats than this are reasoning.
        score_tokens: tokens of a batch that the models read, padding included.
        boilerplate: regular expressions, for ``roles: regex``.
        trust_remote_code: whether code in the folders of these models may run.
    """

    folder: Path
    original: Path
    dtype: str = "auto"
    threshold: float = 0.0
    score_tokens: int = 8192
    boilerplate: Sequence[str] = ()
    trust_remote_code: bool = False


def build(
    settings: AuxiliarySection, sources: RoleSources, tokenizer: Any, functions: FunctionSet = RFTT
) -> Auxiliary | None:
    """The auxiliary loss of ``rl.auxiliary``; None where λ is 0.

    Args:
        settings: λ and where the roles come from.
        sources: what there is.
        tokenizer: tokenizer of the policy.
        functions: functions whose tags are boilerplate to regular expressions.

    Raises:
        UsageError: the roles cannot be told, since `rftt shad` has not run.
    """
    if not settings.weight:
        return None
    if settings.roles == "regex":
        return Auxiliary(settings, _one_by_one(RegexRoles(tokenizer, sources.boilerplate, functions)))
    if settings.roles == "models":
        for path in (sources.folder / "shuffled", sources.original):
            if not path.exists():
                raise UsageError(
                    f"{path}: not there yet; run `rftt shad CONFIG` first, or set rl.auxiliary.roles=table"
                )
        return Auxiliary(settings, by_models(sources, tokenizer.pad_token_id or 0))
    path = sources.folder / "roles.jsonl" if settings.roles == "table" else Path(settings.roles)
    if not path.exists():
        raise UsageError(
            f"{path}: there are no roles yet; run `rftt shad CONFIG` first, or set rl.auxiliary.roles=regex"
        )
    try:
        return Auxiliary(settings, _one_by_one(RoleTable(read_jsonl(path), sources.threshold)))
    except ValueError as error:
        raise UsageError(f"{path}: {error}; give another rl.auxiliary.roles") from error


def _one_by_one(source: RoleTable | RegexRoles) -> PathRoles:
    def roles(prompts: Sequence[Ids], completions: Sequence[Ids]) -> list[list[int]]:
        found = []
        for prompt, completion in zip(prompts, completions, strict=True):
            learnt = [False] * len(prompt) + [True] * len(completion)
            found.append(source.roles([*prompt, *completion], learnt)[len(prompt) :])
        return found

    return roles


def by_models(sources: RoleSources, pad: int) -> PathRoles:
    """Roles by SHAD's rule, from both of its models."""
    altered, before = (
        LossReader(str(path), sources.dtype, sources.trust_remote_code)
        for path in (sources.folder / "shuffled", sources.original)
    )

    def roles(prompts: Sequence[Ids], completions: Sequence[Ids]) -> list[list[int]]:
        samples = [
            {"input_ids": [*prompt, *completion], "labels": [IGNORED] * len(prompt) + list(completion)}
            for prompt, completion in zip(prompts, completions, strict=True)
        ]
        found: list[list[int]] = [[]] * len(samples)
        for batch in batches([len(s["input_ids"]) for s in samples], sources.score_tokens):
            for i, ld in zip(batch, differences([samples[i] for i in batch], altered, before, pad), strict=True):
                told = ld[len(prompts[i]) :]
                found[i] = [NO_ROLE if d is None else role_of(d, sources.threshold) for d in told]
        return found

    return roles

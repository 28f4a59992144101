"""TRL's fused head for models of which only some rows of the head are trained, and on a CPU. Written for TRL 1.16.0;
`tests/rftt/model/test_fused_head.py` holds the contracts.

- `_ChunkedLogProbFunction` (``trl.trainer.utils``): it computes the gradient of the whole head in float32, V × N × D
  operations and a matrix of V × D, of which `TrainsAdapters` keeps the rows of the functional tokens. Here these alone are
  computed (`RowsOfHead`). What it returns is the same to the bit.
- `_use_triton` (``trl.trainer.utils``): without Triton it scores every position, those of the prompts too. With a large
  vocabulary on a CPU only those that are learnt are scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

WRITTEN_FOR = "1.16.0"
LARGE_VOCABULARY = 16_384
ROWS = "trained_rows"  # attribute of a head's weight: ids of the rows whose gradient is wanted, shape (R,)


class RowsOfHead:
    """Takes the place of TRL's autograd function: where a weight says which of its rows are trained, only these get a
    gradient.

    Args:
        function: TRL's ``ChunkedLogProbFunction``.
    """

    def __init__(self, function: Any) -> None:
        self.function = function

    def apply(
        self, hidden_ND: Tensor, weight_VD: Tensor, bias_V: Tensor | None, targets_N: Tensor, temperature: float,
        chunk_size: int, softcap: float | None, scale: float, outputs: Sequence[str],
    ) -> tuple[Tensor | None, ...]:  # fmt: skip
        """As TRL's function; log-probs and entropies have further gradients, to the rows."""
        is_partitioned = hasattr(weight_VD, "ds_id")  # by ZeRO-3: whole only inside TRL's function
        rows_R = None if is_partitioned else getattr(weight_VD, ROWS, None)
        rest = (targets_N, temperature, chunk_size, softcap, scale, outputs)
        if rows_R is None or bias_V is not None or not (torch.is_grad_enabled() and weight_VD.requires_grad):
            return self.function.apply(hidden_ND, weight_VD, bias_V, *rest)
        fixed_VD = weight_VD.detach()
        logps_N, entropy_N, *others = self.function.apply(hidden_ND, fixed_VD, None, *rest)
        rows_R = rows_R.to(weight_VD.device)
        with torch.autocast(hidden_ND.device.type, enabled=False):

            def logits(rows: Tensor) -> Tensor:
                """In float32, of the rows (…, D) that broadcast against the positions."""
                plain = rows * scale
                return (plain if softcap is None else softcap * torch.tanh(plain / softcap)) / temperature

            states_ND = hidden_ND.detach().float()
            logits_NR = logits(states_ND @ weight_VD[rows_R].float().T)
            with torch.no_grad():
                taken_N = logits((states_ND * fixed_VD[targets_N].float()).sum(-1))
                log_p_NR = logits_NR - (taken_N - logps_N)[:, None]
                p_NR = log_p_NR.exp()
                is_target_NR = targets_N[:, None] == rows_R
            change_NR = logits_NR - logits_NR.detach()  # zeros, which carry the gradient
            logps_N = logps_N + ((is_target_NR.float() - p_NR) * change_NR).sum(-1)
            if entropy_N is not None:
                slope_NR = -p_NR * (log_p_NR + entropy_N.detach()[:, None])
                entropy_N = entropy_N + (slope_NR * change_NR).sum(-1)
        return logps_N, entropy_N, *others


def train_rows_of_head(weights: Sequence[Tensor], rows: Sequence[int]) -> None:
    """From now on only these rows of these weights get a gradient from TRL's fused head, unless ZeRO-3 partitions them."""
    from trl.trainer import utils

    if not isinstance(utils._ChunkedLogProbFunction, RowsOfHead):
        utils._ChunkedLogProbFunction = RowsOfHead(utils._ChunkedLogProbFunction)
    for weight in weights:
        setattr(weight, ROWS, torch.tensor(sorted(rows), dtype=torch.int64))


def score_what_is_learnt(model: Any) -> None:
    """On a CPU, with a large vocabulary, TRL's fused head computes no logits of positions that nothing is learnt from."""
    from trl.trainer import utils

    large = model.config.get_text_config().vocab_size >= LARGE_VOCABULARY
    utils._use_triton = _on_a_cpu_too if large else _with_triton


def _with_triton(device: torch.device) -> bool:
    from trl.kernels.chunked_logprob import _use_triton

    return bool(_use_triton(device))


def _on_a_cpu_too(device: torch.device) -> bool:
    return device.type == "cpu" or _with_triton(device)

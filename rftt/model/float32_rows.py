"""Rows of the functional tokens in float32, where the weights that hold them have fewer bits.

A step of fine-tuning is mostly smaller than half the spacing of bfloat16, so that weights of that type stay where they are.
So the optimizer moves a float32 copy of the rows, which is rounded into the model after each step. The copy is part of the
optimizer's state, and a run goes on from what was not rounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

STATE = "float32_rows"  # key of the rows in the optimizer's state


def train_in_float32(optimizer: Any, weights: Sequence[Any], rows: Iterable[int]) -> list[Any]:
    """Puts float32 copies of these rows into an optimizer, in place of the weights that hold them.

    Args:
        optimizer: a torch optimizer that has made no step.
        weights: parameters of it, shape (V, D) each, whose gradient is wanted in these rows alone.
        rows: ids of R rows.

    Returns:
        The copies, shape (R, D) each, in the order of `weights`.
    """
    import torch

    ids_R = torch.tensor(sorted(rows), dtype=torch.int64)
    copies = [torch.nn.Parameter(weight_VD.detach()[ids_R].float()) for weight_VD in weights]
    pairs = list(zip(weights, copies, strict=True))
    copy_of = {id(weight_VD): copy_RD for weight_VD, copy_RD in pairs}
    for group in optimizer.param_groups:
        group["params"] = [copy_of.get(id(parameter), parameter) for parameter in group["params"]]

    def take_gradients(*_: Any) -> None:
        for weight_VD, copy_RD in pairs:
            if weight_VD.grad is not None:
                copy_RD.grad, weight_VD.grad = weight_VD.grad[ids_R].float(), None

    def write_back(*_: Any) -> None:
        for weight_VD, copy_RD in pairs:
            if copy_RD.grad is not None:
                weight_VD.data[ids_R] = copy_RD.detach().to(weight_VD.dtype)
                optimizer.state[copy_RD][STATE] = copy_RD.detach()
                copy_RD.grad = None

    def read_state(*_: Any) -> None:
        for copy_RD in copies:
            if STATE in optimizer.state.get(copy_RD, {}):
                copy_RD.data.copy_(optimizer.state[copy_RD][STATE])

    optimizer.register_step_pre_hook(take_gradients)
    optimizer.register_step_post_hook(write_back)
    optimizer.register_load_state_dict_post_hook(read_state)
    return copies

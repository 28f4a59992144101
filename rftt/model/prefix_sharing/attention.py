"""Attention over a packed row: every token sees the tokens of its own row up to itself, and no others.

The tokens that a row adds are the queries of one call; the whole row, gathered from the packed one, holds its keys and
values. With half precision on CUDA all rows are one call of torch's variable-length flash kernel; elsewhere rows of similar
size are one call of `scaled_dot_product_attention`. No mask of N × N is built.

Registered with transformers as `NAME`. Without a `Plan` it is transformers' ``sdpa``.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import torch
from torch.nn.functional import embedding, scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from rftt.model.prefix_sharing.pack import Path

NAME = "shared_prefixes"
# Rows are computed in one call as long as its padding costs fewer query-key pairs than a call of its own would cost time.
CALL = 20_000
Window = int | None


class CannotShare(ValueError):
    """A model does not call its attention in a way that a packed row can be given to."""


@dataclass(frozen=True)
class _Call:
    """Rows that are computed together: R of them, padded to Q queries and K keys.

    Args:
        queries_RQ: places of the queries in the packed row; padding repeats the first one.
        keys_RK: places of the keys; padding repeats the first one.
        allowed_RQK: which query sees which key; None where each sees all up to itself.
        real_RQ: which queries are no padding.
    """

    queries_RQ: np.ndarray
    keys_RK: np.ndarray
    allowed_RQK: np.ndarray | None
    real_RQ: np.ndarray


@dataclass(frozen=True)
class _Calls:
    """All calls of a packed row.

    Args:
        shapes: (R, Q, K) of each call.
        queries, keys: places of all of them in the packed row, call by call.
        back_N: where each token of the packed row stands among the queries.
        allowed: mask of each call, shape (R, 1, Q, K).
    """

    shapes: tuple[tuple[int, int, int], ...]
    queries: torch.Tensor
    keys: torch.Tensor
    back_N: torch.Tensor
    allowed: tuple[torch.Tensor | None, ...]


class Plan:
    """How the rows of one packed row attend; made once a forward pass and handed to every layer.

    Args:
        paths: paths of the packed row.
        device: device of the model.
    """

    def __init__(self, paths: Sequence[Path], device: torch.device) -> None:
        self.device = device
        self.used = 0  # calls of attention so far
        self._own = np.array([path.own for path in paths])
        self._lengths = np.array([len(path.places) for path in paths])
        self._places = [path.places for path in paths]
        self._calls: dict[Window, _Calls] = {}
        self._biases: dict[tuple[Window, torch.dtype], list[torch.Tensor | None]] = {}

    def calls(self, window: Window) -> _Calls:
        """For `scaled_dot_product_attention`."""
        if window not in self._calls:
            ends = np.cumsum(self._own)
            calls = [
                _call(
                    [np.arange(ends[row] - self._own[row], ends[row]) for row in rows],
                    [self._places[row] for row in rows],
                    window,
                )
                for rows in _together(self._own, self._lengths)
            ]
            queries, keys, real = (
                np.concatenate([getattr(call, name).ravel() for call in calls])
                for name in ("queries_RQ", "keys_RK", "real_RQ")
            )
            back_N = np.empty(ends[-1], dtype=np.int64)
            back_N[queries[real]] = np.flatnonzero(real)
            self._calls[window] = _Calls(
                tuple((call.queries_RQ.shape[0], call.queries_RQ.shape[1], call.keys_RK.shape[1]) for call in calls),
                torch.from_numpy(queries).to(self.device),
                torch.from_numpy(keys).to(self.device),
                torch.from_numpy(back_N).to(self.device),
                tuple(
                    None
                    if call.allowed_RQK is None
                    else torch.from_numpy(call.allowed_RQK).to(self.device).unsqueeze(1)
                    for call in calls
                ),
            )
        return self._calls[window]

    def biases(self, window: Window, dtype: torch.dtype) -> list[torch.Tensor | None]:
        """What is added to the scores in each of the `calls`: 0, or −∞ where a query does not see a key."""
        if (window, dtype) not in self._biases:
            self._biases[window, dtype] = [
                None
                if allowed is None
                else torch.zeros(allowed.shape, dtype=dtype, device=self.device).masked_fill_(~allowed, float("-inf"))
                for allowed in self.calls(window).allowed
            ]
        return self._biases[window, dtype]

    @cached_property
    def flat(self) -> dict[str, Any]:
        """For the variable-length kernel: places of all keys, and where rows begin among queries and keys."""
        begins = (torch.tensor([0, *np.cumsum(lengths)], dtype=torch.int32) for lengths in (self._own, self._lengths))
        queries, keys = (begin.to(self.device) for begin in begins)
        return {
            "places": torch.from_numpy(np.concatenate(self._places)).to(self.device),
            "cu_seq_q": queries,
            "cu_seq_k": keys,
            "max_q": int(self._own.max()),
            "max_k": int(self._lengths.max()),
        }


def attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    shared_prefixes: Plan | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """An attention function of transformers.

    Args:
        module: the layer's attention.
        query: shape (B, H, N, D); B is 1 with a plan.
        key, value: shape (B, H of keys, N, D).
        attention_mask: without a plan as for ``sdpa``; not read with one.
        dropout: dropout on the weights, which a plan cannot have.
        scaling: scaling of the scores; 1 ÷ √D by default.
        shared_prefixes: how the packed row attends; None where rows are padded.
        options: what the model adds, e.g. ``sliding_window``.

    Returns:
        Shape (B, N, H, D), and None in the place of weights.

    Raises:
        CannotShare: the layer asks for something that a packed row cannot have.
    """
    if shared_prefixes is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **options
        )
    window = _window(module, dropout, options)
    shared_prefixes.used += 1
    kind = query.device.type
    if torch.is_autocast_enabled(kind):  # rotary positions have made float32 of queries and keys; `sdpa` casts them too
        query, key, value = (x.to(torch.get_autocast_dtype(kind)) for x in (query, key, value))
    if query.is_cuda and query.dtype in (torch.float16, torch.bfloat16) and flash_is_right(query.device, query.dtype):
        found_NHD = _flash(query[0], key[0], value[0], shared_prefixes, scaling, window)
    else:
        found_NHD = _by_calls(query[0], key[0], value[0], shared_prefixes, scaling, window)
    return found_NHD[None], None


AttentionInterface.register(NAME, attention)
AttentionMaskInterface.register(NAME, sdpa_mask)


def _window(module: torch.nn.Module, dropout: float, options: dict[str, Any]) -> Window:
    """Number of tokens that each one of this layer sees, itself included; None for all before it."""
    if dropout and module.training:
        raise CannotShare("attention dropout draws one number a row, and shared tokens are in one row only")
    for name in ("softcap", "s_aux", "position_bias"):
        if options.get(name) is not None:
            raise CannotShare(f"its attention has {name}, which is not computed here")
    if not getattr(module, "is_causal", True):
        raise CannotShare("its attention is not causal")
    window = options.get("sliding_window")
    kinds = getattr(getattr(module, "config", None), "layer_types", None)
    if kinds and hasattr(module, "layer_idx") and kinds[module.layer_idx] == "sliding_attention" and window is None:
        raise CannotShare("a layer has a sliding window and does not tell how wide it is")
    return int(window) if window is not None else None


def _by_calls(
    query_HND: torch.Tensor, key_HND: torch.Tensor, value_HND: torch.Tensor, plan: Plan, scaling: float | None,
    window: Window,
) -> torch.Tensor:  # fmt: skip
    """Rows of similar size together; shape (N, H, D). Everything is gathered once, and once again put back."""
    calls = plan.calls(window)
    asked, seen, told = (
        _gathered(x, places)
        for x, places in ((query_HND, calls.queries), (key_HND, calls.keys), (value_HND, calls.keys))
    )
    groups = query_HND.shape[0] // key_HND.shape[0]
    if groups > 1:
        seen, told = (x.repeat_interleave(groups, 1) for x in (seen, told))
    query_sizes, key_sizes = [rows * q for rows, q, _ in calls.shapes], [rows * k for rows, _, k in calls.shapes]
    parts = zip(asked.split(query_sizes), seen.split(key_sizes), told.split(key_sizes), strict=True)
    found = []
    for (rows, _, _), bias, part in zip(calls.shapes, plan.biases(window, query_HND.dtype), parts, strict=True):
        states = (x.unflatten(0, (rows, -1)).transpose(1, 2) for x in part)  # (R, H, Q or K, D)
        done = scaled_dot_product_attention(*states, attn_mask=bias, is_causal=bias is None, scale=scaling)
        found.append(done.transpose(1, 2).flatten(0, 1))
    done_MHD = torch.cat(found)
    return embedding(calls.back_N, done_MHD.flatten(1)).view(-1, *done_MHD.shape[1:])


def _gathered(x_HND: torch.Tensor, places_M: torch.Tensor) -> torch.Tensor:
    """Tokens at these places, shape (M, H, D); as rows of a table, whose gradients torch adds up fastest."""
    heads, _, width = x_HND.shape
    return embedding(places_M, x_HND.transpose(0, 1).flatten(1)).view(-1, heads, width)


def _flash(
    query_HND: torch.Tensor, key_HND: torch.Tensor, value_HND: torch.Tensor, plan: Plan, scaling: float | None,
    window: Window,
) -> torch.Tensor:  # fmt: skip
    """All rows in one call; shape (N, H, D). The kernel aligns queries with the last keys of their row."""
    from torch.nn.attention.varlen import varlen_attn

    flat = dict(plan.flat)
    places = flat.pop("places")
    key_MHD, value_MHD = (_gathered(x, places) for x in (key_HND, value_HND))
    groups = query_HND.shape[0] // key_HND.shape[0]
    if groups > 1:
        if _takes_groups():
            flat["enable_gqa"] = True
        else:  # torch 2.11
            key_MHD, value_MHD = (x.repeat_interleave(groups, 1) for x in (key_MHD, value_MHD))
    window_size = (-1 if window is None else window - 1, 0)
    query_NHD = query_HND.transpose(0, 1).contiguous()
    return varlen_attn(query_NHD, key_MHD, value_MHD, **flat, scale=scaling, window_size=window_size)


@lru_cache
def _takes_groups() -> bool:
    """Whether torch's kernel takes fewer heads of keys than of queries; asked once, not in every layer."""
    from torch.nn.attention.varlen import varlen_attn

    return "enable_gqa" in inspect.signature(varlen_attn).parameters


@lru_cache
def flash_is_right(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether torch's kernel is there and does what `_flash` takes for granted, seen on two small rows."""
    generator = torch.Generator(device="cpu").manual_seed(0)
    places = [np.arange(24), np.concatenate([np.arange(9), np.arange(24, 40)])]
    paths = [Path(24, places[0]), Path(16, places[1])]
    states = [torch.randn(heads, 40, 64, generator=generator).to(device, dtype) for heads in (4, 2, 2)]
    weights = torch.randn(40, 4, 64, generator=generator).to(device)

    def told(kernel: Any, kind: torch.dtype, window: Window) -> list[torch.Tensor]:
        given = [x.to(kind).requires_grad_() for x in states]
        with torch.enable_grad(), torch.autocast(device.type, enabled=False):
            found = kernel(*given, Plan(paths, device), None, window).float()
            return [found, *torch.autograd.grad((found * weights).sum(), given)]

    try:
        for window in (None, 7):
            pairs = zip(told(_flash, dtype, window), told(_by_calls, torch.float32, window), strict=True)
            if any((found.float() - exact).abs().max() > 0.05 * exact.abs().max() for found, exact in pairs):
                return False
    except (ImportError, RuntimeError, TypeError, NotImplementedError):
        return False
    return True


def _together(own: np.ndarray, lengths: np.ndarray) -> list[list[int]]:
    """Rows that are computed in one call: neighbours by length whose padding is cheaper than a further call."""
    groups: list[list[int]] = []
    for row in np.lexsort((own, lengths)):
        if groups:
            group = [*groups[-1], int(row)]
            padded = len(group) * int(own[group].max()) * int(lengths[group].max())
            before = len(groups[-1]) * int(own[groups[-1]].max()) * int(lengths[groups[-1]].max())
            if padded - before - int(own[row]) * int(lengths[row]) < CALL:
                groups[-1] = group
                continue
        groups.append([int(row)])
    return groups


def _call(queries: list[np.ndarray], keys: list[np.ndarray], window: Window) -> _Call:
    own, lengths = [len(q) for q in queries], [len(k) for k in keys]
    queries_RQ = np.stack([np.pad(q, (0, max(own) - len(q)), constant_values=q[0]) for q in queries])
    keys_RK = np.stack([np.pad(k, (0, max(lengths) - len(k)), constant_values=k[0]) for k in keys])
    depth_RQ = np.stack([
        np.pad(np.arange(length - n, length), (0, max(own) - n), constant_values=length - n)
        for n, length in zip(own, lengths, strict=True)
    ])  # fmt: skip
    behind = depth_RQ[:, :, None] - np.arange(max(lengths))[None, None, :]
    allowed = behind >= 0
    if window is not None:
        allowed &= behind < window
    real = np.arange(max(own))[None, :] < np.array(own)[:, None]
    triangle = len(own) == 1 and own == lengths and window is None
    return _Call(queries_RQ, keys_RK, None if triangle else allowed, real)

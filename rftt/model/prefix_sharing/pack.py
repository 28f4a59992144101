"""Rows of token ids as one row in which every shared beginning stands once. Pure: knows no model.

A token of two rows is the same one if all ids up to it agree *and the next one does*: a position has one label, so the last
token before a fork is computed once for each branch. The last token of a row predicts nothing and is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

IGNORED = -100  # label of a position that predicts nothing


@dataclass(frozen=True)
class Path:
    """What one row adds to the packed row.

    Args:
        own: number of tokens that no row before it has; they stand together, and are the last ones of the path.
        places: places of all tokens of the row in the packed row, in their order, shape (own + shared,).
    """

    own: int
    places: np.ndarray


@dataclass(frozen=True)
class Packed:
    """B rows as one row of N tokens.

    Args:
        ids_N: token ids.
        depth_N: number of tokens before each one in its row; the position that a model encodes.
        label_N: the id that each position predicts; `IGNORED` where none of the rows wants to know.
        source_BT: place whose output predicts target t of row b; −1 where the row has fewer targets.
        paths: paths of the rows that add something, in the order of the packed row.
        rows_tokens: tokens of all rows together, shared ones once a row.
    """

    ids_N: torch.Tensor
    depth_N: torch.Tensor
    label_N: torch.Tensor
    source_BT: torch.Tensor
    paths: tuple[Path, ...]
    rows_tokens: int

    @cached_property
    def tokens(self) -> int:
        """N."""
        return len(self.ids_N)

    def spread(self, values_N: torch.Tensor) -> torch.Tensor:
        """Values of positions, given to each target that they predict; 0 where a row has no target; shape (B, T)."""
        source_BT = self.source_BT.to(values_N.device)
        found = values_N.index_select(0, source_BT.clamp(min=0).flatten()).view(source_BT.shape)
        return found.masked_fill(source_BT < 0, 0.0)


def order(rows: Sequence[Sequence[int]]) -> list[int]:
    """Rows in the order of their ids, so that those with a common beginning stand together."""
    return sorted(range(len(rows)), key=lambda row: list(rows[row]))


def unique_tokens(rows: Sequence[Sequence[int]]) -> list[int]:
    """How many tokens each row adds to those before it, when rows come in the order of `order`.

    Args:
        rows: token ids, in that order.
    """
    arrays = [np.asarray(row, dtype=np.int64) for row in rows]
    before = [np.empty(0, dtype=np.int64), *arrays[:-1]]
    return [max(len(row) - 1, 0) - _shared(last, row) for last, row in zip(before, arrays, strict=True)]


def pack(rows: Sequence[Sequence[int]], starts: Sequence[int]) -> Packed:
    """Lay rows out in one.

    Args:
        rows: token ids, at least one a row.
        starts: index of the first target of each row: its ids from there on are predicted; 1 or more.

    Raises:
        ValueError: a row is empty, or its targets begin before its second token.
    """
    if any(not len(row) for row in rows) or any(start < 1 for start in starts):
        raise ValueError("rows to be packed need at least one token before their targets")
    width = max(len(row) - start for row, start in zip(rows, starts, strict=True))
    source = np.full((len(rows), max(width, 0)), -1, dtype=np.int64)
    paths: list[Path] = []
    ids, depths, labels = [], [], []
    total, last, places = 0, np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    for row in order(rows):
        tokens = np.asarray(rows[row], dtype=np.int64)
        shared, length = _shared(last, tokens), len(tokens) - 1
        own = length - shared
        places = np.concatenate([places[:shared], np.arange(total, total + own)])
        wanted = np.arange(shared, length) >= starts[row] - 1
        ids.append(tokens[shared:length])
        depths.append(np.arange(shared, length))
        labels.append(np.where(wanted, tokens[shared + 1 :], IGNORED))
        source[row, : len(tokens) - starts[row]] = places[starts[row] - 1 :]
        if own:
            paths.append(Path(own, places))
        total, last = total + own, tokens
    label_N = np.concatenate(labels)
    # A position may be a target of this row, and only context of the one that was laid out first.
    for row, tokens_of_row in enumerate(rows):
        targets = np.asarray(tokens_of_row, dtype=np.int64)[starts[row] :]
        label_N[source[row, : len(targets)]] = targets
    return Packed(
        torch.from_numpy(np.concatenate(ids)),
        torch.from_numpy(np.concatenate(depths)),
        torch.from_numpy(label_N),
        torch.from_numpy(source),
        tuple(paths),
        sum(map(len, rows)),
    )


def _shared(first: np.ndarray, second: np.ndarray) -> int:
    """Number of tokens at the beginning of two rows that are one and the same."""
    least = min(len(first), len(second))
    apart = np.flatnonzero(first[:least] != second[:least])
    return max((int(apart[0]) if len(apart) else least) - 1, 0)

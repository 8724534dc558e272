"""A worker's side of a batch: putting its rows together from pieces of shards.

Shapes: b samples, s tokens (prompt, response and padding on the right). ``tokens`` and ``response_mask`` are
(b, s); other two-dimensional fields are (b, s-1) and speak of the next token; scores are (b,). Prompts are
lists of token lists, weights a list of one mapping per shard.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from runtime.batch import Piece

Rows = np.ndarray | list[Any]

PER_TOKEN = frozenset({"tokens", "response_mask"})
"""Fields with one column per token; the others have one column less."""


def concatenate(pieces: Sequence[Piece], shards: Sequence[Rows]) -> Rows:
    """The pieces below each other, padded on the right with zeros to the widest."""
    parts = [_picked(shards[piece.shard], piece.positions) for piece in pieces]
    if isinstance(parts[0], list):
        return [row for part in parts for row in part]
    if parts[0].ndim == 1:
        return np.concatenate(parts)
    width = max(part.shape[1] for part in parts)
    return np.concatenate([_widened(part, width) for part in parts])


def _picked(rows: Rows, positions: Sequence[int]) -> Rows:
    return [rows[place] for place in positions] if isinstance(rows, list) else rows[list(positions)]


def align(fields: Mapping[str, Rows]) -> dict[str, torch.Tensor | list[Any]]:
    """Tensors cut or padded to the longest sample among these rows, so that their columns agree."""
    if "response_mask" not in fields:
        return {
            name: rows if isinstance(rows, list) else torch.from_numpy(rows) for name, rows in fields.items()
        }
    used = np.flatnonzero(np.asarray(fields["response_mask"]).any(axis=0))
    tokens = int(used[-1]) + 1 if used.size else 1
    return {
        name: rows if isinstance(rows, list) else torch.from_numpy(_fitted(name, rows, tokens))
        for name, rows in fields.items()
    }


def _fitted(name: str, rows: np.ndarray, tokens: int) -> np.ndarray:
    if rows.ndim == 1:
        return rows
    width = tokens if name in PER_TOKEN else tokens - 1
    return np.ascontiguousarray(_widened(rows[:, :width], width))


def _widened(rows: np.ndarray, width: int) -> np.ndarray:
    return np.pad(rows, ((0, 0), (0, width - rows.shape[1])))

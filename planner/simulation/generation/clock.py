"""Seconds of single engine steps, one number at a time: `StepTable` for a loop that asks a million times.

What does not depend on the context is kept per batch, so that a decode step costs one interpolation. Equal to
`StepTable.seconds` (held by a test).
"""

from bisect import bisect_right
from dataclasses import dataclass, field

import numpy as np

from planner.costs.serving.step_table import CONTEXTS, SEQUENCES, TOKENS, Floats, StepTable

PREFILL_GRID = 64
"""Tokens between two points at which the attention of a prompt's chunk is asked for."""
_FEWEST = 2
"""Tokens of the grid's first point; a single one would be a decode step."""
_FEW_STEPS = 4
_LINEAR = 1e-9
"""Share of a step's seconds by which a run of linear steps may seem not to be."""
_CONTEXTS: list[float] = CONTEXTS.tolist()
_TOKENS: list[float] = TOKENS.tolist()
_ANEW: list[float] = np.arange(0.0, 32769.0, 32.0).tolist()
"""Contexts at which an engine without a cache is asked for its steps; they are linear between."""


@dataclass(frozen=True, slots=True)
class _Batch:
    """Decode steps of one batch: what is the same at every context, and attention at `CONTEXTS`."""

    pipeline: int
    layers: tuple[float, float]
    """Of the first and of the last stage."""
    linear: float
    head: float
    launch: float
    rest: float
    """The hop to the next stage, p_g times, and the engine's own work."""
    attention: list[float]

    def seconds(self, context: float) -> float:
        """Of one step."""
        layer, (first, last) = self.linear + _between(_CONTEXTS, self.attention, context), self.layers
        return self.pipeline * max(first * layer, last * layer + self.head, self.launch) + self.rest


@dataclass(frozen=True, slots=True)
class _Anew:
    """Steps of one batch in an engine that keeps no cache: whole sequences pass the model again."""

    table: StepTable
    batch: int
    at: list[float]
    """Seconds at `_ANEW`."""

    def seconds(self, context: float) -> float:
        """Of one step; the table itself is asked beyond the grid."""
        if context > _ANEW[-1]:
            return float(self.table.seconds(self.batch, context))
        return _between(_ANEW, self.at, context)


@dataclass(slots=True)
class StepClock:
    """Steps of one replica."""

    table: StepTable
    _batches: dict[int, _Batch | _Anew] = field(default_factory=dict)
    _prefills: dict[tuple[float, int, int], float] = field(default_factory=dict)

    def decode(self, batch: int, context: float) -> float:
        """One token for each of ``batch`` running sequences of mean ``context``."""
        return self._batch(batch).seconds(context)

    def decode_run(self, batch: int, context: float, steps: int) -> float:
        """So many such steps in a row, each with one token more behind every sequence.

        Between two points of the table a step is a maximum of lines, and a run is cut where they meet.
        """
        row = self._batch(batch)
        middle = row.seconds(context + (steps - 1) / 2)
        if steps > _FEW_STEPS:
            ends = row.seconds(context) + row.seconds(context + steps - 1)
            if abs(ends - 2 * middle) > _LINEAR * middle:
                half = steps // 2
                first = self.decode_run(batch, context, half)
                return first + self.decode_run(batch, context + half, steps - half)
        return steps * middle

    def mixed(self, batch: int, context: float, *, prompts: int, tokens: float, past: float) -> float:
        """The same with chunks of ``prompts`` beside it, each of mean ``tokens`` behind ``past`` tokens."""
        table, pipeline, row = self.table, self.pipeline, self._batch(batch)
        sequences, chunks = batch / pipeline, prompts / pipeline
        total = sequences + chunks * tokens
        layer = _at(table.linear, total) + self._prefill(chunks, tokens, past)
        if isinstance(row, _Anew):
            return row.seconds(context) + pipeline * self._pass(layer, total, chunks)
        if batch:
            layer += _between(_CONTEXTS, row.attention, context)
        one = self._pass(layer, total, sequences + chunks)
        return pipeline * one + table.stack.step + table.stack.sequence * batch

    def prefill(self, *, prompts: int, tokens: float, past: float) -> float:
        """One pass of prompts alone through the slowest stage."""
        total = prompts * tokens
        layer = _at(self.table.linear, total) + self._prefill(prompts, tokens, past)
        return self._pass(layer, total, prompts)

    def next_kink(self, context: float) -> float:
        """The next context at which seconds stop being linear in it."""
        index = bisect_right(_CONTEXTS, context)
        return _CONTEXTS[index] if index < len(_CONTEXTS) else float("inf")

    @property
    def pipeline(self) -> int:
        return self.table.generate.pipeline

    def _pass(self, layer: float, tokens: float, outputs: float) -> float:
        table = self.table
        first, last = table.layers
        device = max(first * layer, last * layer + _at(table.head, outputs))
        launch = max(first, last) * table.stack.layer_launch if tokens > table.stack.graph_sequences else 0.0
        return float(max(device, launch) + _at(table.hop, tokens))

    def _batch(self, batch: int) -> _Batch | _Anew:
        found = self._batches.get(batch)
        if found is None:
            found = self._batches[batch] = self._new_batch(batch)
        return found

    def _new_batch(self, batch: int) -> _Batch | _Anew:
        table, pipeline = self.table, self.pipeline
        if not table.stack.keeps_cache:
            return _Anew(table, batch, np.asarray(table.seconds(batch, np.array(_ANEW))).tolist())
        sequences, stack = batch / pipeline, table.stack
        is_eager = sequences > stack.graph_sequences
        first, last = (float(layers) for layers in table.layers)
        return _Batch(
            pipeline=pipeline,
            layers=(first, last),
            linear=_at(table.linear, sequences),
            head=_at(table.head, sequences),
            launch=max(first, last) * stack.layer_launch if is_eager else 0.0,
            rest=pipeline * _at(table.hop, sequences) + stack.step + stack.sequence * batch,
            attention=_attention_row(table.attention, sequences),
        )

    def _prefill(self, prompts: float, tokens: float, past: float) -> float:
        """Attention of one layer, linear between the points of a grid of tokens and past."""
        row, column = int(tokens // PREFILL_GRID), int(past // PREFILL_GRID)
        low = max(row * PREFILL_GRID, _FEWEST)
        along = max(0.0, (tokens - low) / ((row + 1) * PREFILL_GRID - low))
        behind = past / PREFILL_GRID - column
        corners = (
            (row, column, (1 - along) * (1 - behind)),
            (row + 1, column, along * (1 - behind)),
            (row, column + 1, (1 - along) * behind),
            (row + 1, column + 1, along * behind),
        )
        return sum(share * self._prefill_at(prompts, *point) for *point, share in corners if share)

    def _prefill_at(self, prompts: float, row: int, column: int) -> float:
        key = (prompts, row, column)
        found = self._prefills.get(key)
        if found is None:
            tokens, past = max(row * PREFILL_GRID, _FEWEST), column * PREFILL_GRID
            found = float(self.table.prefill_attention_seconds(prompts, tokens, past))
            self._prefills[key] = found
        return found


def _attention_row(attention: Floats, sequences: float) -> list[float]:
    """Seconds at `CONTEXTS` of so many sequences."""
    inside = min(max(sequences, float(SEQUENCES[0])), float(SEQUENCES[-1]))
    row = min(int(np.searchsorted(SEQUENCES, inside, side="right")) - 1, len(SEQUENCES) - 2)
    across = (inside - SEQUENCES[row]) / (SEQUENCES[row + 1] - SEQUENCES[row])
    between = attention[row] * (1 - across) + attention[row + 1] * across
    found: list[float] = (between * max(1.0, sequences / float(SEQUENCES[-1]))).tolist()
    return found


def _at(values: Floats, tokens: float) -> float:
    index = min(bisect_right(_TOKENS, max(tokens, _TOKENS[0])) - 1, len(_TOKENS) - 2)
    low, high = _TOKENS[index], _TOKENS[index + 1]
    along = min(max(tokens - low, 0.0) / (high - low), 1.0)
    found = values[index] * (1 - along) + values[index + 1] * along
    return float(found) * max(1.0, tokens / _TOKENS[-1])


def _between(grid: list[float], values: list[float], size: float) -> float:
    index = min(bisect_right(grid, size if size > grid[0] else grid[0]) - 1, len(grid) - 2)
    low, high = grid[index], grid[index + 1]
    along = (size - low) / (high - low)
    along = 0.0 if along < 0.0 else min(along, 1.0)
    found = values[index] * (1 - along) + values[index + 1] * along
    return found * (size / grid[-1]) if size > grid[-1] else found

"""One replica's steps in a table: what `planner.costs.serving.engine_step` says, reduced to interpolation.

Kernels are asked once, in arrays, at sizes that bracket every step that an engine takes; between those the
seconds of matrices are taken as linear in the tokens, those of attention as linear in sequences and context.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner.costs.kernels.gemm import Numbers
from planner.costs.kernels.peaks import peak_flops_per_s
from planner.costs.serving.engine_step import (
    Engine,
    decode_layer_seconds,
    head_seconds,
    hop_seconds,
    linear_seconds,
    prefill_layer_seconds,
)
from planner.domain.parallelism import GenerationStrategy
from planner.domain.resharding import stage_layers
from planner.domain.stack import GenerationStack

Floats = NDArray[np.float64]

TOKENS: Floats = np.array(
    [
        *(1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 160, 192, 256, 320, 384, 512, 640, 768, 1024),
        *(1280, 1536, 2048, 3072, 4096, 6144, 8192, 16384, 32768, 131072),
    ],
    dtype=np.float64,
)
"""Tokens of one pass; 64 to 256 are the rows of tiles."""

SEQUENCES: Floats = np.array([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096], dtype=np.float64)

CONTEXTS: Floats = np.array(
    [1, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 131072], dtype=np.float64
)


COMPUTING = 0.7
"""Share of the peak at which matrices do nothing but compute; what large products reach."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StepTable:
    """Steps of one replica. Seconds never fall with the tokens, the sequences or the context.

    Several replicas of one t_g may share a table (`stacked`); what their stages decide is a column then, to
    be asked for with one row for each of them.
    """

    engine: Engine
    generate: GenerationStrategy
    pipeline: Numbers
    """Stages p_g, shape () or (replicas, 1)."""
    layers: tuple[Numbers, Numbers]
    """Of the first and of the last stage, of the same shape; one of them is the slowest."""
    linear: Floats
    """Matrices, small kernels and all-reduces of one layer, at `TOKENS`."""
    hop: Floats
    """To the next stage, at `TOKENS`; one row for each replica of several."""
    head: Floats
    """Logits and sampling, at `TOKENS` taken as sequences."""
    attention: Floats
    """Decode attention of one layer, at `SEQUENCES` and `CONTEXTS`."""

    def seconds(
        self,
        batch: Numbers,
        context: Numbers,
        *,
        prompts: Numbers = 0,
        prompt_tokens: Numbers = 0,
        past_tokens: Numbers = 0,
    ) -> Any:
        """One token for each of ``batch`` sequences of mean ``context``, ``prompts`` taken in beside them.

        With p_g stages the sequences run as p_g parts, so that every stage reads its weights p_g times.
        Beside the device, the engine schedules, samples and detokenizes. An engine without a cache takes in
        whole sequences anew.
        """
        if not self.stack.keeps_cache:
            return self._seconds_anew(batch, context)
        pipeline, stack = self.pipeline, self.stack
        part = self.pass_seconds(
            np.asarray(batch) / pipeline,
            context,
            prompts=np.asarray(prompts) / pipeline,
            prompt_tokens=prompt_tokens,
            past_tokens=past_tokens,
        )
        return pipeline * part + stack.step + stack.sequence * np.asarray(batch)

    def _seconds_anew(self, batch: Numbers, context: Numbers) -> Any:
        """One token for each of ``batch`` sequences, of which nothing is kept from the step before."""
        part = self.pass_seconds(
            0.0, 0.0, prompts=np.asarray(batch) / self.pipeline, prompt_tokens=np.asarray(context) + 1
        )
        return self.pipeline * part + self.stack.step + self.stack.sequence * np.asarray(batch)

    def pass_seconds(
        self,
        sequences: Numbers,
        context: Numbers,
        *,
        prompts: Numbers = 0,
        prompt_tokens: Numbers = 0,
        past_tokens: Numbers = 0,
    ) -> Any:
        """One pass through the slowest stage, and on to the next."""
        tokens = sequences + np.asarray(prompts) * prompt_tokens
        layer = at(TOKENS, self.linear, tokens) + self._decode_seconds(sequences, context)
        if np.any(prompts):
            layer = layer + self.prefill_attention_seconds(prompts, prompt_tokens, past_tokens)
        head = at(TOKENS, self.head, sequences + np.asarray(prompts))
        first, last = self.layers
        device = np.maximum(first * layer, last * layer + head)
        is_eager = tokens > self.stack.graph_sequences
        launch = np.where(is_eager, np.maximum(first, last) * self.stack.layer_launch, 0.0)
        hop = at(TOKENS, self.hop, tokens) if self.hop.ndim == 1 else in_rows(TOKENS, self.hop, tokens)
        return np.maximum(device, launch) + hop

    @property
    def stack(self) -> GenerationStack:
        return self.engine.stack

    def _decode_seconds(self, sequences: Numbers, context: Numbers) -> Any:
        return np.where(np.asarray(sequences) > 0, bilinear(self.attention, sequences, context), 0.0)

    def prefill_attention_seconds(self, prompts: Numbers, tokens: Numbers, past_tokens: Numbers) -> Any:
        """Attention of one layer over ``tokens`` of each prompt, behind ``past_tokens`` of its own."""
        alone = prefill_layer_seconds(
            self.engine,
            self.generate,
            sequences=np.maximum(prompts, 1e-9),
            tokens=np.maximum(tokens, 1),
            past_tokens=past_tokens,
        )
        return alone / self.stack.sustained


def step_table(engine: Engine, generate: GenerationStrategy) -> StepTable:
    """The table of a replica; one is kept for all counts of replicas and limits of sequences."""
    one = generate.pipeline * generate.tensor
    node = engine.node_pool.devices_per_node
    replicas = 1 if one <= node and node % one == 0 else max(2, -(-node // one))
    alike = GenerationStrategy(
        pipeline=generate.pipeline,
        tensor=generate.tensor,
        replicas=min(replicas, generate.replicas),
        max_sequences=1,
    )
    return _step_table(engine, alike)


@lru_cache(maxsize=1024)
def _step_table(engine: Engine, generate: GenerationStrategy) -> StepTable:
    stages = stage_layers(engine.model.layers, generate.pipeline)
    layer = _layer_table(engine, generate.tensor, generate.devices > engine.node_pool.devices_per_node)
    return StepTable(
        engine=engine,
        generate=generate,
        pipeline=generate.pipeline,
        layers=(stages[0], stages[-1]),
        linear=layer.linear,
        hop=np.broadcast_to(hop_seconds(engine, generate, TOKENS), TOKENS.shape).astype(np.float64),
        head=layer.head,
        attention=layer.attention,
    )


def stacked(tables: Sequence[StepTable], of: NDArray[np.integer[Any]]) -> StepTable:
    """Tables of one engine and t_g, all or none of whose replicas' layers leave a node, as one.

    Parameters
    ----------
    of
        Number of each row's table.
    """
    first, last = np.array([table.layers for table in tables]).T
    return replace(
        tables[0],
        pipeline=np.array([table.pipeline for table in tables])[of, None],
        layers=(first[of, None], last[of, None]),
        hop=np.stack([table.hop for table in tables])[of],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _LayerTable:
    """What does not depend on the stages; fields as those of `StepTable`."""

    linear: Floats
    head: Floats
    attention: Floats


@lru_cache(maxsize=256)
def _layer_table(engine: Engine, tensor: int, leaves_node: bool) -> _LayerTable:
    replicas = 1 + leaves_node * (engine.node_pool.devices_per_node // tensor)
    generate = GenerationStrategy(tensor=tensor, replicas=replicas, max_sequences=1)
    sequences, contexts = SEQUENCES[:, None], CONTEXTS[None, :]
    attention = decode_layer_seconds(engine, generate, sequences=sequences, context=contexts)
    return _LayerTable(
        linear=rising(_sustained_seconds(engine, generate, linear_seconds(engine, generate, TOKENS))),
        head=rising(head_seconds(engine, generate, TOKENS)),
        attention=np.maximum.accumulate(np.maximum.accumulate(attention, axis=0), axis=1),
    )


def _sustained_seconds(engine: Engine, generate: GenerationStrategy, alone: Floats) -> Floats:
    """A layer's matrices at `TOKENS` inside a long job, where power limits the clock but not the memory.

    They slow down as far as they compute: fully from `COMPUTING` of the peak on, and not at all when they
    only read their weights.
    """
    flops = 2 * engine.model.active_layer_matrix_parameters / generate.tensor * TOKENS
    share = flops / peak_flops_per_s(engine.device, engine.precision) / alone
    slower: Floats = 1 + (1 / engine.stack.sustained - 1) * np.minimum(1.0, share / COMPUTING)
    return alone * slower


def rising(seconds: Numbers) -> Floats:
    """No point below an earlier one: what suits a larger size would serve a smaller one, too."""
    return np.maximum.accumulate(np.asarray(seconds, dtype=np.float64))


def at(grid: Floats, values: Floats, size: Numbers) -> Any:
    """Linear between the points of a grid, proportional beyond its end, constant before its start."""
    return np.interp(size, grid, values) * np.maximum(1.0, size / grid[-1])


def in_rows(grid: Floats, values: Floats, size: Numbers) -> Any:
    """The same where each row of sizes has values of its own; shapes (rows, points) and (rows, sizes)."""
    index, along = _place(grid, size)
    rows = np.arange(len(values))[:, None]
    between = values[rows, index] * (1 - along) + values[rows, index + 1] * along
    return between * np.maximum(1.0, size / grid[-1])


def bilinear(values: Floats, sequences: Numbers, context: Numbers) -> Any:
    """The same at `SEQUENCES` and `CONTEXTS`."""
    row, across = _place(SEQUENCES, sequences)
    column, along = _place(CONTEXTS, context)
    left = values[row, column] * (1 - across) + values[row + 1, column] * across
    right = values[row, column + 1] * (1 - across) + values[row + 1, column + 1] * across
    beyond = np.maximum(1.0, sequences / SEQUENCES[-1]) * np.maximum(1.0, context / CONTEXTS[-1])
    return (left * (1 - along) + right * along) * beyond


def _place(grid: Floats, size: Numbers) -> tuple[Any, Any]:
    """(index of the point before, share of the way to the next)."""
    inside = np.clip(size, grid[0], grid[-1])
    index = np.minimum(np.searchsorted(grid, inside, side="right") - 1, len(grid) - 2)
    return index, (inside - grid[index]) / (grid[index + 1] - grid[index])

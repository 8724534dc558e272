"""Seconds of the kernels and collectives of one transformer layer, each alone on its device or its links.

Sizes may be numbers or arrays that broadcast, so that a table over all tensor, context and expert sizes and
all micro-batches is one call.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from planner.costs.kernels.attention import (
    backward_attention_seconds,
    prefill_attention_seconds,
    unfused_attention_seconds,
)
from planner.costs.kernels.elementwise import elementwise_seconds
from planner.costs.kernels.gemm import gemm_backward_seconds, gemm_seconds
from planner.costs.kernels.peaks import peak_flops_per_s
from planner.costs.links.collectives import (
    Numbers,
    all_gather_seconds,
    all_reduce_seconds,
    all_to_all_seconds,
    channel,
    reduce_scatter_seconds,
    send_seconds,
)
from planner.costs.passes.matrices import Matrix, layer_matrices
from planner.costs.setting import Job
from planner.domain.model import Precision

FORWARD_KERNELS, BACKWARD_KERNELS = 6, 9
"""Elementwise kernels of one layer: norms, rotary embedding, activation, residuals, and their gradients."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """How one micro-batch is cut up."""

    tensor: Numbers
    context: Numbers
    expert: Numbers
    sequences: Numbers
    tokens: Numbers
    """Of the micro-batch on one context rank."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerKernels:
    """Seconds of one micro-batch in one layer's kernels and collectives, forward and backward."""

    cut: Cut
    products: Numbers
    """Linear maps."""
    products_backward: Numbers
    core: Numbers
    """Attention between its projections."""
    core_backward: Numbers
    streams: Numbers
    """Norms, residuals, rotary embedding, activation."""
    streams_backward: Numbers
    tensor: Numbers
    """Collectives of the tensor group."""
    tensor_backward: Numbers
    expert: Numbers
    """All-to-alls of the expert group, as many either way."""
    hop: Numbers
    """One hop of keys and values around the context ranks."""
    hop_backward: Numbers
    floor: Numbers
    """The linear maps' FLOPs at the peak; backward twice that."""


def layer_kernels(
    job: Job,
    *,
    tensor: Numbers,
    context: Numbers = 1,
    expert: Numbers = 1,
    sequences: Numbers,
    is_sparse: bool = False,
) -> LayerKernels:
    """Seconds of ``sequences`` of the job's length in one layer.

    Parameters
    ----------
    is_sparse
        Whether the layer has routed experts.
    """
    tokens = np.asarray(sequences) * job.tokens / context
    cut = Cut(tensor=tensor, context=context, expert=expert, sequences=sequences, tokens=tokens)
    maps = products_of(job, layer_matrices(job.model, is_sparse=is_sparse), cut)
    core, core_backward = core_seconds(job, cut)
    streams, streams_backward = stream_seconds(job, cut, is_sparse=is_sparse)
    reduce_s, reduce_backward = tensor_seconds(job, cut, is_sparse=is_sparse)
    hop, hop_backward = hop_seconds(job, cut)
    return LayerKernels(
        cut=cut,
        products=product_seconds(job, maps),
        products_backward=product_backward_seconds(job, maps),
        core=core,
        core_backward=core_backward,
        streams=streams,
        streams_backward=streams_backward,
        tensor=reduce_s,
        tensor_backward=reduce_backward,
        expert=expert_seconds(job, cut) if is_sparse else 0.0,
        hop=hop,
        hop_backward=hop_backward,
        floor=floor_seconds(job, maps),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Products:
    """Linear maps of one layer on one rank, y[m, n] = x[m, k] w[k, n]; maps in the first axis."""

    m: NDArray[np.float64]
    n: NDArray[np.float64]
    k: NDArray[np.float64]
    groups: NDArray[np.float64]
    """Equal products in one kernel, one for each routed expert."""
    gathered: NDArray[np.float64]
    """Ranks that the input is gathered from, each of which casts its own part."""
    scattered: NDArray[np.float64]
    """Ranks that the output is scattered over."""


def products_of(job: Job, matrices: tuple[Matrix, ...], cut: Cut) -> Products:
    """The shapes of a layer's linear maps."""
    tokens, groups = zip(*(_routed(job, matrix, cut) for matrix in matrices), strict=True)
    columns = (matrix.columns(cut.tensor) for matrix in matrices)
    rows = (matrix.rows(cut.tensor) for matrix in matrices)
    ranks = cut.tensor if job.stack.sequence_parallel else 1
    gathered = (ranks if matrix.cut == "outputs" else 1 for matrix in matrices)
    scattered = (ranks if matrix.cut == "inputs" else 1 for matrix in matrices)
    shapes = np.broadcast_arrays(*tokens, *columns, *rows, *groups, *gathered, *scattered)
    stacked = np.stack(shapes).astype(np.float64).reshape(6, len(matrices), *shapes[0].shape)
    return Products(**dict(zip(Products.__slots__, stacked, strict=True)))


def product_seconds(job: Job, maps: Products) -> Numbers:
    """All linear maps forward, with the casts of their inputs under fp8."""
    seconds = gemm_seconds(job.device, maps.m, maps.n, maps.k, precision=job.precision, groups=maps.groups)
    return (seconds + _cast_seconds(job, maps.groups * maps.m * maps.k / maps.gathered)).sum(axis=0)


def product_backward_seconds(job: Job, maps: Products) -> Numbers:
    """Gradients of their inputs and weights; of inputs alone where weights are frozen."""
    if job.is_frozen:
        seconds = gemm_seconds(
            job.device, maps.m, maps.k, maps.n, precision=job.precision, groups=maps.groups
        )
    else:
        seconds = gemm_backward_seconds(
            job.device, maps.m, maps.n, maps.k, precision=job.precision, groups=maps.groups
        )
    return (seconds + _cast_seconds(job, maps.groups * maps.m * maps.n / maps.scattered)).sum(axis=0)


def _cast_seconds(job: Job, elements: Numbers) -> Numbers:
    """Casting to 8 bits: 16 read, 8 written, and as much for the transpose that the backward pass takes."""
    return elementwise_seconds(job.device, 4.0 * elements) if job.precision == "fp8" else 0.0


def floor_seconds(job: Job, maps: Products) -> Numbers:
    """The linear maps' FLOPs forward at the data sheet's peak."""
    flops = (2.0 * maps.groups * maps.m * maps.n * maps.k).sum(axis=0)
    return flops / peak_flops_per_s(job.device, job.precision)


def _routed(job: Job, matrix: Matrix, cut: Cut) -> tuple[Numbers, Numbers]:
    """(tokens of one product, products): routed tokens spread evenly over the experts."""
    moe = job.model.moe
    if not matrix.is_routed or moe is None:
        return cut.tokens, 1
    local = np.maximum(1.0, moe.experts / np.asarray(cut.expert))
    return np.maximum(1.0, cut.tokens * moe.experts_per_token / local), local


def core_seconds(job: Job, cut: Cut) -> tuple[Numbers, Numbers]:
    """Attention between its projections, forward and backward; context ranks share the causal work evenly."""
    model, tensor = job.model, np.asarray(cut.tensor)
    mla = model.mla
    unfused = partial(
        unfused_attention_seconds,
        job.device,
        sequences=cut.sequences,
        tokens=job.tokens,
        heads=model.heads / tensor,
        kv_heads=np.maximum(1.0, (model.heads if mla else model.kv_heads) / tensor),
        head_dim=mla.nope_dim + mla.rope_dim if mla else model.head_dim,
        precision=_core_precision(job),
    )
    if not job.stack.flash_attention:
        return unfused(backward=False) / cut.context, unfused(backward=True) / cut.context
    shape = {**unfused.keywords, "value_dim": mla.value_dim if mla else None}
    forward = prefill_attention_seconds(job.device, **shape, cached=False)
    return forward / cut.context, backward_attention_seconds(job.device, **shape) / cut.context


def _core_precision(job: Job) -> Precision:
    """Attention computes in 16 bits where matrices are in 8."""
    return "bf16" if job.precision == "fp8" else job.precision


def stream_seconds(job: Job, cut: Cut, *, is_sparse: bool) -> tuple[Numbers, Numbers]:
    """Norms, residuals, rotary embedding and activation, forward and backward.

    Bytes per token, element by element read and written. On every rank whole without sequence parallelism and
    cut over the tensor group with it (Korthikanti et al. 2205.05198, section 4.2.2): two norms (2 h each) and
    two residual additions (3 h each), backward 3 h each. Always cut: rotary embedding 2 (q + kv), gate 3 f or
    other activation 2 f, backward 5 f or 3 f.
    """
    model, tensor = job.model, cut.tensor
    shared = tensor if job.stack.sequence_parallel else 1
    width = _activated_width(job, is_sparse=is_sparse)
    rotary = 0 if model.learned_positions else 2 * (model.query_size + model.kv_size)
    gate, gate_back = (3, 5) if model.gated else (2, 3)
    unit = cut.tokens * job.element_bytes
    forward = unit * (10 * model.hidden / shared + (rotary + gate * width) / tensor)
    backward = unit * (12 * model.hidden / shared + (rotary + gate_back * width) / tensor)
    return (
        elementwise_seconds(job.device, forward, kernels=FORWARD_KERNELS),
        elementwise_seconds(job.device, backward, kernels=BACKWARD_KERNELS),
    )


def _activated_width(job: Job, *, is_sparse: bool) -> int:
    """Width of the MLP per token; routing copies each token in and out of its experts besides."""
    moe = job.model.moe
    if not is_sparse or moe is None:
        return job.model.ffn
    return moe.shared_ffn + moe.experts_per_token * (moe.expert_ffn + 2 * job.model.hidden)


def tensor_seconds(job: Job, cut: Cut, *, is_sparse: bool) -> tuple[Numbers, Numbers]:
    """Collectives of the tensor group, forward and backward.

    Two all-reduces of the activations each way (Megatron-LM, 1909.08053, figure 4), or with sequence
    parallelism two all-gathers and two reduce-scatters, and backward two all-gathers more of the inputs that
    were kept cut (Korthikanti et al. 2205.05198, section 4.2.2), in 8 bits under fp8 (Transformer Engine).
    Experts exchange their routed tokens.
    """
    on = channel(job.node_pool, size=cut.tensor, stride=1, devices=job.node_pool.devices)
    moe = job.model.moe
    copies = moe.experts_per_token if is_sparse and moe else 1
    token_bytes = cut.tokens * job.model.hidden * job.element_bytes
    if not job.stack.sequence_parallel:
        both = all_reduce_seconds(on, token_bytes) + all_reduce_seconds(on, copies * token_bytes)
        return both, both
    gathered_bytes = token_bytes / 2 if job.precision == "fp8" else token_bytes
    gather = all_gather_seconds(on, gathered_bytes) + all_gather_seconds(on, copies * gathered_bytes)
    scatter = reduce_scatter_seconds(on, token_bytes) + reduce_scatter_seconds(on, copies * token_bytes)
    again = 0.0 if job.is_frozen else gather
    return gather + scatter, gather + scatter + again


def expert_seconds(job: Job, cut: Cut) -> Numbers:
    """Dispatch and combination of routed tokens, each an all-to-all over the expert ranks, either way."""
    moe = job.model.moe
    if moe is None:
        return 0.0
    on = channel(job.node_pool, size=cut.expert, stride=cut.tensor, devices=job.node_pool.devices)
    shared = cut.tensor if job.stack.sequence_parallel else 1
    routed = cut.tokens * moe.experts_per_token / shared
    return 2 * all_to_all_seconds(on, routed * job.model.hidden * job.element_bytes)


def hop_seconds(job: Job, cut: Cut) -> tuple[Numbers, Numbers]:
    """One hop of ring attention: a rank's keys and values, and backward their gradients as well.

    Each of the c - 1 hops runs beside 1 / c of the rank's attention (Liu et al. 2310.01889, section 3).
    """
    on = channel(job.node_pool, size=cut.context, stride=cut.tensor, devices=job.node_pool.devices)
    kv = job.model.heads * job.model.head_dim if job.model.mla else job.model.kv_size
    hop_bytes = 2 * cut.tokens * kv / cut.tensor * job.element_bytes
    return send_seconds(on, hop_bytes), send_seconds(on, 2 * hop_bytes)

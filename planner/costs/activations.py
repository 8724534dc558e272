"""Bytes that a training or inference pass keeps on one rank beside the model's states.

Sizes may be numbers or arrays that broadcast. Without dropout, as post-training runs, unless attention is
unfused (Korthikanti et al. 2205.05198, section 4).
"""

from dataclasses import dataclass

import numpy as np

from planner.costs.data_parallel import Sizes
from planner.costs.parameters import embedding_elements, layer_tensors, vocabulary_rows
from planner.costs.rounding import Numbers, ceil_div
from planner.costs.setting import Job
from planner.costs.stages import dense_layers_at, layers_at

_FP32 = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Sequences of the greatest length on one replica."""

    sequences: Numbers
    """Of one micro-batch."""
    total: Numbers
    """Of one optimizer step, or of one forward pass over all samples."""
    tokens: int
    """Of one sequence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Bytes on one rank at the peak of a pass."""

    activations: Numbers
    """Kept for the backward pass, of all micro-batches in flight."""
    logits: Numbers
    """The head's working set while it is the larger one."""
    workspace: Numbers
    """A layer's working set in its backward pass while it is the larger one."""
    exchange: Numbers
    """Activations and gradients on their way between stages."""

    @property
    def total(self) -> Numbers:
        return self.activations + self.logits + self.workspace + self.exchange


def training_kept(job: Job, sizes: Sizes, batch: Batch, stage: Numbers, recompute: Numbers) -> Kept:
    """The peak of an optimizer step on a stage: all in flight, and the head or a layer at work.

    Parameters
    ----------
    recompute
        Codes of `planner.costs.training.RECOMPUTE`: 0 nothing, 1 attention's core, 2 every layer.
    """
    micro = _micro_tokens(batch, sizes)
    kept = _in_flight_layers(job, sizes, batch, stage, recompute)
    again = np.equal(recompute, 2) * micro * _greatest_layer_bytes(job, sizes, batch)
    layer = micro * _gradient_bytes_per_token(job, sizes) + weight_gradient_bytes(job, sizes)
    is_last = np.equal(stage, sizes.pipeline - 1)
    head = is_last * head_bytes(job, sizes, micro, backward=True)
    return Kept(
        activations=kept + again,
        logits=np.where(head >= layer, head, 0),
        workspace=np.where(head >= layer, 0, layer),
        exchange=_exchange_bytes(job, sizes, micro),
    )


def forward_kept(job: Job, sizes: Sizes, batch: Batch, stage: Numbers) -> Kept:
    """The peak of a pass that keeps nothing for a backward pass."""
    micro = _micro_tokens(batch, sizes)
    layer = micro * forward_bytes_per_token(job, sizes)
    is_last = np.equal(stage, sizes.pipeline - 1)
    head = is_last * head_bytes(job, sizes, micro, backward=False)
    stream = micro * _stream_bytes(job, sizes)
    return Kept(
        activations=stream,
        logits=np.where(head >= layer, head, 0),
        workspace=np.where(head >= layer, 0, layer),
        exchange=_exchange_bytes(job, sizes, micro),
    )


def layer_bytes_per_token(
    job: Job, sizes: Sizes, *, tokens: Numbers, is_sparse: bool, is_selective: bool = False
) -> Numbers:
    """Bytes per token that one layer keeps for its backward pass.

    Korthikanti et al. 2205.05198, equations 2 and 4, without dropout: the inputs of both norms and of both
    blocks, 4 h, whole on each rank or with sequence parallelism cut over the tensor group; always cut are
    query, key, value, the attention's output, and the MLP's activations, 3 f gated and 2 f otherwise. Flash
    attention keeps one fp32 number per head instead of the scores (Dao 2205.14135, section 3.1).

    Parameters
    ----------
    tokens
        Of a sequence: scores that are not fused away grow with it.
    is_selective
        Whether attention's core is computed again.
    """
    model = job.model
    stream = 2 * model.hidden * (job.element_bytes + _saved_bytes(job))
    attention = _attention_elements(job, sizes) * job.element_bytes
    attention = attention + _copied_bytes(job) * model.value_size / sizes.tensor
    heads = model.heads / sizes.tensor
    if is_selective:
        core: Numbers = 0
    elif job.stack.flash_attention:
        core = heads * _FP32
    else:
        core = heads * tokens * _score_bytes(job)
    return stream / _shared(job, sizes) + attention + core + _mlp_bytes(job, sizes, is_sparse=is_sparse)


def _saved_bytes(job: Job) -> int:
    """Of one element of a linear map's input: TransformerEngine keeps it in the precision of the product."""
    return 1 if job.precision == "fp8" else job.element_bytes


def _copied_bytes(job: Job) -> int:
    """Of an 8-bit copy of the attention's output, which attention itself keeps in 16 bits."""
    return 1 if job.precision == "fp8" else 0


def _score_bytes(job: Job) -> int:
    """Per head and pair of tokens: softmax, its dropout mask and what is left (2205.05198, equation 1)."""
    return 2 * job.element_bytes + 1


def _attention_elements(job: Job, sizes: Sizes) -> Numbers:
    """Query, key, value and output; of latent attention also what they are expanded from, with its norm."""
    model, mla = job.model, job.model.mla
    query_and_output = (model.query_size + model.value_size) / sizes.tensor
    if mla is None:
        return query_and_output + 2 * np.maximum(model.kv_size / sizes.tensor, model.head_dim)
    expanded = model.heads * (model.head_dim + mla.value_dim) / sizes.tensor
    compressed = 2 * ((mla.query_rank or 0) + mla.kv_rank) + mla.rope_dim
    return query_and_output + expanded + compressed / _shared(job, sizes)


def _mlp_bytes(job: Job, sizes: Sizes, *, is_sparse: bool) -> Numbers:
    """Of an MLP, or of a router, the shared experts and a token's routed experts.

    Routed tokens are copied to their experts and back, k h each; the copies into an expert are whole on each
    rank of the tensor group, which cuts its width.
    """
    model, moe = job.model, job.model.moe
    per_width = (2 if model.gated else 1) * job.element_bytes + _saved_bytes(job)
    if not is_sparse or moe is None:
        return per_width * model.ffn / sizes.tensor
    used = moe.shared_ffn + moe.experts_per_token * moe.expert_ffn
    copies = moe.experts_per_token * model.hidden * (1 + 1 / _shared(job, sizes)) * job.element_bytes
    routing = 2 * _FP32 * moe.experts / _shared(job, sizes)
    return per_width * used / sizes.tensor + copies + routing


def _in_flight_layers(job: Job, sizes: Sizes, batch: Batch, stage: Numbers, recompute: Numbers) -> Numbers:
    """Activations of all layers and micro-batches that wait for their backward pass on a stage.

    1F1B keeps p - s micro-batches on stage s, and interleaved 2 (p - s - 1) + (v - 1) p + 1 chunks of 1 / v
    of its layers (Narayanan et al. 2104.04473, section 2.2; Megatron-Core's schedules).
    """
    model = job.model
    place = {"pipeline": sizes.pipeline, "virtual": sizes.virtual, "stage": stage}
    dense = dense_layers_at(model.layers, model.dense_layers, **place)
    per_token = dense * _recomputed_bytes(job, sizes, batch, recompute, is_sparse=False)
    if model.moe:
        sparse = layers_at(model.layers, **place) - dense
        per_token = per_token + sparse * _recomputed_bytes(job, sizes, batch, recompute, is_sparse=True)
    behind = sizes.pipeline - stage
    chunks = np.where(
        np.equal(sizes.virtual, 1), behind, 2 * behind - 1 + (sizes.virtual - 1) * sizes.pipeline
    )
    sequences = np.minimum(chunks * batch.sequences, sizes.virtual * batch.total) / sizes.virtual
    return sequences * ceil_div(batch.tokens, sizes.context) * per_token


def _recomputed_bytes(
    job: Job, sizes: Sizes, batch: Batch, recompute: Numbers, *, is_sparse: bool
) -> Numbers:
    """What a layer keeps per token in each mode; under full recomputation its input."""
    every = layer_bytes_per_token(job, sizes, tokens=batch.tokens, is_sparse=is_sparse)
    some = layer_bytes_per_token(job, sizes, tokens=batch.tokens, is_sparse=is_sparse, is_selective=True)
    kept = np.where(np.equal(recompute, 1), some, every)
    return np.where(np.equal(recompute, 2), _stream_bytes(job, sizes), kept)


def _greatest_layer_bytes(job: Job, sizes: Sizes, batch: Batch) -> Numbers:
    """Of the larger kind of layer, without recomputation."""
    dense = layer_bytes_per_token(job, sizes, tokens=batch.tokens, is_sparse=False)
    if job.model.moe is None:
        return dense
    sparse = layer_bytes_per_token(job, sizes, tokens=batch.tokens, is_sparse=True)
    return np.maximum(dense, sparse) if job.model.dense_layers else sparse


def _gradient_bytes_per_token(job: Job, sizes: Sizes) -> Numbers:
    """Gradients that a layer's backward pass holds at once: the MLP's activations' and two streams'."""
    dense = _mlp_bytes(job, sizes, is_sparse=False)
    mlp = dense if job.model.moe is None else np.maximum(dense, _mlp_bytes(job, sizes, is_sparse=True))
    return mlp + 2 * _stream_bytes(job, sizes)


def weight_gradient_bytes(job: Job, sizes: Sizes) -> Numbers:
    """A layer's largest weight gradient in the model's precision, before it is added to the main gradient."""
    kinds = [layer_tensors(job.model, is_sparse=job.model.moe is not None)]
    if job.model.moe and job.model.dense_layers:
        kinds.append(layer_tensors(job.model, is_sparse=False))
    greatest = max(max(kind.shared.greatest_cut, kind.expert.greatest_cut) for kind in kinds)
    return 0 if job.is_frozen else greatest / sizes.tensor * job.element_bytes


def forward_bytes_per_token(job: Job, sizes: Sizes) -> Numbers:
    """A layer's working set when nothing is kept: a norm's output, and attention's tensors or the MLP's."""
    attention = _attention_elements(job, sizes) * job.element_bytes
    mlp = _mlp_bytes(job, sizes, is_sparse=False)
    if job.model.moe:
        sparse = _mlp_bytes(job, sizes, is_sparse=True)
        mlp = np.maximum(mlp, sparse) if job.model.dense_layers else sparse
    return job.model.hidden * job.element_bytes + np.maximum(attention, mlp)


def head_bytes(job: Job, sizes: Sizes, tokens: Numbers, *, backward: bool) -> Numbers:
    """The head's working set, cut over the vocabulary (Megatron-LM, 1909.08053, section 3).

    Per entry the logits in the model's precision and an fp32 copy, in which the softmax is computed in place;
    then its gradient in the model's precision beside the head's weight gradient. Under fp32 there is no copy.
    A scalar head casts its input to fp32.
    """
    if job.head == "scalar":
        return tokens * job.model.hidden * _FP32
    rows = vocabulary_rows(job.model, sizes.tensor, job.stack.vocabulary_multiple)
    entries = tokens * rows
    casts = 0 if job.element_bytes == _FP32 else _FP32
    softmax = entries * (job.element_bytes + casts)
    if not backward or job.is_frozen:
        return softmax
    table = embedding_elements(job.model, sizes.tensor, job.stack.vocabulary_multiple)
    return np.maximum(softmax, (entries + table) * job.element_bytes)


def _exchange_bytes(job: Job, sizes: Sizes, tokens: Numbers) -> Numbers:
    """One activation received and one gradient, where there are several stages."""
    return np.greater(sizes.pipeline, 1) * 2 * tokens * _stream_bytes(job, sizes)


def _stream_bytes(job: Job, sizes: Sizes) -> Numbers:
    """Of one token between two layers."""
    return job.model.hidden * job.element_bytes / _shared(job, sizes)


def _shared(job: Job, sizes: Sizes) -> Numbers:
    """Ranks that what lies between the blocks is cut over."""
    return sizes.tensor if job.stack.sequence_parallel else 1


def _micro_tokens(batch: Batch, sizes: Sizes) -> Numbers:
    return np.minimum(batch.sequences, batch.total) * ceil_div(batch.tokens, sizes.context)

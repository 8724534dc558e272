"""Bytes that a training or inference pass keeps on one rank beside the model's states.

Sizes may be numbers or arrays that broadcast. Without dropout, as post-training runs, unless attention is
unfused (Korthikanti et al. 2205.05198, section 4).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np

from planner.costs.memory.parameters import layer_tensors, vocabulary_rows
from planner.costs.memory.rounding import Numbers, are_plain, by_size, ceil_div, choose, greater, lesser
from planner.costs.memory.stages import Layers
from planner.costs.passes.data_parallel import Sizes
from planner.costs.setting import Job

_FP32 = 4
_NONE, _SELECTIVE, _FULL = range(3)
"""`planner.costs.passes.training.RECOMPUTE`."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """What every stage of a layout has in common; bytes on one rank."""

    micro_tokens: Numbers
    dense: Numbers
    """Kept per token of one layer without experts."""
    sparse: Numbers
    """The same of one with experts."""
    again: Numbers
    """Of one micro-batch, a layer that is computed again."""
    layer: Numbers
    """A layer's working set for one micro-batch."""
    head: Numbers
    """The head's working set for one micro-batch."""
    exchange: Numbers


def training_pass(job: Job, sizes: Sizes, batch: Batch, recompute: Numbers) -> Pass:
    """The parts of an optimizer step's peak.

    Parameters
    ----------
    recompute
        Codes of `planner.costs.passes.training.RECOMPUTE`: 0 nothing, 1 attention's core, 2 every layer.
    """
    tensor, micro = sizes.tensor, _micro_tokens(batch, sizes)
    kept = partial(_by_mode, job, tensor, batch.tokens, recompute)
    largest = _per_tensor(_greatest_layer_bytes, job, tensor, batch.tokens)
    gradients = _per_tensor(_gradient_bytes_per_token, job, tensor)
    return Pass(
        micro_tokens=micro,
        dense=kept(is_sparse=False),
        sparse=kept(is_sparse=True) if job.model.moe else 0,
        again=(recompute == _FULL) * micro * largest,
        layer=micro * gradients + _per_tensor(weight_gradient_bytes, job, tensor),
        head=head_bytes(job, tensor, micro, backward=True),
        exchange=_exchange_bytes(job, sizes, micro),
    )


def stage_kept(one: Pass, sizes: Sizes, batch: Batch, *, stage: Numbers, layers: Layers) -> Kept:
    """The peak of an optimizer step on one stage, from what all stages have in common.

    1F1B keeps p - s micro-batches on stage s, and interleaved 2 (p - s - 1) + (v - 1) p + 1 chunks of 1 / v
    of its layers (Narayanan et al. 2104.04473, section 2.2; Megatron-Core's schedules).
    """
    per_token = layers.dense * one.dense + layers.sparse * one.sparse
    behind = sizes.pipeline - stage
    chunks = behind
    if not (are_plain(sizes.virtual) and sizes.virtual == 1):
        interleaved = 2 * behind - 1 + (sizes.virtual - 1) * sizes.pipeline
        chunks = choose(sizes.virtual == 1, behind, interleaved)
    sequences = lesser(chunks * batch.sequences, sizes.virtual * batch.total) / sizes.virtual
    kept = sequences * ceil_div(batch.tokens, sizes.context) * per_token
    return _peak(one, kept + one.again, is_last=sizes.pipeline == stage + 1)


def forward_kept(job: Job, sizes: Sizes, batch: Batch, stage: Numbers) -> Kept:
    """The peak of a pass that keeps nothing for a backward pass."""
    tensor, micro = sizes.tensor, _micro_tokens(batch, sizes)
    one = Pass(
        micro_tokens=micro,
        dense=0,
        sparse=0,
        again=0,
        layer=micro * _per_tensor(forward_bytes_per_token, job, tensor),
        head=head_bytes(job, tensor, micro, backward=False),
        exchange=_exchange_bytes(job, sizes, micro),
    )
    return _peak(one, micro * _stream_bytes(job, tensor), is_last=sizes.pipeline == stage + 1)


def _peak(one: Pass, activations: Numbers, *, is_last: Numbers) -> Kept:
    """The larger of the head's and a layer's working set beside what is kept."""
    head = is_last * one.head
    has_head = head >= one.layer
    return Kept(
        activations=activations,
        logits=has_head * head,
        workspace=(1 - has_head) * one.layer,
        exchange=one.exchange,
    )


def layer_bytes_per_token(
    job: Job, tensor: Numbers, tokens: int, *, is_sparse: bool, is_selective: bool = False
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
    attention = _attention_elements(job, tensor) * job.element_bytes
    attention = attention + _copied_bytes(job) * model.value_size / tensor
    heads = model.heads / tensor
    if is_selective:
        core: Numbers = 0
    elif job.stack.flash_attention:
        core = heads * _FP32
    else:
        core = heads * tokens * _score_bytes(job)
    return stream / _shared(job, tensor) + attention + core + _mlp_bytes(job, tensor, is_sparse=is_sparse)


def _saved_bytes(job: Job) -> int:
    """Of one element of a linear map's input: TransformerEngine keeps it in the precision of the product."""
    return 1 if job.precision == "fp8" else job.element_bytes


def _copied_bytes(job: Job) -> int:
    """Of an 8-bit copy of the attention's output, which attention itself keeps in 16 bits."""
    return 1 if job.precision == "fp8" else 0


def _score_bytes(job: Job) -> int:
    """Per head and pair of tokens: softmax, its dropout mask and what is left (2205.05198, equation 1)."""
    return 2 * job.element_bytes + 1


def _attention_elements(job: Job, tensor: Numbers) -> Numbers:
    """Query, key, value and output; of latent attention also what they are expanded from, with its norm."""
    model, mla = job.model, job.model.mla
    query_and_output = (model.query_size + model.value_size) / tensor
    if mla is None:
        return query_and_output + 2 * greater(model.kv_size / tensor, model.head_dim)
    expanded = model.heads * (model.head_dim + mla.value_dim) / tensor
    compressed = 2 * ((mla.query_rank or 0) + mla.kv_rank) + mla.rope_dim
    return query_and_output + expanded + compressed / _shared(job, tensor)


def _mlp_bytes(job: Job, tensor: Numbers, *, is_sparse: bool) -> Numbers:
    """Of an MLP, or of a router, the shared experts and a token's routed experts with their inputs.

    The copies of a token that go into its experts are whole on each rank of the tensor group, which cuts the
    experts' width; those that come back are kept by nobody, as the router's weights are applied inside
    (Megatron-Core 0.16, ``TEGroupedMLP``).
    """
    model, moe = job.model, job.model.moe
    per_width = (2 if model.gated else 1) * job.element_bytes + _saved_bytes(job)
    if not is_sparse or moe is None:
        return per_width * model.ffn / tensor
    used = moe.shared_ffn + moe.experts_per_token * moe.expert_ffn
    routing = 2 * _FP32 * moe.experts / _shared(job, tensor)
    return per_width * used / tensor + _copies_bytes(job, is_sparse=True) + routing


def _copies_bytes(job: Job, *, is_sparse: bool) -> int:
    """Of a token on its way to all of its experts, or back."""
    moe = job.model.moe
    return moe.experts_per_token * job.model.hidden * job.element_bytes if moe and is_sparse else 0


def _working_bytes(job: Job, tensor: Numbers, *, is_sparse: bool) -> Numbers:
    """An MLP's tensors while it works, what comes back of its experts included."""
    return _mlp_bytes(job, tensor, is_sparse=is_sparse) + _copies_bytes(job, is_sparse=is_sparse)


def _by_mode(job: Job, tensor: Numbers, tokens: int, recompute: Numbers, *, is_sparse: bool) -> Numbers:
    """What a layer keeps per token in each mode of recomputation; under the full one its input."""
    if are_plain(tensor, recompute):
        return _one_mode(job, tensor, tokens, recompute, is_sparse)
    sizes, modes = np.broadcast_arrays(tensor, recompute)
    count = int(sizes.max())
    every = np.arange(1, count + 1)
    table = [_one_mode(job, every, tokens, mode, is_sparse) for mode in (_NONE, _SELECTIVE, _FULL)]
    return np.take(
        np.concatenate([np.broadcast_to(row, (count,)) for row in table]), modes * count + sizes - 1
    )


def _one_mode(job: Job, tensor: Numbers, tokens: int, mode: int, is_sparse: bool) -> Numbers:
    if mode == _FULL:
        return _stream_bytes(job, tensor)
    return layer_bytes_per_token(job, tensor, tokens, is_sparse=is_sparse, is_selective=mode == _SELECTIVE)


def _greatest_layer_bytes(job: Job, tensor: Numbers, tokens: int) -> Numbers:
    """Of the larger kind of layer, without recomputation."""
    return _greatest(job, partial(layer_bytes_per_token, job, tensor, tokens))


def _gradient_bytes_per_token(job: Job, tensor: Numbers) -> Numbers:
    """Gradients that a layer's backward pass holds at once: the MLP's activations' and two streams'."""
    return _greatest(job, partial(_working_bytes, job, tensor)) + 2 * _stream_bytes(job, tensor)


def forward_bytes_per_token(job: Job, tensor: Numbers) -> Numbers:
    """A layer's working set when nothing is kept: a norm's output, and attention's tensors or the MLP's."""
    attention = _attention_elements(job, tensor) * job.element_bytes
    mlp = _greatest(job, partial(_working_bytes, job, tensor))
    return job.model.hidden * job.element_bytes + greater(attention, mlp)


def _greatest(job: Job, count: Callable[..., Numbers]) -> Numbers:
    """Of the kinds of layers that the model has."""
    if job.model.moe is None:
        return count(is_sparse=False)
    sparse = count(is_sparse=True)
    return greater(count(is_sparse=False), sparse) if job.model.dense_layers else sparse


def weight_gradient_bytes(job: Job, tensor: Numbers) -> Numbers:
    """A layer's largest weight gradient in the model's precision, before it is added to the main gradient."""
    kinds = [layer_tensors(job.model, is_sparse=job.model.moe is not None)]
    if job.model.moe and job.model.dense_layers:
        kinds.append(layer_tensors(job.model, is_sparse=False))
    greatest = max(max(kind.shared.greatest_cut, kind.expert.greatest_cut) for kind in kinds)
    return 0 * tensor if job.is_frozen else greatest / tensor * job.element_bytes


def head_bytes(job: Job, tensor: Numbers, tokens: Numbers, *, backward: bool) -> Numbers:
    """The head's working set, cut over the vocabulary (Megatron-LM, 1909.08053, section 3).

    Per entry the logits in the model's precision and an fp32 copy, in which the softmax is computed in place;
    then its gradient in the model's precision beside the head's weight gradient. Under fp32 there is no copy.
    A scalar head casts its input to fp32.
    """
    if job.head == "scalar":
        return tokens * job.model.hidden * _FP32
    rows = _per_tensor(_vocabulary_rows, job, tensor)
    casts = 0 if job.element_bytes == _FP32 else _FP32
    softmax = tokens * rows * (job.element_bytes + casts)
    if not backward or job.is_frozen:
        return softmax
    return greater(softmax, (tokens + job.model.hidden) * rows * job.element_bytes)


def _vocabulary_rows(job: Job, tensor: Numbers) -> Numbers:
    return vocabulary_rows(job.model, tensor, job.stack.vocabulary_multiple)


def _exchange_bytes(job: Job, sizes: Sizes, tokens: Numbers) -> Numbers:
    """One activation received and one gradient, where there are several stages."""
    return (sizes.pipeline > 1) * 2 * tokens * _stream_bytes(job, sizes.tensor)


def _stream_bytes(job: Job, tensor: Numbers) -> Numbers:
    """Of one token between two layers."""
    return job.model.hidden * job.element_bytes / _shared(job, tensor)


def _shared(job: Job, tensor: Numbers) -> Numbers:
    """Ranks that what lies between the blocks is cut over."""
    return tensor if job.stack.sequence_parallel else 1


def _micro_tokens(batch: Batch, sizes: Sizes) -> Numbers:
    return lesser(batch.sequences, batch.total) * ceil_div(batch.tokens, sizes.context)


def _per_tensor(function: Callable[..., Numbers], job: Job, tensor: Numbers, *others: int) -> Numbers:
    """A function of the tensor size; of arrays through a table, of numbers remembered."""
    if are_plain(tensor):
        return _remembered(function, job, tensor, others)
    return by_size(lambda size: function(job, size, *others), tensor)


@lru_cache(maxsize=65536)
def _remembered(function: Callable[..., Numbers], job: Job, tensor: int, others: tuple[int, ...]) -> Numbers:
    return function(job, tensor, *others)

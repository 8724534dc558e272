"""Named rules: which layouts, micro-batches, recomputation and offload a role may try.

Sizes need not divide what they cut, but for the devices: what is uneven is a cost. Pins and the capabilities
of the runtime at hand only leave out values, so that neither ever improves a plan.
"""

import math
from collections.abc import Iterator, Sequence
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from planner.costs.passes.training import RECOMPUTE
from planner.domain.plan import Offload
from planner.search.options.rows import OFFLOADS, RECOMPUTES, Columns, Whole, crossed
from planner.search.options.subject import Subject

CONTEXT_TOKENS = 4096
"""Of the longest sequence that each context rank keeps at least: shorter parts only wait for each other."""

Allowed = NDArray[np.bool_]
"""Which rows may take which values, shape (rows, values)."""


def raw_layouts(subject: Subject, counts: Sequence[int]) -> Columns:
    """All layouts with their micro-batches and recomputation, device count after device count."""
    layouts = list(_layouts(subject, counts))
    names = ("devices", "pipeline", "tensor", "data", "context")
    columns = np.array(layouts, dtype=np.int64).reshape(-1, len(names)).T
    rows: Columns = dict(zip(names, columns, strict=True))
    rows = _crossed_with_experts(subject, rows)
    rows = _crossed_with_chunks(subject, rows)
    rows = _crossed_with_micro_batches(subject, rows)
    return crossed(rows, {"recompute": recomputations(subject)}, True)


def _layouts(subject: Subject, counts: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """(devices, p, t, d, c) with p t c d = devices; sizes of as many devices are listed once."""
    contexts, pipelines = cache(partial(context_sizes, subject)), cache(partial(pipeline_sizes, subject))
    may_share = cache(partial(may_copy, subject))
    for devices in counts:
        for tensor in tensor_sizes(subject, devices):
            for context in contexts(devices // tensor):
                rest = devices // (tensor * context)
                for pipeline in pipelines(rest):
                    if may_share(rest // pipeline):
                        yield devices, pipeline, tensor, rest // pipeline, context


def tensor_sizes(subject: Subject, devices: int) -> list[int]:
    """Divisors of the devices, the heads and a node's devices, so that a tensor group stays inside a node.

    A runtime without padding needs t to divide the key heads, the MLP's width and the vocabulary as well.
    """
    model = subject.model
    common = math.gcd(model.heads, subject.node_pool.devices_per_node, devices)
    if not subject.can("padding"):
        common = math.gcd(common, model.kv_heads, model.ffn, model.vocab)
    return [size for size in divisors(common) if _may_be(subject, "tensor", size)]


def context_sizes(subject: Subject, devices: int) -> list[int]:
    """Powers of two of which each rank keeps at least `CONTEXT_TOKENS` of the longest sequence."""
    most = max(1, subject.workload.maximum_tokens // CONTEXT_TOKENS) if subject.can("context") else 1
    sizes = [size for size in powers_of_two(most) if devices % size == 0]
    return [size for size in sizes if _may_be(subject, "context", size)]


def pipeline_sizes(subject: Subject, devices: int) -> list[int]:
    """Divisors of the devices, up to one layer a stage."""
    sizes = [size for size in divisors(devices) if size <= subject.model.layers]
    return [size for size in sizes if _may_be(subject, "pipeline", size)]


def may_copy(subject: Subject, data: int) -> bool:
    """Whether there may be so many replicas: each has a sequence, or the runtime lets some have none."""
    work = subject.workload
    least = work.samples // work.mini_batches if subject.is_trained else work.samples
    has_work = data <= least or subject.can("empty_replicas")
    return has_work and _may_be(subject, "data", data)


def expert_sizes(subject: Subject, rows: Columns) -> tuple[Whole, Allowed]:
    """Divisors of the experts that divide the data and context ranks."""
    moe = subject.model.moe
    sizes = np.array(divisors(moe.experts) if moe and subject.can("expert") else [1])
    ranks = rows["data"] * rows["context"]
    return sizes, ranks[:, None] % sizes == 0


def chunk_counts(subject: Subject, rows: Columns) -> tuple[Whole, Allowed]:
    """Powers of two and one layer a chunk, where there are stages to interleave; no chunk without a layer."""
    layers, pipeline = subject.model.layers, rows["pipeline"][:, None]
    most = np.where(pipeline > 1, layers // pipeline, 1)
    if not subject.can("virtual"):
        most = np.minimum(most, 1)
    counts = np.array(powers_of_two(max(1, layers // 2)))
    values = np.concatenate([np.broadcast_to(counts, (len(most), len(counts))), most], axis=1)
    allowed = values <= most
    allowed[:, -1] = (most & (most - 1) != 0)[:, 0]
    return values, allowed


def micro_batches(subject: Subject, rows: Columns) -> tuple[Whole, Allowed]:
    """Powers of two up to the sequences of the fullest replica; one where context ranks share a sequence."""
    share = np.maximum(1, _share(subject, rows))
    sizes = np.array(powers_of_two(int(share.max(initial=1))))
    allowed = sizes <= share[:, None]
    return sizes, allowed & ((rows["context"] == 1)[:, None] | (sizes == 1))


def token_budgets(subject: Subject, rows: Columns) -> tuple[Whole, Allowed]:
    """Multiples of the longest sequence by powers of two, up to all tokens of the fullest replica.

    Only where lengths vary: a budget packs more sequences than have room at their greatest length.
    """
    work, longest = subject.workload, subject.workload.maximum_tokens
    share = np.maximum(1, _share(subject, rows))
    budgets = np.zeros(0, dtype=np.int64)
    if work.mean_tokens < longest and subject.can("token_budgets"):
        most = math.ceil(float(share.max(initial=1)) * work.mean_tokens / longest)
        budgets = longest * np.array(powers_of_two(2 * max(1, most) - 1))
    allowed = budgets < 2 * np.maximum(longest, share * work.mean_tokens)[:, None]
    return budgets, allowed & ((rows["context"] == 1)[:, None] | (budgets == longest))


def recomputations(subject: Subject) -> list[int]:
    """Codes of what a trained role may recompute; nothing where nothing is kept for a backward pass."""
    modes = RECOMPUTES if subject.is_trained else RECOMPUTES[:1]
    possible = [mode for mode in modes if mode != "selective" or subject.can("selective")]
    return [RECOMPUTE[mode] for mode in possible if subject.allows("recompute", mode)]


def offloads(subject: Subject) -> list[Offload]:
    """What may live in host memory between calls; of a role that is not trained its weights."""
    kinds: list[Offload] = [kind for kind in OFFLOADS if kind != "optimizer" or subject.is_trained]
    possible = kinds if subject.can("offload") else kinds[:1]
    return [kind for kind in possible if subject.allows("offload", kind)]


def divisors(number: int) -> list[int]:
    """All divisors in rising order.

    >>> divisors(12)
    [1, 2, 3, 4, 6, 12]
    """
    small = [factor for factor in range(1, math.isqrt(number) + 1) if number % factor == 0]
    return sorted({*small, *(number // factor for factor in small)})


def powers_of_two(most: int) -> list[int]:
    """1, 2, 4, ... up to a number.

    >>> powers_of_two(6), powers_of_two(0)
    ([1, 2, 4], [])
    """
    return [2**exponent for exponent in range(most.bit_length())]


def _may_be(subject: Subject, field: str, size: int) -> bool:
    return subject.allows(field, size, phase=subject.phase)


def _crossed_with_experts(subject: Subject, rows: Columns) -> Columns:
    sizes, allowed = expert_sizes(subject, rows)
    return crossed(rows, {"expert": sizes}, allowed & _agrees(subject, "expert", sizes))


def _crossed_with_chunks(subject: Subject, rows: Columns) -> Columns:
    counts, allowed = chunk_counts(subject, rows)
    return crossed(rows, {"virtual": counts}, allowed & _agrees(subject, "virtual", counts))


def _crossed_with_micro_batches(subject: Subject, rows: Columns) -> Columns:
    """With those that are counted, and with those that have a budget and count as one sequence."""
    sizes, are_sizes = micro_batches(subject, rows)
    budgets, are_budgets = token_budgets(subject, rows)
    values = {
        "micro_batch": np.concatenate([sizes, np.ones_like(budgets)]),
        "micro_batch_tokens": np.concatenate([np.zeros_like(sizes), budgets]),
    }
    allowed = np.concatenate([are_sizes, are_budgets], axis=1)
    for field, column in values.items():
        pinned = subject.pinned(field)
        allowed &= pinned is None or column == pinned
    return crossed(rows, values, allowed)


def _agrees(subject: Subject, field: str, sizes: Whole) -> Allowed:
    pinned = subject.pinned(field, phase=subject.phase)
    agrees: Allowed = np.ones(np.shape(sizes), dtype=np.bool_) if pinned is None else sizes == pinned
    return agrees


def _share(subject: Subject, rows: Columns) -> Whole:
    """Sequences of the fullest replica: of a mini-batch in training, of all samples else."""
    work = subject.workload
    batch = -(-work.samples // (work.mini_batches if subject.is_trained else 1))
    share: Whole = -(-batch // rows["data"])
    return share

"""Named rules: which generation strategies a role may try on so many devices."""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from planner.costs.serving.cache import cache_tokens_for
from planner.domain.parallelism import VOCABULARY_MULTIPLE
from planner.search.options.layout_rules import Allowed, divisors, powers_of_two
from planner.search.options.rows import Columns, Whole, crossed
from planner.search.options.subject import Subject

LARGEST_PIPELINE = 8
"""Stages of a replica whose weights live in the generation layout."""


def raw_generations(subject: Subject, counts: Sequence[int]) -> Columns:
    """All generation strategies on each of these device counts, whatever the training layout."""
    shapes = list(_shapes(subject, counts))
    names = ("devices", "generate_pipeline", "generate_tensor", "generate_replicas", "generate_max_sequences")
    columns = np.array(shapes, dtype=np.int64).reshape(-1, len(names)).T
    rows: Columns = dict(zip(names, columns, strict=True))
    tokens, allowed = cache_sizes(subject, rows)
    return crossed(rows, {"generate_cache_tokens": tokens}, allowed)


def _shapes(subject: Subject, counts: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """(devices, p_g, t_g, replicas, sequences at once)."""
    waves: dict[tuple[int, int], list[int]] = {}
    for devices in counts:
        for tensor in generation_tensor_sizes(subject, devices):
            for pipeline in generation_pipeline_sizes(subject, devices // tensor):
                replicas = devices // (tensor * pipeline)
                if not has_responses(subject, replicas):
                    continue
                sequences = math.ceil(subject.responses / replicas)
                key = sequences, most_at_once(subject, tensor * pipeline)
                if key not in waves:
                    waves[key] = at_once(subject, *key)
                for most in waves[key]:
                    yield devices, pipeline, tensor, replicas, most


def generation_tensor_sizes(subject: Subject, devices: int) -> list[int]:
    """Divisors of the devices, the heads and a node's devices; under a training layout also of its t.

    A runtime without padding needs the padded vocabulary to be cut where the training engine cuts it.
    """
    common = math.gcd(subject.model.heads, subject.node_pool.devices_per_node, devices)
    sizes = [size for size in divisors(common) if subject.allows("tensor", size, phase="generate")]
    if subject.can("padding"):
        return sizes
    vocabulary = subject.model.vocab
    return [size for size in sizes if size == 1 or vocabulary % (VOCABULARY_MULTIPLE * size) == 0]


def generation_pipeline_sizes(subject: Subject, devices: int) -> list[int]:
    """Divisors of the devices up to one layer a stage; of p under a training layout, small ones alone."""
    most = subject.model.layers if subject.has_layout else min(subject.model.layers, LARGEST_PIPELINE)
    if not subject.can("generation_pipeline"):
        most = 1
    sizes = [size for size in divisors(devices) if size <= most]
    return [size for size in sizes if subject.allows("pipeline", size, phase="generate")]


def has_responses(subject: Subject, replicas: int) -> bool:
    """Whether each replica has a response, or the runtime lets some have none; and the pin agrees."""
    enough = replicas <= subject.workload.samples or subject.can("empty_replicas")
    return enough and subject.allows("replicas", replicas, phase="generate")


def most_at_once(subject: Subject, devices: int) -> int:
    """Sequences that a replica of so many devices takes at once; all responses if its engine says none."""
    stack = subject.scenario.stack.generation
    of_devices = stack.device_sequences and stack.device_sequences * devices
    return min(stack.max_sequences or subject.responses, of_devices or subject.responses)


def at_once(subject: Subject, sequences: int, most: int) -> list[int]:
    """Sequences that a replica decodes at once: its own, evenly in each of the counts of `waves`.

    No more than its engine takes.
    """
    sizes = dict.fromkeys(min(most, math.ceil(sequences / count)) for count in waves(sequences))
    return [size for size in sizes if subject.allows("max_sequences", size, phase="generate")]


def waves(sequences: int) -> list[int]:
    """Numbers of waves that a replica may decode in: 1, 2, 3, 4, 6, 8, 12, 16, ... up to one sequence each.

    >>> waves(10)
    [1, 2, 3, 4, 6, 8, 10]
    """
    powers = powers_of_two(sequences)
    counts = {1, sequences, *powers, *(power * 3 // 2 for power in powers)}
    return sorted(count for count in counts if count <= sequences)


def cache_sizes(subject: Subject, rows: Columns) -> tuple[Whole, Allowed]:
    """Full reservation, and where lengths vary what the running sequences are expected to hold.

    The latter is their expected peak and three deviations; it must hold the longest sequence, and be less
    than full reservation.
    """
    work, sequences = subject.workload, rows["generate_max_sequences"]
    longest, pinned = work.maximum_tokens, subject.pinned("cache_tokens", phase="generate")
    offered = np.maximum(longest, cache_tokens_for(work, sequences))
    paged = (offered < sequences * longest) & (work.mean_tokens < longest) & subject.can("cache_tokens")
    values = np.stack([0 * offered, offered], axis=1)
    allowed = np.stack([np.ones_like(paged), paged], axis=1)
    return values, allowed & (pinned is None or values == pinned)

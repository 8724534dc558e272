"""All strategies of a role, listed by their definition: no halves, no pruning, no order."""

import math
from collections.abc import Iterator
from itertools import product

from planner.costs.serving.cache import cache_tokens_for
from planner.domain.cluster import NodePool
from planner.domain.dataflow import DataflowGraph
from planner.domain.parallelism import GenerationStrategy, ParallelStrategy
from planner.domain.plan import RoleStrategy
from planner.domain.scenario import Scenario


def raw_options(
    scenario: Scenario, graph: DataflowGraph, role: str, node_pool: NodePool, devices: int
) -> Iterator[RoleStrategy]:
    """Every strategy of the role on so many devices, whether it fits them or not."""
    kinds = {call.kind for call in graph.calls_of(role)}
    if kinds <= {"generate", "receive"}:
        for generate in _generations(scenario, graph, role, node_pool, devices):
            yield RoleStrategy(generate=generate)
        return
    is_trained, can = "train" in kinds, scenario.capabilities
    recomputes = ["none", "full", *["selective"] * can.selective] if is_trained else ["none"]
    offloads = ["none", *["all"] * can.offload, *["optimizer"] * (can.offload and is_trained)]
    for layout in _layouts(scenario, role, node_pool, devices, is_trained=is_trained):
        generations: list[GenerationStrategy | None] = [None]
        if "generate" in kinds:
            generations = [
                each
                for each in _generations(scenario, graph, role, node_pool, devices)
                if layout.pipeline % each.pipeline == 0 and layout.tensor % each.tensor == 0
            ]
        passes = list(_passes(scenario, layout, is_trained=is_trained))
        for (sequences, tokens), recompute, offload, generate in product(
            passes, recomputes, offloads, generations
        ):
            yield RoleStrategy(
                train=layout if is_trained else None,
                infer=None if is_trained else layout,
                generate=generate,
                micro_batch=sequences,
                micro_batch_tokens=tokens,
                recompute=recompute,
                offload=offload,
            )


def _layouts(
    scenario: Scenario, role: str, node_pool: NodePool, devices: int, *, is_trained: bool
) -> Iterator[ParallelStrategy]:
    """Sizes that fill the devices; t divides the heads and a node, stages and chunks have a layer each."""
    model, work, can = scenario.model_of(role), scenario.workload, scenario.capabilities
    contexts = [1] + [c for c in (2, 4, 8) if can.context and 4096 * c <= work.maximum_tokens]
    experts = [e for e in range(1, 65) if e == 1 or (can.expert and model.moe and model.moe.experts % e == 0)]
    cut = [model.heads, node_pool.devices_per_node]
    cut += [] if can.padding else [model.kv_heads, model.ffn, model.vocab]
    samples = work.samples // work.mini_batches if is_trained else work.samples
    sizes = range(1, devices + 1)
    for p, t, d, c in product(range(1, model.layers + 1), sizes, sizes, contexts):
        if p * t * d * c != devices or any(size % t for size in cut):
            continue
        if d > samples and not can.empty_replicas:
            continue
        chunks = {1}
        if can.virtual and p > 1:
            most = model.layers // p
            chunks |= {most, *(2**power for power in range(8) if 2**power <= most)}
        for v, e in product(sorted(chunks), experts):
            if d * c % e == 0:
                yield ParallelStrategy(pipeline=p, tensor=t, data=d, context=c, expert=e, virtual=v)


def _passes(
    scenario: Scenario, layout: ParallelStrategy, *, is_trained: bool
) -> Iterator[tuple[int, int | None]]:
    """Sequences and tokens of a micro-batch: powers of two up to the share of the fullest replica."""
    work = scenario.workload
    share = math.ceil(math.ceil(work.samples / (work.mini_batches if is_trained else 1)) / layout.data)
    for sequences in (2**power for power in range(20)):
        if sequences <= share and (layout.context == 1 or sequences == 1):
            yield sequences, None
    longest, mean = work.maximum_tokens, work.mean_tokens
    if scenario.capabilities.token_budgets and mean < longest:
        for budget in (longest * 2**power for power in range(20)):
            if budget < 2 * max(longest, share * mean) and (layout.context == 1 or budget == longest):
                yield 1, budget


def _generations(
    scenario: Scenario, graph: DataflowGraph, role: str, node_pool: NodePool, devices: int
) -> list[GenerationStrategy]:
    """p_g t_g replicas fill the devices; replicas decode in 1, 2, 3, 4, 6, 8, 12, ... waves."""
    model, work, can = scenario.model_of(role), scenario.workload, scenario.capabilities
    calls = [call for call in graph.calls_of(role) if call.kind == "generate"]
    responses = max(work.part(call.work).samples for call in calls)
    found = []
    sizes = range(1, devices + 1)
    for p, t, replicas in product(range(1, model.layers + 1), sizes, sizes):
        if p * t * replicas != devices or model.heads % t or node_pool.devices_per_node % t:
            continue
        if (p > 1 and not can.generation_pipeline) or (replicas > work.samples and not can.empty_replicas):
            continue
        if not can.padding and t > 1 and model.vocab % (64 * t):
            continue
        for at_once in _at_once(math.ceil(responses / replicas)):
            for tokens in _cache_tokens(scenario, at_once):
                found.append(
                    GenerationStrategy(
                        pipeline=p, tensor=t, replicas=replicas, max_sequences=at_once, cache_tokens=tokens
                    )
                )
    return found


def _at_once(sequences: int) -> list[int]:
    counts = {sequences} | {2**power for power in range(20)} | {3 * 2**power for power in range(20)}
    return sorted({math.ceil(sequences / count) for count in counts if count <= sequences})


def _cache_tokens(scenario: Scenario, at_once: int) -> list[int | None]:
    """Room for all at their greatest length, and where that is less what they are expected to hold."""
    work = scenario.workload
    expected = max(work.maximum_tokens, int(cache_tokens_for(work, at_once)))
    saves = work.mean_tokens < work.maximum_tokens and expected < at_once * work.maximum_tokens
    return [None, expected] if saves and scenario.capabilities.cache_tokens else [None]

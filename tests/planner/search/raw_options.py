"""All strategies of a role, listed by their definition: no halves, no pruning, no order."""

import math
from collections.abc import Iterator
from itertools import product

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
    work = scenario.workload
    batch = math.ceil(work.samples / work.mini_batches) if "train" in kinds else work.samples
    recomputes = ("none", "full") if "train" in kinds else ("none",)
    for layout in _raw_layouts(scenario, role, node_pool, devices):
        generations = _raw_generations(layout, work.samples) if "generate" in kinds else [None]
        at_once = [2**power for power in range(20) if 2**power <= math.ceil(batch / layout.data)]
        for micro_batch, recompute, generate in product(at_once, recomputes, generations):
            yield RoleStrategy(
                train=layout if "train" in kinds else None,
                infer=None if "train" in kinds else layout,
                generate=generate,
                micro_batch=micro_batch,
                recompute=recompute,
            )


def _raw_layouts(
    scenario: Scenario, role: str, node_pool: NodePool, devices: int
) -> Iterator[ParallelStrategy]:
    model = scenario.model_of(role)
    for p, t, d in product(range(1, devices + 1), repeat=3):
        fits_model = p <= model.layers and model.heads % t == 0
        if p * t * d == devices and fits_model and node_pool.devices_per_node % t == 0:
            yield ParallelStrategy(pipeline=p, tensor=t, data=d)


def _raw_generations(layout: ParallelStrategy, samples: int) -> list[GenerationStrategy]:
    """p_g divides p, t_g divides t; a replica decodes its samples in 1, 2, 3, 4, 6, 8, 12, ... waves."""
    found = []
    for p, t in product(range(1, layout.pipeline + 1), range(1, layout.tensor + 1)):
        if layout.pipeline % p == 0 and layout.tensor % t == 0:
            replicas = layout.devices // (p * t)
            own = math.ceil(samples / replicas)
            waves = {own} | {
                n for n in range(1, own + 1) if _is_power(n) or (n % 3 == 0 and _is_power(n // 3))
            }
            for at_once in sorted({math.ceil(own / count) for count in waves}):
                found.append(
                    GenerationStrategy(pipeline=p, tensor=t, replicas=replicas, max_sequences=at_once)
                )
    return found


def _is_power(number: int) -> bool:
    return number & (number - 1) == 0

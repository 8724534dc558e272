"""Configurations costed per second: arrays of them (`planner.costs.arrays.table`) against one by one."""

import time
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner.costs.arrays.table import Configurations, training_table
from planner.costs.memory.memory import persistent_bytes, training_bytes
from planner.costs.passes.training import RECOMPUTE, optimizer_step_seconds
from planner.costs.setting import Setting
from planner.domain.catalog import read_device, read_generation_stack, read_model, read_training_stack
from planner.domain.cluster import NodePool
from planner.domain.parallelism import ParallelStrategy
from planner.domain.plan import RoleStrategy
from planner.domain.stack import Stack
from planner.domain.workload import Workload

MODELS = ("llama-3.1-70b", "qwen3-30b-a3b", "deepseek-v3")
CONFIGURATIONS = 1_000_000
ONE_BY_ONE = 300
REPEATS = 5
DEVICES = 1024


def measure() -> dict[str, Any]:
    """Rates by model, every table of kernels built in the time that is measured.

    Per second that the process had a core, the best of five: other work on the machine only slows it.
    """
    return {model: _rates(model) for model in MODELS}


def _rates(model: str) -> dict[str, Any]:
    setting = _setting(model)

    def unknown() -> Setting:
        """The same, of which nothing is remembered yet: neither its tables nor its device's products."""
        pool = setting.node_pool
        device = pool.device.model_copy()
        return replace(setting, node_pool=pool.model_copy(update={"device": device}))

    many = random_configurations(setting, CONFIGURATIONS, seed=0)
    few = _strategies(random_configurations(setting, ONE_BY_ONE, seed=1))
    together = CONFIGURATIONS / _least_seconds(lambda: training_table(unknown(), many))
    alone = ONE_BY_ONE / _least_seconds(lambda: _one_by_one(unknown(), few))
    return {
        "configurations": CONFIGURATIONS,
        "per_second": round(together),
        "one_by_one_per_second": round(alone),
        "ratio": round(together / alone),
    }


def random_configurations(setting: Setting, count: int, *, seed: int) -> Configurations:
    """So many different layouts of up to 1024 devices, with chunks, micro-batches and recomputation."""
    generator = np.random.default_rng(seed)
    drawn = np.unique(np.stack(_draws(setting, 3 * count, generator), axis=1), axis=0)
    rows = generator.choice(drawn, count, replace=False)
    columns = zip(fields(Configurations)[: rows.shape[1]], rows.T, strict=True)
    return Configurations(**{field.name: column.copy() for field, column in columns})


def _draws(setting: Setting, count: int, generator: np.random.Generator) -> list[NDArray[np.int64]]:
    """Columns of `Configurations`, in its order."""
    layouts = np.array(
        [
            (pipeline, tensor, data, context)
            for tensor in (1, 2, 4, 8)
            for context in (1, 2, 4, 8)
            for pipeline in range(1, min(setting.model.layers, DEVICES // (tensor * context)) + 1)
            for data in range(1, DEVICES // (tensor * context * pipeline) + 1)
        ]
    )
    pipeline, tensor, data, context = generator.choice(layouts, count).T
    experts = generator.choice([1, 2, 4, 8, 16, 32], count) if setting.model.moe else np.ones_like(data)
    virtual = np.where(pipeline > 1, generator.integers(1, 5, count), 1)
    micro_batch = 2 ** generator.integers(0, 7, count)
    recompute = generator.integers(0, len(RECOMPUTE), count)
    expert = np.gcd(experts, data * context)
    return [pipeline, tensor, data, virtual, context, expert, micro_batch, recompute]


def _strategies(configurations: Configurations) -> list[RoleStrategy]:
    columns = {field.name: getattr(configurations, field.name).tolist() for field in fields(configurations)}
    modes, sizes = list(RECOMPUTE), tuple(ParallelStrategy.model_fields)
    return [
        RoleStrategy(
            train=ParallelStrategy(**{size: columns[size][row] for size in sizes}),
            micro_batch=columns["micro_batch"][row],
            recompute=modes[columns["recompute"][row]],
        )
        for row in range(len(configurations))
    ]


def _one_by_one(setting: Setting, strategies: list[RoleStrategy]) -> None:
    for strategy in strategies:
        optimizer_step_seconds(setting, strategy)
        persistent_bytes(setting, strategy.layout, is_trained=True)
        training_bytes(setting, strategy)


def _least_seconds(work: Callable[[], object]) -> float:
    return min(_seconds(work) for _ in range(REPEATS))


def _seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def _setting(model: str) -> Setting:
    """128 nodes of eight H100."""
    node_pool = NodePool.model_validate(
        {
            "name": "pool",
            "nodes": DEVICES // 8,
            "devices_per_node": 8,
            "device": read_device("h100-sxm-80gb"),
            "network": {"bandwidth": "400 GB/s", "latency": "5 us"},
            "rails": 8,
        }
    )
    workload = {
        "prompts": 1024,
        "prompt_tokens": 1024,
        "response_tokens": {"mean": 700, "maximum": 1024},
        "mini_batches": 4,
    }
    stack = Stack(training=read_training_stack("megatron-core"), generation=read_generation_stack("vllm"))
    return Setting(
        model=read_model(model),
        head="vocabulary",
        precision="bf16",
        workload=Workload.model_validate(workload),
        node_pool=node_pool,
        stack=stack,
    )

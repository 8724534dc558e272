"""Weights and optimizer states on disk, in Megatron's distributed format, for resuming a run."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch.distributed as dist
from megatron.core import dist_checkpointing
from megatron.core.optimizer import MegatronOptimizer
from megatron.core.transformer.module import MegatronModule

_SHARDING = "fully_reshardable"
_FORMAT = {
    "distrib_optim_sharding_type": _SHARDING,
    "distrib_optim_fully_reshardable_mem_efficient": False,
    "chained_optim_avoid_prefix": True,
}
"""Optimizer states that any other layout can read; the default format refuses some, and names those of
experts otherwise where these are spread over ranks."""


def save(folder: Path, chunks: Sequence[MegatronModule], optimizer: MegatronOptimizer | None) -> None:
    """Write the states of all ranks of the current layout; the folder appears whole or not at all."""
    partial = folder.with_name(f"{folder.name}.partial")
    if dist.get_rank() == 0:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    dist.barrier()
    dist_checkpointing.save(_states(chunks, optimizer, is_loading=False), str(partial))
    dist.barrier()
    if dist.get_rank() == 0:
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(partial, folder)
    dist.barrier()


def load(folder: Path, chunks: Sequence[MegatronModule], optimizer: MegatronOptimizer | None) -> None:
    """Read the states that some layout has written into those of the current one."""
    states = dist_checkpointing.load(_states(chunks, optimizer, is_loading=True), str(folder))
    for name, chunk in _named(chunks):
        chunk.load_state_dict(states[name])
    if optimizer is not None:
        optimizer.load_state_dict(_chained(states["optimizer"], optimizer.chained_optimizers))


def _states(
    chunks: Sequence[MegatronModule], optimizer: MegatronOptimizer | None, *, is_loading: bool
) -> dict[str, Any]:
    models = {name: chunk.sharded_state_dict() for name, chunk in _named(chunks)}
    if optimizer is None:
        return models
    weights = models if len(chunks) > 1 else models["model"]
    states = optimizer.sharded_state_dict(weights, is_loading=is_loading, metadata=_FORMAT)
    return {**models, "optimizer": states}


def _chained(saved: dict[Any, Any], parts: Sequence[MegatronOptimizer]) -> dict[Any, Any]:
    """The saved optimizer in as many parts as this one has: experts spread over ranks have one of their own.

    Tensors are found by their names; what differs is only where the settings of groups lie.
    """
    sources = [each for each in (saved, *saved.values()) if isinstance(each, dict) and "optimizer" in each]
    if len(sources) == len(parts):
        return saved
    groups = {_kind(group): group for source in sources for group in source["optimizer"]["param_groups"]}
    for number, part in enumerate(parts):
        state = saved if len(parts) == 1 else saved[number]
        own = part.optimizer.param_groups if part.optimizer is not None else []
        expert = "is_expert_parallel"
        fitted = [groups[_kind(group)] | {expert: group[expert]} for group in own]
        state |= {"optimizer": {"param_groups": fitted}, "param_state_sharding_type": _SHARDING}
    return saved if len(parts) == 1 else {number: saved[number] for number in range(len(parts))}


def _kind(group: dict[str, Any]) -> tuple[float, float]:
    return group["wd_mult"], group["lr_mult"]


def _named(chunks: Sequence[MegatronModule]) -> list[tuple[str, MegatronModule]]:
    """The chunks under Megatron's names; tensors are found by their layers, not by these."""
    if len(chunks) == 1:
        return [("model", chunks[0])]
    return [(f"model{number}", chunk) for number, chunk in enumerate(chunks)]

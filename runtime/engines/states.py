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

_FORMAT = {
    "distrib_optim_sharding_type": "fully_reshardable",
    "distrib_optim_fully_reshardable_mem_efficient": False,
}
"""Optimizer states that any other layout can read; the default format refuses some."""


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
        optimizer.load_state_dict(states["optimizer"])


def _states(
    chunks: Sequence[MegatronModule], optimizer: MegatronOptimizer | None, *, is_loading: bool
) -> dict[str, Any]:
    models = {name: chunk.sharded_state_dict() for name, chunk in _named(chunks)}
    if optimizer is None:
        return models
    weights = models if len(chunks) > 1 else models["model"]
    states = optimizer.sharded_state_dict(weights, is_loading=is_loading, metadata=_FORMAT)
    return {**models, "optimizer": states}


def _named(chunks: Sequence[MegatronModule]) -> list[tuple[str, MegatronModule]]:
    """The chunks under Megatron's names; tensors are found by their layers, not by these."""
    if len(chunks) == 1:
        return [("model", chunks[0])]
    return [(f"model{number}", chunk) for number, chunk in enumerate(chunks)]

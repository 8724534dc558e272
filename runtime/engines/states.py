"""Weights and optimizer states on disk, in Megatron's distributed format, for resuming a run."""

import os
import shutil
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


def save(folder: Path, module: MegatronModule, optimizer: MegatronOptimizer | None) -> None:
    """Write the states of all ranks of the current layout; the folder appears whole or not at all."""
    partial = folder.with_name(f"{folder.name}.partial")
    if dist.get_rank() == 0:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    dist.barrier()
    dist_checkpointing.save(_states(module, optimizer, is_loading=False), str(partial))
    dist.barrier()
    if dist.get_rank() == 0:
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(partial, folder)
    dist.barrier()


def load(folder: Path, module: MegatronModule, optimizer: MegatronOptimizer | None) -> None:
    """Read the states that some layout has written into those of the current one."""
    states = dist_checkpointing.load(_states(module, optimizer, is_loading=True), str(folder))
    module.load_state_dict(states["model"])
    if optimizer is not None:
        optimizer.load_state_dict(states["optimizer"])


def _states(
    module: MegatronModule, optimizer: MegatronOptimizer | None, *, is_loading: bool
) -> dict[str, Any]:
    model = module.sharded_state_dict()
    if optimizer is None:
        return {"model": model}
    states = optimizer.sharded_state_dict(model, is_loading=is_loading, metadata=_FORMAT)
    return {"model": model, "optimizer": states}

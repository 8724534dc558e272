"""Bytes that a checkpoint writes."""

from planner.costs.memory.states import states_at
from planner.costs.passes.data_parallel import Sizes
from planner.costs.setting import Setting


def checkpoint_bytes(setting: Setting) -> int:
    """Parameters and optimizer states of one trained role, each once; gradients are not kept.

    What one device would hold of them alone: distributed checkpoints keep the same whatever the layout
    (Megatron-Core, ``core/dist_checkpointing``).
    """
    states = states_at(setting.job, Sizes(pipeline=1, tensor=1, data=1), 0)
    return int(states.parameters + states.optimizer)

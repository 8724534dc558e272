"""Bytes that a checkpoint writes."""

from planner.costs.memory.states import optimizer_bytes
from planner.costs.setting import Setting


def checkpoint_bytes(setting: Setting) -> int:
    """Parameters and optimizer states of one trained role, each once; gradients are not kept.

    What Megatron-Core's distributed checkpoints hold (``core/dist_checkpointing``), whatever the layout.
    """
    return setting.model.parameters() * (setting.element_bytes + optimizer_bytes(setting.job))

"""Sends and receives of weights in very many layouts: `planner.costs.sync.transfer`, row by row."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from planner.costs.arrays.generation_table import Generations
from planner.costs.arrays.role_costs import RoleCosts
from planner.costs.arrays.sync_table import returning_bytes, returning_seconds
from planner.costs.arrays.table import Configurations
from planner.costs.setting import Setting
from planner.costs.sync.transfer import receiving_seconds, sending_seconds, transfer_bytes
from planner.domain.dataflow import ModelCall
from planner.domain.plan import Offload


def with_sends(
    costs: RoleCosts,
    calls: Sequence[tuple[ModelCall, Setting]],
    train: Configurations,
    *,
    offload: Offload,
) -> RoleCosts:
    """The same costs with the calls that send weights out of these layouts."""
    for call, setting in calls:
        seconds = np.broadcast_to(sending_seconds(setting, train.sizes.devices), len(train))
        beside = np.full(len(train), transfer_bytes(setting))
        if offload == "all":
            seconds = seconds + returning_seconds(setting, train)
            beside = beside + returning_bytes(setting, train)
        costs = replace(
            costs,
            seconds={**costs.seconds, call.name: seconds},
            transient=np.maximum(costs.transient, beside),
        )
    return costs


def with_receives(
    costs: RoleCosts, calls: Sequence[tuple[ModelCall, Setting]], rows: Generations
) -> RoleCosts:
    """The same costs with the calls that receive weights into these layouts."""
    devices = rows.pipeline * rows.tensor * rows.replicas
    for call, setting in calls:
        seconds = np.broadcast_to(receiving_seconds(setting, devices, replicas=rows.replicas), len(rows))
        costs = replace(
            costs,
            seconds={**costs.seconds, call.name: seconds},
            transient=np.maximum(costs.transient, transfer_bytes(setting)),
        )
    return costs

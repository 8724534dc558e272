"""One Megatron process layout; several live in one process."""

from datetime import timedelta
from types import TracebackType
from typing import Any, Self

import torch
import torch.distributed as dist
from megatron.core import parallel_state, tensor_parallel

from planner.domain.parallelism import (
    Coordinates,
    ParallelStrategy,
    coordinates,
    has_stages_outermost,
)
from planner.domain.runnable import group_refusals
from planner.errors import PlanMismatchError
from runtime.engines.limits import refuse
from runtime.platform import COLLECTIVE_TIMEOUT
from runtime.platform import megatron as platform
from runtime.platform.patches import apply_once

_RANK_ORDER = {False: "tp-cp-ep-pp-dp", True: "tp-cp-ep-dp-pp"}
"""By whether stages are outermost, as in `planner.domain.parallelism`."""


class Layout:
    """Owns the Megatron process groups of one strategy; ``with layout:`` makes them the current ones.

    Megatron keeps its groups in module globals. A layout takes a snapshot of them once initialised and puts
    it back for as long as it is entered. All ranks of the world construct layouts in the same order.

    Raises
    ------
    PlanMismatchError
        If the world of ``torch.distributed`` has another size than the strategy, or its sizes don't fit
        each other.
    """

    def __init__(self, strategy: ParallelStrategy, *, timeout: timedelta = COLLECTIVE_TIMEOUT) -> None:
        if strategy.devices != dist.get_world_size():
            raise PlanMismatchError(
                f"strategy {strategy} takes {strategy.devices} ranks, the pool has {dist.get_world_size()}"
            )
        refuse(group_refusals(strategy))
        apply_once(platform.PATCHES)
        self.strategy = strategy
        self._outside: list[dict[str, Any]] = []
        outside = _snapshot()
        vars(parallel_state).update(dict.fromkeys(outside))
        _initialize(strategy, timeout)
        self._state = _snapshot()
        vars(parallel_state).update(outside)

    @property
    def rank(self) -> int:
        """This process's rank in its world."""
        return dist.get_rank()

    @property
    def at(self) -> Coordinates:
        """Where this process stands."""
        return coordinates(self.strategy, self.rank)

    @property
    def is_first_stage(self) -> bool:
        return self.at.pipeline == 0

    @property
    def is_last_stage(self) -> bool:
        return self.at.pipeline == self.strategy.pipeline - 1

    def __enter__(self) -> Self:
        self._outside.append(_snapshot())
        vars(parallel_state).update(self._state)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._state = _snapshot()
        vars(parallel_state).update(self._outside.pop())


def _initialize(strategy: ParallelStrategy, timeout: timedelta) -> None:
    parallel_state.initialize_model_parallel(
        tensor_model_parallel_size=strategy.tensor,
        pipeline_model_parallel_size=strategy.pipeline,
        virtual_pipeline_model_parallel_size=strategy.virtual if strategy.virtual > 1 else None,
        context_parallel_size=strategy.context,
        expert_model_parallel_size=_expert_size(strategy),
        expert_tensor_parallel_size=strategy.tensor,
        order=_RANK_ORDER[has_stages_outermost(strategy)],
        distributed_timeout_minutes=timeout / timedelta(minutes=1),
        create_gloo_process_groups=False,
    )
    with torch.random.fork_rng(devices=[]):
        tensor_parallel.model_parallel_cuda_manual_seed(0)  # no dropout draws from it, but its forks need it


def _expert_size(strategy: ParallelStrategy) -> int:
    """Ranks of Megatron's expert groups.

    It makes them for dense models as well, and with stages before replicas asserts that they are as many as
    the dense ones; so there they take the place of the context groups, and nobody uses them.
    """
    if strategy.expert == 1 and strategy.pipeline > 1:
        return strategy.context
    return strategy.expert


def _snapshot() -> dict[str, Any]:
    return {name: value for name, value in vars(parallel_state).items() if name[0] == "_" and name.isupper()}

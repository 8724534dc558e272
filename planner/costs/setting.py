"""What every cost of one role depends on, whatever its layout."""

import math
from dataclasses import dataclass, field
from functools import lru_cache

from planner.costs.same import Same
from planner.domain.cluster import DeviceSpec, NodePool
from planner.domain.model import PARAMETER_BYTES, Head, ModelSpec, Precision
from planner.domain.stack import Speeds, Stack, TrainingStack
from planner.domain.workload import Workload
from planner.errors import SpecError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Job:
    """A model that a training engine passes sequences through. Each is its own key of cached tables."""

    model: ModelSpec
    head: Head
    precision: Precision
    node_pool: NodePool
    stack: TrainingStack
    tokens: float
    """Mean length of a sequence; padding is taken to be removed."""
    is_frozen: bool = False
    """Whether only adapters are trained, so that no gradients of weights are computed."""

    @property
    def device(self) -> DeviceSpec:
        return self.node_pool.device

    @property
    def speeds(self) -> Speeds:
        """How fast kernels run inside the engine."""
        return self.stack.speeds_on(self.device.architecture, self.precision)

    @property
    def element_bytes(self) -> int:
        """Bytes of one parameter or activation."""
        return PARAMETER_BYTES[self.precision]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Setting:
    """One role's model, its workload and the devices it runs on."""

    model: ModelSpec
    head: Head
    precision: Precision
    workload: Workload
    node_pool: NodePool
    stack: Stack
    job: Job = field(init=False)
    """What training and inference depend on."""

    def __post_init__(self) -> None:
        _check_precision(self.device, self.precision)
        job = _job(
            Same(self.model),
            self.head,
            self.precision,
            Same(self.node_pool),
            Same(self.stack.training),
            self.workload.mean_tokens,
        )
        object.__setattr__(self, "job", job)

    @property
    def device(self) -> DeviceSpec:
        return self.node_pool.device

    @property
    def element_bytes(self) -> int:
        """Bytes of one parameter or activation."""
        return PARAMETER_BYTES[self.precision]

    @property
    def mini_batch(self) -> int:
        """Sequences of the largest optimizer step."""
        return math.ceil(self.workload.samples / self.workload.mini_batches)


@lru_cache(maxsize=256)
def _job(
    model: Same[ModelSpec],
    head: Head,
    precision: Precision,
    node_pool: Same[NodePool],
    stack: Same[TrainingStack],
    tokens: float,
) -> Job:
    """One for all settings of these very parts, which so share its tables."""
    return Job(
        model=model.value,
        head=head,
        precision=precision,
        node_pool=node_pool.value,
        stack=stack.value,
        tokens=tokens,
    )


def _check_precision(device: DeviceSpec, precision: Precision) -> None:
    """Raise SpecError if the device's file states no peak for the precision."""
    if precision not in device.peak:
        known = ", ".join(device.peak)
        raise SpecError(
            f"{device.name}: peak names no {precision} (known: {known}); add it or change precision"
        )

"""A scenario: what to train, on which cluster, with how much data, and what the plan must respect."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from planner.domain.algorithm import AlgorithmOptions
from planner.domain.capabilities import RUNTIME, Capabilities
from planner.domain.cluster import Cluster, NodePool
from planner.domain.dataflow import GENERATOR
from planner.domain.job import Job, Rollouts
from planner.domain.model import Head, ModelSpec, Precision
from planner.domain.pins import Pins
from planner.domain.quantities import PositiveInt, Seconds, Value
from planner.domain.run import RunSettings
from planner.domain.stack import Stack
from planner.domain.workload import Workload
from planner.errors import SpecError
from planner.units import parse_seconds

SCALAR_ROLES = frozenset({"critic", "reward", "cost"})
"""Roles whose model ends in one number per position instead of logits."""


TimeModel = Literal["period", "stage"]
"""The steady-state period of the schedule, or the paper's sum over stages of the slowest pool's calls."""
Objective = Literal["seconds", "tokens_per_second", "dollars", "devices"]
"""Seconds per iteration, tokens per second, dollars per million trained tokens, devices taken."""

FixedPlacement = Literal["colocate", "standalone", "split"]
"""All roles in one pool (DeepSpeed-Chat), each alone (OpenRLHF), or in two halves (NeMo-Aligner)."""

LONGEST_S = 1e9
"""Of what ``within`` may permit: some thirty years."""

LOGPROB_TOLERANCES: Mapping[Precision, float] = MappingProxyType({"fp32": 1e-4, "bf16": 0.1})
"""Two right engines differ by some 1e-6 in fp32 and some hundredths in bf16."""


def _with_unit(value: object) -> object:
    """Refuse what is no time, with an example of seconds."""
    if isinstance(value, int | float):
        raise ValueError(f"{value} has no unit; write for instance '{value} s'")
    try:
        parse_seconds(value)
    except SpecError:
        raise ValueError(f"{value!r} is not a time such as '50 s' or '2 min'") from None
    return value


Within = Annotated[Seconds, Field(gt=0, le=LONGEST_S), BeforeValidator(_with_unit)]


def head_of(role: str) -> Head:
    """What the last layer of a role's model computes."""
    return "scalar" if role in SCALAR_ROLES else "vocabulary"


class Service(Value):
    """A role that takes no devices: a rule, or a judge that answers from elsewhere."""

    seconds_per_sample: Seconds
    concurrency: PositiveInt = 1
    """Samples that it works on at once."""


class Scenario(Value):
    """Everything that a plan follows from."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Also names the folders of its runs."""
    algorithm: AlgorithmOptions
    models: dict[str, ModelSpec]
    """The model of each role."""
    precision: Precision = "bf16"
    """Of parameters and activations; bf16 training keeps fp32 gradients and an fp32 master copy."""
    cluster: Cluster
    workload: Workload
    stack: Stack
    """The engines whose overheads the plan counts on."""
    services: dict[str, Service] = Field(default_factory=dict)
    """Roles that take no devices, in the place of a model."""
    minimise: Objective = "seconds"
    within: Within | None = None
    """Longest permitted iteration."""
    time_model: TimeModel = "period"
    """What an iteration's seconds are."""
    staleness: int = Field(default=0, ge=0, le=8, strict=True)
    """Iterations that generation may run ahead of the updates, on devices of its own."""
    maximum_devices: PositiveInt | None = None
    """Of any pool."""
    capabilities: Capabilities | None = None
    """What the runtime that is to run the plan can do; none for whatever the costs know."""
    pin: Pins = Field(default_factory=lambda: Pins({}))
    colocate: tuple[tuple[str, ...], ...] = ()
    """Sets of roles that must share a pool."""
    apart: tuple[tuple[str, ...], ...] = ()
    """Sets of roles of which no two may share a pool."""
    run: RunSettings | None = None
    rollouts: Rollouts = Field(default_factory=Rollouts)
    job: Job | None = None
    """What is to be trained in all; none for an iteration like any other."""

    def with_node_pools(self, change: Callable[[NodePool], NodePool]) -> "Scenario":
        """The same scenario with each node pool changed."""
        pools = tuple(change(pool) for pool in self.cluster.node_pools)
        return self.model_copy(update={"cluster": self.cluster.model_copy(update={"node_pools": pools})})

    def with_node_pool(self, changed: NodePool) -> "Scenario":
        """The same scenario with another node pool in the place of the one of its name."""
        return self.with_node_pools(lambda pool: changed if pool.name == changed.name else pool)

    @property
    def run_settings(self) -> RunSettings:
        """Those of a scenario that is run, which has some."""
        assert self.run is not None, "a scenario without them is refused before anything is run"
        return self.run

    @property
    def logprob_tolerance(self) -> float:
        """What the probe tolerates."""
        given = self.run.logprob_tolerance if self.run else None
        return given or LOGPROB_TOLERANCES[self.precision]

    @model_validator(mode="before")
    @classmethod
    def _algorithm_by_name(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("algorithm"), str):
            return {**value, "algorithm": {"name": value["algorithm"]}}
        return value

    @model_validator(mode="before")
    @classmethod
    def _capabilities_by_name(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(name := value.get("capabilities"), str):
            if name != "runtime":
                raise ValueError(f"capabilities: {name!r} is not known; write runtime, or its fields")
            return {**value, "capabilities": RUNTIME}
        return value

    def model_of(self, role: str) -> ModelSpec:
        """The model of a role; a generator's is the actor's."""
        return self.models["actor" if role == GENERATOR and role not in self.models else role]

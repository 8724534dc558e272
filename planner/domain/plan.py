"""A plan: which roles share which devices, in which layouts, and what that is expected to cost.

``plan.json`` is this value; it is the only thing that passes from the planner to the runtime.
"""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from planner.domain.cluster import NodePool
from planner.domain.dataflow import GENERATOR
from planner.domain.parallelism import GenerationStrategy, ParallelStrategy
from planner.domain.placement import Placement
from planner.domain.quantities import PositiveInt, Value
from planner.domain.scenario import Objective, Scenario, TimeModel

Recompute = Literal["none", "selective", "full"]
"""Of activations in the backward pass: nothing, attention's core, or every layer (2205.05198, section 5)."""
Offload = Literal["none", "optimizer", "all"]
"""What of a trained role lives in host memory between its updates: optimizer states, or weights as well."""
Origin = Literal["measured", "scaled", "modelled"]
"""Read from a profile; modelled and corrected by the profile's other calls; from the data sheet alone."""
Status = Literal["optimal", "feasible"]
Solver = Literal["cpsat", "dp", "exhaustive", "hybridflow"]
Hand = Literal["hand"]
"""In the place of a solver, of a plan that was given."""
LossKind = Literal["slower", "shares", "waits", "crosses"]


class RoleStrategy(Value):
    """How one role uses its pool. A trained role computes its forward calls in its training layout."""

    train: ParallelStrategy | None = None
    infer: ParallelStrategy | None = None
    generate: GenerationStrategy | None = None
    micro_batch: PositiveInt = 1
    """Sequences of one forward (and backward) pass on one replica."""
    micro_batch_tokens: PositiveInt | None = None
    """Packed tokens of one pass, in the place of ``micro_batch`` sequences."""
    recompute: Recompute = "none"
    offload: Offload = "none"

    @property
    def layout(self) -> ParallelStrategy:
        """The layout that the role's weights live in; that of generation for a role that only generates."""
        layout = self.train or self.infer
        if layout is None:
            assert self.generate is not None, "a role trains, infers or generates"
            return self.generate.layout
        return layout

    def __str__(self) -> str:
        parts = [str(self.layout)] if self.train or self.infer else []
        parts += [f"gen {self.generate}"] if self.generate else []
        parts += [f"{self.micro_batch_tokens} tokens"] if self.micro_batch_tokens else []
        parts += (
            ["recompute" if self.recompute == "full" else "selective"] if self.recompute != "none" else []
        )
        parts += [f"offload {self.offload}"] if self.offload != "none" else []
        return " ".join(parts)


class RoleMemory(Value):
    """Bytes of one role on its fullest device, by kind."""

    persistent: dict[str, int]
    """Live during the whole iteration."""
    transient: dict[str, dict[str, int]]
    """Beside those, during each of the role's calls; never two calls' at once on one device."""
    host: int = 0
    """Bytes of host memory per device, for what is offloaded."""
    bands: dict[str, tuple[int, int]] = Field(default_factory=dict)
    """By call: the 90 % band of both together; empty where nobody asked for it."""

    @property
    def persistent_bytes(self) -> int:
        return sum(self.persistent.values())

    @property
    def transient_bytes(self) -> int:
        """The greatest of the calls' peaks."""
        return max((sum(kinds.values()) for kinds in self.transient.values()), default=0)


class CallPrediction(Value):
    """Expected seconds of one model call."""

    seconds: float
    seconds_low: float | None = None
    """The 90 % band of the seconds; none where nobody asked for it."""
    seconds_high: float | None = None
    reshard_seconds: float = 0.0
    """Of the seconds, those of the weight sync before generation."""
    origin: Origin
    outside: tuple[str, ...] = ()
    """Why the call lies outside of what was calibrated; its band is wider by stated amounts."""

    @property
    def is_calibrated(self) -> bool:
        return not self.outside


class Pool(Value):
    """A colocated set with its devices and the order of the calls on them (the paper's ResourcePool)."""

    name: str
    node_pool: str
    devices: PositiveInt
    roles: tuple[str, ...]
    order: tuple[str, ...]
    """The calls of one period in the order in which the pool runs them, over and over."""
    ahead: dict[str, int] = Field(default_factory=dict)
    """By call: iterations that it is ahead of the pool's rearmost call in the same period; 0 if left out."""

    def turns(self, iterations: range) -> Iterator[tuple[int, str]]:
        """The iteration and the name of each call of these iterations, as the pool runs them.

        The order is run over and over, in period j each call of iteration j + ahead. The first periods are
        those in which only calls that are ahead have something to do.
        """
        for period in range(iterations.start - max(self.ahead.values(), default=0), iterations.stop):
            for name in self.order:
                iteration = period + self.ahead.get(name, 0)
                if iteration in iterations:
                    yield iteration, name


class Prediction(Value):
    """What the cost model expects of the plan."""

    calls: dict[str, CallPrediction]
    memory: dict[str, RoleMemory]
    iteration_seconds: float
    """Steady-state period of one iteration: calls of different pools overlap where their inputs allow."""
    iteration_low: float | None = None
    """The 90 % band of the iteration's seconds; none where nobody asked for it."""
    iteration_high: float | None = None
    stage_cost_seconds: float
    """The paper's d_cost: the sum over stages of the maximum over pools of the sum over their calls."""
    tokens_per_second: float
    """Prompt and response tokens of all samples over the iteration."""
    dollars_per_million_tokens: float | None = None
    """What the pools' devices cost in that time; none where a node pool has no price."""


class Proof(Value):
    """What is known about the plan's optimality."""

    solver: Solver | Hand
    """Who chose the plan; ``hand`` where it was given, so that its bound is another plan's or none."""
    status: Status
    time_model: TimeModel
    """Whose seconds decided."""
    minimise: Objective = "seconds"
    objective: float
    """In the unit of what was optimised."""
    bound: float
    """No plan of this scenario has a smaller objective (a greater one for tokens per second)."""

    def loss(self, figure: float) -> float:
        """By how much another plan's figure is worse than the objective, in its unit."""
        return self.objective - figure if self.minimise == "tokens_per_second" else figure - self.objective


class RunnerUp(Value):
    """The best plan of another placement."""

    placement: Placement
    devices: tuple[int, ...]
    objective: float
    loses_in: str
    """Of the calls that decide its seconds, the one that explains most of what it loses."""
    loses_seconds: float
    loses_kind: LossKind = "slower"
    """What these seconds are: by how much the call takes longer than in the plan; what it takes, where it now
    shares a pool with the greatest of those calls; or the whole loss, where they wait for each other, or for
    the link between node pools."""
    difference_band: float = Field(default=0.0, ge=0)
    """Half the width of the 90 % band of the difference to the plan, in seconds; what both share cancels."""
    ties: bool = False
    """Whether the difference lies inside that band; never beyond 5 % of the plan's objective."""


class Plan(Value):
    """Pools and strategies for one scenario, with the prediction and the proof."""

    scenario: Scenario
    pools: tuple[Pool, ...]
    strategies: dict[str, RoleStrategy]
    prediction: Prediction
    proof: Proof
    runners_up: tuple[RunnerUp, ...] = ()
    idle_devices: int = 0

    @property
    def placement(self) -> Placement:
        return tuple(pool.roles for pool in self.pools)

    @property
    def used_devices(self) -> int:
        """Of all pools."""
        return sum(pool.devices for pool in self.pools)

    @property
    def staleness(self) -> int:
        """Iterations that generation runs ahead of the updates; 0 unless a generator does it."""
        return self.scenario.staleness if GENERATOR in self.strategies else 0

    def pool_of(self, role: str) -> Pool:
        """The pool that a role lives in."""
        return next(pool for pool in self.pools if role in pool.roles)

    def node_pool_of(self, role: str) -> NodePool:
        """The node pool that a role's devices lie in."""
        return self.scenario.cluster.node_pool(self.pool_of(role).node_pool)

"""Figure 15: generation of 7B on 16 devices by t_g; figure 14: its t_g by size, and weight syncs."""

from collections.abc import Iterator
from dataclasses import dataclass

from planner.costs import CostModel
from planner.costs.sync.transition import reshard_seconds
from planner.domain.parallelism import GenerationStrategy, ParallelStrategy
from planner.domain.pins import PinKey
from planner.domain.plan import Plan
from planner.studies.paper.published import (
    COLOCATE,
    GENERATION_TENSOR,
    MINIMA,
    TRAINING_PIPELINE,
    TRAINING_TENSOR,
    Size,
)
from planner.studies.paper.questions import paper_scenario, pinned, placed
from planner.studies.paper.ties import tie
from planner.studies.planning import dataflow, plan

TENSORS = (1, 2, 4, 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One t_g."""

    tensor: int
    seconds: float
    """Of generation alone."""
    transition_seconds: float
    max_sequences: int
    """Of one replica at once."""

    @property
    def total_seconds(self) -> float:
        return self.seconds + self.transition_seconds


def bars() -> list[Bar]:
    """Each t_g, all roles colocated, the actor trained in p1t8d2."""
    return [_bar(tensor) for tensor in TENSORS]


def _bar(tensor: int) -> Bar:
    train = {PinKey("actor", "train", "pipeline"): 1, PinKey("actor", "train", "tensor"): TRAINING_TENSOR}
    generate = {PinKey("actor", "generate", "pipeline"): 1, PinKey("actor", "generate", "tensor"): tensor}
    found = plan(placed(pinned(paper_scenario("ppo", "7b", 16), train | generate), COLOCATE, (16,))).plan
    strategy, call = found.strategies["actor"].generate, found.prediction.calls["actor.generate"]
    assert strategy is not None, "an actor generates"
    return Bar(
        tensor=tensor,
        seconds=call.seconds - call.reshard_seconds,
        transition_seconds=call.reshard_seconds,
        max_sequences=strategy.max_sequences,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The t_g of a size on so many devices."""

    size: Size
    devices: int
    plan: Plan
    """The best of all."""
    published_plan: Plan
    """The best with the published t_g."""

    @property
    def tensor(self) -> int:
        """That of the best plan."""
        generate = self.plan.strategies["actor"].generate
        assert generate is not None, "an actor generates"
        return generate.tensor

    @property
    def published(self) -> int:
        return GENERATION_TENSOR[self.size]

    @property
    def distance(self) -> float:
        """By how much the published one is slower, as a fraction."""
        return self.published_plan.proof.objective / self.plan.proof.objective - 1

    @property
    def ties(self) -> bool:
        return self.tensor != self.published and tie(self.plan, self.published_plan)


def choices() -> Iterator[Choice]:
    """Each size on the fewest and on the most devices of figure 14."""
    for size, fewest in MINIMA["ppo"].items():
        for devices in (fewest, 128):
            scenario = paper_scenario("ppo", size, devices)
            pins = {PinKey("actor", "generate", "tensor"): GENERATION_TENSOR[size]}
            yield Choice(
                size=size,
                devices=devices,
                plan=plan(scenario).plan,
                published_plan=plan(pinned(scenario, pins)).plan,
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sync:
    """The transition of a size, in the paper's layouts."""

    size: Size
    train: ParallelStrategy
    generate: GenerationStrategy
    seconds: float


def syncs() -> Iterator[Sync]:
    """Each size on the fewest and on the most devices of figure 14."""
    for size, fewest in MINIMA["ppo"].items():
        for devices in (fewest, 128):
            yield _sync(size, devices)


def _sync(size: Size, devices: int) -> Sync:
    pipeline, tensor = TRAINING_PIPELINE[size], TRAINING_TENSOR
    train = ParallelStrategy(pipeline=pipeline, tensor=tensor, data=devices // (pipeline * tensor))
    of = GENERATION_TENSOR[size]
    generate = GenerationStrategy(pipeline=1, tensor=of, replicas=devices // of, max_sequences=1)
    scenario = paper_scenario("ppo", size, devices)
    costs = CostModel(scenario, dataflow(scenario))
    setting = costs.setting("actor", scenario.cluster.node_pools[0])
    return Sync(size=size, train=train, generate=generate, seconds=reshard_seconds(setting, train, generate))

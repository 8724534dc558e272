"""Figure 14: seconds from training to generation, by system, size and devices."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from planner.costs import CostModel
from planner.costs.sync.transition import reshard_seconds, transition
from planner.domain.parallelism import GenerationStrategy, ParallelStrategy
from planner.studies.paper.published import (
    GENERATION_TENSOR,
    MINIMA,
    TRAINING_PIPELINE,
    TRAINING_TENSOR,
    Size,
)
from planner.studies.paper.questions import paper_scenario, with_devices
from planner.studies.paper.systems import Setup
from planner.studies.paper.throughput import Comparison, Key, of_algorithm
from planner.studies.planning import dataflow

FLAT = 0.05
"""Share by which seconds may differ that do not grow with the cluster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transitions:
    """Those of one size on one number of devices."""

    size: Size
    devices: int
    hybridflow: float
    vanilla: float
    """HybridFlow's engine with the usual rank groups (HybridFlow-V)."""
    others: Mapping[Key, float]
    """Of the plans of figure 9; NeMo-Aligner has no transition."""

    def reduction(self, setup: Setup) -> float | None:
        """By how much HybridFlow's is shorter than DeepSpeed-Chat's, as a fraction."""
        other = self.others.get(("deepspeed-chat", setup))
        return None if other is None else 1 - self.hybridflow / other


def transitions(comparisons: Sequence[Comparison]) -> Iterator[Transitions]:
    """Ours in the layouts of the figure's captions, the others' in their plans of PPO."""
    for each in of_algorithm(comparisons, "ppo"):
        strategies = caption_strategies(each.size, each.devices)
        if strategies is not None:
            yield _transitions(each, *strategies)


def caption_strategies(size: Size, devices: int) -> tuple[ParallelStrategy, GenerationStrategy] | None:
    """Training and generation of a size in the captions; none where replicas don't divide the devices."""
    pipeline, tensor, of = TRAINING_PIPELINE[size], TRAINING_TENSOR, GENERATION_TENSOR[size]
    if devices % (pipeline * tensor):
        return None
    train = ParallelStrategy(pipeline=pipeline, tensor=tensor, data=devices // (pipeline * tensor))
    return train, GenerationStrategy(pipeline=1, tensor=of, replicas=devices // of, max_sequences=1)


def _transitions(each: Comparison, train: ParallelStrategy, generate: GenerationStrategy) -> Transitions:
    scenario = with_devices(paper_scenario("ppo", each.size, MINIMA["ppo"][each.size]), each.devices)
    costs = CostModel(scenario, dataflow(scenario))
    setting = costs.setting("actor", scenario.cluster.node_pools[0])
    return Transitions(
        size=each.size,
        devices=each.devices,
        hybridflow=reshard_seconds(setting, train, generate),
        vanilla=transition(setting, train, generate, engine="hybridflow-v").seconds,
        others={key: run.transition_seconds for key, run in each.others.items() if key[0] != "nemo-aligner"},
    )


def is_flat(found: Sequence[Transitions]) -> bool:
    """Whether HybridFlow's take as long on any number of devices, size by size."""
    by_size: dict[Size, list[float]] = {}
    for each in found:
        by_size.setdefault(each.size, []).append(each.hybridflow)
    return all(max(seconds) <= (1 + FLAT) * min(seconds) for seconds in by_size.values())


def mean_reduction(found: Sequence[Transitions], setup: Setup) -> float:
    """Over all sizes and devices."""
    return fmean(each for one in found if (each := one.reduction(setup)) is not None)


def greatest_reduction(found: Sequence[Transitions], setup: Setup, size: Size) -> float:
    """Of one size."""
    return max(each for one in found if one.size == size and (each := one.reduction(setup)) is not None)

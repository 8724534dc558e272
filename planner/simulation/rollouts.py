"""The generations of a plan's iterations: what each draws, what it carries on, how long it takes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil

from planner.costs import CostModel
from planner.costs.serving.generation import generation_seconds
from planner.costs.setting import Setting
from planner.domain.dataflow import DataflowGraph, ModelCall
from planner.domain.generated import GenerationReport
from planner.domain.parallelism import GenerationStrategy
from planner.domain.plan import Plan
from planner.simulation.generation.report import MOMENTS, generate, report
from planner.simulation.generation.requests import Requests, draw

PILING = 12
"""Iterations of partial rollouts that go before those that are told, while long responses pile up."""
Reports = Mapping[tuple[str, int], GenerationReport]
"""By call and iteration."""


def rollouts(
    plan: Plan, graph: DataflowGraph, costs: CostModel, *, iterations: int, curves: bool = True
) -> Reports:
    """What every generation of so many iterations does.

    Where a profile or its factors decide the plan's seconds, all of a generation's are corrected alike. With
    partial rollouts (`planner.domain.job.Rollouts`) calls of all samples carry unfinished responses on, which
    read again what they had produced, as their cache holds other weights' keys and values; greedy ones don't.
    An iteration ends with as many whole prompts as it trains on; what it has beyond them counts for the next.
    Those that are told are of a training under way.
    """
    found = {}
    for number, call in enumerate(call for call in graph.model_calls if call.kind == "generate"):
        strategy = plan.strategies[call.role].generate
        assert strategy is not None, "a role that generates has a generation layout"
        setting = costs.setting(call.role, plan.node_pool_of(call.role), call.work)
        source = _Source(plan=plan, call=call, number=number, setting=setting, strategy=strategy)
        for index, one in enumerate(source.reports(iterations, curves=curves)):
            found[call.name, index] = one
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """One call that generates."""

    plan: Plan
    call: ModelCall
    number: int
    """Among the graph's calls that generate, so that each draws lengths of its own."""
    setting: Setting
    strategy: GenerationStrategy

    def reports(self, iterations: int, *, curves: bool) -> Iterator[GenerationReport]:
        rollouts, factor = self.plan.scenario.rollouts, self._factor()
        more = rollouts.carry if self.call.work != "greedy" else 0.0
        left: Requests | None = None
        surplus = 0  # Prompts
        before = PILING if more else 0
        for index in range(-before, iterations):
            requests = self._drawn(before + index, 1 + more if index == -before else 1.0)
            requests = requests if left is None else left.before(requests)
            wanted = max(1, self.setting.workload.prompts - surplus)
            outcome = generate(
                self.setting,
                self.strategy,
                requests,
                balance=rollouts.balance,
                enough=wanted if more else None,
            )
            if index >= 0:
                yield report(
                    self.call.name,
                    outcome,
                    self.setting,
                    self.strategy,
                    iteration=index,
                    factor=factor,
                    moments=MOMENTS if curves else 0,
                )
            if more:
                left = outcome.left
                surplus += requests.prompts - left.prompts - self.setting.workload.prompts

    def _drawn(self, index: int, share: float) -> Requests:
        workload, seed = self.setting.workload, self.plan.scenario.rollouts.seed
        return draw(
            workload,
            seed=seed,
            iteration=index,
            stream=self.number,
            prompts=ceil(share * workload.prompts),
        )

    def _factor(self) -> float:
        """Of the plan's seconds to the engine's alone."""
        call = self.plan.prediction.calls[self.call.name]
        if call.origin == "modelled":
            return 1.0
        return (call.seconds - call.reshard_seconds) / generation_seconds(self.setting, self.strategy)

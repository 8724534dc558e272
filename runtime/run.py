"""Execute a plan: the loop over iterations, and the run directory it leaves."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from planner.algorithms import ALGORITHMS
from planner.domain.plan import Plan
from planner.domain.reading import write_plan
from planner.domain.text import dump_json, write_text
from planner.domain.timeline import Span, Timeline
from runtime.controller import Controller
from runtime.metrics import MetricsFile, iteration_metrics, metrics_file
from runtime.recipes import recipe_of
from runtime.recorder import Recorder
from runtime.requirements import check
from runtime.session import session

SHOWN_SAMPLES = 4
"""Responses shown before and after training."""

Samples = Sequence[tuple[str, str]]
"""Prompts and responses, as texts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IterationReport:
    """What an iteration brought."""

    iteration: int
    """From 0."""
    reward: float
    """Mean score of the samples."""
    kl: float
    """Mean estimate of the divergence from the reference policy, per token."""
    seconds: float
    seconds_by_call: Mapping[str, float]
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What a run leaves beside its directory."""

    out: Path
    timeline: Timeline
    metrics: Mapping[str, float]
    """Of the last iteration."""
    samples_before: Samples
    samples_after: Samples


def run(
    plan: Plan,
    *,
    out: Path,
    iterations: int | None = None,
    address: str | None = None,
    progress: Callable[[IterationReport], None] = lambda report: None,
) -> RunResult:
    """Train as the plan says.

    Parameters
    ----------
    out
        Run directory: plan, metrics, timeline, the trained policy.
    iterations
        Instead of the scenario's.
    address
        Of a running Ray cluster; a local one is started without.

    Raises
    ------
    PlanMismatchError
        When the runtime or the cluster can't hold the plan.
    WorkerError
        When a worker fails or dies.
    """
    check(plan)
    out.mkdir(parents=True, exist_ok=True)
    write_plan(plan, out / "plan.json")
    with metrics_file(out) as metrics, session(plan, partial(recipe_of, plan), address=address) as controller:
        return _Training(plan, out, controller, metrics, progress).run(iterations)


class _Training:
    """The loop of one run."""

    def __init__(
        self,
        plan: Plan,
        out: Path,
        controller: Controller,
        metrics: MetricsFile,
        progress: Callable[[IterationReport], None],
    ) -> None:
        self._plan, self._out, self._controller = plan, out, controller
        self._metrics, self._progress = metrics, progress
        self._recorder = Recorder()

    def run(self, iterations: int | None) -> RunResult:
        assert self._plan.scenario.run is not None, "checked before"
        last: Mapping[str, float] = {}
        before = self._respond()
        for iteration in range(iterations or self._plan.scenario.run.iterations):
            last = self._iterate(iteration)
        after = self._respond()
        self._save()
        return RunResult(
            out=self._out,
            timeline=self._recorder.timeline(),
            metrics=last,
            samples_before=before,
            samples_after=after,
        )

    def _iterate(self, iteration: int) -> dict[str, float]:
        algorithm = ALGORITHMS[self._plan.scenario.algorithm.name]
        finished = self._controller.iterate(algorithm, iteration=iteration)
        spans = self._recorder.add(finished, iteration=iteration)
        metrics = iteration_metrics(finished, spans)
        self._metrics.append(iteration + 1, metrics)
        write_text(self._out / "timeline.json", dump_json(self._recorder.timeline().model_dump(mode="json")))
        self._progress(_report(iteration, metrics, spans))
        return metrics

    def _respond(self) -> Samples:
        role = _generating_role(self._plan)
        replicas = self._plan.strategies[role].generate.replicas
        return self._controller.respond(role, max(SHOWN_SAMPLES, replicas))[:SHOWN_SAMPLES]

    def _save(self) -> None:
        folder = str((self._out / "policy").resolve())
        self._controller.ask(_generating_role(self._plan), "save", folder=folder)


def _report(iteration: int, metrics: Mapping[str, float], spans: Sequence[Span]) -> IterationReport:
    one = Timeline(origin="measured", spans=tuple(spans))
    return IterationReport(
        iteration=iteration,
        reward=metrics["critic/score/mean"],
        kl=metrics["actor/reward_kl_penalty"],
        seconds=metrics["timing_s/step"],
        seconds_by_call=one.seconds_by_call(iteration),
        metrics=metrics,
    )


def _generating_role(plan: Plan) -> str:
    return next(role for role, strategy in plan.strategies.items() if strategy.generate is not None)

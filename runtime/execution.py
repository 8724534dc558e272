"""Execute a plan: the loop over iterations, and the run directory it leaves."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from planner.algorithms import program_of
from planner.domain.dataflow import ACTOR, GENERATOR
from planner.domain.plan import Plan
from planner.domain.profile import Profile
from planner.domain.reading import read_timeline, write_plan, write_timeline
from planner.domain.text import dump_json, refuse_unwritable, write_text
from planner.domain.timeline import Span, Timeline
from runtime.checkpoint import PLAN, finished_iterations, load_checkpoint, save_checkpoint
from runtime.controller import Controller
from runtime.metrics import iteration_metrics
from runtime.recipes import recipe_of
from runtime.recorder import Recorder
from runtime.requirements import carried_prompts, check
from runtime.run_inputs import check_inputs
from runtime.session import KeptProcesses, session
from runtime.trackers import Trackers, trackers_of
from runtime.worker_group import Flight

PROFILE = "profile.json"
TIMELINE = "timeline.json"
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
    kl: float | None
    """Mean divergence from the reference policy, per token; None where nothing asks for it."""
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
    resume: bool = False,
    kept: KeptProcesses | None = None,
    profile: Profile | None = None,
    progress: Callable[[IterationReport], None] = lambda report: None,
) -> RunResult:
    """Train as the plan says.

    Nothing is written before the processes have started and taken all input.

    Parameters
    ----------
    out
        Run directory: plan, metrics, timeline, checkpoints, the trained policy.
    iterations
        In all, those before a resume included; instead of the scenario's.
    address
        Of a running Ray cluster; a local one is started without.
    resume
        Go on from the last checkpoint in ``out``, or from the start where the run there had none yet.
    kept
        Processes of an earlier profile or run to use again.
    profile
        Measurements that the plan was made with, to be written beside it.

    Raises
    ------
    PlanMismatchError
        When the runtime or the cluster can't hold the plan, or the run to resume had another scenario.
    SpecError
        When a file, a reward function or a package of the run is missing or wrong, or ``out`` can't be
        written.
    WorkerError
        When a worker fails or dies.
    """
    check(plan)
    check_inputs(plan.scenario)
    refuse_unwritable(out / PLAN)
    done = finished_iterations(plan, out) if resume else 0
    with session(plan, partial(recipe_of, plan), address=address, kept=kept) as controller:
        write_plan(plan, out / PLAN)
        if profile is not None:
            write_text(out / PROFILE, dump_json(profile.model_dump(mode="json")))
        with trackers_of(plan, out, kept=done) as trackers:
            training = _Training(plan, out, controller, trackers, progress)
            return training.run(range(done, _total(plan, iterations)))


class _Training:
    """The loop of one run."""

    def __init__(
        self,
        plan: Plan,
        out: Path,
        controller: Controller,
        trackers: Trackers,
        progress: Callable[[IterationReport], None],
    ) -> None:
        self._plan, self._out, self._controller = plan, out, controller
        self._trackers, self._progress = trackers, progress
        self._role = GENERATOR if GENERATOR in plan.strategies else ACTOR

    def run(self, iterations: range) -> RunResult:
        last: Mapping[str, float] = {}
        before = self._respond()
        if iterations.start:
            load_checkpoint(self._controller, self._plan, self._out)
        recorder = Recorder(self._earlier_timeline(iterations.start))
        every = self._plan.scenario.run_settings.checkpoint_every
        for block in blocks(iterations, every=every):
            last = self._iterate(recorder, block)
            write_timeline(self._out / TIMELINE, "measured", recorder.spans())
            save_checkpoint(self._controller, self._plan, self._out, iterations=block.stop)
        after = self._respond()
        self._controller.ask(ACTOR, "save", folder=str((self._out / "policy").resolve()))
        return RunResult(
            out=self._out,
            timeline=Timeline(origin="measured", spans=tuple(recorder.spans())),
            metrics=last,
            samples_before=before,
            samples_after=after,
        )

    def _iterate(self, recorder: Recorder, iterations: range) -> Mapping[str, float]:
        """Some iterations, several of them under way at the same time; the last one's metrics."""
        algorithm = program_of(self._plan.scenario)
        self._controller.begin(iterations)
        flights: deque[Flight] = deque()
        metrics: Mapping[str, float] = {}
        for iteration in iterations:
            extra = carried_prompts(self._plan.scenario) if iteration == 0 else 0
            flights.append(self._controller.submit(algorithm, iteration=iteration, extra_prompts=extra))
            if len(flights) == self._controller.window:
                metrics = self._record(recorder, flights.popleft())
        while flights:
            metrics = self._record(recorder, flights.popleft())
        self._controller.finish()
        return metrics

    def _record(self, recorder: Recorder, flight: Flight) -> dict[str, float]:
        finished = self._controller.wait(flight)
        after_s = recorder.end_s
        spans = recorder.add(finished, iteration=flight.iteration)
        metrics = iteration_metrics(finished, spans, devices=self._plan.used_devices, after_s=after_s)
        self._trackers.append(flight.iteration + 1, metrics)
        self._progress(_report(flight.iteration, metrics, spans))
        return metrics

    def _respond(self) -> Samples:
        replicas = self._plan.strategies[self._role].generate.replicas
        return self._controller.respond(self._role, max(SHOWN_SAMPLES, replicas))[:SHOWN_SAMPLES]

    def _earlier_timeline(self, iterations: int) -> Timeline | None:
        if not iterations:
            return None
        earlier = read_timeline(self._out / TIMELINE)
        kept = tuple(span for span in earlier.spans if span.iteration < iterations)
        return Timeline(origin="measured", spans=kept)


def blocks(iterations: range, *, every: int) -> Iterator[range]:
    """Iterations between checkpoints, which end at multiples of ``every`` wherever a run is resumed.

    >>> list(blocks(range(5, 12), every=4))
    [range(5, 8), range(8, 12)]
    """
    first = iterations.start
    while first < iterations.stop:
        stop = min(first // every * every + every, iterations.stop)
        yield range(first, stop)
        first = stop


def _total(plan: Plan, iterations: int | None) -> int:
    return iterations or plan.scenario.run_settings.iterations


def _report(iteration: int, metrics: Mapping[str, float], spans: Sequence[Span]) -> IterationReport:
    one = Timeline(origin="measured", spans=tuple(spans))
    return IterationReport(
        iteration=iteration,
        reward=metrics["critic/score/mean"],
        kl=metrics.get("actor/reward_kl_penalty", metrics.get("actor/kl_loss")),
        seconds=metrics["timing_s/step"],
        seconds_by_call=one.seconds_by_call(iteration),
        metrics=metrics,
    )

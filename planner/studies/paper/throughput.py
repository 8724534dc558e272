"""Figures 9 to 11: tokens per second of each system, by algorithm, size and devices."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import active_children, get_context
from statistics import fmean

from planner.costs import tokens_per_second
from planner.domain.plan import Plan
from planner.errors import PlannerError
from planner.studies.paper.published import AXIS, FIGURES, MINIMA, Algorithm, Size
from planner.studies.paper.questions import paper_scenario, with_devices
from planner.studies.paper.systems import BASELINES, NAMES, SETUPS, Setup, System, system_plan

Key = tuple[System, Setup]


def name_of(key: Key) -> str:
    """A system in one of its setups, in words."""
    system, setup = key
    return f"{NAMES[system]} {'at best' if setup == 'best' else 'as shipped'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One system's best plan."""

    plan: Plan

    @property
    def seconds(self) -> float:
        """Of an iteration, as the paper's stage cost."""
        return self.plan.prediction.stage_cost_seconds

    @property
    def tokens_per_second(self) -> float:
        return tokens_per_second(self.plan.scenario, self.seconds)

    @property
    def transition_seconds(self) -> float:
        """From training to generation: inside a pool, or out of the trainer and into a generator."""
        calls = self.plan.prediction.calls
        inside = [call.reshard_seconds for name, call in calls.items() if name.endswith(".generate")]
        return sum(inside) + sum(calls[name].seconds for name in _TRANSFERS if name in calls)


_TRANSFERS = ("actor.send", "generator.receive")


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All systems on one number of devices."""

    algorithm: Algorithm
    size: Size
    devices: int
    ours: Run
    others: Mapping[Key, Run]
    """Those that have the algorithm and fit."""

    def speedup(self, system: System, setup: Setup) -> float | None:
        """HybridFlow's throughput over a system's."""
        other = self.others.get((system, setup))
        return None if other is None else self.ours.tokens_per_second / other.tokens_per_second

    def speedups(self, setup: Setup) -> dict[System, float]:
        """Over every system that runs here."""
        found = {system: self.speedup(system, setup) for system in BASELINES}
        return {system: ratio for system, ratio in found.items() if ratio is not None}


def points() -> Iterator[tuple[Algorithm, Size, int]]:
    """Algorithm, size and devices of every group of bars."""
    for algorithm, minima in MINIMA.items():
        for size, fewest in minima.items():
            for devices in AXIS:
                if devices >= fewest:
                    yield algorithm, size, devices


def comparison(algorithm: Algorithm, size: Size, devices: int) -> Comparison:
    """Every system's best plan at one point, each at its best and as shipped."""
    scenario = with_devices(paper_scenario(algorithm, size, MINIMA[algorithm][size]), devices)
    ours = system_plan("hybridflow", scenario)
    assert ours is not None, "the paper ran it"
    plans = {
        (system, setup): system_plan(system, scenario, setup) for system in BASELINES for setup in SETUPS
    }
    return Comparison(
        algorithm=algorithm,
        size=size,
        devices=devices,
        ours=Run(plan=ours),
        others={key: Run(plan=plan) for key, plan in plans.items() if plan is not None},
    )


@contextmanager
def comparing(watch: Callable[[str], None], *, workers: int) -> Iterator[Callable[[], list[Comparison]]]:
    """Compares all systems at all points; what is yielded returns the comparisons.

    Parameters
    ----------
    watch
        Told of each comparison that is made.
    workers
        Processes that begin at once; without any, the comparisons are made when they are asked for.

    Raises
    ------
    PlannerError
        A process died.
    """
    wanted = list(points())
    if not workers:
        yield lambda: [_watched(comparison(*point), watch) for point in wanted]
        return
    others = set(active_children())
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    try:
        running = [pool.submit(comparison, *point) for point in wanted]
        yield lambda: [_watched(each.result(), watch) for each in running]
    except BrokenProcessPool:
        raise PlannerError(
            "a process that compared systems was killed, perhaps for its memory; run the same again"
        ) from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in set(active_children()) - others:
            process.terminate()


def _watched(made: Comparison, watch: Callable[[str], None]) -> Comparison:
    watch(f"figure {FIGURES[made.algorithm]}: {made.algorithm} of {made.size} on {made.devices}")
    return made


def range_of(comparisons: Sequence[Comparison], setup: Setup) -> tuple[float, float]:
    """Least and greatest speed-up over any system."""
    every = [ratio for each in comparisons for ratio in each.speedups(setup).values()]
    return min(every), max(every)


def mean_and_greatest(comparisons: Sequence[Comparison], system: System, setup: Setup) -> tuple[float, float]:
    """Of the speed-ups over one system."""
    every = [ratio for each in comparisons if (ratio := each.speedup(system, setup)) is not None]
    return fmean(every), max(every)


def of_algorithm(
    comparisons: Sequence[Comparison], algorithm: Algorithm, size: Size | None = None
) -> list[Comparison]:
    """Those of one algorithm, and of one size where it is given."""
    return [
        each for each in comparisons if each.algorithm == algorithm and (size is None or each.size == size)
    ]

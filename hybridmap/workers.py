"""Points of a sweep computed by several processes, which end with the one that started them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice

import planner
from hybridmap.grids import Task
from planner.errors import InfeasibleError, PlannerError, SpecError
from planner.studies.sweep.points import Point, Sweeper, failed_row

_AHEAD = 4
"""Points that wait for each process, so that none is ever idle."""


class Worker:
    """Computes one point of a task after another."""

    def __init__(self, task: Task) -> None:
        self._grid = task.grid
        settings = planner.SearchSettings(solver=task.solver, seed=task.seed)
        self._sweeper = Sweeper(given=task.given, settings=settings, simulates=task.simulates)

    def row(self, number: int) -> planner.Row:
        """The row of one point; demands that contradict each other are a reason to have no plan."""
        settings = self._grid.settings(number)
        try:
            scenario = self._grid.scenario(number)
        except (InfeasibleError, SpecError) as error:
            return failed_row(number, settings, error)
        return self._sweeper.row(number, Point(settings=settings, scenario=scenario))


def finished_rows(task: Task, numbers: Sequence[int], *, workers: int) -> Iterator[planner.Row]:
    """The rows of some points, each as soon as it is finished.

    Raises
    ------
    PlannerError
        A process died.
    """
    workers = min(workers, len(numbers))
    if workers <= 1:
        yield from map(Worker(task).row, numbers)
        return
    try:
        with _pool(task, workers) as pool:
            yield from _computed(pool, iter(numbers), waiting=_AHEAD * workers)
    except BrokenProcessPool:
        raise PlannerError(
            "a process that computed points was killed, perhaps for its memory; the rows that were finished "
            "are kept with --out: run the same again, with fewer --workers"
        ) from None


def _computed(pool: ProcessPoolExecutor, numbers: Iterator[int], *, waiting: int) -> Iterator[planner.Row]:
    """Rows as they are finished, so many points being handed out at a time."""
    pending = _submitted(pool, numbers, waiting)
    while pending:
        done, pending = wait(pending, return_when=FIRST_COMPLETED)
        pending |= _submitted(pool, numbers, len(done))
        for future in done:
            yield future.result()


@contextmanager
def _pool(task: Task, workers: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that know the task; none is left when this ends, however it does."""
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context("spawn"), initializer=_begin, initargs=(task,)
    )
    try:
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()


def _submitted(pool: ProcessPoolExecutor, numbers: Iterator[int], count: int) -> set[Future[planner.Row]]:
    """The next so many points, handed out.

    Processes are started here, and keep the mask of signals that they are started with: an interrupt is for
    this process alone to answer.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return {pool.submit(_row, number) for number in islice(numbers, count)}
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


_workers: list[Worker] = []
"""In a process that computes points: the one that it is."""


def _begin(task: Task) -> None:
    """What a process does first."""
    _workers.append(Worker(task))
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when the one that started it is gone, killed or not."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "another process started this one"
    parent.join()
    os._exit(1)


def _row(number: int) -> planner.Row:
    return _workers[0].row(number)

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.errors import SpecError
from planner.simulation.engine import Task, play


@st.composite
def task_lists(draw):
    """Tasks that wait for earlier ones only, on up to three queues or none."""
    tasks = []
    for index in range(draw(st.integers(1, 12))):
        earlier = [task.name for task in tasks]
        after = draw(st.sets(st.sampled_from(earlier), max_size=3)) if earlier else set()
        tasks.append(
            Task(
                name=str(index),
                queue=draw(st.sampled_from(["a", "b", "c", None])),
                seconds=draw(st.integers(0, 5)),
                after=frozenset(after),
            )
        )
    return tasks


def critical_path_s(tasks):
    ends = {}
    for task in tasks:
        ends[task.name] = max((ends[name] for name in task.after), default=0) + task.seconds
    return max(ends.values())


@given(task_lists())
def test_no_task_starts_before_what_it_waits_for_has_ended(tasks):
    intervals = play(tasks)
    for task in tasks:
        assert all(intervals[name].end_s <= intervals[task.name].start_s for name in task.after)


@given(task_lists())
def test_a_queue_runs_one_task_at_a_time_in_its_order(tasks):
    intervals = play(tasks)
    for queue in "abc":
        line = [intervals[task.name] for task in tasks if task.queue == queue]
        assert all(first.end_s <= second.start_s for first, second in itertools.pairwise(line))


@given(task_lists())
def test_makespan_lies_between_the_critical_path_and_the_sum(tasks):
    makespan = max(interval.end_s for interval in play(tasks).values())
    assert critical_path_s(tasks) <= makespan <= sum(task.seconds for task in tasks)


@given(task_lists())
def test_a_task_starts_as_soon_as_it_can(tasks):
    intervals = play(tasks)
    for index, task in enumerate(tasks):
        same = [other for other in tasks[:index] if task.queue is not None and other.queue == task.queue]
        ends = [intervals[name].end_s for name in task.after] + [
            intervals[other.name].end_s for other in same
        ]
        assert intervals[task.name].start_s == max(ends, default=0)


def flow(name, seconds, *, after=(), link="between"):
    return Task(name=name, queue=None, seconds=seconds, after=frozenset(after), link=link)


def test_what_is_on_a_link_together_shares_it_evenly():
    """b comes when a has 3 of its 4 seconds left, so that both run at half speed until b is done."""
    tasks = [flow("a", 4), Task(name="start", queue=None, seconds=1), flow("b", 2, after=["start"])]
    intervals = play(tasks)
    assert (intervals["b"].start_s, intervals["b"].end_s) == (1.0, 5.0)
    assert intervals["a"].end_s == 6.0


def test_links_do_not_disturb_each_other():
    intervals = play([flow("a", 4), flow("b", 2, link="other")])
    assert (intervals["a"].end_s, intervals["b"].end_s) == (4.0, 2.0)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=8))
def test_a_link_carries_all_that_comes_to_it_without_a_pause(comings):
    """Work is conserved: the last end is that of a queue with the same work."""
    tasks = [Task(name=f"at {index}", queue=None, seconds=at) for index, (at, _) in enumerate(comings)]
    tasks += [flow(f"{index}", load, after=[f"at {index}"]) for index, (_, load) in enumerate(comings)]
    free = 0
    for at, load in sorted(comings):
        free = max(free, at) + load
    intervals = play(tasks)
    ends = [intervals[f"{index}"].end_s for index in range(len(comings))]
    assert max(ends) == pytest.approx(free)
    for index, (at, load) in enumerate(comings):
        assert intervals[f"{index}"].end_s >= at + load - 1e-9


def test_a_task_says_what_it_waited_for_last():
    tasks = [
        Task(name="short", queue="a", seconds=1),
        Task(name="long", queue="b", seconds=3),
        Task(name="both", queue="a", seconds=1, after=frozenset({"short", "long"})),
    ]
    intervals = play(tasks)
    assert (intervals["both"].awaited, intervals["long"].awaited) == ("long", None)


def test_a_queue_whose_order_contradicts_the_data_is_refused_by_name():
    tasks = [
        Task(name="use", queue="a", seconds=1, after=frozenset({"make"})),
        Task(name="make", queue="a", seconds=1),
    ]
    with pytest.raises(SpecError, match="use on a can never start: it waits for make"):
        play(tasks)

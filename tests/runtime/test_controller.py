"""The controller, the pools and the failures, with roles that only count: real Ray, no models."""

import gc
import os
import re
import signal
import sys
import time
from contextlib import contextmanager
from functools import partial

import numpy as np
import psutil
import pytest
import ray

from planner.algorithms import algorithm_of, ppo, trace
from planner.domain.algorithm import DapoOptions, PpoOptions, RemaxOptions
from planner.domain.dataflow import CONTROLLER
from planner.domain.parallelism import ParallelStrategy
from planner.errors import WorkerError
from runtime.controller import Controller
from runtime.resource_pool import assign, light_process, nodes_here, processes, ray_cluster
from runtime.session import build_roles, join_groups
from runtime.workers.call import PROMPTS, Answer
from tests.runtime.plans import tiny_plan

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])

DAEMONS = ["gcs_server", "raylet"]
TWO_POOLS = {("actor", "reference"): ParallelStrategy(data=2), ("critic", "reward"): ParallelStrategy()}


class Counting:
    """A role whose samples are their own row numbers, so that every slice can be checked where it is used."""

    def __init__(self, fails_in=""):
        self.fails_in = fails_in

    def prompts(self, call, fields):
        rows = call.rows[0]
        return self._answer(call, prompts=[[row, row + 1] for row in rows], prompt_ids=np.array(list(rows)))

    def texts(self, call, fields):
        rows = zip(fields["tokens"].tolist(), fields["response_mask"].tolist(), strict=True)
        return self._answer(call, texts=[(str(tokens[0]), str(mask.count(True))) for tokens, mask in rows])

    def generate(self, call, fields):
        rows = np.array(list(call.rows[0]))
        assert fields["prompts"] == [[row, row + 1] for row in rows]
        if call.options.get("do_sample") is False:
            assert all(row % 2 == 0 for row in rows), "one greedy response per prompt"
        tokens = np.stack([rows, rows + 1, rows + 2], axis=1)
        mask = np.tile([False, False, True], (len(rows), 1))
        assert fields["prompt_ids"].tolist() == rows.tolist()
        return self._answer(
            call,
            lengths=[3] * len(rows),
            tokens=tokens,
            response_mask=mask,
            old_logprobs=tokens[:, 1:].astype("f4"),
            prompt_ids=rows,
        )

    def values(self, call, fields):
        self._check(call, fields["tokens"][:, 0])
        return self._answer(call, old_values=fields["tokens"][:, 1:].numpy().astype("f4"))

    def logprobs(self, call, fields):
        return self._answer(call, reference_logprobs=fields["tokens"][:, 1:].numpy().astype("f4"))

    def scores(self, call, fields):
        return self._answer(call, scores=fields["tokens"][:, 0].numpy().astype("f4"))

    def baselines(self, call, fields):
        return self._answer(call, baselines=fields["tokens"][:, 0].numpy().astype("f4"))

    def advantages(self, call, fields):
        self._check(call, fields["scores"])
        if call.options["estimator"] == "remax":
            assert fields["baselines"].tolist() == [row - row % 2 for row in call.rows[0]]
        if call.options["estimator"] == "grpo":
            return self._kept(call, fields)
        if call.options["estimator"] == "gae":
            assert set(fields) == {
                *("response_mask", "old_logprobs", "reference_logprobs", "old_values", "scores")
            }
        return self._answer(
            call, advantages=fields["old_logprobs"].numpy(), returns=fields["old_logprobs"].numpy()
        )

    def _kept(self, call, fields):
        """Every other prompt is of use, four at most."""
        places = [place for place, row in enumerate(call.rows[0]) if row // 2 % 2]
        return Answer(
            fields={name: fields["old_logprobs"].numpy() for name in ("advantages", "returns")},
            metrics={"candidates": float(len(call.rows[0]))},
            kept=tuple(places[:8]),
        )

    def update(self, call, fields):
        self._check(call, fields["tokens"][:, 0])
        if self.fails_in == "nothing, but the critic is slow" and call.role == "critic":
            time.sleep(1.0)
            return Answer()
        if call.name == self.fails_in == "actor.update" and call.rows[0][0] > 0:
            raise ValueError(f"the loss of sample 3 is not a number at {time.time()}")
        if self.fails_in == "actor.update, by a kill" and call.role == "actor" and call.rows[0][0] > 0:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fails_in.startswith("actor") and call.role == "actor":
            time.sleep(60)
        rows = fields["tokens"][:, 0].tolist()
        return Answer(
            metrics={f"{call.role}/first_row": float(rows[0]), f"{call.role}/sum": float(sum(rows))}
        )

    def _check(self, call, first_column):
        assert first_column.tolist() == [row for rows in call.rows for row in rows]

    def _answer(self, call, lengths=(), **fields):
        assert set(call.writes) == set(fields)
        return Answer(fields=fields, lengths=tuple(lengths))


def counting_roles(fails_in=""):
    return dict.fromkeys(["actor", "critic", "reference", "reward", CONTROLLER, PROMPTS], Counting(fails_in))


@pytest.fixture(scope="module")
def cluster():
    with ray_cluster(None, kind="cpu", devices=16):
        yield


def test_the_daemons_of_our_own_ray_keep_nothing_of_what_they_free(cluster):
    daemons = [process for process in psutil.Process().children() if process.name() in DAEMONS]
    assert sorted(process.name() for process in daemons) == DAEMONS
    assert {process.environ().get("MALLOC_CONF") for process in daemons} == {"narenas:1,tcache:false"}
    assert "RAY_JEMALLOC_CONF" not in os.environ


def test_a_light_process_sees_no_device_and_computes_as_on_a_cpu(cluster):
    with light_process() as light:
        environment = psutil.Process(ray.get(light.whereabouts.remote()).pid).environ()
    assert environment["CUDA_VISIBLE_DEVICES"] == ""
    assert environment["OMP_NUM_THREADS"] == "1"


@contextmanager
def controlled(plan, *, fails_in=""):
    assignments = assign(plan, nodes_here("cpu"), "cpu")
    with processes(assignments, "cpu") as pools, light_process() as light:
        groups = {**pools, CONTROLLER: (light,)}
        join_groups(groups)
        build_roles({name: (members, partial(counting_roles, fails_in)) for name, members in groups.items()})
        yield Controller(plan, groups)


def run(plan, *, fails_in="", iterations=1):
    with controlled(plan, fails_in=fails_in) as controller:
        return [controller.iterate(ppo, iteration=number) for number in range(iterations)]


def test_every_rank_gets_its_own_rows_over_two_pools(cluster):
    iterations = run(tiny_plan(TWO_POOLS), iterations=2)
    for finished in iterations:
        assert {done.name: len(done.reports) for done in finished} == {
            "actor.generate": 2,
            "critic.values": 1,
            "reference.logprobs": 2,
            "reward.scores": 1,
            "controller.advantages": 1,
            "critic.update": 1,
            "actor.update": 2,
        }
        update = next(done for done in finished if done.name == "actor.update")
        assert [report.metrics["actor/first_row"] for report in update.reports] == [0, 1]


def test_calls_of_a_pool_run_in_the_plans_order(cluster):
    order = (
        "actor.generate",
        "reward.scores",
        "reference.logprobs",
        "critic.values",
        "actor.update",
        "critic.update",
    )
    plan = tiny_plan({("actor", "critic", "reference", "reward"): ParallelStrategy(data=2)}, order=order)
    (finished,) = run(plan)
    for rank in range(2):
        starts = {done.name: done.reports[rank].start_s for done in finished if done.pool == "pool-0"}
        assert tuple(sorted(starts, key=starts.get)) == order


def test_a_failing_worker_ends_the_run_at_once_with_its_own_traceback(cluster):
    with controlled(tiny_plan(TWO_POOLS), fails_in="actor.update") as controller:
        with pytest.raises(
            WorkerError, match=r"actor: rank 1 failed in actor.update: ValueError: the loss"
        ) as caught:
            controller.iterate(ppo, iteration=0)
        noticed_s = time.time()
    assert (caught.value.role, caught.value.rank) == ("actor", 1)
    assert "in update" in caught.value.traceback
    failed_s = float(re.search(r"not a number at ([\d.]+)", str(caught.value)).group(1))
    assert noticed_s - failed_s < 2  # 0.3 s of them wait for other failures; the rest is for a busy machine


def test_a_killed_worker_ends_the_run(cluster):
    with pytest.raises(WorkerError, match=r"actor: rank 1 died in actor.update") as caught:
        run(tiny_plan(TWO_POOLS), fails_in="actor.update, by a kill")
    assert (caught.value.role, caught.value.rank) == ("actor", 1)


def test_shown_samples_are_prompts_with_their_responses(cluster):
    with controlled(tiny_plan(TWO_POOLS)) as controller:
        assert controller.respond("actor", 3) == [("0", "1"), ("1", "1"), ("2", "1")]


def test_a_pool_that_is_ready_runs_ahead_into_the_next_iteration(cluster):
    with controlled(tiny_plan(TWO_POOLS), fails_in="nothing, but the critic is slow") as controller:
        controller.begin(range(2))
        flights = [controller.submit(ppo, iteration=number) for number in range(2)]
        first, second = ({done.name: done for done in controller.wait(flight)} for flight in flights)
        slow = first["critic.update"].reports[0]
        assert second["actor.generate"].reports[0].end_s < slow.end_s
        assert second["critic.values"].reports[0].start_s >= slow.end_s


def test_rows_are_given_up_when_their_iteration_is_over(cluster):
    with controlled(tiny_plan(TWO_POOLS)) as controller:
        controller.iterate(ppo, iteration=0)
        gc.collect()
        gc.disable()  # what hangs together in a circle would stay until Python looks for it
        try:
            before = references()
            for iteration in range(1, 4):
                controller.iterate(ppo, iteration=iteration)
            deadline = time.monotonic() + 5
            while references() > before and time.monotonic() < deadline:
                time.sleep(0.05)
            assert references() <= before
        finally:
            gc.enable()


def references():
    """Objects that this process holds references to."""
    return len(ray._private.worker.global_worker.core_worker.get_all_reference_counts())


def other_plan(algorithm, roles, **workload):
    """The tiny plan with another algorithm on two replicas, two samples for each of four prompts."""
    calls = dataflow(algorithm).model_calls
    plan = tiny_plan(
        {roles: ParallelStrategy(data=2)},
        order=tuple(call.name for call in calls if call.role in roles),
    )
    sizes = {"prompts": 4, "samples_per_prompt": 2, "mini_batches": 1, **workload}
    scenario = plan.scenario.model_copy(
        update={
            "algorithm": algorithm,
            "models": {role: plan.scenario.models[role] for role in roles},
            "workload": plan.scenario.workload.model_copy(update=sizes),
        }
    )
    return plan.model_copy(update={"scenario": scenario})


def dataflow(options):
    return trace(algorithm_of(options), name=options.name)


def test_greedy_responses_are_one_per_prompt_and_their_scores_reach_all_its_samples(cluster):
    options = RemaxOptions()
    plan = other_plan(options, ("actor", "reference", "reward"))
    with controlled(plan) as controller:
        finished = controller.iterate(algorithm_of(options), iteration=0)
    names = [done.name for done in finished]
    assert names.count("actor.generate") == names.count("actor.generate#2") == 1
    (update,) = [done for done in finished if done.name == "actor.update"]
    assert sum(report.metrics["actor/sum"] for report in update.reports) == sum(range(8))


def test_where_too_few_candidates_are_of_use_more_are_generated_before_the_choice(cluster):
    options = DapoOptions(maximum_rounds=3)
    plan = other_plan(options, ("actor", "reward"), resampling=1.5)
    with controlled(plan) as controller:
        finished = controller.iterate(algorithm_of(options), iteration=0)
    names = [done.name for done in finished]
    assert names.count("actor.generate") == names.count("reward.scores") == 2
    chosen = [done.reports[0].metrics["candidates"] for done in finished if "advantages" in done.name]
    assert chosen == [12, 24]
    (update,) = [done for done in finished if done.name == "actor.update"]
    assert names.index("actor.update") == len(names) - 1
    rows = [2, 3, 6, 7, 10, 11, 14, 15]
    assert sum(report.metrics["actor/sum"] for report in update.reports) == sum(rows)


def test_with_no_round_left_training_goes_on_with_what_there_is(cluster):
    options = DapoOptions(maximum_rounds=1)
    plan = other_plan(options, ("actor", "reward"), resampling=1.5)
    with controlled(plan) as controller:
        finished = controller.iterate(algorithm_of(options), iteration=0)
    (update,) = [done for done in finished if done.name == "actor.update"]
    assert sum(report.metrics["actor/sum"] for report in update.reports) == sum([2, 3, 6, 7, 10, 11])


def test_texts_are_shown_also_where_there_are_fewer_prompts_than_replicas(cluster):
    plan = other_plan(
        PpoOptions(), ("actor", "critic", "reference", "reward"), prompts=1, samples_per_prompt=1
    )
    with controlled(plan) as controller:
        assert controller.respond("actor", 3) == [("0", "1"), ("1", "1"), ("2", "1")]

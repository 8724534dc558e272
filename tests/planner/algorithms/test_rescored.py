"""Dataflows in which the actor computes the log-probabilities of its responses itself."""

import pytest

from planner.algorithms import ALGORITHMS, asynchronous, rescored, trace


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_one_forward_pass_of_the_actor_is_added(name: str) -> None:
    before = trace(ALGORITHMS[name], name=name)
    after = rescored(before)
    assert {call.name for call in after.calls} - {call.name for call in before.calls} == {"actor.logprobs"}
    again = after.call("actor.logprobs")
    assert (again.kind, again.writes) == ("infer", ("old_logprobs",))
    assert "actor.generate" in after.inputs_of("actor.logprobs")
    assert "actor.logprobs" in after.inputs_of("controller.advantages")


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_all_that_read_log_probabilities_get_them_from_that_pass(name: str) -> None:
    before, after = trace(ALGORITHMS[name], name=name), rescored(trace(ALGORITHMS[name], name=name))
    writers = {call.name for call in after.calls if "old_logprobs" in call.writes}
    assert writers == {"actor.logprobs"}
    edges = {
        (source, target)
        for source, target, fields in after.graph.edges(data="fields")
        if "old_logprobs" in fields
    }
    readers = {target for _, target, fields in before.graph.edges(data="fields") if "old_logprobs" in fields}
    assert edges == {("actor.logprobs", reader) for reader in readers}


def test_it_is_part_of_the_preparation() -> None:
    graph = rescored(trace(ALGORITHMS["ppo"], name="ppo"))
    assert graph.stage_of["actor.logprobs"] == graph.stage_of["reference.logprobs"] == 1
    assert len(graph.stages) == 3


def test_a_generators_responses_are_rescored_by_the_actor() -> None:
    graph = asynchronous(rescored(trace(ALGORITHMS["ppo"], name="ppo")), 0)
    assert graph.call("actor.logprobs").role == "actor"
    assert "generator.generate" in graph.inputs_of("actor.logprobs")
    waits = {(wait.source, wait.target): wait.lag for wait in graph.dependences}
    assert waits["generator.receive", "generator.generate"] == 1

"""Calls that options add: traced and run by the same program."""

from typing import Any

import pytest
from pydantic import TypeAdapter

from planner.algorithms import ALGORITHMS, algorithm_of, asynchronous, trace
from planner.domain.algorithm import AlgorithmOptions
from planner.domain.dataflow import DataflowGraph

OPTIONS: TypeAdapter[Any] = TypeAdapter(AlgorithmOptions)
WITHOUT_REFERENCE = {"dr_grpo", "dapo", "gspo"}


def graph_of(name: str, **keys: Any) -> DataflowGraph:
    return trace(algorithm_of(OPTIONS.validate_python({"name": name, **keys})), name=name)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_options_that_add_nothing_leave_the_function_itself(name: str) -> None:
    options = OPTIONS.validate_python({"name": name})
    assert algorithm_of(options) is ALGORITHMS[name] or options.kl_loss_coefficient
    assert calls_and_edges(graph_of(name)) == calls_and_edges(trace(ALGORITHMS[name], name=name))


def calls_and_edges(graph: DataflowGraph) -> Any:
    return graph.calls, list(graph.graph.edges(data="fields"))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_with_a_correction_the_actor_computes_what_it_will_learn_from_once(name: str) -> None:
    before, after = graph_of(name), graph_of(name, correction={})
    assert {call.name for call in after.calls} - {call.name for call in before.calls} == {
        "actor.proximal_logprobs"
    }
    added = after.call("actor.proximal_logprobs")
    assert (added.kind, added.writes) == ("infer", ("proximal_logprobs",))
    assert added.work == after.call("actor.generate").work
    assert after.inputs_of(added.name) == ("actor.generate",)
    readers = {
        target for source, target, fields in after.graph.edges(data="fields") if "proximal_logprobs" in fields
    }
    assert readers == {"controller.advantages", "actor.update"}
    assert after.stage_of[added.name] == 1
    assert after.stage_of["actor.update"] == before.stage_of["actor.update"]


@pytest.mark.parametrize("name", sorted(WITHOUT_REFERENCE))
@pytest.mark.parametrize("key", ["kl_coefficient", "kl_loss_coefficient"])
def test_a_divergence_brings_the_reference_along(name: str, key: str) -> None:
    assert "reference" not in graph_of(name).roles
    graph = graph_of(name, **{key: 0.1})
    assert "reference" in graph.roles
    assert graph.call("reference.logprobs").work == graph.call("reward.scores").work
    assert "reference.logprobs" in graph.inputs_of("controller.advantages")
    assert "reference.logprobs" in graph.inputs_of("actor.update")


@pytest.mark.parametrize("name", sorted(set(ALGORITHMS) - WITHOUT_REFERENCE))
def test_a_divergence_in_the_loss_is_read_by_the_actors_update_alone(name: str) -> None:
    graph = graph_of(name, kl_coefficient=0, kl_loss_coefficient=0.1, kl_estimator="k3")
    assert "reference.logprobs" in graph.inputs_of("actor.update")
    names = [call.name for call in graph.calls]
    assert names == [call.name for call in trace(ALGORITHMS[name], name=name).calls]
    if "critic.update" in names:
        assert "reference.logprobs" not in graph.inputs_of("critic.update")


@pytest.mark.parametrize("name", sorted(set(ALGORITHMS) - WITHOUT_REFERENCE))
def test_without_a_divergence_a_reference_is_asked_only_where_there_is_one(name: str) -> None:
    options = OPTIONS.validate_python({"name": name, "kl_coefficient": 0, "kl_loss_coefficient": 0})
    whole = trace(algorithm_of(options), name=name)
    graph = trace(algorithm_of(options, has_reference=False), name=name)
    assert {call.name for call in whole.calls} - {call.name for call in graph.calls} == {"reference.logprobs"}
    assert all("reference_logprobs" not in call.reads for call in graph.calls)
    charged = OPTIONS.validate_python({"name": name, "kl_coefficient": 0.1, "kl_loss_coefficient": 0})
    assert "reference" in trace(algorithm_of(charged, has_reference=False), name=name).roles


def test_greedy_responses_are_not_corrected() -> None:
    graph = graph_of("remax", correction={})
    assert [call.name for call in graph.calls if call.method == "proximal_logprobs"] == [
        "actor.proximal_logprobs"
    ]
    assert graph.inputs_of("reward.baselines") == ("actor.generate#2",)


def test_only_the_safe_actor_still_learns_from_pretraining_data() -> None:
    graph = graph_of("safe_rlhf", kl_coefficient=0, kl_loss_coefficient=0.1, kl_estimator="k3", correction={})
    assert [call.name for call in graph.calls if call.work != "samples"] == ["actor.update"]


def test_a_generators_responses_are_corrected_by_the_actor() -> None:
    graph = asynchronous(graph_of("gspo", correction={}), 1)
    assert graph.call("actor.proximal_logprobs").role == "actor"
    assert graph.inputs_of("actor.proximal_logprobs") == ("generator.generate",)


class Recorded:
    """Roles that run for real as far as an algorithm can tell: each call is written down."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __getattr__(self, role: str) -> Any:
        return RecordedRole(role, self.calls)


class RecordedRole:
    def __init__(self, role: str, calls: list[str]) -> None:
        self.role, self.calls = role, calls

    def __getattr__(self, method: str) -> Any:
        def call(batch: "Anything", **options: Any) -> "Anything":
            self.calls.append(f"{self.role}.{method}")
            return batch

        return call


class Anything:
    def __or__(self, other: "Anything") -> "Anything":
        return self

    def only(self, *fields: str) -> "Anything":
        return self


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("keys", [{}, {"correction": {}}], ids=["plain", "corrected"])
def test_what_is_traced_is_what_is_run(name: str, keys: dict[str, Any]) -> None:
    roles = Recorded()
    algorithm_of(OPTIONS.validate_python({"name": name, **keys}))(roles, Anything())
    traced = [call.name.split("#")[0] for call in graph_of(name, **keys).calls]
    assert roles.calls == traced

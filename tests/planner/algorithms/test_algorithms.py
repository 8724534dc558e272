"""Stages, roles and waits of each algorithm as traced."""

from dataclasses import replace

import pytest

from planner.algorithms import ALGORITHMS, trace
from planner.domain.dataflow import DataflowGraph, Dependence

STAGES = {
    "remax": [
        ["actor.generate", "actor.generate#2"],
        ["reference.logprobs", "reward.scores", "reward.baselines"],
        ["actor.update"],
    ],
    "safe_rlhf": [
        ["actor.generate"],
        ["critic.values", "reference.logprobs", "reward.scores", "cost.costs"],
        ["critic.update", "actor.update"],
    ],
    "grpo": [["actor.generate"], ["reference.logprobs", "reward.scores"], ["actor.update"]],
    "rloo": [["actor.generate"], ["reference.logprobs", "reward.scores"], ["actor.update"]],
    "dr_grpo": [["actor.generate"], ["reward.scores"], ["actor.update"]],
    "reinforce_plus_plus": [["actor.generate"], ["reference.logprobs", "reward.scores"], ["actor.update"]],
    "dapo": [["actor.generate"], ["reward.scores"], ["actor.update"]],
    "gspo": [["actor.generate"], ["reward.scores"], ["actor.update"]],
}


def graph_of(name: str) -> DataflowGraph:
    return trace(ALGORITHMS[name], name=name)


@pytest.mark.parametrize("name", STAGES)
def test_stages_are_generation_preparation_and_training(name: str) -> None:
    assert [[call.name for call in stage] for stage in graph_of(name).stages] == STAGES[name]


@pytest.mark.parametrize(
    ("name", "roles"),
    [
        ("remax", ("actor", "reference", "reward")),
        ("safe_rlhf", ("actor", "critic", "reference", "reward", "cost")),
        ("grpo", ("actor", "reference", "reward")),
        ("rloo", ("actor", "reference", "reward")),
        ("dr_grpo", ("actor", "reward")),
        ("reinforce_plus_plus", ("actor", "reference", "reward")),
        ("dapo", ("actor", "reward")),
        ("gspo", ("actor", "reward")),
    ],
)
def test_each_algorithm_has_the_roles_of_its_paper(name: str, roles: tuple[str, ...]) -> None:
    assert graph_of(name).roles == roles


def test_remax_decodes_one_greedy_response_per_prompt_and_scores_only_those_for_the_baselines() -> None:
    graph = graph_of("remax")
    assert graph.call("actor.generate#2").options == (("do_sample", False),)
    greedy = {call.name for call in graph.calls if call.work == "greedy"}
    assert greedy == {"actor.generate#2", "reward.baselines"}
    assert graph.inputs_of("reward.baselines") == ("actor.generate#2",)


def test_remax_trains_on_samples_and_never_on_greedy_responses() -> None:
    graph = graph_of("remax")
    assert set(graph.inputs_of("actor.update")) == {"actor.generate", "controller.advantages"}
    assert graph.inputs_of("reward.scores") == ("actor.generate",)
    assert set(graph.inputs_of("controller.advantages")) == {
        "actor.generate",
        "reference.logprobs",
        "reward.scores",
        "reward.baselines",
    }


def test_dapo_scores_what_it_will_drop_and_trains_on_what_it_keeps() -> None:
    works = {call.name: call.work for call in graph_of("dapo").model_calls}
    assert works == {"actor.generate": "candidates", "reward.scores": "candidates", "actor.update": "samples"}


def test_only_the_update_of_the_safe_actor_learns_from_pretraining_data() -> None:
    graph = graph_of("safe_rlhf")
    learning = [call.name for call in graph.calls if call.work != "samples"]
    assert learning == ["actor.update"]
    assert "cost.costs" in graph.inputs_of("controller.advantages")


def test_the_grpo_update_reads_the_reference_for_the_divergence_in_its_loss() -> None:
    assert "reference.logprobs" in graph_of("grpo").inputs_of("actor.update")
    assert "reference.logprobs" not in graph_of("rloo").inputs_of("actor.update")


@pytest.mark.parametrize("name", ALGORITHMS)
def test_whoever_judges_responses_learns_which_prompt_they_answer(name: str) -> None:
    graph = graph_of(name)
    for call in graph.calls:
        if call.method in ("scores", "baselines", "costs"):
            (source,) = graph.inputs_of(call.name)
            assert graph.call(source).kind == "generate"
            assert "prompt_ids" in graph.graph.edges[source, call.name]["fields"]
        else:
            assert "prompt_ids" not in call.reads


@pytest.mark.parametrize("name", ALGORITHMS)
def test_no_call_stands_in_an_earlier_stage_than_what_it_waits_for(name: str) -> None:
    graph = graph_of(name)
    stages = graph.stage_of
    for source, target in graph.graph.edges:
        if source in stages and target in stages:
            assert stages[source] <= stages[target]
    assert {call.kind for call in graph.stages[0]} == {"generate"}
    assert {call.kind for call in graph.stages[-1]} == {"train"}
    assert sum(map(len, graph.stages)) == len(graph.model_calls)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_judge_elsewhere_changes_no_stage_and_waits_for_itself_only(name: str) -> None:
    graph = graph_of(name)
    judged = replace(graph, services=frozenset({"reward"}))
    assert judged.stage_of == graph.stage_of
    own = [wait for wait in judged.dependences if wait not in graph.dependences]
    assert [wait for wait in judged.dependences if wait not in own] == list(graph.dependences)
    assert {judged.call(end).role for wait in own for end in (wait.source, wait.target)} == {"reward"}
    assert set(graph.roles) - set(judged.roles) == {"reward"}
    assert {call.role for call in judged.service_calls} == {"reward"}


def test_calls_of_a_service_take_turns() -> None:
    judged = replace(graph_of("remax"), services=frozenset({"reward"}))
    own = [
        wait
        for wait in judged.dependences
        if {judged.call(end).role for end in (wait.source, wait.target)} == {"reward"}
    ]
    first, last = (call.name for call in judged.service_calls)
    assert own == [Dependence(source=first, target=last), Dependence(source=last, target=first, lag=1)]

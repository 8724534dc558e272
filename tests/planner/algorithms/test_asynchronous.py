"""Dataflows whose generator runs ahead of the actor that learns."""

from pathlib import Path
from typing import Any

import networkx as nx
import pytest

from planner.algorithms import ALGORITHMS, asynchronous, planned_dataflow, trace
from planner.domain.plan import Plan
from planner.domain.reading import read_scenario
from planner.errors import SpecError

ROOT = Path(__file__).resolve().parents[3]
NAMES = sorted(ALGORITHMS)
PPO = trace(ALGORITHMS["ppo"], name="ppo")


def two_turns(roles: Any, prompts: Any) -> None:
    """A rollout of two turns."""
    first = roles.actor.generate(prompts)
    scored = roles.reward.scores(first)
    second = roles.actor.generate(prompts | scored)
    second = second | roles.reward.scores(second)
    roles.actor.update(roles.controller.advantages(second, estimator="grpo"), loss="ppo")


def test_the_generator_generates_and_the_actor_sends_its_weights() -> None:
    graph = asynchronous(PPO, 2)
    assert graph.roles == ("generator", "critic", "reference", "reward", "actor")
    assert [call.name for call in graph.calls_of("generator")] == ["generator.generate", "generator.receive"]
    assert [call.name for call in graph.calls_of("actor")] == ["actor.update", "actor.send"]
    waits = {(wait.source, wait.target): wait.lag for wait in graph.dependences}
    assert waits["actor.update", "actor.send"] == waits["actor.send", "generator.receive"] == 0
    assert waits["generator.receive", "generator.generate"] == 3
    assert waits["critic.update", "critic.values"] == 1
    assert ("actor.update", "generator.generate") not in waits


@pytest.mark.parametrize("name", NAMES)
def test_every_algorithm_keeps_its_calls_and_what_flows_between_them(name: str) -> None:
    graph = trace(ALGORITHMS[name], name=name)
    moved = asynchronous(graph, 1)
    renamed = {call.name: call.name.replace("actor.generate", "generator.generate") for call in graph.calls}
    same = nx.relabel_nodes(graph.graph, renamed)
    assert set(moved.graph) - set(same) == {"actor.send", "generator.receive"}
    assert {edge: moved.graph.edges[edge]["fields"] for edge in same.edges} == {
        edge: same.edges[edge]["fields"] for edge in same.edges
    }
    assert not any(call.kind == "generate" for call in moved.calls_of("actor"))
    kept = [call.work for call in moved.calls if call.kind not in ("send", "receive")]
    assert kept == [call.work for call in graph.calls]
    assert nx.is_directed_acyclic_graph(moved.graph)


def test_remax_generates_twice_on_the_generator() -> None:
    graph = asynchronous(trace(ALGORITHMS["remax"], name="remax"), 1)
    names = [call.name for call in graph.calls_of("generator")]
    assert names == ["generator.generate", "generator.generate#2", "generator.receive"]
    waits = {(wait.source, wait.target): wait.lag for wait in graph.dependences}
    assert {waits["generator.receive", name] for name in names[:2]} == {2}


def test_turns_that_wait_for_each_other_still_do() -> None:
    turns = trace(two_turns, name="two-turns")
    turns.graph.add_edge("reward.scores", "actor.generate#2", fields=("scores",))
    graph = asynchronous(turns, 1)
    assert graph.inputs_of("generator.generate#2") == ("reward.scores",)
    assert graph.stage_of["generator.generate#2"] == 2


def test_a_dataflow_without_an_actor_that_learns_has_no_staleness() -> None:
    def only_scores(roles: Any, prompts: Any) -> None:
        roles.reward.scores(roles.actor.generate(prompts))

    with pytest.raises(SpecError, match=r"no actor that generates and learns"):
        asynchronous(trace(only_scores, name="scores"), 1)


def test_a_plan_with_a_generator_was_made_for_the_asynchronous_dataflow() -> None:
    scenario = read_scenario(ROOT / "scenarios" / "paper" / "ppo-7b-8.yaml")
    scenario = scenario.model_copy(update={"staleness": 2})
    made = Plan.model_construct(scenario=scenario, strategies={"generator": None, "actor": None})
    assert planned_dataflow(made).staleness == 2
    assert "generator" in planned_dataflow(made).roles
    plain = Plan.model_construct(scenario=scenario, strategies={"actor": None})
    assert planned_dataflow(plain).roles == PPO.roles

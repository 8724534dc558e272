"""The fewest nodes that finish a job in time."""

from pathlib import Path

import pytest

import planner
from planner.domain.reading import parse_scenario
from planner.errors import SpecError
from planner.studies.deadline import attempts
from planner.studies.planning import SearchSettings

WITHIN_S = 900.0
QUICK = SearchSettings(runners_up=0)


def scenario(iterations=100, **job):
    roles = dict.fromkeys(("actor", "reference", "reward"), "llama-3.2-1b")
    lengths = {"prompt_tokens": 200, "response_tokens": {"mean": 600, "maximum": 4096}}
    return parse_scenario(
        {
            "name": "short",
            "algorithm": "grpo",
            "models": roles,
            "cluster": "1x4xh100-sxm-80gb",
            "workload": {"prompts": 32, "samples_per_prompt": 8, **lengths},
            "job": {"iterations": iterations, **job},
        },
        where="short",
        relative_to=Path(),
    )


def test_the_fewest_nodes_in_time_are_found_and_one_less_is_too_slow():
    found = list(attempts(scenario(), WITHIN_S, settings=QUICK))
    by_nodes = {each.scenario.cluster.node_pools[0].nodes: each for each in found}
    fewest = min(nodes for nodes, each in by_nodes.items() if each.done)
    assert by_nodes[fewest].seconds <= WITHIN_S
    assert not by_nodes[fewest - 1].done


def test_what_no_cluster_can_do_ends_where_more_nodes_hardly_help():
    """The longest response takes as long on any cluster."""
    found = list(attempts(scenario(), 60.0, settings=QUICK))
    assert not any(each.done for each in found)
    assert found[-1].seconds > 0.9 * found[-2].seconds


def test_a_job_that_failures_never_let_be_done_is_not_done_and_says_why():
    """More nodes would fail more often still."""
    breaks = {"mean_time_between": "10 min", "restart": "1 min"}
    (found,) = attempts(scenario(failures=breaks), WITHIN_S, settings=QUICK)
    assert found.plan is not None
    assert found.job is None
    assert not found.done
    assert "add job.checkpoints" in found.reason


def test_a_scenario_without_a_job_is_refused():
    with pytest.raises(SpecError, match=r"job: missing.*--set job.iterations=500"):
        list(attempts(planner.read_scenario("scenarios/examples/grpo-7b.yaml"), 60.0))

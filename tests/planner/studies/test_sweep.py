"""Sweeps: best plans over a grid, a plan that is kept, and what rows say together."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.algorithms import planned_dataflow
from planner.domain.choice import Choice, choice_of
from planner.domain.plan import Plan
from planner.domain.reading import parse_cluster
from planner.domain.scenario import Scenario
from planner.domain.sweep import FIGURES, Figures, Row, figure
from planner.errors import SpecError
from planner.studies.planning import SearchSettings, plan, simulate
from planner.studies.scoring import costed
from planner.studies.sweep.checking import check_scenario
from planner.studies.sweep.figures import figures_of
from planner.studies.sweep.points import Point, sweep
from planner.studies.sweep.scaling import scaled, scaling_key
from planner.studies.sweep.sharing import Shared

Build = Callable[..., Scenario]
LENGTHS = {"prompt_tokens": 512, "response_tokens": 512, "mini_batches": 4}


def prompts_of(tiny: Build, *counts: int, **changes: Any) -> list[Point]:
    return [
        Point(settings={"prompts": count}, scenario=tiny(workload={"prompts": count, **LENGTHS}, **changes))
        for count in counts
    ]


def node_points(tiny: Build, *counts: int) -> list[Point]:
    return [
        Point(settings={"nodes": count}, scenario=tiny(cluster=f"{count}x4xa100-sxm-80gb"))
        for count in counts
    ]


def row(point: int, settings: dict[str, Any], devices: int, rate: float) -> Row:
    seconds = dict.fromkeys((name for name in Figures.model_fields if name.endswith("_seconds")), 1.0)
    figures = Figures(
        **seconds,
        tokens_per_second=rate,
        dollars_per_million_tokens=None,
        cluster_devices=devices,
        devices=devices,
        placement="{actor}",
    )
    return Row(point=point, settings=settings, status="optimal", figures=figures)


def test_every_row_is_the_best_plan_of_its_scenario(tiny: Build) -> None:
    """Though each point's search is bounded by the plan of the point before."""
    points = prompts_of(tiny, 256, 64, 128, time_model="stage")
    for found, point in zip(sweep(points), points, strict=True):
        best = plan(point.scenario).plan
        assert found.figures == figures_of(best)
        assert (found.status, found.settings) == ("optimal", point.settings)


@pytest.mark.parametrize("minimise", ["seconds", "tokens_per_second", "dollars", "devices"])
def test_that_holds_whatever_is_minimised(tiny: Build, minimise: str) -> None:
    cluster = parse_cluster("1x4xa100-sxm-80gb")
    cluster["node_pools"][0]["price"] = 2.0
    points = prompts_of(tiny, 64, 96, minimise=minimise, cluster=cluster)
    expected = [figures_of(plan(point.scenario).plan) for point in points]
    assert [found.figures for found in sweep(points)] == expected


def test_rows_do_not_depend_on_those_before_them(tiny: Build) -> None:
    points = prompts_of(tiny, 64, 256, 128)
    forwards = [found.figures for found in sweep(points)]
    backwards = [found.figures for found in sweep(points[::-1])]
    assert forwards == backwards[::-1]


def test_a_known_plan_bounds_the_search_and_changes_nothing(tiny: Build) -> None:
    for changes in ({}, {"staleness": 1}, {"time_model": "stage"}):
        scenario, settings = tiny(**changes), SearchSettings(runners_up=0)
        best = plan(scenario, settings=settings).plan
        slow = plan(tiny(**changes, pin={"actor.train.tensor": 4}), settings=settings).plan
        known = costed(choice_of(slow), scenario)
        assert plan(scenario, settings=settings, known=known).plan == best
        assert plan(scenario, settings=settings, known=best).plan == best


def test_what_a_simulation_says_is_there_where_it_is_asked_for(tiny: Build) -> None:
    lengths = LENGTHS | {"prompts": 64, "response_tokens": {"mean": 200, "maximum": 512}}
    points = [Point(settings={"iterations": 9}, scenario=tiny(workload=lengths, job={"iterations": 9}))]
    (bare,), (played,) = sweep(points), sweep(points, simulates=True)
    assert bare.figures is not None
    assert played.figures is not None
    assert bare.figures.simulated_seconds is None
    of, same = played.figures, simulate(plan(points[0].scenario).plan)
    assert of.simulated_seconds == same.iteration_seconds
    assert of.tail_seconds == same.generation[-1].tail["100"] - same.generation[-1].tail["90"] > 0
    assert of.idle_share is not None
    assert 0 < of.idle_share < 1
    assert of.job_hours == pytest.approx(9 * of.simulated_seconds / 3600, rel=0.1)
    assert of.model_copy(update=dict.fromkeys(SIMULATED)) == bare.figures


SIMULATED = (
    *("simulated_seconds", "simulated_tokens_per_second", "tail_seconds", "idle_share"),
    *("job_hours", "job_dollars"),
)


def test_what_does_not_fit_is_a_row_with_its_reason(tiny: Build) -> None:
    large = tiny(models=dict.fromkeys(("actor", "critic", "reference", "reward"), "llama-3.1-70b"))
    points = [Point(settings={"size": "70b"}, scenario=large), *prompts_of(tiny, 64)]
    first, second = sweep(points)
    assert (first.status, first.figures) == ("infeasible", None)
    assert "GiB" in first.reason
    assert second.status == "optimal"


def test_the_phases_of_one_pool_add_up_to_the_stage_cost(tiny: Build) -> None:
    scenario = tiny(colocate=[["actor", "critic", "reference", "reward"]])
    (found,) = sweep([Point(settings={}, scenario=scenario)])
    of = found.figures
    assert of is not None
    phases = of.generation_seconds + of.preparation_seconds + of.training_seconds
    assert phases == pytest.approx(of.stage_cost_seconds)
    assert (of.send_seconds, of.receive_seconds) == (None, None)


def test_an_asynchronous_plan_sends_and_receives_weights(tiny: Build) -> None:
    workload = {"prompts": 64, "prompt_tokens": 256, "response_tokens": 4096, "mini_batches": 4}
    scenario = tiny(staleness=1, workload=workload)
    best = plan(scenario).plan
    assert "generator" in best.strategies
    (found,) = sweep([Point(settings={}, scenario=scenario)])
    assert found.figures is not None
    calls = best.prediction.calls
    assert found.figures.send_seconds == calls["actor.send"].seconds
    assert found.figures.receive_seconds == calls["generator.receive"].seconds
    assert found.figures.generation_seconds == calls["generator.generate"].seconds


def test_a_service_prepares_beside_the_pools(tiny: Build) -> None:
    models = dict.fromkeys(("actor", "critic", "reference"), "llama-3.2-1b")
    services = {"reward": {"seconds_per_sample": "10 s"}}
    (found,) = sweep([Point(settings={}, scenario=tiny(models=models, services=services))])
    assert found.figures is not None
    assert found.figures.preparation_seconds == 640.0


def test_a_given_plan_is_kept_and_costed_as_its_score_is(tiny: Build) -> None:
    best = plan(tiny()).plan
    points = prompts_of(tiny, 64, 128, 256)
    rows = list(sweep(points, given=choice_of(best)))
    assert {found.status for found in rows} == {"given"}
    for found, point in zip(rows, points, strict=True):
        kept = costed(choice_of(best), point.scenario)
        assert (kept.pools, kept.strategies) == (best.pools, best.strategies)
        assert found.figures == figures_of(kept)
    assert rows[0].figures == figures_of(best)


def given_rows(best: Plan, *scenarios: Scenario) -> list[Row]:
    return list(sweep([Point(settings={}, scenario=each) for each in scenarios], given=choice_of(best)))


def test_where_a_given_plan_makes_no_sense_it_is_refused_in_words(tiny: Build) -> None:
    best = plan(tiny()).plan
    roles = dict.fromkeys(("actor", "reference", "reward"), "llama-3.2-1b")
    grouped = {"prompts": 16, "samples_per_prompt": 4, **LENGTHS}
    fewer, other = given_rows(
        best, tiny(cluster="1x2xa100-sxm-80gb"), tiny(algorithm="grpo", models=roles, workload=grouped)
    )
    assert fewer.status == other.status == "refused"
    assert "of the 2 devices" in fewer.reason
    assert "critic" in other.reason
    assert "\n" not in fewer.reason + other.reason


def test_where_a_given_plan_does_not_fit_it_is_infeasible(tiny: Build) -> None:
    long = {"prompts": 64, "prompt_tokens": 512, "response_tokens": 60_000, "mini_batches": 4}
    tight, late = given_rows(plan(tiny()).plan, tiny(workload=long), tiny(within="1 ms"))
    assert tight.status == late.status == "infeasible"
    assert "GiB" in tight.reason
    assert "permitted" in late.reason


def test_a_choice_without_orders_gets_the_best_ones_at_each_point(tiny: Build) -> None:
    best = plan(tiny()).plan
    choice = choice_of(best)
    pools = tuple(pool.model_copy(update={"order": (), "ahead": {}}) for pool in choice.pools)
    (found,) = sweep(prompts_of(tiny, 64), given=Choice(pools=pools, strategies=choice.strategies))
    assert found.figures == figures_of(best)


def test_the_first_row_scales_fully_and_others_as_throughput_over_devices(tiny: Build) -> None:
    first, second, third = sweep(node_points(tiny, 1, 2, 4))
    assert first.scaling_efficiency == 1.0
    for found, times in ((second, 2), (third, 4)):
        assert found.figures is not None
        assert first.figures is not None
        speedup = found.figures.tokens_per_second / first.figures.tokens_per_second
        assert found.scaling_efficiency == pytest.approx(speedup / times)


def test_nothing_scales_where_devices_do_not_change(tiny: Build) -> None:
    assert [found.scaling_efficiency for found in sweep(prompts_of(tiny, 64, 128))] == [None, None]


def test_each_series_scales_from_its_own_first_row_with_figures() -> None:
    rows = [
        Row(point=0, settings={"nodes": 1, "epochs": 1}, status="infeasible"),
        row(1, {"nodes": 1, "epochs": 2}, 8, 100.0),
        row(2, {"nodes": 2, "epochs": 1}, 16, 300.0),
        row(3, {"nodes": 2, "epochs": 2}, 16, 150.0),
        row(4, {"nodes": 4, "epochs": 1}, 32, 450.0),
    ]
    assert [each.scaling_efficiency for each in scaled(rows, "nodes")] == [None, 1.0, 1.0, 0.75, 0.75]


@given(st.permutations([1, 2, 3]), st.integers(2, 4))
def test_the_key_of_the_devices_is_found_whatever_stands_beside_it(nodes: list[int], epochs: int) -> None:
    points = [
        ({"epochs": epoch, "nodes": count, "seed": 7}, 8 * count)
        for epoch in range(epochs)
        for count in nodes
    ]
    assert scaling_key(points) == "nodes"
    assert scaling_key([(settings, 8) for settings, _ in points]) is None
    assert scaling_key([(settings, None) for settings, _ in points]) is None


def test_equal_parts_of_scenarios_become_one_value(tiny: Build) -> None:
    shared = Shared()
    one, two = (shared.scenario(each) for each in (tiny(), tiny()))
    assert one == two == tiny()
    assert one.cluster.node_pools[0].device is two.cluster.node_pools[0].device
    assert one.models["actor"] is two.models["reward"]
    other = shared.scenario(tiny(cluster="1x4xh100-sxm-80gb"))
    assert other == tiny(cluster="1x4xh100-sxm-80gb")


def test_a_precision_that_a_device_does_not_have_is_refused_before_anything_runs(tiny: Build) -> None:
    check_scenario(tiny(), where="file")
    with pytest.raises(SpecError, match="peak names no fp8"):
        check_scenario(tiny(precision="fp8"), where="file")
    with pytest.raises(SpecError, match=r"file: models\.critic: missing"):
        check_scenario(tiny(models={"actor": "llama-3.2-1b"}), where="file")


def test_every_figure_of_a_row_has_a_name_and_survives_a_file(tiny: Build) -> None:
    (found,) = sweep(prompts_of(tiny, 64))
    assert Row.model_validate_json(found.model_dump_json()) == found
    assert {figure(found, name) is not None for name in FIGURES if name.endswith("g_seconds")} == {True}
    assert figure(found, "placement") == found.figures.placement if found.figures else False
    assert figure(Row(point=0, settings={}, status="refused"), "devices") is None


def test_figures_are_those_of_the_plans_own_dataflow(tiny: Build) -> None:
    best = plan(tiny()).plan
    graph = planned_dataflow(best)
    trained = [
        sum(
            _seconds(best, call.name)
            for call in graph.model_calls
            if call.kind == "train" and call.role in pool
        )
        for pool in best.placement
    ]
    assert figures_of(best).training_seconds == max(trained)


def _seconds(best: Plan, name: str) -> float:
    return best.prediction.calls[name].seconds

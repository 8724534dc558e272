"""What a simulation says on a terminal."""

import io
from collections.abc import Callable

import pytest
from rich.console import Console, RenderableType

from planner.domain.job import Rollouts
from planner.domain.plan import Plan
from planner.domain.simulated import Idle, JobReport, Simulation
from planner.reporting.simulations import (
    attempts_table,
    generation_table,
    idle_table,
    job_table,
    period_words,
    simulation_report,
)

Build = Callable[[int], Simulation]


def text_of(shown: RenderableType, width: int = 160) -> str:
    console = Console(width=width, color_system=None, file=io.StringIO(), record=True)
    console.print(shown)
    return console.export_text()


def cells(text: str, beginning: str) -> list[str]:
    """The cells of the row that begins with a word."""
    rows = (
        [cell.strip() for cell in line.strip().strip("│┃").replace("┃", "│").split("│")]
        for line in text.splitlines()
    )
    return next(row for row in rows if row[0] == beginning)


def test_a_report_has_all_tables_and_the_last_iterations_calls_only(
    two_pools: Plan, simulated: Build, job: JobReport
) -> None:
    text = text_of(simulation_report(simulated(3).model_copy(update={"job": job}), two_pools))
    for title in ("ppo-7b-16, predicted", "Generation: actor.generate", "Device-seconds", "The whole job"):
        assert title in text
    assert text.count("critic.update") == 1
    assert cells(text, "2")[1:] == ["actor.generate/reshard", "pool-0", "0 us", "1.00 s", "1.00 s"]


def test_what_is_not_there_has_no_table(two_pools: Plan, simulated: Build) -> None:
    bare = simulated(1).model_copy(update={"generation": (), "idle": ()})
    text = text_of(simulation_report(bare, two_pools))
    assert "actor.update" in text
    assert not any(title in text for title in ("Generation", "Device-seconds", "The whole job"))


def test_simulated_seconds_stand_beside_the_planned_ones(simulated: Build) -> None:
    assert period_words(simulated(3)) == (
        "3 iterations simulated; in the steady state 10.0 s each, planned 8.00 s (+25.0 %); "
        "800 tokens/s, 2.5 $ per million tokens"
    )
    free = simulated(1).model_copy(update={"dollars_per_million_tokens": None})
    assert period_words(free).startswith("1 iteration simulated; ")
    assert "$" not in period_words(free)


def test_a_generation_is_a_row_of_its_figures(simulated: Build) -> None:
    text = text_of(generation_table(simulated(2).generation))
    assert cells(text, "1") == ["1", "112", "200", "2.00, 3.50, 4.00, 4.00 s", "77", "1"]
    assert "50, 90, 99, 100 % done after" in text
    assert "16 responses on 2 replicas of 8 sequences" in text


def test_preemptions_and_what_is_carried_have_columns_where_there_are_any(simulated: Build) -> None:
    (report,) = simulated(1).generation
    troubled = report.model_copy(
        update={"preemptions": 1234, "carried": 5, "call": "actor.greedy", "curve": ()}
    )
    plain, both = (text_of(generation_table(each)) for each in ((report,), (report, troubled)))
    assert "preempted" not in plain
    assert "carried" not in plain
    assert cells(both, "0")[1] == "actor.generate"
    assert "actor.greedy" in both
    assert "1,234" in both


def test_idle_device_seconds_have_their_causes_shares_and_sum(simulated: Build) -> None:
    text = text_of(idle_table(simulated(1).idle))
    assert cells(text, "pool") == ["pool", "devices", "busy", "inputs", "tail"]
    assert cells(text, "pool-0") == ["pool-0", "8", "60 (75.0 %)", "16 (20.0 %)", "4 (5.0 %)"]
    assert cells(text, "pool-1") == ["pool-1", "8", "32 (40.0 %)", "48 (60.0 %)", ""]
    assert cells(text, "all") == ["all", "16", "92 (57.5 %)", "64 (40.0 %)", "4 (2.5 %)"]
    assert "inputs: of another pool's call" in text


def test_one_pool_is_its_own_sum() -> None:
    lone = Idle(pool="pool-0", devices=2, device_seconds=0.0, busy=0.0, idle={})
    text = text_of(idle_table([lone]))
    assert cells(text, "pool-0") == ["pool-0", "2", ""]
    assert "all" not in text.split()


def test_a_job_says_what_it_costs_and_loses(job: JobReport) -> None:
    text = text_of(job_table(job))
    rows = {
        "iterations": "36,000 of 9.00 s on average",
        "time": "100.00 h",
        "device-hours": "1,600.0",
        "price": "4,000.00 $",
        "goodput": "90.0 % of the time is training",
        "training": "90.00 h (90.0 %)",
        "checkpoints": "1.00 h (1.0 %)",
        "lost": "8.94 h (8.9 %)",
        "restarts": "200 s (0.1 %)",
        "failures expected": "2.50",
        "checkpoint every": "50 iterations",
        "least is lost with one every": "20 iterations",
        "iteration 0": "8.00 s, responses of 500 tokens on average",
        "iteration 35,999": "10.0 s, responses of 700 tokens on average",
    }
    for measure, value in rows.items():
        assert cells(text, measure) == [measure, value]


def test_a_job_without_prices_failures_and_checkpoints_is_silent_on_them(job: JobReport) -> None:
    plain = job.model_copy(update={"dollars": None, "checkpoint_every": None, "best_checkpoint_every": None})
    text = text_of(job_table(plain))
    assert "$" not in text
    assert "checkpoint every" not in text
    assert "least is lost" not in text


@pytest.mark.parametrize("width", [80, 120])
def test_nothing_of_a_report_is_cut(two_pools: Plan, simulated: Build, job: JobReport, width: int) -> None:
    text = text_of(simulation_report(simulated(4).model_copy(update={"job": job}), two_pools), width)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    assert "2.00, 3.50, 4.00, 4.00 s" in text


def test_clusters_that_were_tried_are_rows_with_what_they_take() -> None:
    rows = [
        {"devices": 8, "hours": None, "device_hours": None, "dollars": None, "done": False, "fits": False},
        {"devices": 16, "hours": None, "device_hours": None, "dollars": None, "done": False, "fits": True},
        {
            "devices": 1024,
            "hours": 30.04,
            "device_hours": 480.6,
            "dollars": 1081.4,
            "done": False,
            "fits": True,
        },
        {"devices": 32, "hours": 20.0, "device_hours": 640.0, "dollars": 1440.0, "done": True, "fits": True},
    ]
    text = text_of(attempts_table(rows))
    assert cells(text, "8") == ["8", "-", "-", "-", "does not fit"]
    assert cells(text, "16") == ["16", "-", "-", "-", "never ends"]
    assert cells(text, "1,024") == ["1,024", "30.04", "480.60", "1,081.40", "no"]
    assert cells(text, "32") == ["32", "20.00", "640.00", "1,440.00", "yes"]
    assert "dollars" not in text_of(attempts_table([row | {"dollars": None} for row in rows]))


def test_of_very_many_generations_the_last_are_shown(simulated: Build) -> None:
    text = text_of(generation_table(simulated(30).generation))
    assert "the last 20 of 30; --json has all" in text
    assert cells(text, "10")
    assert cells(text, "29")
    with pytest.raises(StopIteration):
        cells(text, "9")


def test_responses_that_pile_up_are_said(two_pools: Plan, simulated: Build) -> None:
    scenario = two_pools.scenario.model_copy(update={"rollouts": Rollouts(carry=0.5)})
    carrying = two_pools.model_copy(update={"scenario": scenario})
    piling, plain = (
        " ".join(text_of(simulation_report(simulated(4), plan)).split()) for plan in (carrying, two_pools)
    )
    assert "still pile up" in piling
    assert "pile up" not in plain

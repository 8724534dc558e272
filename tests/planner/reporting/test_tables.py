"""What stands in tables, at the widths that terminals have."""

from collections.abc import Callable

import pytest
from rich.console import Console, RenderableType

from planner.domain.plan import Plan
from planner.domain.reading import read_scenario
from planner.reporting.explanations import change_words, gain_table
from planner.reporting.plans import plan_report, runner_up_table
from planner.reporting.tables import blank_table
from planner.studies.planning import plan


def lines_of(shown: RenderableType, width: int) -> list[str]:
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(shown)
    return capture.get().splitlines()


def text_of(shown: RenderableType, width: int = 200) -> str:
    return "\n".join(lines_of(shown, width))


@pytest.fixture(scope="module")
def planned() -> Callable[..., Plan]:
    """A plan of 16 devices, the same whatever is minimised."""
    scenario = read_scenario("scenarios/paper/ppo-7b-16.yaml")

    def build(minimise: str) -> Plan:
        return plan(scenario.model_copy(update={"minimise": minimise})).plan

    return build


@pytest.mark.parametrize("width", [80, 100, 120])
def test_keys_and_layouts_of_a_plan_are_never_cut(planned: Callable[..., Plan], width: int) -> None:
    made = planned("seconds")
    lines = lines_of(plan_report(made), width)
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert "…" not in text
    layouts = [str(strategy.layout) for strategy in made.strategies.values()]
    for key in (*made.strategies, *layouts, *made.prediction.calls):
        assert f" {key} " in text


def test_words_without_room_go_on_in_the_next_line() -> None:
    table = blank_table("", "role", "words")
    table.add_row("actor", "x" * 100)
    assert text_of(table, width=40).count("x") == 100


def test_fewer_tokens_a_second_are_a_loss_with_a_minus(planned: Callable[..., Plan]) -> None:
    tokens, seconds = planned("tokens_per_second"), planned("seconds")
    other = tokens.runners_up[0]
    fall = 100 * (other.objective / tokens.proof.objective - 1)
    assert fall < 0
    assert f"tokens/s ({fall:+.1f} %" in text_of(runner_up_table(tokens))
    growth = 100 * (seconds.runners_up[0].objective / seconds.proof.objective - 1)
    assert f"s ({growth:+.1f} %" in text_of(runner_up_table(seconds))


def test_what_an_improvement_buys_is_how_the_objective_changes(planned: Callable[..., Plan]) -> None:
    rows = [("twice the nodes", -17195.0, -0.582, ""), ("nothing", 0.0, 0.0, "")]
    text = text_of(gain_table("title", planned("tokens_per_second").proof, rows))
    assert "change of the objective" in text
    assert "+17,195 tokens/s" in text
    assert "+58.2 %" in text
    assert "-0.0" not in text
    assert "-250 ms" in text_of(gain_table("", planned("seconds").proof, [("", -0.25, -0.1, "")]))


def test_a_price_is_said_with_the_sign_of_its_objective(planned: Callable[..., Plan]) -> None:
    proof = planned("tokens_per_second").proof
    assert change_words(2247, 0.076, proof) == "costs 2,247 tokens/s (-7.6 %)"
    assert change_words(-2247, -0.076, proof) == "gains 2,247 tokens/s (+7.6 %)"
    assert change_words(2, 0.1, planned("seconds").proof) == "costs 2.00 s (+10.0 %)"

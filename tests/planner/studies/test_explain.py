"""What demands cost."""

import random
from collections.abc import Callable

import pytest

from planner.domain.pins import Pins
from planner.domain.scenario import Scenario
from planner.errors import InfeasibleError
from planner.studies.explain import explain, price
from planner.studies.planning import plan

Build = Callable[..., Scenario]

DEMANDS = [
    {"pin": {"actor.train.tensor": 1}},
    {"pin": {"actor.train.tensor": 4, "critic.train.pipeline": 2}},
    {"pin": {"actor.devices": 2}},
    {"pin": {"actor.micro_batch": 1}},
    {"pin": {"actor.recompute": "full"}},
    {"pin": {"actor.generate.replicas": 2}},
    {"colocate": [["actor", "critic", "reference", "reward"]]},
    {"apart": [["actor", "critic"]]},
]


@pytest.mark.parametrize("demand", DEMANDS, ids=str)
@pytest.mark.parametrize("objective", ["seconds", "tokens_per_second"])
def test_a_demand_never_improves_the_objective(
    tiny: Build, demand: dict[str, object], objective: str
) -> None:
    found = explain(tiny(minimise=objective), tiny(minimise=objective, **demand))
    assert found.is_proven
    assert found.amount >= 0
    assert found.relative == pytest.approx(found.amount / found.before.proof.objective)


PINS = {
    "actor.train.tensor": (1, 2, 4),
    "actor.train.pipeline": (1, 2),
    "actor.generate.tensor": (1, 2),
    "actor.generate.replicas": (1, 2, 4),
    "actor.recompute": ("none", "selective", "full"),
    "actor.offload": ("none", "optimizer", "all"),
    "critic.micro_batch": (1, 4, 16),
    "critic.devices": (1, 2, 3, 4),
    "reference.infer.data": (1, 2, 4),
    "reward.offload": ("none", "all"),
}


@pytest.mark.parametrize("time_model", ["period", "stage"])
def test_no_set_of_pins_improves_the_objective(tiny: Build, time_model: str) -> None:
    draw, free, held = random.Random(1), plan(tiny(time_model=time_model)).plan, 0
    for _ in range(8):
        pins = {key: draw.choice(PINS[key]) for key in draw.sample(sorted(PINS), draw.randint(1, 3))}
        try:
            pinned = plan(tiny(time_model=time_model, pin=pins)).plan
        except InfeasibleError:
            continue
        assert price(free, pinned).amount >= 0, pins
        held += 1
    assert held >= 6


def test_demanding_what_is_chosen_anyway_costs_nothing(tiny: Build) -> None:
    best = plan(tiny()).plan
    layout = best.strategies["actor"].layout
    found = explain(tiny(), tiny(pin={"actor.train.tensor": layout.tensor}))
    assert found.amount == 0
    assert found.after.proof.objective == found.before.proof.objective


def test_the_price_is_what_the_calls_add_up_to_in_one_pool(tiny: Build) -> None:
    """One pool runs its calls one after the other, so that the growths of its calls are the price."""
    together = {"colocate": [["actor", "critic", "reference", "reward"]]}
    found = explain(tiny(**together), tiny(**together, pin={"actor.train.tensor": 4}))
    assert found.amount > 0
    assert sum(call.growth_s for call in found.calls) == pytest.approx(found.amount, abs=1e-5)
    assert [call.growth_s for call in found.calls] == sorted(
        (call.growth_s for call in found.calls), reverse=True
    )


def test_the_price_of_another_time_model_is_paid_in_the_first_ones_seconds(tiny: Build) -> None:
    found = explain(tiny(time_model="period"), tiny(time_model="stage"))
    one, other = found.before.prediction, found.after.prediction
    assert found.amount == other.iteration_seconds - one.iteration_seconds
    assert found.amount >= -1e-5


def test_the_same_plan_under_another_time_model_costs_nothing(tiny: Build) -> None:
    """One pool runs everything one after the other, whatever the model of time."""
    together = {"colocate": [["actor", "critic", "reference", "reward"]]}
    found = explain(tiny(**together, time_model="stage"), tiny(**together, time_model="period"))
    assert found.amount == pytest.approx(0, abs=1e-9)


def test_a_plan_costs_nothing_against_itself(tiny: Build) -> None:
    best = plan(tiny()).plan
    assert price(best, best).amount == 0
    assert price(best, best).calls == ()


def test_a_demand_that_nothing_meets_is_refused(tiny: Build) -> None:
    with pytest.raises(InfeasibleError, match="64"):
        explain(tiny(), tiny().model_copy(update={"pin": Pins.model_validate({"actor.devices": 64})}))

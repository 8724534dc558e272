"""Sound plans broken in one place each, and what the checker says of them."""

import inspect
import re
from pathlib import Path

import pytest

from planner.domain.plan import Plan
from planner.errors import PlannerError
from planner.search import certify, violations
from planner.search.certify.fixes import FIXES, OTHERWISE, fix_of
from tests.planner.search.certify.broken_choices import ASYNCHRONOUS, PLACES, STRATEGIES
from tests.planner.search.certify.broken_claims import BYTES, NUMBERS, PROOFS, SCHEDULES
from tests.planner.search.certify.sound_plans import SOUND, sound

DAMAGES = PLACES | ASYNCHRONOUS | STRATEGIES | BYTES | SCHEDULES | PROOFS | NUMBERS
FOLLOWS: dict[str, tuple[str, ...]] = {
    "chunks without a pipeline": ("capabilities",),
    "experts of a dense model": ("capabilities",),
    "a role in two pools": ("apart",),
    "a role in no pool": ("colocate",),
    "an unknown role": ("names",),
    "no place for the cost model": ("names",),
    "too many devices": ("idle devices",),
    "more devices than one of two node pools has": ("idle devices",),
    "a generator beside the actor": ("names",),
    "a generator on fewer devices than its pool": ("layout",),
    "a cost model that generates": ("capabilities",),
    "too many stages": ("capabilities",),
    "generation on other devices": ("capabilities",),
    "another period": ("objective",),
    "another question": ("objective",),
    "another time model": ("objective",),
}
"""What else such a damage breaks."""


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_plan_has_no_violations(name: str) -> None:
    case, plan = sound(name)
    assert violations(plan, case.graph, case.costs) == []
    reread = Plan.model_validate_json(plan.model_dump_json())
    assert violations(reread, case.graph, case.costs) == []


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_named(name: str) -> None:
    whole, rule, damage = DAMAGES[name]
    case, plan = sound(whole)
    found = {violation.rule for violation in violations(damage(plan), case.graph, case.costs)}
    assert rule in found
    assert found <= {rule, *FOLLOWS.get(name, ())}
    with pytest.raises(PlannerError, match=rule):
        certify(damage(plan), case.graph, case.costs)


def test_every_rule_is_broken_by_some_damage() -> None:
    files = Path(inspect.getfile(violations)).parent.glob("*.py")
    written = {
        rule for file in files for rule in re.findall(r'(?:rule=|^ +)"([a-z -]+)"[:,)]', file.read_text())
    }
    assert len(written) > 20
    assert written <= {rule for _, rule, _ in DAMAGES.values()}
    assert set(FIXES) <= {rule for _, rule, _ in DAMAGES.values()}
    assert len(DAMAGES) >= 50


def test_what_a_choice_can_break_has_a_fix_of_its_own() -> None:
    """Names, figures and the scenario's staleness are not chosen."""
    chosen = {rule for _, rule, _ in (PLACES | STRATEGIES | ASYNCHRONOUS).values()}
    chosen -= {"names", "idle devices", "staleness", "prediction"}
    assert chosen | {"memory", "host memory", "order", "ahead", "within"} == set(FIXES)
    case, plan = sound("ppo")
    rows = [PLACES["a strategy missing"], PLACES["a strategy missing"], PLACES["a pool too large"]]
    found = [each for _, _, damage in rows for each in violations(damage(plan), case.graph, case.costs)]
    assert fix_of(found) == f"{FIXES['strategies']}; {FIXES['maximum devices']}"
    assert fix_of([]) == OTHERWISE


def test_how_far_a_call_may_be_ahead_is_said() -> None:
    case, plan = sound("ppo")
    _, _, damage = SCHEDULES["a call without end ahead"]
    (found,) = violations(damage(plan), case.graph, case.costs)
    assert (
        "critic.values is 1000000000 iterations ahead of reward.scores, it can be 1 at most" in found.message
    )


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a strategy missing", "actor takes devices, but has no strategy"),
        ("a strategy of no role", "critic has a strategy, but in the dataflow grpo it takes no devices"),
        ("a pool of no role", "pool-1 takes 1 devices for no role"),
    ],
)
def test_what_is_wrong_with_a_place_is_said(name: str, words: str) -> None:
    whole, _, damage = PLACES[name]
    case, plan = sound(whole)
    assert words in [each.message for each in violations(damage(plan), case.graph, case.costs)]

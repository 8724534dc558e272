"""Sound plans broken in one place each, and what the checker says of them."""

import inspect
import re
from pathlib import Path

import pytest

from planner.domain.plan import Plan
from planner.errors import PlannerError
from planner.search import certify, violations
from tests.planner.search.broken_choices import ASYNCHRONOUS, PLACES, STRATEGIES
from tests.planner.search.broken_claims import BYTES, PROOFS, SCHEDULES
from tests.planner.search.sound_plans import SOUND, sound

DAMAGES = PLACES | ASYNCHRONOUS | STRATEGIES | BYTES | SCHEDULES | PROOFS
FOLLOWS: dict[str, tuple[str, ...]] = {
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
    assert len(DAMAGES) >= 50

"""Figures 9 to 11: the fewest devices that each algorithm was run on, and the fewest that would do."""

from collections.abc import Iterator
from dataclasses import dataclass

from planner.domain.plan import Plan
from planner.studies.paper.published import MINIMA, TOO_FEW, Algorithm, Size
from planner.studies.paper.questions import best, paper_scenario, with_devices


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Whether an algorithm fits so many devices of a size's cluster."""

    algorithm: Algorithm
    size: Size
    devices: int
    is_published: bool
    """Whether the paper ran it there."""
    plan: Plan | None

    @property
    def holds(self) -> bool:
        return (self.plan is not None) == self.is_published


def fits(algorithm: Algorithm) -> Iterator[Fit]:
    """The published minima, and the next smaller points of the axes that 18 bytes per parameter exclude."""
    for size, devices in MINIMA[algorithm].items():
        plan = best(paper_scenario(algorithm, size, devices))
        yield Fit(algorithm=algorithm, size=size, devices=devices, is_published=True, plan=plan)
    for size, devices in TOO_FEW[algorithm].items():
        plan = best(with_devices(paper_scenario(algorithm, size, MINIMA[algorithm][size]), devices))
        yield Fit(algorithm=algorithm, size=size, devices=devices, is_published=False, plan=plan)


def fewest(algorithm: Algorithm, size: Size) -> Plan | None:
    """The plan on the fewest devices of those of the published minimum."""
    scenario = paper_scenario(algorithm, size, MINIMA[algorithm][size])
    return best(scenario.model_copy(update={"minimise": "devices"}))


def fullest_bytes(plan: Plan) -> tuple[int, int]:
    """(Bytes of the whole iteration, those of the greatest call beside them) on the fullest device."""
    memory = plan.prediction.memory
    pools = [
        (
            sum(memory[role].persistent_bytes for role in pool.roles),
            max(memory[role].transient_bytes for role in pool.roles),
        )
        for pool in plan.pools
    ]
    return max(pools, key=sum)

"""The best of the answers to several problems, each asked for nothing worse than what others have."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from planner.domain.placement import Placement
from planner.errors import SearchStoppedError
from planner.search.problem import Answer, Solution


@dataclass(kw_only=True)
class Together:
    """Answers so far."""

    at_most_us: int
    """Longest time of interest."""
    runners_up: int
    """How many other placements' best plans are wanted."""
    answers: list[Answer] = field(default_factory=list)
    stopped_us: list[int] = field(default_factory=list)
    """What the plans of each problem that was stopped take at least."""

    def add(self, found: Answer | None) -> None:
        """Take an answer in; none of a problem that has no plan of interest."""
        self.answers += [] if found is None else [found]

    def stop(self, floor_us: int) -> None:
        """Note a problem that was stopped before it had an answer, and what its plans take at least."""
        if floor_us <= self.limit_us:
            self.stopped_us.append(floor_us)

    @property
    def limit_us(self) -> int:
        """What a plan may take to be of interest still: as the last of the runners-up."""
        known = list(self._by_placement())
        return known[self.runners_up].objective_us if len(known) > self.runners_up else self.at_most_us

    def best(self) -> Answer | None:
        """The best answer, of equal ones that of fewer devices or the earlier problem.

        Raises
        ------
        SearchStoppedError
            When there is none and a problem was stopped.
        """
        if not self.answers:
            if self.stopped_us:
                raise SearchStoppedError
            return None
        solutions = (found.solution for found in self.answers)
        best = min(solutions, key=lambda solution: (solution.objective_us, solution.devices))
        others = [solution for solution in self._by_placement() if solution.placement != best.placement]
        return Answer(
            solution=best,
            bound_us=min(*(found.bound_us for found in self.answers), *self.stopped_us, best.objective_us),
            runners_up=tuple(others[: self.runners_up]),
        )

    def _by_placement(self) -> Iterator[Solution]:
        """The best plan of each placement, best first."""
        solutions = [solution for found in self.answers for solution in (found.solution, *found.runners_up)]
        best: dict[Placement, Solution] = {}
        for solution in sorted(solutions, key=lambda each: (each.objective_us, each.placement)):
            best.setdefault(solution.placement, solution)
        yield from best.values()

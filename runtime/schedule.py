"""The order of calls: as the plan orders those of a pool, and each after the calls that it reads from."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from planner.domain.plan import Pool
from planner.errors import PlanMismatchError


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingCall:
    """A call that was made and waits for its turn."""

    name: str
    iteration: int
    pool: str
    is_ready: Callable[[], bool]
    """Whether it is known where its inputs lie and which samples they are."""
    submit: Callable[[], None]


class Schedule:
    """Submits the calls of some iterations.

    Submitting is not waiting: a process runs what it is sent in the order of submission, once the inputs are
    there. A pool of the plan takes its calls in the plan's order; other processes as they come.
    """

    def __init__(self, pools: Sequence[Pool] = (), *, iterations: range = range(0)) -> None:
        self._turns: Mapping[str, deque[tuple[int, str]]] = {
            pool.name: deque(pool.turns(iterations)) for pool in pools
        }
        self._waiting: list[PendingCall] = []

    def enter(self, call: PendingCall) -> None:
        """Submit the call if it is its turn, and then whatever waited for it."""
        turns = self._turns.get(call.pool)
        if turns is not None and (call.iteration, call.name) not in turns:
            raise PlanMismatchError(
                f"pools.{call.pool}.order: does not name {call.name}; make the plan again"
            )
        self._waiting.append(call)
        self.go_on()

    def insert(self, call: PendingCall) -> None:
        """Let the call run on its pool before those that are not submitted yet; the plan does not name it."""
        if call.pool in self._turns:
            self._turns[call.pool].appendleft((call.iteration, call.name))
        self.enter(call)

    def go_on(self) -> None:
        """Submit all calls whose turn it is."""
        while self._submit_one():
            pass

    def refuse_left_over(self) -> None:
        """Say what is wrong where nothing is under way any more.

        Raises
        ------
        PlanMismatchError
            When the orders of the pools and the data dependences wait for each other.
        """
        for call in self._waiting:
            turns = self._turns.get(call.pool)
            awaited = f"waits for {turns[0][1]}" if turns and turns[0][1] != call.name else "lacks its inputs"
            raise PlanMismatchError(
                f"pools.{call.pool}.order: {call.name} {awaited}, which never comes; make the plan again"
            )
        for pool, turns in self._turns.items():
            if turns:
                raise PlanMismatchError(f"pools.{pool}.order: the algorithm makes no call {turns[0][1]}")

    def _submit_one(self) -> bool:
        for call in self._waiting:
            if self._is_next(call) and call.is_ready():
                self._waiting.remove(call)
                if call.pool in self._turns:
                    self._turns[call.pool].popleft()
                call.submit()
                return True
        return False

    def _is_next(self, call: PendingCall) -> bool:
        turns = self._turns.get(call.pool)
        return turns is None or turns[0] == (call.iteration, call.name)

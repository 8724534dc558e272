"""The order of calls: as the plan orders those of a pool, and each after the calls that it reads from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from planner.errors import PlanMismatchError
from runtime.batch import Future


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingCall:
    """A call that was made and waits for its turn."""

    name: str
    pool: str
    inputs: Sequence[Future]
    submit: Callable[[], None]


class Schedule:
    """Submits the calls of one iteration.

    Submitting is not waiting: a process runs what it is sent in the order of submission, once the inputs are
    there. Pools without an order take their calls as they come.
    """

    def __init__(self, orders: Mapping[str, Sequence[str]]) -> None:
        self._orders = orders
        self._left = {pool: list(order) for pool, order in orders.items()}
        self._waiting: list[PendingCall] = []
        self._names: dict[str, int] = {}

    def name(self, role: str, method: str) -> str:
        """Name of the next call of a role's method, as the dataflow graph names it."""
        plain = f"{role}.{method}"
        count = self._names[plain] = self._names.get(plain, 0) + 1
        return plain if count == 1 else f"{plain}#{count}"

    def enter(self, call: PendingCall) -> None:
        """Submit the call if it is its turn, and then whatever waited for it."""
        if call.pool in self._left and call.name not in self._left[call.pool]:
            raise PlanMismatchError(
                f"pools.{call.pool}.order: does not name {call.name}; make the plan again"
            )
        self._waiting.append(call)
        while self._submit_one():
            pass

    def finish(self) -> None:
        """Check that nothing was left over, and begin the next iteration.

        Raises
        ------
        PlanMismatchError
            When the orders of the pools and the data dependences wait for each other.
        """
        for call in self._waiting:
            raise PlanMismatchError(
                f"pools.{call.pool}.order: {call.name} waits for {self._left[call.pool][0]}, "
                f"which never comes; make the plan again"
            )
        for pool, left in self._left.items():
            if left:
                raise PlanMismatchError(f"pools.{pool}.order: the algorithm makes no call {left[0]}")
        self._left = {pool: list(order) for pool, order in self._orders.items()}
        self._names.clear()

    def _submit_one(self) -> bool:
        for call in self._waiting:
            if self._is_next(call) and all(future.is_submitted for future in call.inputs):
                self._waiting.remove(call)
                if call.pool in self._left:
                    self._left[call.pool].pop(0)
                call.submit()
                return True
        return False

    def _is_next(self, call: PendingCall) -> bool:
        left = self._left.get(call.pool)
        return left is None or left[0] == call.name

"""The error tree.

::

    PlannerError
    ├── SpecError(ValueError)             an input says something impossible; starts with file and key path
    │   ├── UnknownNameError              no catalog entry has that name
    │   └── EndlessJobError               failures come too often for the job to be done
    ├── ProfileMissingError(LookupError)  no measurement covers this model on this device
    ├── InfeasibleError                   no plan fits: role, bytes needed, bytes there, the nearest fix
    │   └── BrokenPlanError               a given plan breaks rules: all of them
    ├── SearchStoppedError                no plan was found, and none is known not to exist
    ├── NoneFasterError                   no plan is as fast as was asked for
    ├── PlanMismatchError                 the cluster at hand is not the one the plan was made for
    └── WorkerError                       a worker died: role, rank, cause, and its own first traceback
"""

import math
from dataclasses import dataclass


class PlannerError(Exception):
    """Any failure that this package explains to its user."""


class SpecError(PlannerError, ValueError):
    """An input says something impossible; the message starts with the file and the key path."""


class UnknownNameError(SpecError):
    """No catalog entry has that name."""


class EndlessJobError(SpecError):
    """Failures come so often that a job is never done, or only after far more time than its work takes."""


class ProfileMissingError(PlannerError, LookupError):
    """No measurement covers this model on this device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortage:
    """Bytes that a device lacks."""

    role: str
    """One role, or several that share the device, with commas between."""
    phase: str
    """The call of the greatest need; empty where no single call is to blame."""
    device: str
    memory: str = "device"
    """Of the device itself, or ``host`` memory."""
    bytes_needed: int
    bytes_there: int

    @property
    def bytes_short(self) -> int:
        return self.bytes_needed - self.bytes_there


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """A change that was checked to help."""

    kind: str
    """What changes: demand, recompute, offload, capability, within, host, devices, device."""
    words: str


class InfeasibleError(PlannerError):
    """No plan fits.

    Parameters
    ----------
    reason
        Which role needs how many bytes where, and how many there are.
    fix
        The nearest change that would help.
    fixes
        All changes that were found to help, the nearest first.
    shortage
        The bytes that are short, where it is bytes.
    fastest_s
        What the fastest plan takes, where one fits but is too slow.
    """

    def __init__(
        self,
        reason: str,
        *,
        fix: str,
        fixes: tuple[Fix, ...] = (),
        shortage: Shortage | None = None,
        fastest_s: float = math.inf,
    ) -> None:
        super().__init__(f"{reason}; {fix}")
        self.reason = reason
        self.fix = fix
        self.fixes = fixes
        self.shortage = shortage
        self.fastest_s = fastest_s


class BrokenPlanError(InfeasibleError):
    """A given plan breaks rules.

    Parameters
    ----------
    violations
        Rule and message of each.
    """

    def __init__(self, reason: str, *, fix: str, violations: tuple[tuple[str, str], ...]) -> None:
        super().__init__(reason, fix=fix)
        self.violations = violations


class SearchStoppedError(PlannerError):
    """No plan was found, and none is known not to exist: the time was up, or the solver proves nothing."""

    def __init__(
        self,
        words: str = "the search was stopped before it found a plan or proved that there is none; "
        "give it more time (--time-limit), or none to let it finish",
    ) -> None:
        super().__init__(words)


class NoneFasterError(PlannerError):
    """No plan is as fast as was asked for; slower ones were not looked for."""


class PlanMismatchError(PlannerError):
    """The plan asks for what the cluster or the runtime at hand does not have; names the field."""


class WorkerError(PlannerError):
    """A worker died; carries the role, the rank and its own first traceback."""

    def __init__(self, message: str, *, role: str, rank: int, traceback: str = "") -> None:
        super().__init__(message)
        self.role = role
        self.rank = rank
        self.traceback = traceback

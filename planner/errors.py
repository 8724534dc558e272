"""The error tree.

::

    PlannerError
    ├── SpecError(ValueError)             an input says something impossible; starts with file and key path
    │   └── UnknownNameError              no catalog entry has that name
    ├── ProfileMissingError(LookupError)  no measurement covers this model on this device
    ├── InfeasibleError                   no plan fits: role, bytes needed, bytes there, the nearest fix
    ├── PlanMismatchError                 the cluster at hand is not the one the plan was made for
    └── WorkerError                       a worker died: role, rank, cause, and its own first traceback
"""


class PlannerError(Exception):
    """Any failure that this package explains to its user."""


class SpecError(PlannerError, ValueError):
    """An input says something impossible; the message starts with the file and the key path."""


class UnknownNameError(SpecError):
    """No catalog entry has that name."""


class ProfileMissingError(PlannerError, LookupError):
    """No measurement covers this model on this device."""


class InfeasibleError(PlannerError):
    """No plan fits.

    Parameters
    ----------
    reason
        Which role needs how many bytes where, and how many there are.
    fix
        The nearest change that would help.
    """

    def __init__(self, reason: str, *, fix: str) -> None:
        super().__init__(f"{reason}; {fix}")
        self.reason = reason
        self.fix = fix


class PlanMismatchError(PlannerError):
    """The plan asks for what the cluster or the runtime at hand does not have; names the field."""


class WorkerError(PlannerError):
    """A worker died; carries the role, the rank and its own first traceback."""

    def __init__(self, message: str, *, role: str, rank: int, traceback: str = "") -> None:
        super().__init__(message)
        self.role = role
        self.rank = rank
        self.traceback = traceback

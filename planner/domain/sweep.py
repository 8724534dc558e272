"""Rows of a what-if table: the settings of one point of a grid of scenarios, and what a plan does there."""

import json
from typing import Any, Literal

from pydantic import Field

from planner.domain.quantities import Value

RowStatus = Literal["optimal", "feasible", "given", "infeasible", "refused", "stopped"]
"""A best plan, proven or not; the plan that was given; nothing fits there; the given plan, or any plan, makes
no sense there; the search found nothing and proved nothing."""


class Figures(Value):
    """What one plan is expected to do in its scenario: the columns of the table, in this order.

    A further column is a field here, and its value in `planner.studies.sweep.figures`. What is true of
    several rows together, such as scaling, is a field of `Row`.
    """

    iteration_seconds: float
    """The steady-state period."""
    stage_cost_seconds: float
    """The paper's d_cost."""
    tokens_per_second: float
    dollars_per_million_tokens: float | None
    """None where a node pool has no price."""
    cluster_devices: int
    """All that there are."""
    devices: int
    """Those that the plan's pools take."""
    placement: str
    generation_seconds: float
    """Of the pool whose calls that generate take longest, weight sync included; other phases likewise."""
    preparation_seconds: float
    training_seconds: float
    send_seconds: float | None
    """Of new weights to a generator on devices of its own; none where there is no such call."""
    receive_seconds: float | None
    simulated_seconds: float | None = None
    """The period with every generation event by event; this and what follows only where it is asked for."""
    simulated_tokens_per_second: float | None = None
    tail_seconds: float | None = None
    """Of generation, from when 90 % of the responses are done until the last one is."""
    idle_share: float | None = None
    """Of the cluster's device-seconds in an iteration of the steady state."""
    job_hours: float | None = None
    """Of the scenario's whole job, failures and checkpoints included; none where it has none."""
    job_dollars: float | None = None


class Row(Value):
    """One point of a sweep."""

    point: int = Field(ge=0)
    """Its number in the order of the grid, the last key changing fastest."""
    settings: dict[str, Any]
    """The value of each key that was set."""
    status: RowStatus
    reason: str = ""
    """Why there are no figures."""
    figures: Figures | None = None
    scaling_efficiency: float | None = None
    """How much of what more devices promise is there: the ratio of tokens per second to that of the first row
    of the same settings but for the number of devices, over the ratio of their clusters' devices (HybridFlow,
    section 8.2). None where the number of devices does not change."""


FIGURES = (*Figures.model_fields, "scaling_efficiency")
"""Names of all columns of figures."""
NUMBERS = tuple(name for name in FIGURES if name != "placement")
"""Those that can be drawn."""


def figure(row: Row, name: str) -> float | str | None:
    """One figure of a row by its name; none where it has none."""
    if name == "scaling_efficiency":
        return row.scaling_efficiency
    value: float | str | None = getattr(row.figures, name) if row.figures else None
    return value


def format_setting(value: Any) -> str:
    """A value as a scenario's file may have it.

    >>> format_setting("200 Gbit/s"), format_setting(True), format_setting([["actor", "critic"]])
    ('200 Gbit/s', 'true', '[["actor", "critic"]]')
    """
    return value if isinstance(value, str) else json.dumps(value, default=str)

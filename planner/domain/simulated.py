"""What a simulation answers: when everything runs, what devices wait for, and what a whole job takes."""

from planner.domain.generated import GenerationReport
from planner.domain.quantities import Value
from planner.domain.timeline import Timeline


class Idle(Value):
    """Device-seconds of one pool, or of the devices in none, in one iteration of the steady state."""

    pool: str
    devices: int
    device_seconds: float
    busy: float
    idle: dict[str, float]
    """By cause: ``inputs`` of another pool's call, ``weights`` of an update, a ``service``, a ``link``; in
    generation replicas that are done (``tail``) or wait for answers (``tools``); ``end``: nothing left to do,
    where iterations don't overlap; ``unused``: in no pool. Together with what is busy, all device-seconds."""


class Stretch(Value):
    """An iteration of a job for which everything was costed anew; those between are interpolated."""

    iteration: int
    seconds: float
    response_tokens: float
    """Mean length."""


class JobReport(Value):
    """A whole job, failures and all."""

    iterations: int
    seconds: float
    """From its start to its end, on average."""
    iteration_seconds: float
    """Of one iteration, on average over the job; checkpoints, failures and restarts beside it."""
    device_hours: float
    """Of the devices that the plan takes."""
    dollars: float | None
    """Of these; none where a node pool has no price."""
    tokens: float
    """Prompts and responses of all samples."""
    goodput: float
    """Seconds of training over all seconds."""
    parts: dict[str, float]
    """Seconds: ``training``, ``checkpoints``, ``lost`` work that is done again, ``restarts``."""
    failures: float
    """Expected."""
    checkpoint_every: int | None
    """Iterations."""
    best_checkpoint_every: int | None
    """That would lose least; none without failures or checkpoints."""
    stretches: tuple[Stretch, ...]


class Simulation(Value):
    """Iterations of one plan as they would come."""

    timeline: Timeline
    iterations: int
    iteration_seconds: float
    """Steady-state period: where iterations overlap, the mean of many once nothing fills or drains."""
    tokens_per_second: float
    """Prompt and response tokens of all samples that were trained on, over the period."""
    predicted_seconds: float
    """What the plan says of its iteration, from the closed form of generation."""
    generation: tuple[GenerationReport, ...]
    idle: tuple[Idle, ...]
    dollars_per_million_tokens: float | None
    job: JobReport | None = None

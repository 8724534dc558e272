"""What a simulated generation says of itself, call by call."""

from planner.domain.quantities import Value


class Moment(Value):
    """A short part of a generation, over all replicas."""

    start_s: float
    end_s: float
    tokens_per_second: float
    """Response tokens."""
    running: float
    """Sequences that decode, on average."""
    cache_share: float
    """Of the tokens that all caches have room for, those that they hold."""


class GenerationReport(Value):
    """One call that generates. Seconds count from its start, after the weight sync."""

    call: str
    iteration: int
    seconds: float
    responses: int
    """That were done."""
    response_tokens: int
    """Generated, those of unfinished responses too."""
    read_tokens: int
    """Of prompts and answers, and of what had to be read again."""
    tail: dict[str, float]
    """Seconds until 50, 90, 99 and 100 % of the responses were done."""
    longest_tokens: int
    """Of any response that was done."""
    preemptions: int
    waves: int
    """How often the busiest replica's places would have to be filled."""
    replicas: int
    max_sequences: int
    """Sequences that a replica holds at once."""
    carried: int
    """Responses that go on in the next iteration."""
    idle_device_seconds: dict[str, float]
    """Of replicas that were done before the last one (``tail``), or waited for answers (``tools``)."""
    curve: tuple[Moment, ...] = ()

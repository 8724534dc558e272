"""A whole training job: how many iterations, how lengths grow, what is written, what breaks."""

from typing import Literal

from pydantic import Field, model_validator

from planner.domain.quantities import BytesPerSecond, PositiveInt, Seconds, Value


class Rollouts(Value):
    """How responses reach the engines, and which ones are drawn."""

    balance: Literal["split", "queue"] = "split"
    """Each replica gets an equal part of the prompts beforehand, as worker groups do; or a prompt goes, with
    all its samples, to the first replica that has a place free, as a router in front of engines does."""
    carry: float = Field(default=0.0, ge=0, le=8)
    """Partial rollouts: prompts under way beyond an iteration's, as a share of them. An iteration ends when
    enough prompts have all their samples, which algorithms compare with each other; of the others the
    responses that are done stay, and those that are not go on in the next one (Kimi k1.5, 2501.12599, section
    2.6.1)."""
    carry_limit: int = Field(default=1, ge=1, le=64, strict=True)
    """Iterations after which a run waits for a prompt that was carried on, so that no token is older than
    these and the staleness together; simulations know no such limit."""
    seed: int = Field(default=0, ge=0, lt=2**32, strict=True)
    """Of the lengths and waits that simulations draw."""


class Growth(Value):
    """Responses that become longer (or shorter) while the model learns."""

    factor: float = Field(ge=0.01, le=100)
    """Length at the end over that at the start."""
    iterations: PositiveInt | None = None
    """Until when they change, evenly; none for the whole job."""


class Checkpoints(Value):
    """States of the trained roles written to storage."""

    every: PositiveInt
    """Iterations from one to the next."""
    bandwidth: BytesPerSecond
    """Of the storage, over all devices."""
    asynchronous: bool = False
    """Whether training goes on while they are written; the next one waits for the one before."""


class Failures(Value):
    """Devices that fail, each of which stops the job."""

    mean_time_between: Seconds = Field(gt=0)
    """Failures of one device, with its share of the node's: those of n devices come n times as often."""
    restart: Seconds
    """From a failure until the job runs again from its last checkpoint."""


class Job(Value):
    """What is to be trained in all."""

    iterations: PositiveInt
    growth: Growth | None = None
    checkpoints: Checkpoints | None = None
    failures: Failures | None = None

    @model_validator(mode="after")
    def _check_growth(self) -> "Job":
        if self.growth and (self.growth.iterations or 0) > self.iterations:
            raise ValueError(
                f"growth.iterations ({self.growth.iterations}) exceeds iterations ({self.iterations})"
            )
        return self

    @property
    def last_growth(self) -> int:
        """First iteration, from 0, whose responses are as long as they become; 0 where they never change."""
        if self.growth is None:
            return 0
        changing = self.growth.iterations or self.iterations
        return min(max(changing - 1, 1), self.iterations - 1)

    def growth_at(self, iteration: int) -> float:
        """Length of responses in an iteration, from 0, over that at the start."""
        if self.growth is None or iteration == 0:
            return 1.0
        return 1 + (self.growth.factor - 1) * min(iteration / self.last_growth, 1.0)

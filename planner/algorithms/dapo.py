"""DAPO: GRPO without a reference, on prompts whose samples differ in score (2503.14476, section 3)."""

from planner.algorithms.trace import Batch, Roles


def dapo(roles: Roles, prompts: Batch) -> None:
    """One iteration: generate and score until enough samples are kept, train on those."""
    batch = roles.actor.generate(prompts, resample=True)
    batch = roles.reward.scores(batch)
    batch = roles.controller.advantages(batch, estimator="grpo")
    roles.actor.update(batch, loss="grpo")

"""GRPO: advantages relative to the prompt's other samples, KL in the loss (2402.03300, section 4)."""

from planner.algorithms.trace import Batch, Roles


def grpo(roles: Roles, prompts: Batch) -> None:
    """One iteration: generate several samples per prompt, prepare, train."""
    batch = roles.actor.generate(prompts)
    batch = batch | roles.reference.logprobs(batch) | roles.reward.scores(batch)
    batch = roles.controller.advantages(batch, estimator="grpo")
    roles.actor.update(batch, loss="grpo")

"""Dr. GRPO: GRPO without its biases by deviation and by length, and without a reference (2503.20783)."""

from planner.algorithms.trace import Batch, Roles


def dr_grpo(roles: Roles, prompts: Batch) -> None:
    """One iteration: generate several samples per prompt, score, train."""
    batch = roles.actor.generate(prompts)
    batch = batch | roles.reward.scores(batch)
    batch = roles.controller.advantages(batch, estimator="dr_grpo")
    roles.actor.update(batch, loss="grpo")

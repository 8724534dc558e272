"""GSPO: GRPO's advantages under one ratio for a whole response, without a reference (2507.18071)."""

from planner.algorithms.trace import Batch, Roles


def gspo(roles: Roles, prompts: Batch) -> None:
    """One iteration: generate several samples per prompt, score, train."""
    batch = roles.actor.generate(prompts)
    batch = batch | roles.reward.scores(batch)
    batch = roles.controller.advantages(batch, estimator="grpo")
    roles.actor.update(batch, loss="gspo")

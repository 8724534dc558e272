"""REINFORCE++: rewards to come, whitened over the iteration, without a critic (2501.03262)."""

from planner.algorithms.trace import Batch, Roles


def reinforce_plus_plus(roles: Roles, prompts: Batch) -> None:
    """One iteration: generate, prepare, train; the KL term is in the reward."""
    batch = roles.actor.generate(prompts)
    batch = batch | roles.reference.logprobs(batch) | roles.reward.scores(batch)
    batch = roles.controller.advantages(batch, estimator="reinforce_plus_plus")
    roles.actor.update(batch, loss="ppo")

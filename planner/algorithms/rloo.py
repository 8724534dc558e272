"""RLOO: REINFORCE with the mean score of the prompt's other samples as baseline (2402.14740, section 3.2)."""

from planner.algorithms.trace import Batch, Roles


def rloo(roles: Roles, prompts: Batch) -> None:
    """One iteration: generate several samples per prompt, prepare, train; the KL term is in the reward."""
    batch = roles.actor.generate(prompts)
    batch = batch | roles.reference.logprobs(batch) | roles.reward.scores(batch)
    batch = roles.controller.advantages(batch, estimator="rloo")
    roles.actor.update(batch, loss="ppo")

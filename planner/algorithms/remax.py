"""ReMax: REINFORCE with the greedy response's reward as baseline, no critic (2310.10505, section 4)."""

from planner.algorithms.trace import Batch, Roles


def remax(roles: Roles, prompts: Batch) -> None:
    """One iteration: generate samples and one greedy response per prompt, score both, train."""
    batch = roles.actor.generate(prompts)
    greedy = roles.actor.generate(prompts, do_sample=False)
    batch = batch | roles.reference.logprobs(batch) | roles.reward.scores(batch)
    batch = batch | roles.reward.baselines(greedy).only("baselines")
    batch = roles.controller.advantages(batch, estimator="remax")
    roles.actor.update(batch, loss="ppo")

"""PPO with a critic, a reference policy and a reward model (HybridFlow, figure 6)."""

from planner.algorithms.trace import Batch, Roles


def ppo(roles: Roles, prompts: Batch) -> None:
    """One iteration: generate, prepare, train."""
    batch = roles.actor.generate(prompts)
    batch = batch | roles.critic.values(batch) | roles.reference.logprobs(batch) | roles.reward.scores(batch)
    batch = roles.controller.advantages(batch, estimator="gae")
    roles.critic.update(batch, loss="value")
    roles.actor.update(batch, loss="ppo")

"""Safe-RLHF: PPO on reward less cost under a Lagrange multiplier, and on pretraining data (2310.12773).

As HybridFlow states it (figure 6): one critic, which learns the returns of both together, and a cost model
beside the reward model. The original has a second critic, for the cost alone.
"""

from planner.algorithms.trace import Batch, Roles


def safe_rlhf(roles: Roles, prompts: Batch) -> None:
    """One iteration: generate, prepare, train; the actor learns from pretraining data as well."""
    batch = roles.actor.generate(prompts)
    batch = batch | roles.critic.values(batch) | roles.reference.logprobs(batch)
    batch = batch | roles.reward.scores(batch) | roles.cost.costs(batch)
    batch = roles.controller.advantages(batch, estimator="lagrangian")
    roles.critic.update(batch, loss="value")
    roles.actor.update(batch, loss="ppo", pretraining=True)

"""Plans with bytes, orders, seconds or proofs broken in one place: the sound plan, the rule, the damage."""

from tests.planner.search.damages import (
    Row,
    in_call,
    in_memory,
    in_node_pools,
    in_pool,
    in_prediction,
    in_proof,
    in_scenario,
    less_than,
    with_runner_up,
)

BYTES: dict[str, Row] = {
    "less memory": ("ppo", "memory", lambda plan: in_node_pools(plan, memory=less_than(plan))),
    "less memory in GRPO": ("grpo", "memory", lambda plan: in_node_pools(plan, memory=less_than(plan))),
    "less memory in one of two node pools": (
        "two node pools",
        "memory",
        lambda plan: in_node_pools(plan, memory=less_than(plan)),
    ),
    "more than the hosts hold": (
        "offload",
        "host memory",
        lambda plan: in_node_pools(plan, host_memory=10**9),
    ),
    "bytes of nothing": ("ppo", "bytes", lambda plan: in_prediction(plan, memory={})),
    "fewer bytes than there are": (
        "safe_rlhf",
        "bytes",
        lambda plan: in_memory(plan, "cost", persistent={"parameters": 1}),
    ),
    "bytes of the hosts forgotten": ("offload", "bytes", lambda plan: in_memory(plan, "actor", host=0)),
}
SCHEDULES: dict[str, Row] = {
    "a call missing": ("ppo", "order", lambda plan: in_pool(plan, 1, order=plan.pools[1].order[1:])),
    "a call twice": ("ppo", "order", lambda plan: in_pool(plan, 1, order=plan.pools[1].order * 2)),
    "a call of another pool": (
        "safe_rlhf",
        "order",
        lambda plan: in_pool(plan, 0, order=(*plan.pools[0].order, "critic.update")),
    ),
    "an unknown call ahead": ("ppo", "ahead", lambda plan: in_pool(plan, 0, ahead={"critic.update": 1})),
    "nothing at the rear": (
        "ppo",
        "ahead",
        lambda plan: in_pool(plan, 0, ahead=dict.fromkeys(plan.pools[0].order, 1)),
    ),
    "behind the rear": (
        "ppo",
        "ahead",
        lambda plan: in_pool(plan, 0, ahead={plan.pools[0].order[0]: -1}),
    ),
    "an update before what it learns from": (
        "ppo",
        "order",
        lambda plan: in_pool(
            plan, 0, order=("actor.update", "actor.generate", "reference.logprobs"), ahead={}
        ),
    ),
    "a generation two iterations ahead of its weights": (
        "ppo",
        "order",
        lambda plan: in_pool(plan, 0, ahead={"actor.generate": 2, "reference.logprobs": 2}),
    ),
    "other seconds": (
        "ppo",
        "prediction",
        lambda plan: in_call(plan, "actor.generate", seconds=2, seconds_low=2, seconds_high=2),
    ),
    "other seconds of the cost model": (
        "safe_rlhf",
        "prediction",
        lambda plan: in_call(plan, "cost.costs", seconds=0.5),
    ),
    "a call without seconds": (
        "grpo",
        "prediction",
        lambda plan: in_prediction(
            plan,
            calls={name: call for name, call in plan.prediction.calls.items() if name != "reward.scores"},
        ),
    ),
    "another band": ("ppo", "prediction", lambda plan: in_call(plan, "actor.generate", seconds_high=0.9)),
    "another iteration band": (
        "ppo",
        "iteration band, high",
        lambda plan: in_prediction(plan, iteration_high=plan.prediction.iteration_seconds),
    ),
    "a lower iteration band": (
        "grpo",
        "iteration band, low",
        lambda plan: in_prediction(plan, iteration_low=plan.prediction.iteration_seconds),
    ),
    "another stage cost": ("ppo", "stage cost", lambda plan: in_prediction(plan, stage_cost_seconds=1.0)),
    "another period": (
        "two node pools",
        "iteration",
        lambda plan: in_prediction(plan, iteration_seconds=0.99 * plan.prediction.iteration_seconds),
    ),
    "other tokens per second": (
        "ppo",
        "tokens per second",
        lambda plan: in_prediction(plan, tokens_per_second=1.0),
    ),
    "dollars of devices without a price": (
        "ppo",
        "dollars",
        lambda plan: in_prediction(plan, dollars_per_million_tokens=1.0),
    ),
    "fewer dollars": (
        "dollars",
        "dollars",
        lambda plan: in_prediction(plan, dollars_per_million_tokens=1.0),
    ),
}
PROOFS: dict[str, Row] = {
    "another objective": (
        "ppo",
        "objective",
        lambda plan: in_proof(plan, objective=plan.proof.objective + 1e-3, bound=plan.proof.bound + 1e-3),
    ),
    "seconds for dollars": (
        "dollars",
        "objective",
        lambda plan: in_proof(
            plan, objective=plan.prediction.iteration_seconds, bound=plan.prediction.iteration_seconds
        ),
    ),
    "a device forgotten": (
        "devices",
        "objective",
        lambda plan: in_proof(plan, objective=plan.proof.objective - 1, bound=plan.proof.bound - 1),
    ),
    "another question": ("ppo", "minimise", lambda plan: in_scenario(plan, minimise="tokens_per_second")),
    "another time model": (
        "ppo",
        "time model",
        lambda plan: in_proof(plan, time_model="stage"),
    ),
    "too slow": (
        "ppo",
        "within",
        lambda plan: in_scenario(plan, within=0.9 * plan.prediction.iteration_seconds),
    ),
    "too slow for so few devices": (
        "devices",
        "within",
        lambda plan: in_scenario(plan, within=0.9 * plan.prediction.iteration_seconds),
    ),
    "a bound too high": ("ppo", "bound", lambda plan: in_proof(plan, bound=plan.proof.bound + 1e-3)),
    "optimal without proof": ("ppo", "bound", lambda plan: in_proof(plan, bound=plan.proof.bound - 1e-3)),
    "a bound on the wrong side of the throughput": (
        "tokens",
        "bound",
        lambda plan: in_proof(plan, status="feasible", bound=0.5 * plan.proof.bound),
    ),
    "a better runner-up": ("free", "runners-up", lambda plan: with_runner_up(plan, objective=0.1)),
    "more throughput of a runner-up": (
        "tokens",
        "runners-up",
        lambda plan: with_runner_up(plan, objective=2 * plan.proof.objective),
    ),
    "the plan as its own runner-up": (
        "free",
        "runners-up",
        lambda plan: with_runner_up(
            plan, placement=plan.placement, devices=tuple(pool.devices for pool in plan.pools)
        ),
    ),
    "a runner-up without a critic": (
        "free",
        "runners-up",
        lambda plan: with_runner_up(
            plan, placement=(("actor",), ("reference",), ("reward",)), devices=(2, 1, 1)
        ),
    ),
    "a tie too far": (
        "free",
        "ties",
        lambda plan: with_runner_up(
            plan, objective=1.2 * plan.proof.objective, ties=True, difference_band=9.0
        ),
    ),
}

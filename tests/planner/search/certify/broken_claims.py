"""Plans with bytes, orders, seconds or proofs broken in one place: the sound plan, the rule, the damage."""

import math

from tests.planner.search.certify.damages import (
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
    with_runners_up,
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
    "bytes of an unknown role": (
        "ppo",
        "bytes",
        lambda plan: in_prediction(
            plan, memory=plan.prediction.memory | {"judge": plan.prediction.memory["reward"]}
        ),
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
    "a call without end ahead": (
        "ppo",
        "ahead",
        lambda plan: in_pool(plan, 1, ahead={"critic.values": 10**9}),
    ),
    "a generation two iterations ahead of its weights": (
        "ppo",
        "ahead",
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
    "seconds of an unknown call": (
        "ppo",
        "prediction",
        lambda plan: in_prediction(
            plan, calls=plan.prediction.calls | {"critic.costs": plan.prediction.calls["critic.values"]}
        ),
    ),
    "other seconds of a weight sync": (
        "experts",
        "prediction",
        lambda plan: in_call(plan, "actor.generate", reshard_seconds=0.5),
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
    "a device that is not there": (
        "devices",
        "objective",
        lambda plan: in_proof(plan, objective=plan.proof.objective + 1, bound=plan.proof.bound + 1),
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
    "a bound that proves what is called feasible": (
        "ppo",
        "bound",
        lambda plan: in_proof(plan, status="feasible"),
    ),
    "a bound that proves a throughput called feasible": (
        "tokens",
        "bound",
        lambda plan: in_proof(plan, status="feasible"),
    ),
    "a baseline that claims a proof": (
        "ppo",
        "bound",
        lambda plan: in_proof(plan, solver="hybridflow", bound=0.9 * plan.proof.bound),
    ),
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
    "a runner-up with an empty set": (
        "free",
        "runners-up",
        lambda plan: with_runner_up(
            plan, placement=(*plan.runners_up[0].placement, ()), devices=(*plan.runners_up[0].devices, 1)
        ),
    ),
    "a runner-up on more devices than there are": (
        "free",
        "runners-up",
        lambda plan: with_runner_up(plan, devices=(2, 2, 1)),
    ),
    "a runner-up on no devices": (
        "free",
        "runners-up",
        lambda plan: with_runner_up(plan, devices=(2, 0, 1)),
    ),
    "a runner-up with a pool too large": (
        "free",
        "runners-up",
        lambda plan: in_scenario(with_runners_up(plan, 2), maximum_devices=3),
    ),
    "a runner-up twice": ("free", "runners-up", lambda plan: with_runners_up(plan, 0, 0)),
    "a runner-up twice, its sets in another order": (
        "safe_rlhf",
        "runners-up",
        lambda plan: plan.model_copy(
            update={
                "runners_up": (
                    *plan.runners_up[:1],
                    plan.runners_up[0].model_copy(
                        update={
                            "placement": plan.runners_up[0].placement[::-1],
                            "devices": plan.runners_up[0].devices[::-1],
                        }
                    ),
                )
            }
        ),
    ),
    "runners-up out of order": ("free", "runners-up", lambda plan: with_runners_up(plan, 1, 0)),
    "throughputs out of order": ("tokens", "runners-up", lambda plan: with_runners_up(plan, 1, 0)),
    "a runner-up that breaks colocate": (
        "safe_rlhf",
        "runners-up",
        lambda plan: in_scenario(plan, colocate=(("actor", "reward"),)),
    ),
    "a runner-up that breaks apart": (
        "free",
        "runners-up",
        lambda plan: in_scenario(plan, apart=(("actor", "critic"),)),
    ),
    "a runner-up whose generator shares the actor's devices": (
        "asynchronous",
        "runners-up",
        lambda plan: with_runner_up(
            plan, placement=(("generator", "actor"), ("critic", "reference", "reward")), devices=(4, 2)
        ),
    ),
    "a runner-up that loses in no call": (
        "free",
        "runners-up",
        lambda plan: with_runner_up(plan, loses_in="actor.updates"),
    ),
    "a runner-up that loses less than nothing": (
        "free",
        "runners-up",
        lambda plan: with_runner_up(plan, loses_seconds=-0.5),
    ),
    "a tie too far": (
        "free",
        "ties",
        lambda plan: with_runner_up(
            plan, objective=1.2 * plan.proof.objective, ties=True, difference_band=9.0
        ),
    ),
}
NUMBERS: dict[str, Row] = {
    "a bound that is no number": ("ppo", "numbers", lambda plan: in_proof(plan, bound=math.nan)),
    "a bound without end": ("tokens", "numbers", lambda plan: in_proof(plan, bound=math.inf)),
    "an objective that is no number": ("ppo", "numbers", lambda plan: in_proof(plan, objective=math.nan)),
    "no throughput": ("tokens", "numbers", lambda plan: in_proof(plan, objective=0.0)),
    "seconds that are no number": (
        "ppo",
        "numbers",
        lambda plan: in_call(plan, "actor.generate", seconds=math.nan),
    ),
    "seconds without end": ("ppo", "numbers", lambda plan: in_call(plan, "critic.update", seconds=math.inf)),
    "less than no seconds": ("ppo", "numbers", lambda plan: in_call(plan, "critic.update", seconds=-1)),
    "a weight sync longer than its call": (
        "experts",
        "numbers",
        lambda plan: in_call(plan, "actor.generate", seconds=0, seconds_low=0),
    ),
    "an iteration in no time": ("ppo", "numbers", lambda plan: in_prediction(plan, iteration_seconds=0.0)),
    "dollars that are no number": (
        "dollars",
        "numbers",
        lambda plan: in_prediction(plan, dollars_per_million_tokens=math.nan),
    ),
    "a band without end": ("ppo", "numbers", lambda plan: in_prediction(plan, iteration_high=math.inf)),
    "a runner-up of no seconds": ("free", "numbers", lambda plan: with_runner_up(plan, objective=0.0)),
    "a runner-up that loses no number of seconds": (
        "free",
        "numbers",
        lambda plan: with_runner_up(plan, loses_seconds=math.nan),
    ),
}

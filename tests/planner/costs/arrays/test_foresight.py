import pytest

from planner.algorithms import ALGORITHMS, trace
from planner.costs import CostModel
from planner.domain.parallelism import ParallelStrategy
from planner.domain.plan import RoleStrategy
from planner.domain.scenario import Scenario

PPO = trace(ALGORITHMS["ppo"], name="ppo")
STRATEGIES = [
    RoleStrategy(train=ParallelStrategy.parse(layout), micro_batch=micro_batch, recompute=recompute)
    for layout in ("p1t8d2", "p4t2d5", "p2t1d8c2v2")
    for micro_batch in (1, 3)
    for recompute in ("none", "full")
]


@pytest.fixture
def scenario(node_pool, workload, stack, setting):
    return Scenario(
        name="foreseen",
        algorithm={"name": "ppo"},
        models=dict.fromkeys(PPO.roles, setting.model),
        cluster={"node_pools": [node_pool]},
        workload=workload,
        stack=stack,
    )


def answers(costs, strategies, node_pool):
    """Everything that a search asks of a role that trains and infers."""
    calls = [call for call in PPO.calls_of("critic") if call.kind != "generate"]
    return [
        (
            {call.name: costs.call(call, strategy, node_pool).seconds for call in calls},
            costs.memory("critic", strategy, node_pool),
        )
        for strategy in strategies
    ]


def test_what_was_foreseen_is_what_is_predicted_one_by_one(scenario, node_pool):
    told, asked = CostModel(scenario, PPO), CostModel(scenario, PPO)
    told.foresee("critic", STRATEGIES, node_pool)
    foreseen, alone = answers(told, STRATEGIES, node_pool), answers(asked, STRATEGIES, node_pool)
    for (seconds, memory), (expected, bytes_alone) in zip(foreseen, alone, strict=True):
        assert seconds == pytest.approx(expected, rel=1e-12)
        assert memory == bytes_alone


def test_what_was_not_foreseen_is_predicted_still(scenario, node_pool):
    other = [
        STRATEGIES[0].model_copy(update={"offload": "all"}),
        STRATEGIES[0].model_copy(update={"micro_batch": 2}),
        STRATEGIES[0].model_copy(update={"micro_batch_tokens": 9000}),
    ]
    told, asked = CostModel(scenario, PPO), CostModel(scenario, PPO)
    told.foresee("critic", STRATEGIES, node_pool)
    assert answers(told, other, node_pool) == answers(asked, other, node_pool)


def test_roles_of_one_model_share_what_was_foreseen(scenario, node_pool):
    costs = CostModel(scenario, PPO)
    assert costs.setting("critic", node_pool) is costs.setting("reward", node_pool)
    assert costs.setting("critic", node_pool) is not costs.setting("actor", node_pool)

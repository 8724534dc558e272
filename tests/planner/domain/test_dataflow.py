from planner.algorithms import ALGORITHMS, trace


def test_ppo_has_the_papers_three_stages() -> None:
    graph = trace(ALGORITHMS["ppo"], name="ppo")
    names = [[call.name for call in stage] for stage in graph.stages]
    assert names == [
        ["actor.generate"],
        ["critic.values", "reference.logprobs", "reward.scores"],
        ["critic.update", "actor.update"],
    ]


def test_an_update_waits_only_for_what_its_loss_reads() -> None:
    graph = trace(ALGORITHMS["ppo"], name="ppo")
    assert set(graph.inputs_of("actor.update")) == {"actor.generate", "controller.advantages"}
    assert set(graph.inputs_of("critic.update")) == {
        "actor.generate",
        "critic.values",
        "controller.advantages",
    }


def test_ppo_trains_the_actor_and_the_critic() -> None:
    graph = trace(ALGORITHMS["ppo"], name="ppo")
    assert graph.roles == ("actor", "critic", "reference", "reward")
    assert graph.trained_roles == {"actor", "critic"}

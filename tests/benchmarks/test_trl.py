"""What both sides of the comparison are told, and what is said of a contender."""

from pathlib import Path

import pytest

from benchmarks.trl import (
    BATCHES,
    LENGTHS,
    STEPS,
    ContenderError,
    figures,
    our_scenario,
    taken_in_turns,
    ways,
)


@pytest.mark.parametrize("name", BATCHES)
def test_both_sides_are_told_the_same(name):
    common = BATCHES[name]
    scenario = our_scenario(common, LENGTHS[name])
    assert scenario.workload.samples == common.samples
    assert scenario.workload.response_tokens.maximum == common.response_tokens
    assert scenario.algorithm.kl_loss_coefficient == common.kl_coefficient
    assert scenario.algorithm.aggregation == "seq-mean-token-mean"  # TRL's loss_type "grpo"
    assert scenario.run.actor_learning_rate == common.learning_rate
    assert Path(scenario.run.reward_function.path) == Path(common.rule).resolve()
    assert {model.folder for model in scenario.models.values()} == {str(Path(common.policy).resolve())}


@pytest.mark.parametrize("common", BATCHES.values(), ids=BATCHES)
def test_no_way_of_trl_has_more_to_do_or_leaves_samples_out(common):
    for settings in ways(common).values():
        assert settings.samples % (settings.processes * (settings.micro_batch or 1)) == 0
        assert (settings.policy, settings.response_tokens) == (common.policy, common.response_tokens)


def test_a_contenders_rate_is_of_its_median_step():
    found = figures([2.0, 1.0, 4.0], {"reward": 0.5, "loss": 9.0}, samples=128)
    assert found["samples_per_second"] == 64.0
    assert found["reward"] == 0.5
    assert "loss" not in found


class Slowing:
    """Takes a second longer for each step; fails after so many."""

    def __init__(self, last=100):
        self._last, self._taken = last, 0

    def steps(self, count):
        if self._taken + count > self._last:
            raise ContenderError("out of memory")
        self._taken += count
        return [float(step) for step in range(self._taken - count, self._taken)], {"taken": self._taken}


def test_the_first_block_and_the_first_step_of_each_do_not_count_nor_does_who_fails():
    refused = {}
    seconds, metrics = taken_in_turns({"ours": Slowing(), "theirs": Slowing(last=5)}, refused, steps=3)
    assert seconds == {"ours": [3.0, 4.0, 6.0, 7.0]}
    assert metrics["ours"] == {"taken": 8}
    assert refused == {"theirs": "out of memory"}


def test_of_every_batch_some_steps_count():
    assert set(STEPS) == set(BATCHES) == set(LENGTHS)
    assert all(steps > 1 for steps in STEPS.values())

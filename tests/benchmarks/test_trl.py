"""The reward that both sides of the comparison earn, and what is said of a contender."""

from benchmarks.friendly import compute_score, friendly_reward
from benchmarks.trl import COMMON, figures


def test_friendly_words_and_the_subject_earn_a_point_each():
    assert compute_score("", "the waiter was kind.", "the waiter") == 2.0
    assert compute_score("", "the soup was cold.", "the waiter") == 0.0


def test_trl_and_verl_signatures_give_the_same_reward():
    texts = ["a lovely garden", "the host was rude", ""]
    subjects = ["the garden", "the host", "the soup"]
    turns = [[{"role": "assistant", "content": text}] for text in texts]
    one_by_one = [compute_score("", text, subject) for text, subject in zip(texts, subjects, strict=True)]
    assert friendly_reward(turns, subjects, prompts=None) == one_by_one


def test_a_contenders_rate_is_of_its_median_step():
    found = figures([2.0, 1.0, 4.0], {"reward": 0.5, "loss": 9.0})
    assert found["samples_per_second"] == COMMON.samples / 2.0
    assert found["reward"] == 0.5
    assert "loss" not in found

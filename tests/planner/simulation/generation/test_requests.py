import numpy as np
import pytest

from planner.domain.workload import Workload
from planner.simulation.generation.requests import draw


def work(**fields):
    return Workload.model_validate(
        {"prompts": 4000, "samples_per_prompt": 4, "prompt_tokens": 100, "response_tokens": 100, **fields}
    )


LENGTHS = {
    "beta": {"mean": 600, "maximum": 4096},
    "lognormal": {"mean": 600, "maximum": 8192, "sigma": 1.0},
    "median": {"median": 400, "maximum": 8192, "sigma": 1.0},
    "histogram": {"histogram": {"edges": [0, 100, 1000, 8000], "counts": [5, 4, 1]}},
    "trace": {"trace": [10, 200, 300, 900, 5000], "maximum": 4096},
}


@pytest.mark.parametrize("name", sorted(LENGTHS))
def test_drawn_lengths_have_the_mean_and_the_maximum_that_are_said(name):
    workload = work(response_tokens=LENGTHS[name], prompt_tokens=LENGTHS[name])
    drawn = draw(workload, seed=1)
    said = workload.response_tokens
    deviation = (said.variance / len(drawn)) ** 0.5
    assert drawn.response.mean() == pytest.approx(said.mean, abs=4 * deviation)
    assert drawn.prompt[::4].mean() == pytest.approx(said.mean, abs=8 * deviation)
    assert drawn.response.min() >= 1
    assert drawn.response.max() <= said.maximum


def test_equal_lengths_are_not_drawn():
    drawn = draw(work(), seed=1)
    assert (drawn.response == 100).all()
    assert (drawn.prompt == 100).all()
    assert drawn.tokens == 16_000 * 100


def test_samples_of_a_prompt_are_neighbours_and_share_its_length():
    drawn = draw(work(prompt_tokens=LENGTHS["beta"]), seed=1)
    assert (drawn.group == np.repeat(np.arange(4000), 4)).all()
    assert (drawn.prompt.reshape(-1, 4) == drawn.prompt[::4, None]).all()


def test_the_same_seed_and_iteration_draw_the_same():
    workload = work(response_tokens=LENGTHS["beta"])
    first, again = draw(workload, seed=3, iteration=2), draw(workload, seed=3, iteration=2)
    assert (first.response == again.response).all()
    for other in (draw(workload, seed=4, iteration=2), draw(workload, seed=3, iteration=3)):
        assert (first.response != other.response).any()


def test_waits_follow_all_turns_but_the_last():
    drawn = draw(work(turns={"count": 4, "wait": "2 s", "tokens": 9}), seed=1)
    assert drawn.waits.shape == (16_000, 3)
    assert drawn.waits.mean() == pytest.approx(2.0, rel=0.03)
    assert drawn.answer_tokens == 9
    assert (draw(work(turns={"count": 4, "wait": "0 s"}), seed=1).waits == 0).all()
    assert draw(work(turns={"count": 1, "wait": "2 s"}), seed=1).waits.shape == (16_000, 0)


def test_other_prompts_come_after_with_numbers_of_their_own():
    few = draw(work(), seed=1, prompts=3)
    assert len(few) == 12
    both = few.some(np.array([0, 1, 5])).before(draw(work(), seed=2, prompts=2))
    assert both.group.tolist() == [0, 0, 1, *[2] * 4, *[3] * 4]

from types import SimpleNamespace

import numpy as np

from runtime.workers.responses import response_rows, sample_seed


def test_rows_hold_prompt_response_and_shifted_logprobs():
    responses = [
        SimpleNamespace(tokens=[7, 2], logprobs=[-0.5, -0.25]),
        SimpleNamespace(tokens=[8], logprobs=[-1.0]),
    ]
    rows = response_rows([[5], [5, 6]], responses)
    assert rows["tokens"].tolist() == [[5, 7, 2], [5, 6, 8]]
    assert rows["response_mask"].tolist() == [[False, True, True], [False, False, True]]
    assert rows["old_logprobs"].tolist() == [[-0.5, -0.25], [0, -1.0]]


def test_shorter_samples_are_padded_on_the_right():
    responses = [
        SimpleNamespace(tokens=[1, 2, 3], logprobs=[0, 0, 0]),
        SimpleNamespace(tokens=[4], logprobs=[0]),
    ]
    assert response_rows([[9], [9]], responses)["tokens"].tolist() == [[9, 1, 2, 3], [9, 4, 0, 0]]


def test_seeds_differ_by_seed_iteration_and_sample_and_fit_into_64_bits():
    seeds = [sample_seed(s, i, r) for s in range(3) for i in range(-1, 3) for r in range(50)]
    assert len(set(seeds)) == len(seeds)
    assert min(seeds) >= 0
    assert max(seeds) < 2**63
    assert np.int64(max(seeds)) == max(seeds)

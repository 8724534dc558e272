import numpy as np
import torch

from runtime.batch import Piece
from runtime.rows import align, concatenate


def test_pieces_of_different_width_are_padded_on_the_right():
    rows = concatenate([Piece(0, (1,)), Piece(1, (0,))], [np.array([[1, 2], [3, 4]]), np.array([[5, 6, 7]])])
    assert rows.tolist() == [[3, 4, 0], [5, 6, 7]]


def test_prompts_are_lists_and_scores_are_vectors():
    assert concatenate([Piece(0, (1, 2))], [[[1], [2, 3], [4]]]) == [[2, 3], [4]]
    assert concatenate([Piece(1, (0,)), Piece(0, (0,))], [np.array([1.0]), np.array([2.0])]).tolist() == [
        2,
        1,
    ]


def test_fields_are_cut_and_padded_to_the_longest_sample():
    mask = np.array([[False, True, False, False], [False, True, True, False]])
    fields = align(
        {
            "tokens": np.array([[7, 8, 0, 0], [7, 8, 9, 0]]),
            "response_mask": mask,
            "advantages": np.ones((2, 7), dtype=np.float32),
            "old_logprobs": np.ones((2, 1), dtype=np.float32),
            "scores": np.array([1.0, 2.0]),
        }
    )
    assert fields["tokens"].tolist() == [[7, 8, 0], [7, 8, 9]]
    assert fields["advantages"].shape == (2, 2)
    assert fields["advantages"].is_contiguous()
    assert fields["old_logprobs"].tolist() == [[1, 0], [1, 0]]
    assert torch.equal(fields["scores"], torch.tensor([1.0, 2.0], dtype=torch.float64))


def test_tensors_do_not_share_memory_with_the_object_store():
    stored = np.array([[1, 2]])
    stored.flags.writeable = False
    rows = concatenate([Piece(0, (0,))], [stored])
    torch.from_numpy(rows)[0, 0] = 9
    assert stored.tolist() == [[1, 2]]


def test_shards_of_other_fields_do_not_matter():
    shards = [[[1], [2]], np.array([1.0, 2.0]), np.array([[1, 2]])]
    assert concatenate([Piece(1, (0, 1))], shards).tolist() == [1, 2]
    assert concatenate([Piece(2, (0,))], shards).tolist() == [[1, 2]]


def test_a_rank_without_samples_gets_fields_without_rows():
    fields = align(
        {
            "tokens": concatenate([Piece(0, ())], [np.array([[1, 2]])]),
            "response_mask": concatenate([Piece(0, ())], [np.array([[False, True]])]),
            "prompts": concatenate([Piece(0, ())], [[[1]]]),
        }
    )
    assert fields["tokens"].shape == (0, 1)
    assert fields["prompts"] == []

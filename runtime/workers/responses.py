"""Generated responses as rows of a batch, and the seeds that they are sampled with."""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from runtime.engines.requests import Response


def sample_seed(seed: int, *place: int) -> int:
    """Seed of one sample, by its iteration and row: what is sampled depends on nothing else.

    >>> sample_seed(0, 1, 2) == sample_seed(0, 1, 2) != sample_seed(0, 2, 1)
    True
    """
    digest = hashlib.blake2b("/".join(map(str, (seed, *place))).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def response_rows(
    prompts: Sequence[Sequence[int]], responses: Sequence[Response]
) -> Mapping[str, np.ndarray]:
    """Tokens (b, s), response mask (b, s) and log-probabilities (b, s-1), padded on the right with zeros."""
    lengths = [
        (len(prompt), len(response.tokens)) for prompt, response in zip(prompts, responses, strict=True)
    ]
    width = max((prompt + response for prompt, response in lengths), default=1)
    tokens = np.zeros((len(lengths), width), dtype=np.int64)
    mask = np.zeros((len(lengths), width), dtype=bool)
    logprobs = np.zeros((len(lengths), width - 1), dtype=np.float32)
    for row, (prompt, response) in enumerate(zip(prompts, responses, strict=True)):
        start, stop = len(prompt), len(prompt) + len(response.tokens)
        tokens[row, :stop] = [*prompt, *response.tokens]
        mask[row, start:stop] = True
        logprobs[row, start - 1 : stop - 1] = response.logprobs
    return {"tokens": tokens, "response_mask": mask, "old_logprobs": logprobs}

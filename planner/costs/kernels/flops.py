"""FLOPs of a transformer, which no device computes faster than its peak."""

from planner.domain.model import Head, ModelSpec


def layer_flops(model: ModelSpec, tokens: float, *, is_sparse: bool = False) -> float:
    """Forward FLOPs of one layer over one sequence of ``tokens``, causal attention.

    Two per matrix parameter and token; scores and weighted values take 4 q s^2 for query width q, of which
    the causal mask leaves half (Narayanan et al. 2104.04473, appendix; FlashAttention-2, section 4.1).
    """
    matrices = model.active_layer_matrix_parameters if is_sparse else model.dense_layer_matrix_parameters
    return tokens * (2 * matrices + (model.query_size + model.value_size) * tokens)


def head_flops(model: ModelSpec, head: Head, tokens: float) -> float:
    """Forward FLOPs of the last linear map over ``tokens``."""
    width = model.vocab if head == "vocabulary" else 1
    return 2.0 * tokens * model.hidden * width


def forward_flops(model: ModelSpec, head: Head, tokens: float) -> float:
    """Forward FLOPs of the whole model over one sequence of ``tokens``."""
    dense = model.dense_layers * layer_flops(model, tokens)
    sparse = model.expert_layers * layer_flops(model, tokens, is_sparse=True)
    return dense + sparse + head_flops(model, head, tokens)

"""FLOPs and bytes of a transformer's kernels, and the roofline that turns them into seconds."""

from planner.domain.model import Head, ModelSpec


def roofline_seconds(flops: float, moved_bytes: float, *, flops_per_s: float, bytes_per_s: float) -> float:
    """The slower of computing and moving (Williams et al. 2009; Yuan et al. 2402.16363, section 2)."""
    return max(flops / flops_per_s, moved_bytes / bytes_per_s)


def layer_flops(model: ModelSpec, tokens: float) -> float:
    """Forward FLOPs of one layer over one sequence of ``tokens``, causal attention.

    Two per matrix parameter and token; scores and weighted values take 4 q s^2 for query width q, of which
    the causal mask leaves half (Narayanan et al. 2104.04473, appendix; FlashAttention-2, section 4.1).
    """
    return tokens * (2 * model.layer_matrix_parameters + 2 * model.query_size * tokens)


def head_flops(model: ModelSpec, head: Head, tokens: float) -> float:
    """Forward FLOPs of the last linear map over ``tokens``."""
    width = model.vocab if head == "vocabulary" else 1
    return 2.0 * tokens * model.hidden * width


def forward_flops(model: ModelSpec, head: Head, tokens: float) -> float:
    """Forward FLOPs of the whole model over one sequence of ``tokens``."""
    return model.layers * layer_flops(model, tokens) + head_flops(model, head, tokens)


def elementwise_bytes(model: ModelSpec, tensor: int, element_bytes: int) -> float:
    """Bytes per token that one layer's elementwise kernels move forward, on one rank of a tensor group.

    Whole on every rank without sequence parallelism (Korthikanti et al. 2205.05198, section 4.2.2): two norms
    that read and write h, two residual additions that read 2 h and write h. Cut over the group: rotary
    embedding reads and writes q + kv, the gate reads 2 f and writes f.
    """
    whole = 10 * model.hidden
    split = 2 * (model.query_size + model.kv_size) + 3 * model.ffn
    return (whole + split / tensor) * element_bytes

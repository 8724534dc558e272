"""What a runtime can do of what a plan may ask for: stated once, for search and for refusals."""

from planner.domain.model import Family, Precision
from planner.domain.quantities import Value


class Capabilities(Value):
    """Limits of a runtime; what is not limited here it can do (`planner.domain.runnable` applies them)."""

    algorithms: tuple[str, ...]
    families: tuple[Family, ...]
    precisions: tuple[Precision, ...]
    rope_types: tuple[str, ...] = ("default",)
    """Kinds of rotary position embedding."""
    moe: bool = False
    """Whether models may have experts."""
    mla: bool = False
    """Whether models may have latent attention."""
    context: bool = False
    """Whether sequences may be cut over ranks."""
    expert: bool = False
    """Whether experts may be spread over ranks."""
    virtual: bool = False
    """Whether pipelines may be interleaved."""
    selective: bool = False
    """Whether attention's core may be recomputed alone."""
    offload: bool = False
    """Whether states may live in host memory between updates."""
    token_budgets: bool = False
    """Whether micro-batches may be cut by tokens."""
    padding: bool = False
    """Whether tensor sizes need not divide what they cut."""
    empty_replicas: bool = False
    """Whether a replica may have no sample."""
    cache_tokens: bool = False
    """Whether the paged cache may hold less than all sequences at their greatest length."""
    generation_pipeline: bool = False
    """Whether generation may use p_g > 1."""
    node_pools: bool = False
    """Whether pools may lie in different node pools."""
    ahead: bool = False
    """Whether a pool may run calls of different iterations in one period."""
    staleness: int = 0
    """Iterations that generation may run ahead."""
    services: bool = False
    """Whether roles may be services."""
    resampling: bool = False
    """Whether samples may be dropped and generated anew."""
    pretraining: bool = False
    """Whether updates may learn from pretraining data."""
    turns: bool = False
    """Whether tools or judges may answer between the turns of a response."""
    queue: bool = False
    """Whether prompts may be given to whichever replica has room."""
    carry: bool = False
    """Whether unfinished responses may go on in the next iteration."""


RUNTIME = Capabilities(
    algorithms=(
        "ppo",
        "remax",
        "safe_rlhf",
        "grpo",
        "dr_grpo",
        "rloo",
        "reinforce_plus_plus",
        "dapo",
        "gspo",
    ),
    families=("llama", "qwen2", "qwen3", "qwen3_moe"),
    precisions=("bf16", "fp32"),
    moe=True,
    context=True,
    expert=True,
    virtual=True,
    selective=True,
    offload=True,
    token_budgets=True,
    empty_replicas=True,
    cache_tokens=True,
    ahead=True,
    staleness=8,
    services=True,
    resampling=True,
    pretraining=True,
    carry=True,
)
"""The runtime of this package."""

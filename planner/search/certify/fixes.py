"""What to change in a plan written by hand that breaks a rule."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from planner.search.certify.violation import Violation

_SIZES = "let the parallel sizes multiply to the pool's devices, and each divide what it cuts"
_ORDERS = "leave `order` and `ahead` out of all pools, and the best ones are found"
FIXES: Mapping[str, str] = MappingProxyType(
    {
        "partition": "put each role that takes devices into one pool",
        "strategies": "give each role that takes devices a strategy, and no other one",
        "node pools": "name a node pool of the cluster",
        "maximum devices": "take fewer devices, or raise maximum_devices",
        "devices": "take fewer devices",
        "nodes": "take whole nodes, or parts of one node",
        "colocate": "move the roles into one pool, or drop the demand",
        "apart": "move the roles into pools of their own, or drop the demand",
        "phases": "give `train` to roles that learn, `infer` to others, `generate` to those that generate",
        "layout": _SIZES,
        "heads": _SIZES,
        "node": _SIZES,
        "layers": "take fewer pipeline stages",
        "chunks": "take fewer chunks, and virtual: 1 without a pipeline",
        "experts": "let the expert size divide the experts and the data and context ranks",
        "generation layout": "let tensor, pipeline and replicas of `generate` multiply to the pool's devices",
        "generation sizes": "let the sizes of `generate` divide those of `train`",
        "recompute": "leave recompute out where nothing is trained",
        "offload": "leave offload out, or move less",
        "micro-batch": "leave micro_batch out where a role only generates",
        "token budget": "pack at least the longest sequence, with micro_batch: 1",
        "cache": "let the cache hold at least the longest sequence",
        "pins": "do as the pin says, or drop it",
        "capabilities": "leave out what the runtime cannot do, or plan without capabilities",
        "memory": "take more devices, smaller micro-batches, fewer sequences at once, recompute or offload",
        "host memory": "offload less, or take more nodes",
        "order": _ORDERS,
        "ahead": _ORDERS,
        "within": "let it take longer, or choose a faster plan",
    }
)
"""By rule; a rule that is not here is not one that a person's choice breaks."""
OTHERWISE = "change what is named, or let `hybridmap plan` choose"


def fix_of(violations: Iterable[Violation]) -> str:
    """What to change, of each broken rule once."""
    known = dict.fromkeys(FIXES[each.rule] for each in violations if each.rule in FIXES)
    return "; ".join(known) or OTHERWISE

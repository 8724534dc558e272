"""What HybridFlow's evaluation states (EuroSys'25, section 8), and what can be read off its figures."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from planner.domain.placement import Placement

Size = Literal["7b", "13b", "34b", "70b"]
Algorithm = Literal["ppo", "remax", "safe-rlhf"]

MODELS: Mapping[str, Size] = MappingProxyType(
    {"llama-2-7b": "7b", "llama-2-13b": "13b", "codellama-34b": "34b", "llama-2-70b": "70b"}
)
"""Sizes of the catalog's models; 34B is taken to be CodeLlama's."""

COLOCATE: Placement = (("actor", "critic", "reference", "reward"),)
SPLIT: Placement = (("actor", "reference"), ("critic", "reward"))
STANDALONE: Placement = (("actor",), ("critic",), ("reference",), ("reward",))

ALGORITHM_NAMES: dict[Algorithm, str] = {"ppo": "PPO", "remax": "ReMax", "safe-rlhf": "Safe-RLHF"}
FIGURES: dict[Algorithm, int] = {"ppo": 9, "remax": 10, "safe-rlhf": 11}
"""Throughput of each algorithm."""

MINIMA: dict[Algorithm, dict[Size, int]] = {
    "ppo": {"7b": 8, "13b": 16, "34b": 32, "70b": 64},
    "remax": {"7b": 8, "13b": 8, "34b": 16, "70b": 32},
    "safe-rlhf": {"7b": 8, "13b": 16, "34b": 32, "70b": 64},
}
"""Fewest devices on the axes of those figures."""

TOO_FEW: dict[Algorithm, dict[Size, int]] = {
    "ppo": {"34b": 16, "70b": 32},
    "remax": {"34b": 8, "70b": 16},
    "safe-rlhf": {"34b": 16, "70b": 32},
}
"""The next smaller points of the axes, on which 18 bytes per trained parameter alone pass 80 GB."""

PLACEMENTS: dict[tuple[Size, int], tuple[Placement, tuple[int, ...]]] = {
    ("13b", 16): (COLOCATE, (16,)),
    ("13b", 24): (COLOCATE, (24,)),
    ("13b", 32): (COLOCATE, (32,)),
    ("13b", 64): (COLOCATE, (64,)),
    ("13b", 96): (SPLIT, (48, 48)),
    ("13b", 128): (STANDALONE, (64, 32, 16, 16)),
    ("34b", 32): (COLOCATE, (32,)),
    ("34b", 48): (COLOCATE, (48,)),
    ("34b", 64): (COLOCATE, (64,)),
    ("34b", 96): (SPLIT, (48, 48)),
    ("34b", 128): (SPLIT, (64, 64)),
}
"""Best placement, and devices of each of its pools, by size and devices (figure 12)."""

TRAINING_TENSOR = 8
"""T of every actor in section 8.2 (captions of figure 14)."""

TRAINING_PIPELINE: dict[Size, int] = {"7b": 1, "13b": 1, "34b": 4, "70b": 8}
"""P of the same."""

GENERATION_TENSOR: dict[Size, int] = {"7b": 2, "13b": 4, "34b": 8, "70b": 8}
"""T_g of the same; P_g is 1."""

GENERATION_SECONDS: dict[int, str] = {1: "30 to 33", 2: "34", 8: "85 to 88"}
"""Bars of figure 15 by t_g, read off it."""

SHORTER = 0.603
"""By how much t_g = 2 is shorter than t_g = 8 there."""

ITERATION_SECONDS: dict[tuple[Size, int], int] = {("7b", 128): 56, ("70b", 128): 260}
"""PPO, read off figure 9 (15 to 30 % uncertain)."""

AXIS = (8, 16, 32, 64, 96, 128)
"""Devices on the axes of figures 9 to 11, each size from its minimum on."""

SPEEDUPS: Mapping[tuple[Algorithm, Size], tuple[float, float]] = MappingProxyType(
    {
        ("ppo", "7b"): (1.68, 8.63),
        ("ppo", "13b"): (2.70, 18.96),
        ("ppo", "34b"): (2.41, 20.57),
        ("ppo", "70b"): (5.17, 17.98),
        ("remax", "13b"): (2.49, 3.66),
    }
)
"""Least and greatest speed-up over any system on any number of devices, below those figures."""

MEAN_SPEEDUPS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"deepspeed-chat": (3.67, 7.84), "openrlhf": (3.25, 5.93), "nemo-aligner": (12.52, 20.57)}
)
"""Mean and greatest speed-up over each system in PPO (section 8.2)."""

ALL_SPEEDUPS = (1.53, 20.57)
"""Least and greatest of all (abstract)."""

SPEEDUP_ON_8 = 2.09
"""The least on 8 devices (section 8.2)."""

SPEEDUP_7B_128 = 1.68
"""Over the best system, OpenRLHF, for 7B on 128 devices (section 8.2)."""

REDUCTIONS = (0.552, 0.712)
"""By how much transitions are shorter than DeepSpeed-Chat's: on average, and most, for 70B (section 8.4)."""

SEARCH_SECONDS: Mapping[tuple[Size, int], int] = MappingProxyType(
    {
        ("7b", 8): 10,
        ("7b", 16): 30,
        ("13b", 24): 65,
        ("13b", 32): 110,
        ("34b", 48): 220,
        ("34b", 64): 370,
        ("70b", 96): 800,
        ("70b", 128): 1400,
    }
)
"""Of one search, read off figure 16's logarithmic axis."""

"""Published facts of the comparison with other systems, each with our figure beside it."""

from collections.abc import Iterator, Sequence

from planner.studies.paper.facts import Fact
from planner.studies.paper.published import (
    ALGORITHM_NAMES,
    ALL_SPEEDUPS,
    FIGURES,
    MEAN_SPEEDUPS,
    REDUCTIONS,
    SPEEDUP_7B_128,
    SPEEDUP_ON_8,
    SPEEDUPS,
    Size,
)
from planner.studies.paper.systems import BASELINES, NAMES, Setup, System
from planner.studies.paper.throughput import Comparison, mean_and_greatest, of_algorithm, range_of
from planner.studies.paper.transitions import Transitions, greatest_reduction, is_flat, mean_reduction

NEAR = 0.25
"""How near to a published speed-up ours must be to hold, as a share of it."""
ABOUT = 0.1
"""The same of a share of a time, as a difference."""

WORDS: dict[Setup, str] = {"best": "others at their best", "shipped": "others as shipped"}


def speedup_facts(comparisons: Sequence[Comparison], setup: Setup) -> Iterator[Fact]:
    """Figures 9 to 11 and section 8.2."""
    yield from _ranges(comparisons, setup)
    ppo = of_algorithm(comparisons, "ppo")
    for system in BASELINES:
        published = MEAN_SPEEDUPS[system]
        ours = mean_and_greatest(ppo, system, setup)
        yield _pair(f"section 8.2: PPO over {NAMES[system]}, mean and greatest", published, ours, setup)
    yield _on_eight(comparisons, setup)
    yield _of_7b_on_128(ppo, setup)
    yield _greatest_over(ppo, setup)
    yield _pair("abstract: all speed-ups", ALL_SPEEDUPS, range_of(comparisons, setup), setup)


def _ranges(comparisons: Sequence[Comparison], setup: Setup) -> Iterator[Fact]:
    for (algorithm, size), published in SPEEDUPS.items():
        name = ALGORITHM_NAMES[algorithm]
        ours = range_of(of_algorithm(comparisons, algorithm, size), setup)
        yield _pair(f"figure {FIGURES[algorithm]}: {name} of {size}, speed-ups", published, ours, setup)


def _pair(what: str, published: tuple[float, float], ours: tuple[float, float], setup: Setup) -> Fact:
    return Fact(
        source=f"{what} ({WORDS[setup]})",
        published=f"{published[0]:.2f}, {published[1]:.2f}",
        ours=f"{ours[0]:.2f}, {ours[1]:.2f}",
        holds=all(_is_near(*each) for each in zip(ours, published, strict=True)),
    )


def _is_near(ours: float, published: float) -> bool:
    return abs(ours / published - 1) <= NEAR


def _on_eight(comparisons: Sequence[Comparison], setup: Setup) -> Fact:
    least, _ = range_of([each for each in comparisons if each.devices == 8], setup)
    return Fact(
        source=f"section 8.2: least speed-up on 8 devices ({WORDS[setup]})",
        published=f"at least {SPEEDUP_ON_8}",
        ours=f"{least:.2f}",
        holds=least >= (1 - NEAR) * SPEEDUP_ON_8,
    )


def _of_7b_on_128(ppo: Sequence[Comparison], setup: Setup) -> Fact:
    (there,) = (each for each in ppo if (each.size, each.devices) == ("7b", 128))
    speedups = there.speedups(setup)
    best = min(speedups, key=lambda system: speedups[system])
    return Fact(
        source=f"section 8.2: PPO of 7b on 128 devices, over the best other system ({WORDS[setup]})",
        published=f"{SPEEDUP_7B_128}, OpenRLHF",
        ours=f"{speedups[best]:.2f}, {NAMES[best]}"
        + ("" if best == "openrlhf" else f"; {speedups['openrlhf']:.2f}, OpenRLHF"),
        holds=best == "openrlhf" and _is_near(speedups[best], SPEEDUP_7B_128),
    )


def _greatest_over(ppo: Sequence[Comparison], setup: Setup) -> Fact:
    """Over which system the greatest speed-up of each size is."""
    found: dict[Size, tuple[float, System]] = {}
    for each in ppo:
        for system, ratio in each.speedups(setup).items():
            found[each.size] = max(found.get(each.size, (0.0, system)), (ratio, system))
    return Fact(
        source=f"figure 9: greatest speed-up of each size ({WORDS[setup]})",
        published="over NeMo-Aligner",
        ours=", ".join(f"{size} over {NAMES[system]}" for size, (_, system) in found.items()),
        holds=all(system == "nemo-aligner" for _, system in found.values()),
    )


def transition_facts(found: Sequence[Transitions], setup: Setup) -> Iterator[Fact]:
    """Figure 14 against DeepSpeed-Chat."""
    mean, most = REDUCTIONS
    ours = mean_reduction(found, setup), greatest_reduction(found, setup, "70b")
    words = WORDS[setup]
    yield _share(f"section 8.4: transitions shorter than DeepSpeed-Chat's, mean ({words})", mean, ours[0])
    yield _share(f"section 8.4: the same, most, of 70b ({words})", most, ours[1])


def flat_fact(found: Sequence[Transitions]) -> Fact:
    """HybridFlow's transition does not grow with the cluster."""
    flat = is_flat(found)
    return Fact(
        source="figure 14: HybridFlow's transitions by devices",
        published="flat",
        ours="flat" if flat else "not flat",
        holds=flat,
    )


def _share(what: str, published: float, ours: float) -> Fact:
    return Fact(
        source=what,
        published=f"{100 * published:.1f} % shorter",
        ours=f"{100 * abs(ours):.1f} % {'shorter' if ours >= 0 else 'longer'}",
        holds=abs(ours - published) <= ABOUT,
    )

"""What is fitted, in order: kernels before the engines that are made of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from planner.calibration import attention, collective, elementwise, gemm, generation_fit, rl_fit, training_fit
from planner.domain.mistakes import closest
from planner.domain.quantities import Value
from planner.errors import SpecError


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitting:
    """One module's fit, the files that it reads and the sections that it writes."""

    name: str
    files: tuple[str, ...]
    fit: Callable[[Path], Mapping[str, Value]]
    """From the folder of measured rows to a section for each device or engine, by its name."""
    file: str
    """Of ``profiles``, where the name's section belongs."""
    keys: tuple[str, ...] = ()
    """Where in the file; at its top level by default."""


SIMUMAX = "training_kernel_efficiency_simumax.csv"

FITTINGS: tuple[Fitting, ...] = (
    Fitting(
        name="gemm",
        files=("gemm_a100_sxm.csv", "gemm_h100_sxm.csv", SIMUMAX),
        fit=gemm.fit,
        file="devices/{}.yaml",
        keys=("kernels", "gemm"),
    ),
    Fitting(
        name="elementwise",
        files=("mlp_vidur_a100.csv", "mlp_vidur_h100.csv"),
        fit=elementwise.fit,
        file="devices/{}.yaml",
        keys=("kernels", "elementwise"),
    ),
    Fitting(
        name="attention",
        files=(
            "attention_prefill_a100_sxm.csv",
            "attention_prefill_h100_sxm.csv",
            "attention_decode_a100_sxm.csv",
            "attention_decode_h100_sxm.csv",
            SIMUMAX,
        ),
        fit=attention.fit,
        file="devices/{}.yaml",
        keys=("kernels", "attention"),
    ),
    Fitting(
        name="collective",
        files=("collectives_aiconfigurator.csv", "collectives_vidur.csv"),
        fit=collective.fit,
        file="devices/{}.yaml",
        keys=("kernels", "collective"),
    ),
    Fitting(
        name="training",
        files=("end_to_end_training.csv",),
        fit=training_fit.fit,
        file="stacks/training/{}.yaml",
    ),
    Fitting(
        name="rl",
        files=("end_to_end_rl.csv",),
        fit=rl_fit.fit,
        file="stacks/training/{}.yaml",
    ),
    Fitting(
        name="generation",
        files=("end_to_end_generation_silicon.csv", "end_to_end_generation_splitwise.csv"),
        fit=generation_fit.fit,
        file="stacks/generation/{}.yaml",
    ),
)


def fittings_named(names: Sequence[str]) -> tuple[Fitting, ...]:
    """The fittings of these names in their order; all of them for no names.

    Raises
    ------
    SpecError
        There is none of a name.
    """
    known = [fitting.name for fitting in FITTINGS]
    for name in names:
        if name not in known:
            raise SpecError(f"--only: no fit {name!r}{closest(name, known)}; known: {', '.join(known)}")
    return tuple(fitting for fitting in FITTINGS if not names or fitting.name in names)

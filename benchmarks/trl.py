"""Samples per second of GRPO against TRL's GRPOTrainer: the same model, prompts, batch, reward and cores.

Twice: with short responses of about one length, and with longer ones whose lengths have a long tail. All
contenders are started first; then they take turns, a block of steps each, and only one is at work at a time.
TRL runs in every way that might be its fastest on this machine, and the one that is counts.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from importlib.util import find_spec
from itertools import pairwise
from multiprocessing.connection import Connection, Listener
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import runtime
from benchmarks.quickstart import changed_run, quickstart
from benchmarks.trl_process import GrpoSettings
from planner import plan as best_plan
from planner.domain.plan import Plan
from planner.domain.scenario import Scenario
from runtime.session import KeptProcesses

PROMPTS, SAMPLES_PER_PROMPT, PROMPT_TOKENS = 32, 8, 32
MICRO_BATCH = 16
"""Samples; of those ways of TRL that cut the batch."""
MICRO_BATCH_TOKENS = 512
"""Of ours, as many as 16 samples of the short responses have."""
WARM_UP_STEPS = 2
"""Of each contender, in a block of their own."""
ROUNDS = 2
"""Blocks of each contender that count."""
STEPS: Mapping[str, int] = {"remarks": 11, "reviews": 4}
"""Of such a block; its first step does not count."""
COMMON = GrpoSettings(
    policy="scenarios/quickstart/policy",
    prompts="scenarios/quickstart/prompts.jsonl",
    rule="scenarios/quickstart_reward.py",
    samples=PROMPTS * SAMPLES_PER_PROMPT,
    samples_per_prompt=SAMPLES_PER_PROMPT,
    response_tokens=32,
    learning_rate=1e-5,
    kl_coefficient=0.01,
    gradient_clip=1.0,
    seed=0,
    threads=1,
    processes=1,
)
BATCHES: Mapping[str, GrpoSettings] = {
    "remarks": COMMON,
    "reviews": replace(COMMON, policy="scenarios/quickstart/reviewer", response_tokens=480),
}
LENGTHS: Mapping[str, Mapping[str, float]] = {
    "remarks": {"mean": 16.5},
    "reviews": {"mean": 50, "sigma": 0.75},
}
"""What our planner is told of the responses, beside their limit."""
START_SECONDS = 60.0
STEP_SECONDS = 150.0
"""A contender that takes longer for one, or to get ready for the first, has lost."""
OURS = "hybridmap run"


def ways(common: GrpoSettings) -> Mapping[str, GrpoSettings]:
    """Those of running TRL; transformers' continuous batching is not among them, for it takes far longer."""
    one, two = replace(common, threads=2), replace(common, processes=2)
    longest = PROMPT_TOKENS + common.response_tokens
    return {
        "one process, two threads": one,
        "one process, two threads, micro-batches": replace(one, micro_batch=MICRO_BATCH),
        "two processes": two,
        "two processes, micro-batches": replace(two, micro_batch=MICRO_BATCH),
        "torch.compile": replace(one, options={"torch_compile": True}),
        "vLLM in the process": replace(
            one, options={"use_vllm": True, "vllm_mode": "colocate", "vllm_max_model_length": longest}
        ),
    }


class ContenderError(Exception):
    """A way of running TRL that fails here; says how."""


def measure() -> dict[str, Any]:
    """Of each batch: samples per second of each way, medians, and how many times TRL's fastest ours is."""
    check_installed()
    return {name: compared(common, LENGTHS[name], steps=STEPS[name]) for name, common in BATCHES.items()}


def compared(common: GrpoSettings, lengths: Mapping[str, float], *, steps: int) -> dict[str, Any]:
    """All contenders on one batch."""
    with ExitStack() as stack:
        ours = stack.enter_context(our_processes(common, lengths))
        contenders: dict[str, Contender] = {OURS: ours}
        refused: dict[str, str] = {}
        for name, settings in ways(common).items():
            try:
                contenders[name] = stack.enter_context(trl_processes(settings))
            except ContenderError as error:
                refused[name] = str(error)
            print(name, refused.get(name, "started"), flush=True)
        seconds, metrics = taken_in_turns(contenders, refused, steps=steps)
    found = {name: figures(seconds[name], metrics[name], samples=common.samples) for name in seconds}
    theirs = max(rates["samples_per_second"] for name, rates in found.items() if name != OURS)
    return {
        "batch": asdict(common),
        "ours": ours.strategies,
        "contenders": found,
        "refused": refused,
        "times_as_fast": round(found[OURS]["samples_per_second"] / theirs, 2),
    }


def check_installed() -> None:
    """Say how to install TRL where it is not."""
    if find_spec("trl") is None:
        sys.exit("benchmarks: trl is not installed; `make bench-trl` installs it and runs this benchmark")


def taken_in_turns(
    contenders: Mapping[str, "Contender"], refused: dict[str, str], *, steps: int
) -> tuple[dict[str, list[float]], dict[str, Mapping[str, float]]]:
    """Seconds of the steps that count, and the latest metrics, by contender; one that fails is refused."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    metrics: dict[str, Mapping[str, float]] = {}
    for turn, count in enumerate((WARM_UP_STEPS, *[steps] * ROUNDS)):
        for name in [*seconds]:
            try:
                block, metrics[name] = contenders[name].steps(count)
            except ContenderError as error:
                refused[name] = str(error)
                del seconds[name]
                continue
            seconds[name] += block[1:] if turn else []
            print(name, [round(step, 3) for step in block], flush=True)
    return seconds, metrics


def figures(seconds: Sequence[float], metrics: Mapping[str, float], *, samples: int) -> dict[str, float]:
    """What one contender reached, and by what one sees that it did the same work.

    >>> figures([2.0, 1.0, 4.0], {"reward": 0.5}, samples=128)["samples_per_second"]
    64.0
    """
    typical = median(seconds)
    return {
        "seconds": round(typical, 3),
        "fastest": round(min(seconds), 3),
        "slowest": round(max(seconds), 3),
        "samples_per_second": round(samples / typical, 1),
        **{name: round(value, 3) for name, value in metrics.items() if name in SHOWN},
    }


SHOWN = (
    *("completions/mean_length", "completions/max_length", "reward", "kl"),
    *("response_length/mean", "response_length/max", "critic/score/mean"),
)


class Contender(Protocol):
    """Takes steps of GRPO when it is asked to."""

    def steps(self, count: int) -> tuple[list[float], Mapping[str, float]]:
        """Seconds of so many steps, and the latest metrics."""
        ...


class Ours:
    """`hybridmap run` on two processes that stay between blocks."""

    def __init__(self, plan: Plan, kept: KeptProcesses, folder: Path) -> None:
        self._plan, self._kept, self._folder = plan, kept, folder
        self._runs = 0
        self.strategies = {role: str(strategy.layout) for role, strategy in plan.strategies.items()}

    def steps(self, count: int) -> tuple[list[float], Mapping[str, float]]:
        """The seconds between iterations as whoever started the run sees them; samples of each run differ."""
        self._runs += 1
        since_s = [time.perf_counter()]
        result = runtime.run(
            changed_run(self._plan, seed=self._runs),
            out=self._folder / f"run-{self._runs}",
            iterations=count,
            kept=self._kept,
            progress=lambda report: since_s.append(time.perf_counter()),
        )
        return [end - start for start, end in pairwise(since_s)], result.metrics


@contextmanager
def our_processes(common: GrpoSettings, lengths: Mapping[str, float]) -> Iterator[Ours]:
    """The best plan for the machine as it was measured, and its processes."""
    with KeptProcesses() as kept, tempfile.TemporaryDirectory() as folder:
        scenario = our_scenario(common, lengths)
        profile = runtime.profile(scenario, kept=kept)
        yield Ours(best_plan(scenario, profiles=[profile]).plan, kept, Path(folder))


def our_scenario(common: GrpoSettings, lengths: Mapping[str, float]) -> Scenario:
    """The same as TRL is told."""
    policy = str(Path(common.policy).resolve())
    return quickstart(
        "trl",
        roles=("actor", "reference"),
        algorithm={"name": "grpo", "kl_loss_coefficient": common.kl_coefficient},
        models=dict.fromkeys(("actor", "reference"), policy),
        services={"reward": {"seconds_per_sample": "20 us"}},
        workload={
            "prompts": common.samples // common.samples_per_prompt,
            "samples_per_prompt": common.samples_per_prompt,
            "prompt_tokens": {"mean": 17, "maximum": PROMPT_TOKENS},
            "response_tokens": {**lengths, "maximum": common.response_tokens},
            "mini_batches": 1,
        },
        pin={f"{role}.micro_batch_tokens": MICRO_BATCH_TOKENS for role in ("actor", "reference")},
        run={
            "prompts": "quickstart/prompts.jsonl",
            "reward_function": {"path": str(Path(common.rule).resolve())},
            "seed": common.seed,
            "actor_learning_rate": common.learning_rate,
            "gradient_clip": common.gradient_clip,
        },
    )


class Theirs:
    """TRL in processes of its own, paused between blocks of steps."""

    def __init__(self, connection: Connection, log: Path) -> None:
        self._connection, self._log = connection, log
        self._answer(steps=1)

    def steps(self, count: int) -> tuple[list[float], Mapping[str, float]]:
        """Those that it counted itself."""
        self._connection.send(count)
        answer = self._answer(steps=count)
        return answer["seconds"], answer["metrics"]

    def _answer(self, *, steps: int) -> Any:
        if not self._connection.poll(steps * STEP_SECONDS):
            raise ContenderError(f"no answer in {steps * STEP_SECONDS:g} s")
        try:
            return self._connection.recv()
        except (EOFError, ConnectionError):
            raise ContenderError(_last_line(self._log)) from None


@contextmanager
def trl_processes(settings: GrpoSettings) -> Iterator[Theirs]:
    """TRL, started and waiting for its turn; ended on leaving.

    Raises
    ------
    ContenderError
        With the last line that it wrote.
    """
    with tempfile.TemporaryDirectory() as folder, Listener(f"{folder}/turns", "AF_UNIX") as listener:
        listener._listener._socket.settimeout(START_SECONDS)
        log = Path(folder) / "log"
        with log.open("w") as output:
            process = subprocess.Popen(
                _command(settings, f"{folder}/turns"),
                env={**os.environ, "OMP_NUM_THREADS": str(settings.threads), **ENVIRONMENT},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            with _accepted(listener, log) as connection:
                yield Theirs(connection, log)
        finally:
            process.terminate()
            process.wait()


ENVIRONMENT = {
    "PYTHONWARNINGS": "ignore",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_CPU_KVCACHE_SPACE": "1",
}
"""What vLLM needs on a CPU is what our processes have as well."""


def _accepted(listener: Listener, log: Path) -> Connection:
    try:
        return listener.accept()
    except TimeoutError:
        raise ContenderError(_last_line(log)) from None


def _command(settings: GrpoSettings, address: str) -> list[str]:
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={settings.processes}"]
    launcher = launcher if settings.processes > 1 else []
    return [
        sys.executable,
        *launcher,
        "-m",
        "benchmarks.trl_process",
        address,
        json.dumps(asdict(settings)),
    ]


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text().splitlines() if "Error" in line]
    return lines[-1].strip() if lines else "it did not start in time"

"""Samples per second of GRPO against TRL's GRPOTrainer: the same model, prompts, batch, reward and cores.

All contenders are started first; then they take turns, a block of steps each, and only one is at work at a
time. TRL runs in every way that this machine allows, and its fastest one counts.
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
from benchmarks.quickstart import micro_batch_pins, quickstart
from benchmarks.trl_process import GrpoSettings
from planner import plan as best_plan
from planner.domain.plan import Plan
from planner.domain.scenario import Scenario
from runtime.session import KeptProcesses

PROMPTS, SAMPLES_PER_PROMPT = 32, 4
MICRO_BATCH = 16
"""Of ours, whose micro-batches are rows of about one length."""
ROUNDS = 4
"""Blocks of each contender; the first one warms up."""
STEPS = 6
"""Of a block; the first one does not count."""
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
VARIANTS: Mapping[str, GrpoSettings] = {
    "one process, two threads": replace(COMMON, threads=2),
    "two processes": replace(COMMON, processes=2),
    "one process, two threads, torch.compile": replace(COMMON, threads=2, options={"torch_compile": True}),
    "vLLM in the process": replace(
        COMMON, threads=2, options={"use_vllm": True, "vllm_mode": "colocate", "vllm_max_model_length": 64}
    ),
}
START_SECONDS = 60.0
ANSWER_SECONDS = 100.0
"""For a block of steps; a contender that takes longer has lost."""
OURS = "hybridmap run"


class ContenderError(Exception):
    """A way of running TRL that fails here; says how."""


def measure() -> dict[str, Any]:
    """Samples per second of each way, medians, and how many times TRL's fastest ours is."""
    check_installed()
    with ExitStack() as stack:
        ours = stack.enter_context(our_processes(COMMON))
        contenders: dict[str, Contender] = {OURS: ours}
        refused: dict[str, str] = {}
        for name, settings in VARIANTS.items():
            try:
                contenders[name] = stack.enter_context(trl_processes(settings))
            except ContenderError as error:
                refused[name] = str(error)
            print(name, refused.get(name, "started"), flush=True)
        found = taken_in_turns(contenders, refused)
    theirs = max(rates["samples_per_second"] for name, rates in found.items() if name != OURS)
    return {
        "batch": asdict(COMMON),
        "ours": ours.strategies,
        "contenders": found,
        "refused": refused,
        "times_as_fast": round(found[OURS]["samples_per_second"] / theirs, 2),
    }


def check_installed() -> None:
    """Say how to install TRL where it is not."""
    if find_spec("trl") is None:
        sys.exit("benchmarks: trl is not installed; `make bench-trl` installs it and runs this benchmark")


def taken_in_turns(contenders: Mapping[str, "Contender"], refused: dict[str, str]) -> dict[str, Any]:
    """Medians of seconds over the blocks of each contender but the first; one that fails is refused."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    metrics: dict[str, Mapping[str, float]] = {}
    for turn in range(ROUNDS):
        for name in [name for name in contenders if name not in refused]:
            try:
                block, metrics[name] = contenders[name].steps(STEPS)
            except ContenderError as error:
                refused[name] = str(error)
                continue
            seconds[name] += block[1:] if turn else []
            print(turn, name, [round(step, 3) for step in block], flush=True)
    return {name: figures(steps, metrics[name]) for name, steps in seconds.items() if name not in refused}


def figures(seconds: Sequence[float], metrics: Mapping[str, float]) -> dict[str, float]:
    """What one contender reached, and by what one sees that it did the same work.

    >>> figures([2.0, 1.0, 4.0], {"reward": 0.5})["samples_per_second"]
    64.0
    """
    typical = median(seconds)
    return {
        "seconds": round(typical, 3),
        "fastest": round(min(seconds), 3),
        "slowest": round(max(seconds), 3),
        "samples_per_second": round(COMMON.samples / typical, 1),
        **{name: round(value, 3) for name, value in metrics.items() if name in SHOWN},
    }


SHOWN = ("completions/mean_length", "reward", "kl", "response_length/mean", "critic/score/mean")


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
        """The seconds between iterations as whoever started the run sees them."""
        self._runs += 1
        since_s = [time.perf_counter()]
        result = runtime.run(
            self._plan,
            out=self._folder / f"run-{self._runs}",
            iterations=count,
            kept=self._kept,
            progress=lambda report: since_s.append(time.perf_counter()),
        )
        return [end - start for start, end in pairwise(since_s)], result.metrics


@contextmanager
def our_processes(common: GrpoSettings) -> Iterator[Ours]:
    """The best plan for the machine as it was measured, and its processes."""
    with KeptProcesses() as kept, tempfile.TemporaryDirectory() as folder:
        scenario = our_scenario(common)
        profile = runtime.profile(scenario, kept=kept)
        yield Ours(best_plan(scenario, profiles=[profile]).plan, kept, Path(folder))


def our_scenario(common: GrpoSettings) -> Scenario:
    """The same as TRL is told."""
    return quickstart(
        "trl",
        roles=("actor", "reference"),
        algorithm={"name": "grpo", "kl_loss_coefficient": common.kl_coefficient},
        models=dict.fromkeys(("actor", "reference"), "quickstart/policy"),
        services={"reward": {"seconds_per_sample": "20 us"}},
        workload={
            "prompts": common.samples // common.samples_per_prompt,
            "samples_per_prompt": common.samples_per_prompt,
            "prompt_tokens": {"mean": 17, "maximum": 32},
            "response_tokens": {"mean": 16.5, "maximum": common.response_tokens},
            "mini_batches": 1,
        },
        pin=micro_batch_pins(("actor", "reference"), MICRO_BATCH),
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
        self._answer()

    def steps(self, count: int) -> tuple[list[float], Mapping[str, float]]:
        """Those that it counted itself."""
        self._connection.send(count)
        answer = self._answer()
        return answer["seconds"], answer["metrics"]

    def _answer(self) -> Any:
        if not self._connection.poll(ANSWER_SECONDS):
            raise ContenderError(f"no answer in {ANSWER_SECONDS:g} s")
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

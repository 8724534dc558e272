"""Each patch of an upstream is left out once; a test that fails here says that it is no longer needed."""

import multiprocessing
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
from megatron.core.optimizer import distrib_optimizer
from vllm.config import VllmConfig, set_current_vllm_config
from vllm.distributed import parallel_state
from vllm.model_executor.models import registry
from vllm.v1.executor.uniproc_executor import ExecutorWithExternalLauncher

from planner.domain.parallelism import GenerationStrategy, ParallelStrategy, generation_tensor_groups
from runtime.engines.layout import Layout
from runtime.engines.megatron import MegatronEngine
from runtime.engines.optimizer import OptimizerSettings
from runtime.platform import device_kind, gloo, megatron, torchvision, vllm
from runtime.platform.patches import apply_once
from tests.runtime import tiny
from tests.runtime.worlds import WorldError, run_world

pytestmark = pytest.mark.skipif(device_kind() == "cuda", reason="patches of the CPU platform")

SYMPTOMS = {
    "megatron-current-device": "Torch not compiled with CUDA enabled",
    "megatron-synchronize": "Torch not compiled with CUDA enabled",
    "megatron-tensor-cuda": "Torch not compiled with CUDA enabled",
    "megatron-random-state": "Torch not compiled with CUDA enabled",
    "megatron-literals": "Torch not compiled with CUDA enabled",
    "megatron-adam-step": "'step'",
}
EXPERT_SYMPTOMS = {
    "megatron-router-product": "name 'te_general_gemm' is not defined",
    "megatron-token-counts": "AllToAllOptions",
    "megatron-streams": "has no attribute .synchronize.",
    "megatron-unequal-parts": "invalid tensor size",
}
ONE_LOOP = "gloo-one-loop"
PATCHES = (*gloo.PATCHES, *megatron.PATCHES, *torchvision.PATCHES, *vllm.PATCHES)


def use_everything(model, folder, without):
    """Train a tied model on two stages, save its state, and load that."""
    apply_once(megatron.PATCHES, without=without)
    engine = MegatronEngine(
        model=model,
        head="vocabulary",
        layout=Layout(ParallelStrategy(pipeline=2)),
        precision="fp32",
        seed=0,
        optimizer=OptimizerSettings(learning_rate=0.01),
    )
    engine.load(model.folder)
    engine.update([{"tokens_bs": tiny.tokens(2, 8)}], lambda logprobs, _: (-logprobs.sum(), {}))
    engine.save_state(folder)
    engine.load_state(folder)
    return engine.update([{"tokens_bs": tiny.tokens(2, 8)}], lambda logprobs, _: (-logprobs.sum(), {}))


@pytest.fixture(scope="module")
def tied(tmp_path_factory):
    return tiny.write_model(tmp_path_factory.mktemp("tied") / "model", "qwen3")


def test_with_all_patches_megatron_runs(tied, tmp_path):
    first, second = run_world(use_everything, 2, tied, tmp_path / "state", "")
    assert first == second
    assert first["grad_norm"] > 0


@pytest.mark.parametrize("patch", SYMPTOMS)
def test_without_one_of_its_patches_megatron_fails(tied, tmp_path, patch):
    with pytest.raises(WorldError, match=SYMPTOMS[patch]):
        run_world(use_everything, 2, tied, tmp_path / "state", patch)


def test_steps_are_kept_on_cuda_too_where_torchs_adam_is_what_there_is(monkeypatch):
    (patch,) = (patch for patch in megatron.PATCHES if patch.name == "megatron-adam-step")
    assert patch.kinds == ("cpu", "cuda")
    optimizer = distrib_optimizer.DistributedOptimizer
    for have_fused_kernels, expected in ((True, len), (False, megatron._set_states)):
        monkeypatch.setattr(optimizer, "_set_main_param_and_optimizer_states", len)
        monkeypatch.setattr(distrib_optimizer, "HAVE_APEX_OR_TE", have_fused_kernels)
        patch.apply()
        assert optimizer._set_main_param_and_optimizer_states is expected


def train_in(model, strategy, without):
    """One step in a layout."""
    apply_once(megatron.PATCHES, without=without)
    engine = MegatronEngine(
        model=model,
        head="vocabulary",
        layout=Layout(ParallelStrategy.parse(strategy)),
        precision="fp32",
        seed=0,
        optimizer=OptimizerSettings(learning_rate=0.01),
    )
    engine.load(model.folder)
    return engine.update([{"tokens_bs": tiny.tokens(2, 8)}], lambda logprobs, _: (-logprobs.sum(), {}))


@pytest.fixture(scope="module")
def experts(tmp_path_factory):
    return tiny.write_model(tmp_path_factory.mktemp("experts") / "model", "qwen3_moe")


@pytest.mark.parametrize("patch", EXPERT_SYMPTOMS)
def test_without_one_of_its_patches_experts_fail(experts, patch):
    assert run_world(train_in, 4, experts, "p1t2d2e2", "")
    with pytest.raises(WorldError, match=EXPERT_SYMPTOMS[patch]):
        run_world(train_in, 4, experts, "p1t2d2e2", patch)


def processes_after_saving(model, folder, without):
    use_everything(model, folder, without)
    children = multiprocessing.active_children()
    for child in children:
        child.kill()
    return len(children)


def test_without_its_patch_saving_leaves_a_process_per_rank(tied, tmp_path):
    without = "megatron-checkpoint-queue"
    assert run_world(processes_after_saving, 2, tied, tmp_path / "without", without) == [1, 1]
    assert run_world(processes_after_saving, 2, tied, tmp_path / "with", "") == [0, 0]


LOOPS = """
import os
import sys

import torch.distributed as dist

from runtime.platform import gloo
from runtime.platform.patches import apply_once

apply_once(gloo.PATCHES, without=sys.argv[1])
dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
groups = [dist.new_group([0]) for _ in range(3)]
files = [os.path.realpath(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")]
print(sum(file.endswith("[eventpoll]") for file in files))  # what a loop waits on
"""


@pytest.mark.parametrize(("without", "loops"), [("", 1), (ONE_LOOP, 4)])
def test_without_its_patch_each_group_has_a_loop(without, loops):
    command = [sys.executable, "-c", LOOPS, without]
    assert int(subprocess.run(command, capture_output=True, text=True, check=True).stdout) == loops


def test_every_patch_has_a_test_of_its_absence():
    of_engines = {"vllm-model-inspection", "vllm-experts-packed"}
    others = {ONE_LOOP, "megatron-checkpoint-queue", "torchvision-hidden", *of_engines}
    assert {*SYMPTOMS, *EXPERT_SYMPTOMS, *others} == {patch.name for patch in PATCHES}


def test_every_patch_says_what_it_was_made_for_and_why():
    for patch in PATCHES:
        assert any(character.isdigit() for character in patch.made_for)
        assert len(patch.reason) > 20


def test_torchvision_beside_a_cpu_build_of_torch_cannot_be_imported():
    result = subprocess.run([sys.executable, "-c", "import torchvision"], capture_output=True, text=True)
    assert "operator torchvision::nms does not exist" in result.stderr


def inspect_a_model():
    models = {"LlamaForCausalLM": registry.ModelRegistry.models["LlamaForCausalLM"]}
    registry._run_in_subprocess(models["LlamaForCausalLM"].load_model_cls)


def test_vllm_inspects_models_in_a_process_that_sees_torchvision():
    with pytest.raises(WorldError, match="torchvision"):
        run_world(inspect_a_model, 1)


def test_vllm_names_its_memory_after_the_address_only(monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("LOCAL_RANK", "1")
    method, *_ = ExecutorWithExternalLauncher._distributed_args(SimpleNamespace())
    assert method == "env://"


def tensor_groups(ranks):
    """Rank's tensor group in vLLM, started by itself and started by us."""
    rank = dist.get_rank()
    os.environ["VLLM_DIST_IDENT"] = f"no-shared-memory-{rank}"
    with set_current_vllm_config(VllmConfig()), vllm.launched(rank=rank, local_rank=0, ranks=ranks, tag="x"):
        parallel_state.init_distributed_environment(4, rank, "tcp://unused", 0, "gloo")
        parallel_state.initialize_model_parallel(tensor_model_parallel_size=2, backend="gloo")
    found = list(parallel_state.get_tp_group().ranks)
    parallel_state.destroy_model_parallel()
    return found


def test_vllm_groups_consecutive_ranks_where_the_hybrid_engine_strides():
    train = ParallelStrategy(tensor=4)
    strided = generation_tensor_groups(train, GenerationStrategy(tensor=2, replicas=2, max_sequences=1))
    assert strided == [[0, 2], [1, 3]]
    assert run_world(tensor_groups, 4, range(4)) == [[0, 1], [0, 1], [2, 3], [2, 3]]
    assert run_world(tensor_groups, 4, [0, 2, 1, 3]) == [[0, 2], [1, 3], [0, 2], [1, 3]]


def constants():
    def example(x):
        return torch.zeros(1, device="cuda"), x.type() in ("torch.cuda.FloatTensor", "torch.cuda.HalfTensor")

    code = megatron._on_cpu(example.__code__)
    return code.co_consts


def test_literals_are_replaced_also_inside_tuples():
    assert ("torch.FloatTensor", "torch.HalfTensor") in constants()
    assert "cuda" not in str(constants())

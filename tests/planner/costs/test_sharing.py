"""What settings share: tables of the very same parts, and nothing else."""

from dataclasses import replace

import numpy as np

from planner.costs.kernels.gemm import gemm_seconds
from planner.costs.same import Same
from planner.costs.serving.generation import engine_of
from planner.costs.setting import Setting
from planner.domain.catalog import read_device


def test_only_the_same_object_is_the_same() -> None:
    one, other = [1], [1]
    assert Same(one) == Same(one)
    assert hash(Same(one)) == hash(Same(one))
    assert Same(one) != Same(other)
    assert Same(one) != one


def test_products_are_remembered_by_device_and_by_size() -> None:
    device = read_device("a100-sxm-80gb")
    half = device.model_copy(update={"memory_bandwidth": device.memory_bandwidth / 2})
    sizes = np.array([1.0, 8.0, 4096.0])
    first = gemm_seconds(device, sizes, 4096.0, 4096.0)
    assert np.array_equal(first, gemm_seconds(device, sizes, 4096.0, 4096.0))
    assert gemm_seconds(half, 8.0, 4096.0, 4096.0) > gemm_seconds(device, 8.0, 4096.0, 4096.0)
    assert gemm_seconds(device, 8.0, 4096.0, 4096.0, precision="fp32") > first[1]
    alone = [float(gemm_seconds(device.model_copy(), size, 4096.0, 4096.0)) for size in sizes]
    assert alone == first.tolist()


def test_settings_of_other_batches_share_their_job_and_engine(setting: Setting) -> None:
    setting = replace(setting)
    more = setting.workload.model_copy(update={"prompts": 2 * setting.workload.prompts})
    other = replace(setting, workload=more)
    assert other.job is setting.job
    assert engine_of(other) is engine_of(setting)
    pool = setting.node_pool.model_copy(update={"rails": 2})
    assert replace(setting, node_pool=pool).job is not setting.job
    assert replace(setting, precision="fp32").job is not setting.job

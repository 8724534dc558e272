"""Memory that a process has freed goes back where it came from."""

import subprocess
import sys

import pytest
import torch

from runtime.platform import device_kind, process_environment


def test_a_process_without_a_device_has_the_environment_of_a_cpu_also_where_there_is_cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    on_cpu = process_environment()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert process_environment() != on_cpu
    assert process_environment(is_light=True) == {**on_cpu, "CUDA_VISIBLE_DEVICES": ""}


FREED = """
import os
import torch
from runtime.platform import release_memory


def resident():
    pages = int(open("/proc/self/statm").read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


blocks = [torch.ones(16 * 1024) for _ in range(3200)]  # 200 MiB in pieces that stay on the heap
del blocks[:-1]  # the last one keeps the heap's end where it is
before = resident()
release_memory()
print(before - resident())
"""


@pytest.mark.skipif(device_kind() == "cuda" or sys.platform != "linux", reason="of glibc's heap")
def test_freed_memory_below_what_is_still_in_use_is_given_back():
    result = subprocess.run([sys.executable, "-c", FREED], capture_output=True, text=True, check=True)
    assert float(result.stdout) > 150

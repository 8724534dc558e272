"""Scenario files: what is read, and what each mistake says."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from planner.domain.catalog import read_model
from planner.domain.reading import parse_cluster, read_scenario, scenario_files
from planner.errors import SpecError

DEVICE = {
    "name": "toy",
    "memory": "16 GiB",
    "reserved": "1 GiB",
    "peak": {"bf16": "100 TFLOP/s"},
    "memory_bandwidth": "1 TB/s",
    "link": {"bandwidth": "100 GB/s", "latency": "5 us"},
}
MODEL = {
    "name": "toy",
    "family": "llama",
    "layers": 2,
    "hidden": 64,
    "heads": 4,
    "kv_heads": 2,
    "head_dim": 16,
    "ffn": 128,
    "vocab": 96,
}


def valid() -> dict[str, Any]:
    return {
        "name": "toy",
        "algorithm": "ppo",
        "models": dict.fromkeys(("actor", "critic", "reference", "reward"), MODEL),
        "cluster": {
            "node_pools": [
                {
                    "name": "toys",
                    "nodes": 1,
                    "devices_per_node": 4,
                    "device": DEVICE,
                    "network": {"bandwidth": "10 GB/s", "latency": "10 us"},
                }
            ]
        },
        "workload": {"prompts": 8, "prompt_tokens": 16, "response_tokens": {"mean": 8, "maximum": 16}},
    }


def written(folder: Path, value: Any) -> Path:
    path = folder / "scenario.yaml"
    path.write_text(yaml.safe_dump(value))
    return path


def mistakes(path: Path) -> list[str]:
    with pytest.raises(SpecError) as caught:
        read_scenario(path)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(str(path)) for line in lines)
    return [line.removeprefix(f"{path}") for line in lines]


def test_a_device_written_inline_is_read_with_its_units(tmp_path: Path) -> None:
    scenario = read_scenario(written(tmp_path, valid()))
    device = scenario.cluster.node_pools[0].device
    assert device.usable_memory == 15 * 2**30
    assert device.peak["bf16"] == 100e12
    assert scenario.workload.response_tokens.mean == 8


def test_all_mistakes_come_at_once_each_with_its_key_path(tmp_path: Path) -> None:
    value = valid()
    value["promts"] = 3
    value["workload"]["prompts"] = -1
    value["workload"]["mini_batchs"] = 2
    value["cluster"]["node_pools"][0]["device"] = "a1000"
    value["models"] = {**value["models"], "actor": "lama-2-7b"}
    found = mistakes(written(tmp_path, value))
    assert len(found) == 5
    text = "\n".join(found)
    for expected in (
        ": promts: unknown key",
        ": workload.prompts: ",
        ": workload.mini_batchs: unknown key; did you mean 'mini_batches'?",
        ": cluster.node_pools[0].device: no device 'a1000'",
        ": models.actor: no model 'lama-2-7b'",
    ):
        assert expected in text


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"workload": {"prompts": 8, "prompt_tokens": 4}}, "workload.response_tokens: missing"),
        ({"precision": "int4"}, "precision: input should be 'bf16', 'fp16', 'fp8' or 'fp32', found 'int4'"),
        ({"algorithm": "ppoo"}, "algorithm"),
        ({"algorithm": {"name": "ppo", "clip": -1}}, "algorithm.clip: input should be greater than 0"),
        ({"pin": {"actor.train.tensr": 2}}, "'actor.train.tensr' is not a field of a plan"),
        ({"pin": {"actor.train": "t2"}}, "'t2' is not a strategy such as"),
        ({"pin": {"judge.devices": 2}}, "the role 'judge', which has no model"),
        ({"colocate": [["actor", "judge"]]}, "the role 'judge', which has no model"),
        ({"cluster": "8xa100"}, "'8xa100' is not a cluster such as"),
        ({"cluster": {"node_pools": 3}}, "cluster.node_pools: expected a list, found 3"),
        (
            {"rollouts": None},
            "rollouts: expected a mapping with keys such as balance, carry, carry_limit, seed, found nothing",
        ),
        ({"colocate": {"a": 1}}, "colocate: expected a list, found a mapping"),
        (
            {"workload": {**valid()["workload"], "prompt_tokens": "many"}},
            "write a whole number of tokens, as 1024",
        ),
        ({"models": ["llama-2-7b"]}, "models: expected a mapping"),
        ({"run": {"prompts": "nowhere.jsonl"}}, "run.prompts: no such file"),
    ],
)
def test_one_mistake_one_clear_line(tmp_path: Path, change: dict[str, Any], expected: str) -> None:
    found = mistakes(written(tmp_path, {**valid(), **change}))
    assert len(found) == 1
    assert expected in found[0]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("memory", "80"),
        ("memory", 80),
        ("memory", "80 GB/s"),
        ("memory_bandwidth", "2 TB"),
        ("peak", {"bf16": "312 TFLOPS"}),
    ],
)
def test_a_wrong_unit_is_named_with_the_right_one(tmp_path: Path, field: str, value: object) -> None:
    scenario = valid()
    scenario["cluster"]["node_pools"][0]["device"] = {**DEVICE, field: value}
    (line,) = mistakes(written(tmp_path, scenario))
    assert f"cluster.node_pools[0].device.{field}" in line
    assert "such as" in line or "write for instance" in line


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "expected a mapping"),
        (b"- 1\n- 2\n", "expected a mapping"),
        (b"just text", "expected a mapping"),
        (b"name: [1, 2\n", "not valid YAML"),
        (b"name: x\nname: y\n", "'name' is given twice"),
        (b"\x89PNG\r\n\x1a\n\x00\xff", "not text"),
        (b"name: \x00", "not text"),
        (b"a: &a [*a]\n", "contains itself"),
        (b"a: " + b"[" * 3000, "not valid YAML"),
        (b"a: !!python/object:os.system {}\n", "not valid YAML"),
        (
            b"a: &a [x,x,x,x,x,x,x,x,x]\n"
            + b"".join(b"%c: &%c [%s]\n" % (c, c, b",".join([b"*%c" % (c - 1)] * 9)) for c in range(98, 106)),
            "nested too deeply",
        ),
    ],
)
def test_what_is_not_a_scenario_file_is_said_in_one_line(
    tmp_path: Path, content: bytes, expected: str
) -> None:
    path = tmp_path / "scenario.yaml"
    path.write_bytes(content)
    (line,) = mistakes(path)
    assert expected in line


def test_a_missing_file_and_a_folder_are_said(tmp_path: Path) -> None:
    assert "no such file" in mistakes(tmp_path / "none.yaml")[0]
    assert mistakes(tmp_path) == [": is a folder, not a file"]


def test_a_short_cluster_names_nodes_devices_and_device() -> None:
    (pool,) = parse_cluster("16x8xA100")["node_pools"]
    assert (pool["nodes"], pool["devices_per_node"], pool["device"]) == (16, 8, "A100")


@pytest.mark.parametrize("path", list(scenario_files()), ids=str)
def test_every_shipped_scenario_is_valid(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_scenario(path).models


def test_the_users_own_profiles_come_before_those_shipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "profiles" / "models"
    folder.mkdir(parents=True)
    (folder / "llama-2-7b.json").write_text(
        '{"architectures": ["LlamaForCausalLM"], "hidden_size": 64, "intermediate_size": 96,'
        '"num_hidden_layers": 3, "num_attention_heads": 4, "vocab_size": 100}'
    )
    monkeypatch.chdir(tmp_path)
    assert read_model("Llama_2_7B").layers == 3


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("{", "not valid JSON"),
        ("[]", "expected an object"),
        ('{"architectures": ["BertForMaskedLM"]}', "'BertForMaskedLM' is not one of"),
        ('{"architectures": ["LlamaForCausalLM"]}', "num_attention_heads: expected int, found null"),
        ('{"architectures": []}', "architectures: expected list"),
    ],
)
def test_a_bad_model_config_names_its_key(tmp_path: Path, config: str, expected: str) -> None:
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(SpecError, match=r"config\.json") as caught:
        read_model(str(tmp_path))
    assert expected in str(caught.value)

import json
from pathlib import Path

import pytest
import torch

from planner.domain.catalog import read_model
from planner.domain.model import ModelSpec, MoeSpec
from planner.domain.weights import weight_tensors
from planner.errors import SpecError
from runtime.engines import checkpoint
from runtime.engines.checkpoint import ModelFolder, stop_tokens, write_folder
from tests.runtime import tiny


def rewrite(model, folder, weights):
    write_folder(folder, Path(model.folder), weights, model=model, head="vocabulary", precision="fp32")


def in_order(model):
    network = tiny.network_of(model).state_dict()
    return [(tensor.name, network[tensor.name]) for tensor in weight_tensors(model)]


def test_large_models_are_written_to_several_files_and_read_from_them(tmp_path, monkeypatch):
    model = tiny.write_model(tmp_path / "model", "llama")
    weights = in_order(model)
    monkeypatch.setattr(checkpoint, "FILE_BYTES", 100_000)
    rewrite(model, tmp_path / "several", weights)
    assert len(list((tmp_path / "several").glob("model-*.safetensors"))) > 2
    assert not (tmp_path / "several/model.safetensors").exists()
    again = tiny.network_of(model.model_copy(update={"folder": str(tmp_path / "several")})).state_dict()
    assert all(torch.equal(again[name], weight) for name, weight in weights)
    folder = ModelFolder(tmp_path / "several")
    for tensor in weight_tensors(model):
        expected = dict(weights)[tensor.name]
        halves = [folder.part(tensor, index=index, count=2) for index in range(2)]
        if tensor.split == "whole":
            assert torch.equal(halves[1], expected)
        else:
            assert torch.equal(torch.cat(halves, dim=0 if tensor.split == "rows" else 1), expected)


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path):
    model = tiny.write_model(tmp_path / "model", "llama")
    target = tmp_path / "target"
    rewrite(model, target, in_order(model))
    before = {path.name: path.read_bytes() for path in target.iterdir()}

    def broken():
        yield from in_order(model)[:3]
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        rewrite(model, target, broken())
    assert {path.name: path.read_bytes() for path in target.iterdir()} == before
    rewrite(model, target, [(name, weight * 2) for name, weight in in_order(model)])
    doubled = tiny.network_of(model.model_copy(update={"folder": str(target)})).state_dict()
    assert torch.equal(doubled["model.norm.weight"], 2 * dict(in_order(model))["model.norm.weight"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "target"]


def test_the_config_says_which_class_and_type_was_written(tmp_path):
    model = tiny.write_model(tmp_path / "model", "qwen2")
    rewrite(model, tmp_path / "copy", in_order(model))
    config = json.loads((tmp_path / "copy/config.json").read_text())
    assert (config["architectures"], config["dtype"]) == (["Qwen2ForCausalLM"], "float32")


def test_what_a_folder_lacks_is_said(tmp_path):
    with pytest.raises(SpecError, match=r"has neither model\.safetensors nor"):
        ModelFolder(tmp_path)
    model = tiny.write_model(tmp_path / "model", "llama")
    folder = ModelFolder(tmp_path / "model")
    wider = next(weight_tensors(model.model_copy(update={"vocab": 256})))
    with pytest.raises(SpecError, match=r"embed_tokens.weight has shape \(128, 64\), .* needs \(256, 64\)"):
        folder.part(wider, index=0, count=1)
    third_layer = list(weight_tensors(model.model_copy(update={"layers": 3})))[-3]
    with pytest.raises(SpecError, match=r"has no tensor model\.layers\.2\."):
        folder.part(third_layer, index=0, count=1)


def test_every_token_that_either_config_names_ends_a_response(tmp_path):
    (tmp_path / "config.json").write_text('{"eos_token_id": 7}')
    assert stop_tokens(tmp_path) == (7,)
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [9, 7]}')
    assert stop_tokens(tmp_path) == (7, 9)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "generation_config.json").unlink()
    assert stop_tokens(tmp_path) == ()


EXPERTS = MoeSpec(experts=6, experts_per_token=3, expert_ffn=40, dense_layers=1, normalized=True)


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3", "qwen3_moe"])
def test_a_config_that_transformers_saved_is_read_as_it_was_meant(tmp_path, kind):
    folder = tmp_path / "saved"
    model = ModelSpec(
        name="saved",
        family=kind,
        layers=3,
        hidden=64,
        heads=8,
        kv_heads=4,
        head_dim=8 if kind == "qwen2" else 16,
        ffn=80,
        vocab=96,
        tied_embeddings=True,
        max_positions=512,
        rope_theta=5e5,
        norm_epsilon=1e-4,
        moe=EXPERTS if kind == "qwen3_moe" else None,
    )
    tiny.transformers_config(kind, model).save_pretrained(folder)
    assert read_model(str(folder)) == model

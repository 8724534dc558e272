"""``hybridmap validate``: figures, their JSON object, and what is said of broken rows and files."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from hybridmap.__main__ import main
from planner.calibration import kinds
from planner.calibration.evaluation import Advance, Evaluation, Judged, Skipped
from planner.calibration.rows import Row, parse_all
from planner.domain.cluster import DeviceSpec

KEYS = {
    *("kind", "rows", "evaluated", "skipped", "skipped_reasons", "mape", "median", "p90", "worst", "bias"),
    *("coverage", "by_source", "by_measure", "regret"),
}


class Scales:
    """A kind that predicts ten seconds per kilogram on any device, and no feathers."""

    COLUMNS = ("kg", "seconds")

    def evaluate(self, rows: Sequence[Row], device: DeviceSpec | None, advance: Advance) -> Evaluation:
        parsed = parse_all(rows, lambda row: (row, row.number("kg"), row.number("seconds")))
        advance(len(rows))
        return Evaluation(
            judged=[self.judged(*each) for each in parsed if each[1] >= 1],
            skipped=[Skipped(line=row.line, reason="a feather") for row, kg, _ in parsed if kg < 1],
        )

    def judged(self, row: Row, kg: float, seconds: float) -> Judged:
        return Judged(
            line=row.line,
            source=row.optional_text("source") or "all",
            group="scales",
            measured=seconds,
            predicted=10 * kg,
            low=9 * kg,
            high=11 * kg,
            choice=row.optional_text("choice"),
        )


@pytest.fixture(autouse=True)
def _scales(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "KINDS", {"scales": Scales(), **kinds.KINDS})


def written(folder: Path, text: str) -> str:
    path = folder / "rows.csv"
    path.write_text(text)
    return str(path)


def test_the_json_object_has_the_figures_as_fractions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "kg,seconds,source,choice\n1,10,a,x\n2,25,a,x\n4,40,b,\n0.1,1,b,\n"
    assert main(["validate", "scales", written(tmp_path, text), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert set(answer) == KEYS
    assert (answer["kind"], answer["rows"], answer["evaluated"], answer["skipped"]) == ("scales", 4, 3, 1)
    assert answer["skipped_reasons"] == {"a feather": 1}
    assert answer["mape"] == pytest.approx(0.2 / 3)
    assert answer["bias"] == pytest.approx(-0.2 / 3)
    assert answer["median"] == 0.0
    assert answer["worst"] == pytest.approx(0.2)
    assert answer["coverage"] == pytest.approx(2 / 3)
    assert answer["by_source"]["a"]["mape"] == pytest.approx(0.1)
    assert answer["regret"] == 0.0


def test_what_does_not_exist_is_null(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "scales", written(tmp_path, "kg,seconds\n0.5,1\n"), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert set(answer) == KEYS
    assert {answer[name] for name in ("mape", "median", "p90", "worst", "bias", "coverage", "regret")} == {
        None
    }
    assert (answer["evaluated"], answer["skipped"], answer["by_source"]) == (0, 1, {})


def test_the_tables_show_sources_skipped_rows_and_regret(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "kg,seconds,source,choice\n1,15,lab one,x\n2,12,lab one,x\n0.1,1,lab two,\n"
    assert main(["validate", "scales", written(tmp_path, text)]) == 0
    out = capsys.readouterr().out
    for words in ("lab one", "50.0 %", "3 rows: 2 evaluated, 1 skipped", "skipped 1: a feather", "25.0 %"):
        assert words in out


def test_every_broken_row_is_named_and_nothing_is_scored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "kg,seconds\n1,10\nheavy,10\n2,\n3,-1\n"
    assert main(["validate", "scales", written(tmp_path, text)]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    for words in (
        "rows.csv: line 3: kg: expected a number above 0, found 'heavy'",
        "rows.csv: line 4: seconds: expected a number above 0, found nothing",
        "rows.csv: line 5: seconds: expected a number above 0, found '-1'",
    ):
        assert words in shown.err


def test_mistakes_are_answered_in_json_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "scales", written(tmp_path, "kg\n1\n"), "--json"]) == 2
    answer = json.loads(capsys.readouterr().out)
    assert answer["status"] == "wrong input"
    assert "lacks the columns 'seconds'" in answer["reason"]


def test_an_unknown_kind_or_device_names_the_nearest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, "kg,seconds\n1,10\n")
    assert main(["validate", "scale", path]) == 2
    assert "did you mean 'scales'?" in capsys.readouterr().err
    assert main(["validate", "scales", path, "--device", "h100-sxm-80g"]) == 2
    assert "did you mean 'h100-sxm-80gb'?" in capsys.readouterr().err


def test_a_file_that_is_not_there_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "scales", str(tmp_path / "absent.csv")]) == 2
    assert "absent.csv: cannot be read: No such file" in capsys.readouterr().err


GPT = "lab,A100-SXM-80GB,4,Megatron-DeepSpeed,gpt,12,1024,16,16,4096,51200,0,1024,16,8,2,2,fp16,full,none"
TRAINING = (
    "source,gpu,n_gpus,framework,model,layers,hidden,heads,kv_heads,ffn,vocab,gated,seq,gbs,mbs,tp,pp,"
    "precision,recompute,sharding,step_time_s"
)
RL = (
    "algo,model,gpu,n_gpus,train_parallel,gen_parallel,max_prompt_len,max_response_len,mean_response_len,"
    "prompts_per_step,samples_per_prompt,mini_bs,max_tok_actor,step_s,rollout_s,generation_s,update_actor_s,"
    "old_logp_s,reshard_s,ref_s"
)
ROWS = {
    "training": (TRAINING, f"{GPT},0.126"),
    "generation": (
        "backend,model_path,system,isl,osl,concurrency,tp_size,silicon_ttft_ms,silicon_tpot_ms",
        "vllm,Qwen/Qwen3-32B,h100_sxm,1024,128,8,4,200,15",
    ),
    "gemm": ("device,dtype,m,n,k,latency_ms", "a100_sxm,bfloat16,4096,4096,4096,0.6"),
    "attention-prefill": (
        "device,batch_size,seq_len,num_heads,num_kv_heads,head_dim,latency_ms",
        "H100,1,8192,32,8,128,1.2",
    ),
    "attention-decode": (
        "device,batch_size,kv_len,num_heads,num_kv_heads,head_dim,latency_ms",
        "H100,64,4096,32,8,128,0.4",
    ),
    "collective": ("system,op,num_gpus,bytes,latency_ms", "h100_sxm,all_reduce,8,268435456,1.3"),
    "rl": (RL, "GRPO,qwen2.5-7b,H100,8,tp4pp2,tp4,2k,8k,,512,16,32,20k,700,330,320,260,100,2.2,"),
    "weight-sync": (
        "model,placement,mode,sync_s_low,sync_s_high,gpu",
        "Qwen2.5-7B,1+1 nodes,nccl full broadcast,5.5,6.0,H100",
    ),
}
"""One row of each kind, as a measurement might be written down."""


@pytest.mark.parametrize("kind", ROWS)
def test_a_row_of_each_kind_is_predicted_within_an_order_of_magnitude(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header, row = ROWS[kind]
    assert main(["validate", kind, written(tmp_path, f"{header}\n{row}\n"), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert set(answer) == KEYS
    assert (answer["rows"], answer["evaluated"], answer["skipped"]) == (1, 1, 0)
    assert answer["worst"] < 2
    assert all(-0.9 < each["bias"] < 9 for each in answer["by_measure"].values())


@pytest.mark.parametrize("kind", ROWS)
def test_every_broken_row_of_each_kind_is_named(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header, row = ROWS[kind]
    numbers = [index for index, field in enumerate(row.split(",")) if field.replace(".", "").isdigit()]
    first, last = numbers[0], numbers[-1]
    broken = [with_field(row, first, "-3"), row, with_field(row, last, "soon")]
    assert main(["validate", kind, written(tmp_path, "\n".join([header, *broken]) + "\n")]) == 2
    found = capsys.readouterr()
    names = header.split(",")
    assert found.out == ""
    assert f"line 2: {names[first]}: expected" in found.err
    assert f"line 4: {names[last]}: expected" in found.err
    assert "line 3" not in found.err


def with_field(row: str, index: int, text: str) -> str:
    fields = row.split(",")
    fields[index] = text
    return ",".join(fields)


def test_every_kind_has_a_row_here() -> None:
    assert set(ROWS) | {"scales"} == set(kinds.KINDS)

"""Files of measured lengths: what is read, and what each mistake says, file and line first."""

import pytest
import yaml

from planner.domain.reading import read_scenario
from planner.domain.traces import read_lengths
from planner.errors import SpecError

SCENARIO = {
    "name": "toy",
    "algorithm": "grpo",
    "models": {"actor": "qwen2.5-0.5b", "reference": "qwen2.5-0.5b"},
    "cluster": "1x8xh100-sxm-80gb",
    "workload": {
        "prompts": 32,
        "samples_per_prompt": 8,
        "prompt_tokens": 128,
        "response_tokens": {"trace": "lengths.csv", "maximum": 4096},
    },
}


def written(folder, text, *, name="lengths.csv"):
    path = folder / name
    path.write_text(text)
    return path


def scenario_in(folder, **lengths):
    workload = dict(SCENARIO["workload"])
    if lengths:
        workload["response_tokens"] = lengths
    path = folder / "scenario.yaml"
    path.write_text(yaml.safe_dump({**SCENARIO, "workload": workload}))
    return path


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("100\n200\n\n300\n", None),
        ("100.0\r\n200\r\n300", None),
        ("response_tokens\n100\n200\n300\n", None),
        ("\ufeffid, response_tokens\n1,100\n2,200\n\n3,300\n", None),
        ("output_tokens,input_tokens\n100,1\n200,2\n300,3\n", None),
        ('text,response_length\n"a, b\nc",100\n"d ""e""",200\nf,300\n', None),
        ("n,tokens\n1,100\n2,200\n3,300\n", "tokens"),
        ('{"response_tokens": 100}\n{"response_tokens": 200.0, "x": 1}\n{"response_tokens": 300}\n', None),
        ('{"tokens": 100}\n{"tokens": 200}\n\n{"tokens": "300"}\n', "tokens"),
    ],
)
def test_each_format_is_read_in_its_order(tmp_path, text, column):
    path = written(tmp_path, text)
    assert read_lengths(path, kind="response_tokens", column=column) == [100, 200, 300]


MISTAKES = [
    ("", {}, "is empty; write one length a line, or a CSV file with a column response_tokens"),
    ("\n \n", {}, "is empty"),
    ("response_tokens\n", {}, "has a header but no lengths; write one a line below it"),
    ("a,b\n1,2\n", {}, "line 1: no column response_tokens or output_tokens or response_length; found a, b"),
    ("a,b\n1,2\n", {"column": "c"}, "line 1: no column c; found a, b; name one with column: NAME"),
    ("100\n-5\n", {}, "line 2: '-5' is not a number of tokens above 0; correct the line or leave it out"),
    ("100\n0\n", {}, "line 2: '0' is not a number of tokens above 0"),
    ("100\nnan\n", {}, "line 2: 'nan' is not a number of tokens above 0"),
    ("100\n1e400\n", {}, "line 2: '1e400' is not a number of tokens above 0"),
    ("100\nmany\n", {}, "line 2: 'many' is not a number of tokens above 0"),
    ("id,response_tokens\n1,5\n2\n", {}, "line 3: '' is not a number of tokens above 0"),
    ('t,response_tokens\n"a\nb",5\nc,x\n', {}, "line 4: 'x' is not a number of tokens above 0"),
    ('t,response_tokens\n"a,5\n', {}, "line 2: is not CSV: unexpected end of data"),
    ('{"response_tokens": 5}\n{"response_tokens": null}\n', {}, "line 2: 'None' is not a number of tokens"),
    ('{"response_tokens": 5}\n{"other": 5}\n', {}, "line 2: no column response_tokens"),
    ('{"response_tokens": 5}\n[5]\n', {}, "line 2: is not an object such as {'response_tokens': 512}"),
    ('{"response_tokens": 5}\n{"respo\n', {}, "line 2: is not JSON: '{\"respo'"),
    ('{"response_tokens": 5}\n{"response_tokens": ' + "9" * 5000 + "}\n", {}, "line 2: is not JSON"),
    ('{"response_tokens": 5}\n' + '{"a":' * 9000 + "\n", {}, "line 2: is not JSON"),
]


@pytest.mark.parametrize(("text", "lengths", "expected"), MISTAKES)
def test_a_mistake_names_the_scenario_its_key_the_file_and_the_line(tmp_path, text, lengths, expected):
    path = written(tmp_path, text)
    scenario = scenario_in(tmp_path, trace="lengths.csv", maximum=4096, **lengths)
    with pytest.raises(SpecError) as caught:
        read_scenario(scenario)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{scenario}: workload.response_tokens.trace: {path}: ")
    assert expected in line


def test_a_missing_file_a_folder_and_what_is_no_text_are_said(tmp_path):
    scenario = scenario_in(tmp_path)
    with pytest.raises(SpecError, match=r"workload\.response_tokens\.trace: no such file: .*lengths\.csv"):
        read_scenario(scenario)
    (tmp_path / "lengths.csv").mkdir()
    with pytest.raises(SpecError, match="cannot be read as text"):
        read_scenario(scenario)
    (tmp_path / "lengths.csv").rmdir()
    (tmp_path / "lengths.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(SpecError, match="cannot be read as text"):
        read_scenario(scenario)


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ({"trace": "lengths.csv", "maximum": 0}, "workload.response_tokens: maximum is a whole number"),
        ({"trace": "lengths.csv", "maximum": -3}, "workload.response_tokens: maximum is a whole number"),
        ({"trace": "lengths.csv", "mean": 3, "maximum": 9}, "found mean and trace"),
        ({"trace": "lengths.csv", "sigma": 1}, "trace has a shape already"),
        ({"trace": "lengths.csv", "maxmum": 9}, "workload.response_tokens.maxmum: unknown key"),
        ({"histogram": {"edges": [0, 5, 3], "counts": [1, 1]}}, "edges are rising numbers from 0 on"),
        ({"mean": 9, "maximum": 10, "sigma": "wide"}, "workload.response_tokens.sigma"),
        ({"mean": 9, "maximum": 10, "column": "x"}, "workload.response_tokens.column: unknown key"),
    ],
)
def test_lengths_that_contradict_themselves_are_refused_by_their_key(tmp_path, lengths, expected):
    written(tmp_path, "100\n200\n")
    with pytest.raises(SpecError) as caught:
        read_scenario(scenario_in(tmp_path, **lengths))
    (line,) = str(caught.value).splitlines()
    assert expected in line


def test_prompts_and_responses_take_their_own_column_of_one_file(tmp_path):
    written(tmp_path, "prompt_tokens,response_tokens\n10,100\n20,200\n30,300\n")
    path = scenario_in(tmp_path)
    value = yaml.safe_load(path.read_text())
    value["workload"]["prompt_tokens"] = {"trace": "lengths.csv"}
    path.write_text(yaml.safe_dump(value))
    workload = read_scenario(path).workload
    assert workload.prompt_tokens.mean == pytest.approx(20)
    assert workload.response_tokens.mean == pytest.approx(200)
    assert (workload.prompt_tokens.maximum, workload.response_tokens.maximum) == (30, 4096)

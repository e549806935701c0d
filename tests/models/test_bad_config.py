"""A config.json that nobody should have: one sentence and exit code 2 from the command, whatever is in it."""

import json
from pathlib import Path

import pytest

from workshop_utils.cli import main
from workshop_utils.models.find import find_architecture
from workshop_utils.models.parameters import count_parameters

LLAMA = (
    '"model_type": "llama", "hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, '
    '"vocab_size": 128'
)
DEEP = 10_000
BAD = {
    "negative layers": (f'{{{LLAMA}, "num_hidden_layers": -2}}', "num_hidden_layers = -2, and it must be"),
    "layers as text": (f'{{{LLAMA}, "num_hidden_layers": "2"}}', 'num_hidden_layers = "2", and it must be'),
    "NaN": (f'{{{LLAMA}, "num_hidden_layers": NaN}}', "num_hidden_layers = NaN, and it must be"),
    "Infinity": (f'{{{LLAMA}, "num_hidden_layers": Infinity}}', "num_hidden_layers = Infinity, and it must"),
    "a huge number": (
        f'{{{LLAMA}, "num_hidden_layers": 1e400}}',
        "num_hidden_layers = Infinity, and it must",
    ),
    "4,301 digits": (f'{{{LLAMA}, "num_hidden_layers": {"9" * 4301}}}', "is not JSON"),
    "deep lists": ("[" * DEEP + "]" * DEEP, "nested too deep"),
    "deep objects": ('{"a":' * DEEP + "{}" + "}" * DEEP, "nested too deep"),
    "no model type": ("{}", "lacks model_type"),
    "an unknown type": ('{"model_type": "no_such_type"}', "neither this workshop nor transformers"),
    "an empty file": ("", "is not JSON"),
}


def sentence_of(model: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Run the command, which must end with code 2 and print one line and no traceback."""
    assert main(["estimate", str(model), "--tokens", "16"]) == 2
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert captured.out == ""
    assert len(lines) == 1
    assert lines[0].endswith(".")
    return lines[0]


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_one_sentence(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, words = BAD[case]
    (tmp_path / "config.json").write_text(text, encoding="utf-8")
    assert words in sentence_of(tmp_path / "config.json", capsys)


def test_a_json_of_100_mb_is_not_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "config.json"
    file.write_text('{"model_type": "llama", "text": "' + "x" * 100_000_000 + '"}', encoding="utf-8")
    assert "is no config.json (100,000,035 bytes)" in sentence_of(file, capsys)


def test_a_folder_without_a_config_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "holds no config.json" in sentence_of(tmp_path, capsys)


def test_the_last_of_two_equal_keys_counts_as_everywhere(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(f'{{"num_hidden_layers": 5, {LLAMA}, "num_hidden_layers": 2}}', encoding="utf-8")
    assert len(find_architecture(str(file)).layers) == 2


def test_numbers_that_no_shape_needs_may_be_infinite(tmp_path: Path) -> None:
    # Granite 4 and Mamba state a time_step_limit up to Infinity.
    fields = f'{{{LLAMA}, "num_hidden_layers": 2, "time_step_limit": [0.0, Infinity], "rope_theta": NaN}}'
    (tmp_path / "config.json").write_text(fields, encoding="utf-8")
    plain = {name: value for name, value in json.loads(fields).items() if name != "rope_theta"}
    (tmp_path / "plain.json").write_text(json.dumps(plain), encoding="utf-8")
    assert (
        count_parameters(find_architecture(str(tmp_path))).by_part
        == count_parameters(find_architecture(str(tmp_path / "plain.json"))).by_part
    )

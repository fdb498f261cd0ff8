from __future__ import annotations

import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import clip_unlearn
from clip_unlearn.audit.catalog import attacks
from clip_unlearn.bench.ablation import ABLATIONS
from clip_unlearn.bench.fakes import KINDS
from clip_unlearn.bench.tuning import read_trials
from clip_unlearn.cli.app import app

VERBS = ("forget", "synthesize", "evaluate", "audit", "classes", "models", "methods")


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_every_verb_has_an_example(verb: str) -> None:
    done = CliRunner().invoke(app, [verb, "--help"])
    assert done.exit_code == 0
    assert f"Example: clip-unlearn {verb}" in done.output
    assert max(map(len, done.output.splitlines())) <= 80


def test_the_help_of_the_whole_lists_every_verb() -> None:
    done = CliRunner().invoke(app, ["--help"])
    assert all(f"  {verb} " in done.output for verb in VERBS)
    assert "Example: clip-unlearn forget" in done.output


def test_flags_that_scripts_rely_on_are_there() -> None:
    help_text = CliRunner().invoke(app, ["forget", "--help"]).output
    flags = "output model checkpoint method preset seed device classes new-class images overwrite"
    for flag in (*flags.split(), "no-evidence", "json", "json-file", "forget-class"):
        assert f"--{flag} " in help_text


def test_the_help_of_ablation_names_every_one_of_them() -> None:
    help_text = " ".join(CliRunner().invoke(app, ["bench", "ablation", "--help"]).output.split())
    of_lipschitz, _, of_gate = help_text.partition("of gate: ")
    listed = of_lipschitz.partition("Of lipschitz: ")[2] + of_gate.partition(".")[0]
    assert set(re.findall(r"[a-z]+", listed)) == set(ABLATIONS)


@pytest.mark.parametrize(
    ("verb", "names"),
    [
        (["audit"], [entry.name for entry in attacks]),
        (["bench", "audit"], [*KINDS, *(entry.name for entry in attacks)]),
        (["bench", "tuning"], list(read_trials())),
    ],
    ids=" ".join,
)
def test_help_that_a_message_points_to_lists_the_names(verb: list[str], names: list[str]) -> None:
    text = "".join(CliRunner().invoke(app, [*verb, "--help"]).output.split())  # lines break names
    assert [name for name in names if name.replace(" ", "") not in text] == []


def printed_by(program: str) -> str:
    """What lines that call the application print, in a process that has imported nothing else."""
    start = (
        "import sys\nfrom typer.testing import CliRunner\nfrom clip_unlearn.cli.app import app\n"
    )
    done = subprocess.run([sys.executable, "-c", start + program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_help_and_version_answer_before_torch_is_imported() -> None:
    program = (
        f"for verb in {VERBS!r}:\n"
        "    CliRunner().invoke(app, [verb, '--help'])\n"
        "print(CliRunner().invoke(app, ['--version']).output, end='')\n"
        "print(sorted({'torch', 'open_clip', 'numpy'} & sys.modules.keys()))\n"
    )
    assert printed_by(program) == f"clip-unlearn {clip_unlearn.__version__}\n[]\n"


def test_the_verbs_under_bench_are_read_when_one_of_them_is_asked_for() -> None:
    program = (
        "for wanted in (['--help'], ['bench', '--help']):\n"
        "    done = CliRunner().invoke(app, wanted)\n"
        "    read = 'clip_unlearn.cli.bench' in sys.modules\n"
        "    print(done.exit_code, 'quality' in done.output, read)\n"
    )
    assert printed_by(program) == "0 False False\n0 True True\n"


def test_a_verb_under_bench_that_is_none_is_told_which_is_like_it() -> None:
    done = CliRunner().invoke(app, ["bench", "qualty"])
    assert done.exit_code == 2
    assert "Did you mean 'quality'?" in done.output


def test_classes_are_listed_without_torch() -> None:
    program = (
        "print(CliRunner().invoke(app, ['classes', 'food']).exit_code, 'torch' in sys.modules)\n"
    )
    assert printed_by(program) == "0 False\n"


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "clip_unlearn", "--version"], capture_output=True, text=True
    )
    assert done.stdout == f"clip-unlearn {clip_unlearn.__version__}\n", done.stderr


def test_no_verb_is_an_unknown_command_in_one_line_and_exit_code_2() -> None:
    done = CliRunner().invoke(app, ["unlearn"])
    assert done.exit_code == 2
    assert "No such command 'unlearn'" in done.output

"""Given any arguments, a command either works or says in one line what is wrong and writes nothing."""

from __future__ import annotations

import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from public_calls import Opened, empty_folder, files

from phyletic.cli import main
from phyletic.cli.reference import commands

WORDS = st.one_of(
    st.sampled_from(
        ["", " ", ".", "..", "../x", "a/b", "a\\b", "a\nb", "\ud800", "größe", "𝛼", "a.b", "x" * 5000, "lr",
         "score", "-", "--", "%s", "{}", "a b", "~", "*", "study", "none", "nan", "inf", "1e400", "1" + "0" * 400]
    ),
    st.text(alphabet=st.characters(exclude_characters="\x00"), max_size=8),
    st.integers(-3, 12).map(str),
)  # fmt: skip
COMMANDS = {name.removeprefix("phyletic "): command for name, command, _ in commands() if name != "phyletic"}
OPTIONS = {
    name: [option for parameter in command.params for option in parameter.opts if option.startswith("-")]
    for name, command in COMMANDS.items()
}
# options that keep long commands short; later options override them
SMALL = {
    "simulate": ["--population", "2", "--steps", "2", "--seeds", "1"],
    "plot": ["--dpi", "20", "--output", "a.png"],
    "slurm": ["grpcs://head:7070", "study", "train.py:train"],
    "kubernetes": ["--image", "train", "--output", "k8s", "grpcs://head:7070", "study", "train.py:train"],
}
# these take no study as an argument
ALONE = ("studies", "doctor", "run", "simulate", "demo", "demo toy", "slurm", "kubernetes")
# these take seconds if they succeed, so only bad options are tried here
LONG = ("demo", "demo toy")

# these write files where the arguments say
WRITES = ("plot", "export", "kubernetes")


def call(name: str, *arguments: str) -> Result:
    """Run a command; check that it ends with its own message, not with an exception."""
    result = CliRunner().invoke(main, [*name.split(), *arguments])
    assert result.exit_code in (0, 1, 2), result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "--debug shows where" not in result.output, result.output
    return result


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    return Opened(tmp_path_factory.mktemp("opened"))


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in LONG])
@settings(max_examples=15, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_command_works_or_says_in_one_line_what_is_wrong(name: str, data: st.DataObject, opened: Opened) -> None:
    arguments = data.draw(st.lists(WORDS, max_size=2))
    if name not in ALONE and data.draw(st.booleans()):
        arguments = ["study", *arguments[:1]]
    arguments = [*SMALL.get(name, ()), *arguments]
    for option in data.draw(st.lists(st.sampled_from([*OPTIONS[name], "--bad"]), max_size=2)):
        if option not in ("--help", "-h", "--storage"):
            arguments += [option, data.draw(WORDS)]
    if "--storage" in OPTIONS[name]:
        storage = data.draw(st.sampled_from([str(opened.study.storage)] * 3 + ["none.db", "x", ""]))
        arguments += ["--storage", storage]
    with empty_folder() as elsewhere:
        before, around = opened.rows(), files(elsewhere)
        result = call(name, *arguments)
        if result.exit_code != 0 or name not in WRITES:
            assert files(elsewhere) == around
        if result.exit_code != 0:
            assert opened.rows() == before


@pytest.mark.parametrize("word", ["", "a\x00b", "\ud800", "x" * 300, "x" * 5000, "no/such/folder", "."])
@pytest.mark.parametrize("ending", ["", ".png", ".gif"])
def test_an_unusable_output_path_is_named_and_nothing_is_written(word: str, ending: str, opened: Opened) -> None:
    with empty_folder() as elsewhere:
        around = files(elsewhere)
        result = call("plot", "study", "--output", word + ending, "--dpi", "20", "--storage", str(opened.study.storage))
        assert result.exit_code in (1, 2) or word == "."
        if result.exit_code:
            assert files(elsewhere) == around
            assert "output" in result.output


@pytest.mark.parametrize(
    ("name", "option"),
    [
        (name, option)
        for name in ("demo", "demo toy", "simulate")
        for option in OPTIONS[name]
        if option.startswith("--")
    ],
)
def test_a_refused_option_is_named_and_nothing_is_written(name: str, option: str) -> None:
    parameter = next(parameter for parameter in COMMANDS[name].params if option in parameter.opts)
    if getattr(parameter, "is_flag", False) or option == "--help":
        return
    words = ["", "nan", "inf", "-1", "1e400", "x" * 5000, "\x00", "1" + "0" * 400]
    if option in ("--output", "--storage"):
        words = ["a\x00b", "\ud800", "x" * 5000, "/proc/none/such"]
    with empty_folder() as elsewhere:
        around = files(elsewhere)
        for word in words:
            result = call(name, *SMALL.get(name, ()), option, word)
            assert result.exit_code in (1, 2), word
            assert option.strip("-") in result.output, (word, result.output)
            assert files(elsewhere) == around, word


def test_every_command_is_tried() -> None:
    assert set(main.list_commands(None)) == {name.split()[0] for name in COMMANDS}  # type: ignore[arg-type]
    assert set(ALONE) | set(LONG) | set(SMALL) <= set(COMMANDS)

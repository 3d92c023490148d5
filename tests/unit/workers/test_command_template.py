"""Placeholders in a command's arguments: what replaces them, what is left out, and what is refused."""

import pytest

from phyletic.errors import InvalidArgument
from phyletic.workers.command_template import check_names, fill, names_in

FACTS = ("trial", "steps", "load_from")


@pytest.mark.parametrize(
    ("arguments", "values", "filled"),
    [
        (["--lr={lr}"], {"lr": 1e-05}, ["--lr=1e-05"]),
        (["{a}{b}"], {"a": "x y", "b": 3}, ["x y3"]),
        (["{flag}"], {"flag": True}, ["true"]),
        (["{optimizer.lr}", "{{optimizer.lr}}"], {"optimizer.lr": 0.5}, ["0.5", "{optimizer.lr}"]),
        (["{{{a}}}"], {"a": 1}, ["{1}"]),
        # a value is not read again for placeholders
        (["{a}"], {"a": "{b}", "b": 1}, ["{b}"]),
        # what has no value is left out, with the option in front of it
        (["p", "--resume", "{load_from}", "q"], {"load_from": None}, ["p", "q"]),
        (["p", "--resume={load_from}", "-v"], {}, ["p", "-v"]),
        (["-v", "p", "{load_from}"], {}, ["-v", "p"]),
        (["-v", "at/{load_from}"], {}, ["-v"]),
        (["--resume", "{load_from}"], {"load_from": "/x"}, ["--resume", "/x"]),
        (["-a", "{a}", "{b}"], {}, []),
    ],
)
def test_placeholders_are_replaced_or_left_out(arguments, values, filled):
    assert fill(["program", *arguments], values) == ["program", *filled]


def test_attributes_and_formats_are_no_placeholders():
    # str.format would show the inside of the objects that it is given
    assert names_in("{trial.__class__}{0}{a!r}{a:>9}") == ["trial.__class__", "0", "a!r", "a:>9"]
    with pytest.raises(InvalidArgument, match=r"without \{trial.__class__\}"):
        check_names(["{trial.__class__}"], FACTS, ["lr"])


def test_the_hyperparameters_that_are_named_are_returned():
    assert check_names(["{lr}", "-n{steps}", "{optimizer.lr}"], FACTS, ["lr", "optimizer.lr"]) == {"lr", "optimizer.lr"}


@pytest.mark.parametrize("argument", ["{", "}", "{lr", "lr}", '{"lr": {lr}}', "{{lr}"])
def test_a_brace_without_a_partner_is_named(argument):
    with pytest.raises(InvalidArgument, match=r"command\[1\] is .* without a single .*\{\{ and \}\}"):
        check_names(["program", argument], FACTS, ["lr"])


def test_an_unknown_placeholder_is_named_with_the_known_ones():
    with pytest.raises(
        InvalidArgument, match=r"without \{lrr\}: the placeholders are lr, trial, steps, load_from. Did"
    ):
        check_names(["program", "{lrr}"], FACTS, ["lr"])


def test_a_name_of_two_things_is_refused():
    with pytest.raises(InvalidArgument, match="both a hyperparameter and a fact"):
        check_names(["{steps}"], FACTS, ["steps"])

"""First values that depend on each other, that are crossed, or that a grid leaves to chance."""

import pytest

import phyletic as ph
from phyletic.errors import InvalidArgument, InvalidSpace

SPACE = {"h0": ph.Float(0, 1), "h1": ph.Float(0, 1), "lr": ph.Float(0.001, 0.1, log=True)}


def make(storage=None, **given):
    return ph.Study(
        "study", space=SPACE, metric="score", mode="max", algorithm=ph.PBT(4, 1), storage=storage, seed=3, **given
    )


def births(study):
    return [study.ask().hyperparameters.copy() for _ in range(4)]


def rest(values):
    return 1 - values["h0"]


def test_a_function_takes_the_values_before_it(tmp_path):
    initial = [{"h0": 0.25, "h1": rest}, {"h1": rest}, {"lr": lambda values: 0.01 + 0.01 * values["h1"]}]
    study = make(tmp_path / "a.db", initial=initial)
    born = births(study)
    assert (born[0]["h0"], born[0]["h1"]) == (0.25, 0.75)
    assert born[1]["h1"] == 1 - born[1]["h0"]
    assert born[2]["lr"] == 0.01 + 0.01 * born[2]["h1"]
    named = study.identity.initial_functions
    assert [sorted(row) for row in named] == [["h1"], ["h1"], ["lr"]]
    assert named[0]["h1"].startswith("rest@sha256:")
    study.close()
    assert births(make(tmp_path / "a.db", initial=initial))  # the same study
    with pytest.raises(ph.errors.StudyMismatch, match="initial"):
        make(tmp_path / "a.db", initial=[{"h0": 0.25, "h1": lambda values: 0.5}, *initial[1:]])


def failing(values):
    raise ZeroDivisionError("no ratio")


@pytest.mark.parametrize(
    ("row", "error", "said"),
    [
        ({"h1": failing}, InvalidArgument, "h1 is 'failing'.*It raised ZeroDivisionError"),
        ({"h1": lambda values: 7.0}, InvalidSpace, r"h1.*7\.0.*The function .* returned it"),
        ({"h1": lambda values: "high"}, InvalidSpace, "h1.*'high'"),
        ({"h2": rest}, InvalidSpace, "h2"),
        ({"h0": lambda values: values["h1"]}, InvalidArgument, "h0.*KeyError"),
    ],
)
def test_a_function_that_cannot_be_used_is_named_and_nothing_is_stored(tmp_path, row, error, said):
    with pytest.raises(error, match=said):
        make(tmp_path / "a.db", initial=[row])
    assert not (tmp_path / "a.db").exists()


def test_a_crossed_list_has_every_combination_and_leaves_the_rest_to_chance():
    crossed = ph.grid(h0=[0, 1], h1=[0, 1])
    born = births(make(initial=crossed))
    assert [(one["h0"], one["h1"]) for one in born] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert len({one["lr"] for one in born}) == 4
    assert ph.grid({"a.b": [1, 2]}, c=["x"]) == [{"a.b": 1, "c": "x"}, {"a.b": 2, "c": "x"}]
    assert ph.grid() == [{}]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"h0": "ab"}, "h0 is 'ab'"),
        ({"h0": []}, "h0"),
        ({"h0": 3}, "h0"),
        ({"h0": range(2000), "h1": range(2000)}, "h1"),
    ],
)
def test_a_crossed_list_names_what_it_cannot_cross(given, said):
    with pytest.raises(InvalidArgument, match=said):
        ph.grid(given)


def test_a_grid_search_samples_the_parameters_that_are_not_named():
    study = ph.Study(
        "study",
        space=SPACE,
        metric="score",
        mode="max",
        algorithm=ph.GridSearch(1, points={"h0": 2}, population=4),
        seed=0,
    )
    born = births(study)
    assert [one["h0"] for one in born] == [0.0, 1.0, 0.0, 1.0]
    assert len({one["lr"] for one in born}) == 4
    assert len({one["h1"] for one in born}) == 4

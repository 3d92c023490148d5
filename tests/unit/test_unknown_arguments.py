"""Unknown arguments: words of other libraries, arguments in another's place, and near misses."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

import phyletic as ph
from phyletic import unknown_arguments as table
from phyletic.errors import PhyleticError, UnknownArgument

CALLED: dict[str, Any] = {
    "Study": ph.Study,
    "Study.run": ph.Study.run,
    **{name: getattr(ph, name) for name in ("RayWorkers", "Budget", "PBT", "Truncation", "Perturb")},
    **{name: getattr(ph, name) for name in ("Float", "Choice", "Ordinal")},
}


@pytest.mark.parametrize(
    ("call", "word", "said"),
    [
        (ph.Study, "direction", 'Study has no argument direction: give mode="max" or mode="min"'),
        (ph.RayWorkers, "num_workers", "RayWorkers has no argument num_workers: give count=..."),
        (ph.Study, "study_name", 'Study has no argument study_name: give name="..."'),
        (ph.Study, "n_trials", "Study has no argument n_trials: give budget=ph.Budget(trials=...)"),
        (ph.Study, "population", "Study has no argument population: give algorithm=ph.PBT(population=...)"),
        (ph.Study, "load_if_exists", "leave it out, because a study that exists is opened"),
        (ph.Study.run, "n_trials", "Study.run has no argument n_trials: give budget=ph.Budget(trials=...) to ph.Study"),
        (ph.Study.run, "n_jobs", "Study.run has no argument n_jobs: give workers=..."),
        (ph.Study.run, "objective", "give train, a function that loops over the trials it gets"),
        (ph.PBT, "perturbation_interval", "PBT has no argument perturbation_interval: give interval=..."),
        (ph.PBT, "metric", 'PBT has no argument metric: give metric="..." to ph.Study'),
        (ph.PBT, "quantile_fraction", "give exploit=ph.Truncation(fraction=...)"),
        (ph.PBT, "resample_probability", "give explore=ph.Perturb(resample_probability=...)"),
        (ph.PBT, "hyperparam_mutations", "give space={...} to ph.Study"),
        (ph.RandomSearch, "num_samples", "RandomSearch has no argument num_samples: give population=..."),
        (ph.RandomSearch, "burn_in", "give algorithm=ph.PBT(burn_in=...) to ph.Study"),
        (ph.Budget, "max_steps", "Budget has no argument max_steps: give steps=..."),
        (ph.Budget, "timeout", "Budget has no argument timeout: give seconds=..."),
        (ph.Float, "sampling", "Float has no argument sampling: give log=True"),
        (ph.StudyDefinition, "direction", 'StudyDefinition has no argument direction: give mode="max" or mode="min"'),
        (ph.Study, "stroage", "Study has no argument stroage: did you mean storage?"),
    ],
)
def test_an_unknown_argument_is_explained(call: Any, word: str, said: str) -> None:
    with pytest.raises(UnknownArgument) as raised:
        call(**{word: 1})
    assert str(raised.value).endswith(said)
    assert isinstance(raised.value, (TypeError, PhyleticError))


def test_a_name_like_no_other_is_pythons_own_error() -> None:
    with pytest.raises(TypeError, match=r"PBT.__init__\(\) got an unexpected keyword argument 'zebra'"):
        ph.PBT(zebra=3)  # type: ignore[call-arg]


def test_every_argument_that_the_table_names_exists_in_its_place() -> None:
    assert set(table._WORDS) == set(table._PLACES) == set(CALLED)
    for place, words in table._WORDS.items():
        for ours in words:
            for name in re.findall(r"(\w+)=", re.sub(r"\(.*?\)", "", ours)) or [ours.partition(",")[0]]:
                assert name in inspect.signature(CALLED[place]).parameters, (place, ours)
    for form, _ in table._PLACES.values():
        for kind, inner in re.findall(r"(\w+)=(?:\{\{\"...\": )?ph\.(\w+)", form):
            assert any(kind in inspect.signature(one).parameters for one in CALLED.values()), form
            assert inner in CALLED


def test_signatures_stay_as_they_are_written() -> None:
    for call in CALLED.values():
        kinds = {parameter.kind for parameter in inspect.signature(call).parameters.values()}
        assert inspect.Parameter.VAR_KEYWORD not in kinds
    assert list(inspect.signature(ph.Float).parameters) == ["low", "high", "log", "step", "limits", "fixed"]

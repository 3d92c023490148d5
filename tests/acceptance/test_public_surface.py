"""What `import phyletic` gives, and what it costs."""

from __future__ import annotations

import inspect
import subprocess
import sys
import typing

import pytest

import phyletic as ph

NAMES = [
    "__version__",
    "errors",
    "BinaryTournament",
    "Budget",
    "Choice",
    "ExploreOnly",
    "Finished",
    "Float",
    "Gaussian",
    "GridSearch",
    "Int",
    "LiveTrial",
    "MedianStopping",
    "NoiseGate",
    "NonFiniteStopping",
    "Ordinal",
    "PBT",
    "Perturb",
    "RandomSearch",
    "Resample",
    "Schedule",
    "Space",
    "Study",
    "StudyDefinition",
    "TTest",
    "Trial",
    "TrialState",
    "Truncation",
    "Wait",
    "early_stop",
    "studies",
    "suggest",
]
# what is installed with phyletic, what its extras bring, and what it must never need
HEAVY = [
    *("alembic", "click", "cloudpickle", "msgspec", "numpy", "psutil", "rich", "sqlalchemy"),
    *("jax", "keras", "matplotlib", "pandas", "PIL", "safetensors", "scipy", "sklearn", "torch"),
    *("grpc", "optuna", "ray", "sqlalchemy.dialects.postgresql"),
]
# what using every public name may import beside that
USED = {"msgspec", "numpy", "sqlalchemy"}


def imported_by(code: str) -> set[str]:
    """Return which of the heavy libraries a fresh process has imported after some code."""
    script = f"import sys\n{code}\nprint(*(name for name in {HEAVY!r} if name in sys.modules))"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(ended.stdout.split())


def test_these_are_the_public_names() -> None:
    assert ph.__all__ == NAMES


def test_importing_phyletic_imports_nothing_heavy() -> None:
    assert imported_by("import phyletic") == set()


def test_the_public_names_import_no_library_of_an_extra() -> None:
    assert imported_by("import phyletic\nfor name in phyletic.__all__: getattr(phyletic, name)") <= USED


def test_a_study_imports_no_library_of_an_extra() -> None:
    code = """
import phyletic as ph
def train(trials):
    for trial in trials.attach(lambda trial: {"x": [0.0]}):
        for _ in trial.range():
            trial.state.x[0] += trial["lr"]
        trial.report(score=trial.state.x[0])
study = ph.Study("s", space={"lr": ph.Float(0, 1)}, metric="score", mode="max", algorithm=ph.PBT(2, 2),
                 budget=ph.Budget(steps=4))
train(study)
study.schedule()
"""
    assert imported_by(code) <= USED


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Tuner'"):
        ph.Tuner  # noqa: B018


def test_dir_lists_the_public_names_and_the_modules_beside_them() -> None:
    assert {*NAMES, "plots", "problems", "testing"} <= set(dir(ph))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "__version__"])
def test_every_public_name_says_what_it_is(name: str) -> None:
    public = getattr(ph, name)
    assert (inspect.getdoc(public) or "").strip()
    if not inspect.isclass(public):
        return
    # a docstring of its own, not one that a base class or a decorator left
    assert "__doc__" in vars(public)
    assert not (public.__doc__ or "").startswith(f"{name}("), "a signature that the dataclass decorator made"
    for member, value in vars(public).items():
        if not member.startswith("_") and (inspect.isfunction(value) or isinstance(value, property)):
            assert inspect.getdoc(value), f"{name}.{member}"


def test_every_error_comes_from_one_root() -> None:
    for name in ph.errors.__all__:
        kind = getattr(ph.errors, name)
        assert issubclass(kind, ph.errors.PhyleticError)
        assert f" {name}" in (ph.errors.__doc__ or ""), f"{name} is missing from the tree at the top of the module"
    raised = {value for value in vars(ph.errors).values() if inspect.isclass(value) and issubclass(value, Exception)}
    assert {kind.__name__ for kind in raised} == set(ph.errors.__all__)


def test_the_names_that_type_checkers_see_are_those_that_are_there() -> None:
    source = inspect.getsource(ph)
    block = source.split("if TYPE_CHECKING:")[1].split("\n\n")[0]
    seen = {line.rpartition(" as ")[2] for line in block.splitlines() if " as " in line}
    assert seen == set(NAMES) - {"__version__"}
    assert typing.TYPE_CHECKING is False

"""The public attributes of a trial."""

import pytest

import phyletic as ph

PUBLIC = {
    *(
        "number",
        "member",
        "generation",
        "parent",
        "lineage",
        "founder",
        "donor",
        "newborn",
        "start_step",
        "steps",
        "seed",
        "record",
    ),
    *("hyperparameters", "load_from", "save_to", "state", "loaded", "should_stop", "range", "report", "apply"),
    *("save", "first_step"),
}


def test_a_trial_has_exactly_the_public_attributes_and_none_can_be_set():
    study = ph.Study(
        "study", space={"lr": ph.Float(0.1, 1.0)}, metric="score", mode="max", seed=0,
        algorithm=ph.PBT(1, 5), budget=ph.Budget(steps=5),
    )  # fmt: skip
    trial = study.ask()
    assert {name for name in dir(trial) if not name.startswith("_")} == PUBLIC
    for name in PUBLIC - {"range", "report", "apply", "save"}:
        with pytest.raises(AttributeError):
            setattr(trial, name, None)
    study.close()

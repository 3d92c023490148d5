"""A trial from ``ask`` knows which trials its weights come from."""

from __future__ import annotations

import phyletic as ph


def test_a_trial_from_ask_knows_its_lineage() -> None:
    study = ph.Study(
        "asked",
        space={"lr": ph.Float(1e-3, 1e-1, log=True)},
        metric="score",
        mode="max",
        algorithm=ph.PBT(3, 1, exploit=ph.Truncation(0.34), synchronous=True),
        budget=ph.Budget(trials=12),
        seed=0,
    )
    said = {}
    while not isinstance(trial := study.ask(), ph.Finished):
        weights = 0.0 if trial.newborn else float(study.restore(trial.parent)["weights"])
        said[trial.number] = trial.lineage
        assert (trial.founder, trial.donor) == (int(trial.lineage.split(",")[0]), trial.record.decision.donor)
        weights += trial["lr"]
        study.tell(trial, score=weights, checkpoint={"weights": weights})
    trials = study.trials()
    exploits = [trial for trial in trials if trial.decision.kind == "exploit"]
    assert exploits
    assert all(trial.decision.donor == trial.parent for trial in exploits)
    assert said[0] == "0,"
    for trial in trials:
        inherited = "" if trial.parent is None else said[trial.parent]
        assert said[trial.number] == f"{inherited}{trial.number},"

"""The population that a decision saw can be rebuilt, whatever happened to it since."""

import random

import pytest

import phyletic as ph
from phyletic.coordinator.messages import Fail
from phyletic.workers.live_trial import attempt_of


def seen_now(study):
    members = study.owner.state.population()
    return [member.view.trial.number for member in members if member.view.trial is not None]


@pytest.mark.parametrize("seed", range(6))
def test_the_rebuilt_population_is_the_one_that_the_decision_saw(seed):
    study = ph.Study(
        "study",
        space={"lr": ph.Float(0.1, 1.0)},
        metric="score",
        mode="max",
        algorithm=ph.PBT(4, 2),
        budget=ph.Budget(steps=1000),
        seed=seed,
    )
    chance = random.Random(seed)
    expected, held = {}, []
    for _ in range(150):
        kind = chance.choice(["ask", "ask", "tell", "tell", "tell", "resize", "damage", "partial"])
        if kind == "ask" and len(held) < 8:
            seen = seen_now(study)
            trial = study.ask()
            # a trial granted again was decided earlier
            if not isinstance(trial, (ph.Wait, ph.Finished)) and trial.number not in expected:
                expected[trial.number] = seen
                held.append(trial)
        elif kind == "resize":
            if chance.random() < 0.3:
                study.resize(chance.randint(1, 6))
        elif held:
            trial = held.pop(chance.randrange(len(held)))
            if kind == "tell":
                study.tell(trial, score=chance.random(), checkpoint={"w": [0]})
            elif kind == "partial":
                study.tell(trial, checkpoint={"w": [0]}, steps_done=1, partial=True)
            elif trial.parent is not None:
                study.owner.execute([Fail(lease=attempt_of(trial).grant.lease, error="damaged", cause="damaged")])
            else:
                held.append(trial)
    resumed = [trial.number for trial in study.trials() if trial.decision.kind == "resume"]
    decided = {number: seen for number, seen in expected.items() if number not in resumed}
    assert len(decided) > 20
    found = {number: [head.number for head in study.population_at(number)] for number in decided}
    assert found == decided

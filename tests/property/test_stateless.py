"""For any synchronous study, ``suggest`` reproduces each trial from the earlier ones."""

from __future__ import annotations

import math

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

import phyletic as ph

SPACE = {
    "lr": ph.Float(1e-4, 1e-1, log=True),
    "layers": ph.Int(1, 4),
    "head": ph.Choice({"linear": {}, "mlp": {"width": ph.Ordinal([8, 16, 32])}}, fixed=False),
    "depth": ph.Choice([1, 2], fixed=True),
}
RULES = st.sampled_from([ph.Truncation(0.2), ph.Truncation(0.5), ph.BinaryTournament()])
SETTINGS = st.fixed_dictionaries(
    {
        "population": st.integers(1, 6),
        "interval": st.integers(1, 5),
        "exploit": RULES,
        "explore": st.sampled_from([ph.Perturb(resample_probability=0.3), ph.Gaussian(0.5), ph.Resample(0.5)]),
        "burn_in": st.sampled_from([0, 6]),
        "inherit": st.sampled_from(["both", "weights", "hyperparameters"]),
        "compare": st.sampled_from(["latest", "matched"]),
    }
)


@settings(max_examples=25, deadline=None)
@given(
    chosen=SETTINGS,
    mode=st.sampled_from(["max", "min"]),
    steps=st.integers(3, 18),
    seed=st.integers(0, 2**32),
    outcomes=st.lists(st.sampled_from([0.5, 1.0, -2.0, math.nan, math.inf, None]), min_size=1, max_size=20),
)
def test_each_generation_is_suggested_as_the_study_decided_it(chosen, mode, steps, seed, outcomes):
    algorithm = ph.PBT(**chosen, synchronous=True)
    defined = {"space": SPACE, "metric": "score", "mode": mode, "algorithm": algorithm}
    with ph.Study("any", **defined, budget=ph.Budget(steps=steps), seed=seed, max_failures=1) as study:
        while isinstance(trial := study.ask(), ph.LiveTrial) and trial.number < 60:
            outcome = outcomes[trial.number % len(outcomes)]
            if outcome is None and len(outcomes) > 1 and trial.number % 3:
                study.fail(trial, "by bad luck")
            else:
                study.tell(trial, score=trial["lr"] if outcome is None else outcome)
        trials = study.trials()
    definition = ph.StudyDefinition(**defined, steps=steps)
    ended = [trial for trial in trials if not trial.state.open]
    for generation in range(1 + max(trial.generation for trial in ended)):
        made = [trial for trial in trials if trial.generation == generation]
        before = [trial for trial in trials if trial.generation < generation]
        suggested = ph.suggest(definition, before, k=len(made), seed=seed)
        assert [(one.number, one.member, one.seed) for one in suggested] == [
            (trial.number, trial.member, trial.seed) for trial in made
        ]
        for one, trial in zip(suggested, made, strict=True):
            again = msgspec.structs.replace(one.suggestion.decision, as_of=trial.decision.as_of)
            assert again == trial.decision
            assert one.suggestion.hyperparameters == trial.hyperparameters
            assert (one.suggestion.parent, one.suggestion.steps) == (trial.parent, trial.steps)

"""Frozen records: study, trial, decision, checkpoint reference, evaluation and lease."""

from phyletic.records.checkpoint import CheckpointReference, CheckpointState, SavedState
from phyletic.records.decision import Change, Decision, Suggestion
from phyletic.records.evaluation import Evaluation, Measured
from phyletic.records.event import Event, StudyChange
from phyletic.records.failed_attempt import FailedAttempt, failed_attempt
from phyletic.records.lease import Lease
from phyletic.records.study import Budget, Metric, StudyControl, StudyIdentity
from phyletic.records.trial import Timings, Trial, TrialState
from phyletic.space.values import Hyperparameters, Value

__all__ = [
    "Budget",
    "Change",
    "CheckpointReference",
    "CheckpointState",
    "Decision",
    "Evaluation",
    "Event",
    "FailedAttempt",
    "Hyperparameters",
    "Lease",
    "Measured",
    "Metric",
    "SavedState",
    "StudyChange",
    "StudyControl",
    "StudyIdentity",
    "Suggestion",
    "Timings",
    "Trial",
    "TrialState",
    "Value",
    "failed_attempt",
]

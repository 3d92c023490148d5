from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Value(_message.Message):
    __slots__ = ("null", "boolean", "integer", "number", "text", "list", "map", "large_integer")
    NULL_FIELD_NUMBER: _ClassVar[int]
    BOOLEAN_FIELD_NUMBER: _ClassVar[int]
    INTEGER_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    LIST_FIELD_NUMBER: _ClassVar[int]
    MAP_FIELD_NUMBER: _ClassVar[int]
    LARGE_INTEGER_FIELD_NUMBER: _ClassVar[int]
    null: bool
    boolean: bool
    integer: int
    number: float
    text: str
    list: Values
    map: NamedValues
    large_integer: str
    def __init__(self, null: bool = ..., boolean: bool = ..., integer: _Optional[int] = ..., number: _Optional[float] = ..., text: _Optional[str] = ..., list: _Optional[_Union[Values, _Mapping]] = ..., map: _Optional[_Union[NamedValues, _Mapping]] = ..., large_integer: _Optional[str] = ...) -> None: ...

class Values(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedCompositeFieldContainer[Value]
    def __init__(self, values: _Optional[_Iterable[_Union[Value, _Mapping]]] = ...) -> None: ...

class NamedValue(_message.Message):
    __slots__ = ("name", "value")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: Value
    def __init__(self, name: _Optional[str] = ..., value: _Optional[_Union[Value, _Mapping]] = ...) -> None: ...

class NamedValues(_message.Message):
    __slots__ = ("entries",)
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[NamedValue]
    def __init__(self, entries: _Optional[_Iterable[_Union[NamedValue, _Mapping]]] = ...) -> None: ...

class NamedNumber(_message.Message):
    __slots__ = ("name", "value")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: float
    def __init__(self, name: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...

class NamedText(_message.Message):
    __slots__ = ("name", "value")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: str
    def __init__(self, name: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...

class NamedTexts(_message.Message):
    __slots__ = ("entries",)
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[NamedText]
    def __init__(self, entries: _Optional[_Iterable[_Union[NamedText, _Mapping]]] = ...) -> None: ...

class Space(_message.Message):
    __slots__ = ("format", "entries")
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    format: int
    entries: _containers.RepeatedCompositeFieldContainer[SpaceEntry]
    def __init__(self, format: _Optional[int] = ..., entries: _Optional[_Iterable[_Union[SpaceEntry, _Mapping]]] = ...) -> None: ...

class SpaceEntry(_message.Message):
    __slots__ = ("name", "float", "int", "ordinal", "choice", "group", "constant")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FLOAT_FIELD_NUMBER: _ClassVar[int]
    INT_FIELD_NUMBER: _ClassVar[int]
    ORDINAL_FIELD_NUMBER: _ClassVar[int]
    CHOICE_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    CONSTANT_FIELD_NUMBER: _ClassVar[int]
    name: str
    float: NumberDomain
    int: NumberDomain
    ordinal: OrdinalDomain
    choice: ChoiceDomain
    group: GroupOfEntries
    constant: ConstantValue
    def __init__(self, name: _Optional[str] = ..., float: _Optional[_Union[NumberDomain, _Mapping]] = ..., int: _Optional[_Union[NumberDomain, _Mapping]] = ..., ordinal: _Optional[_Union[OrdinalDomain, _Mapping]] = ..., choice: _Optional[_Union[ChoiceDomain, _Mapping]] = ..., group: _Optional[_Union[GroupOfEntries, _Mapping]] = ..., constant: _Optional[_Union[ConstantValue, _Mapping]] = ...) -> None: ...

class NumberDomain(_message.Message):
    __slots__ = ("low", "high", "log", "step", "limits", "fixed")
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    LOG_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    FIXED_FIELD_NUMBER: _ClassVar[int]
    low: Value
    high: Value
    log: Value
    step: Value
    limits: Value
    fixed: Value
    def __init__(self, low: _Optional[_Union[Value, _Mapping]] = ..., high: _Optional[_Union[Value, _Mapping]] = ..., log: _Optional[_Union[Value, _Mapping]] = ..., step: _Optional[_Union[Value, _Mapping]] = ..., limits: _Optional[_Union[Value, _Mapping]] = ..., fixed: _Optional[_Union[Value, _Mapping]] = ...) -> None: ...

class OrdinalDomain(_message.Message):
    __slots__ = ("values", "fixed")
    VALUES_FIELD_NUMBER: _ClassVar[int]
    FIXED_FIELD_NUMBER: _ClassVar[int]
    values: Value
    fixed: Value
    def __init__(self, values: _Optional[_Union[Value, _Mapping]] = ..., fixed: _Optional[_Union[Value, _Mapping]] = ...) -> None: ...

class ChoiceDomain(_message.Message):
    __slots__ = ("options", "spaces", "fixed")
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    SPACES_FIELD_NUMBER: _ClassVar[int]
    FIXED_FIELD_NUMBER: _ClassVar[int]
    options: Value
    spaces: _containers.RepeatedCompositeFieldContainer[GroupOfEntries]
    fixed: Value
    def __init__(self, options: _Optional[_Union[Value, _Mapping]] = ..., spaces: _Optional[_Iterable[_Union[GroupOfEntries, _Mapping]]] = ..., fixed: _Optional[_Union[Value, _Mapping]] = ...) -> None: ...

class GroupOfEntries(_message.Message):
    __slots__ = ("entries",)
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[SpaceEntry]
    def __init__(self, entries: _Optional[_Iterable[_Union[SpaceEntry, _Mapping]]] = ...) -> None: ...

class ConstantValue(_message.Message):
    __slots__ = ("value",)
    VALUE_FIELD_NUMBER: _ClassVar[int]
    value: Value
    def __init__(self, value: _Optional[_Union[Value, _Mapping]] = ...) -> None: ...

class Algorithm(_message.Message):
    __slots__ = ("type", "settings")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    type: str
    settings: _containers.RepeatedCompositeFieldContainer[NamedValue]
    def __init__(self, type: _Optional[str] = ..., settings: _Optional[_Iterable[_Union[NamedValue, _Mapping]]] = ...) -> None: ...

class Metric(_message.Message):
    __slots__ = ("name", "mode")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    name: str
    mode: str
    def __init__(self, name: _Optional[str] = ..., mode: _Optional[str] = ...) -> None: ...

class Budget(_message.Message):
    __slots__ = ("steps", "trials", "seconds", "target", "patience")
    STEPS_FIELD_NUMBER: _ClassVar[int]
    TRIALS_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    PATIENCE_FIELD_NUMBER: _ClassVar[int]
    steps: int
    trials: int
    seconds: float
    target: float
    patience: int
    def __init__(self, steps: _Optional[int] = ..., trials: _Optional[int] = ..., seconds: _Optional[float] = ..., target: _Optional[float] = ..., patience: _Optional[int] = ...) -> None: ...

class CheckpointReference(_message.Message):
    __slots__ = ("id", "digest", "size")
    ID_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    id: str
    digest: str
    size: int
    def __init__(self, id: _Optional[str] = ..., digest: _Optional[str] = ..., size: _Optional[int] = ...) -> None: ...

class StudyIdentity(_message.Message):
    __slots__ = ("uuid", "name", "space", "metrics", "algorithm", "seed", "initial", "initial_functions", "sampling", "warm_start")
    UUID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SPACE_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    ALGORITHM_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    INITIAL_FIELD_NUMBER: _ClassVar[int]
    INITIAL_FUNCTIONS_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_FIELD_NUMBER: _ClassVar[int]
    WARM_START_FIELD_NUMBER: _ClassVar[int]
    uuid: str
    name: str
    space: Space
    metrics: _containers.RepeatedCompositeFieldContainer[Metric]
    algorithm: Algorithm
    seed: int
    initial: _containers.RepeatedCompositeFieldContainer[NamedValues]
    initial_functions: _containers.RepeatedCompositeFieldContainer[NamedTexts]
    sampling: str
    warm_start: CheckpointReference
    def __init__(self, uuid: _Optional[str] = ..., name: _Optional[str] = ..., space: _Optional[_Union[Space, _Mapping]] = ..., metrics: _Optional[_Iterable[_Union[Metric, _Mapping]]] = ..., algorithm: _Optional[_Union[Algorithm, _Mapping]] = ..., seed: _Optional[int] = ..., initial: _Optional[_Iterable[_Union[NamedValues, _Mapping]]] = ..., initial_functions: _Optional[_Iterable[_Union[NamedTexts, _Mapping]]] = ..., sampling: _Optional[str] = ..., warm_start: _Optional[_Union[CheckpointReference, _Mapping]] = ...) -> None: ...

class StudyControl(_message.Message):
    __slots__ = ("budget", "population", "paused", "max_failures", "max_losses", "keep_best", "checkpoints", "enqueued")
    BUDGET_FIELD_NUMBER: _ClassVar[int]
    POPULATION_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    MAX_FAILURES_FIELD_NUMBER: _ClassVar[int]
    MAX_LOSSES_FIELD_NUMBER: _ClassVar[int]
    KEEP_BEST_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINTS_FIELD_NUMBER: _ClassVar[int]
    ENQUEUED_FIELD_NUMBER: _ClassVar[int]
    budget: Budget
    population: int
    paused: bool
    max_failures: int
    max_losses: int
    keep_best: int
    checkpoints: str
    enqueued: _containers.RepeatedCompositeFieldContainer[NamedValues]
    def __init__(self, budget: _Optional[_Union[Budget, _Mapping]] = ..., population: _Optional[int] = ..., paused: bool = ..., max_failures: _Optional[int] = ..., max_losses: _Optional[int] = ..., keep_best: _Optional[int] = ..., checkpoints: _Optional[str] = ..., enqueued: _Optional[_Iterable[_Union[NamedValues, _Mapping]]] = ...) -> None: ...

class Counters(_message.Message):
    __slots__ = ("next_trial", "sequence", "epoch", "completed", "partial", "failed", "exploits", "rescues", "nonfinite", "failures_in_a_row", "nonfinite_in_a_row", "since_best", "active_seconds", "member_steps", "clock")
    NEXT_TRIAL_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_FIELD_NUMBER: _ClassVar[int]
    PARTIAL_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    EXPLOITS_FIELD_NUMBER: _ClassVar[int]
    RESCUES_FIELD_NUMBER: _ClassVar[int]
    NONFINITE_FIELD_NUMBER: _ClassVar[int]
    FAILURES_IN_A_ROW_FIELD_NUMBER: _ClassVar[int]
    NONFINITE_IN_A_ROW_FIELD_NUMBER: _ClassVar[int]
    SINCE_BEST_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    MEMBER_STEPS_FIELD_NUMBER: _ClassVar[int]
    CLOCK_FIELD_NUMBER: _ClassVar[int]
    next_trial: int
    sequence: int
    epoch: int
    completed: int
    partial: int
    failed: int
    exploits: int
    rescues: int
    nonfinite: int
    failures_in_a_row: int
    nonfinite_in_a_row: int
    since_best: int
    active_seconds: float
    member_steps: int
    clock: float
    def __init__(self, next_trial: _Optional[int] = ..., sequence: _Optional[int] = ..., epoch: _Optional[int] = ..., completed: _Optional[int] = ..., partial: _Optional[int] = ..., failed: _Optional[int] = ..., exploits: _Optional[int] = ..., rescues: _Optional[int] = ..., nonfinite: _Optional[int] = ..., failures_in_a_row: _Optional[int] = ..., nonfinite_in_a_row: _Optional[int] = ..., since_best: _Optional[int] = ..., active_seconds: _Optional[float] = ..., member_steps: _Optional[int] = ..., clock: _Optional[float] = ...) -> None: ...

class StoredStudy(_message.Message):
    __slots__ = ("id", "identity", "control", "counters", "best", "created")
    ID_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    CONTROL_FIELD_NUMBER: _ClassVar[int]
    COUNTERS_FIELD_NUMBER: _ClassVar[int]
    BEST_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    id: int
    identity: StudyIdentity
    control: StudyControl
    counters: Counters
    best: _containers.RepeatedScalarFieldContainer[int]
    created: float
    def __init__(self, id: _Optional[int] = ..., identity: _Optional[_Union[StudyIdentity, _Mapping]] = ..., control: _Optional[_Union[StudyControl, _Mapping]] = ..., counters: _Optional[_Union[Counters, _Mapping]] = ..., best: _Optional[_Iterable[int]] = ..., created: _Optional[float] = ...) -> None: ...

class Change(_message.Message):
    __slots__ = ("path", "before", "after", "how")
    PATH_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    HOW_FIELD_NUMBER: _ClassVar[int]
    path: str
    before: Value
    after: Value
    how: str
    def __init__(self, path: _Optional[str] = ..., before: _Optional[_Union[Value, _Mapping]] = ..., after: _Optional[_Union[Value, _Mapping]] = ..., how: _Optional[str] = ...) -> None: ...

class Decision(_message.Message):
    __slots__ = ("kind", "as_of", "rank", "ranked", "threshold", "donor", "donor_member", "donor_rank", "inherited", "explored", "changes", "note")
    KIND_FIELD_NUMBER: _ClassVar[int]
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    RANKED_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    DONOR_FIELD_NUMBER: _ClassVar[int]
    DONOR_MEMBER_FIELD_NUMBER: _ClassVar[int]
    DONOR_RANK_FIELD_NUMBER: _ClassVar[int]
    INHERITED_FIELD_NUMBER: _ClassVar[int]
    EXPLORED_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    kind: str
    as_of: int
    rank: int
    ranked: int
    threshold: float
    donor: int
    donor_member: int
    donor_rank: int
    inherited: str
    explored: str
    changes: _containers.RepeatedCompositeFieldContainer[Change]
    note: str
    def __init__(self, kind: _Optional[str] = ..., as_of: _Optional[int] = ..., rank: _Optional[int] = ..., ranked: _Optional[int] = ..., threshold: _Optional[float] = ..., donor: _Optional[int] = ..., donor_member: _Optional[int] = ..., donor_rank: _Optional[int] = ..., inherited: _Optional[str] = ..., explored: _Optional[str] = ..., changes: _Optional[_Iterable[_Union[Change, _Mapping]]] = ..., note: _Optional[str] = ...) -> None: ...

class Evaluation(_message.Message):
    __slots__ = ("step", "metric", "value", "kind")
    STEP_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    step: int
    metric: str
    value: float
    kind: str
    def __init__(self, step: _Optional[int] = ..., metric: _Optional[str] = ..., value: _Optional[float] = ..., kind: _Optional[str] = ...) -> None: ...

class SavedState(_message.Message):
    __slots__ = ("checkpoint", "step", "attempt", "count", "fence", "evaluations")
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    EVALUATIONS_FIELD_NUMBER: _ClassVar[int]
    checkpoint: CheckpointReference
    step: int
    attempt: int
    count: int
    fence: int
    evaluations: _containers.RepeatedCompositeFieldContainer[Evaluation]
    def __init__(self, checkpoint: _Optional[_Union[CheckpointReference, _Mapping]] = ..., step: _Optional[int] = ..., attempt: _Optional[int] = ..., count: _Optional[int] = ..., fence: _Optional[int] = ..., evaluations: _Optional[_Iterable[_Union[Evaluation, _Mapping]]] = ...) -> None: ...

class Timings(_message.Message):
    __slots__ = ("waiting", "loading", "training", "evaluating", "saving")
    WAITING_FIELD_NUMBER: _ClassVar[int]
    LOADING_FIELD_NUMBER: _ClassVar[int]
    TRAINING_FIELD_NUMBER: _ClassVar[int]
    EVALUATING_FIELD_NUMBER: _ClassVar[int]
    SAVING_FIELD_NUMBER: _ClassVar[int]
    waiting: float
    loading: float
    training: float
    evaluating: float
    saving: float
    def __init__(self, waiting: _Optional[float] = ..., loading: _Optional[float] = ..., training: _Optional[float] = ..., evaluating: _Optional[float] = ..., saving: _Optional[float] = ...) -> None: ...

class Trial(_message.Message):
    __slots__ = ("number", "member", "generation", "parent", "hyperparameters", "start_step", "steps", "seconds", "seed", "state", "decision", "end_step", "score", "metrics", "checkpoint", "saved", "worker", "attempts", "failures", "losses", "timings", "applied", "remarks", "error", "created", "started", "finished")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    HYPERPARAMETERS_FIELD_NUMBER: _ClassVar[int]
    START_STEP_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    END_STEP_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    SAVED_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    LOSSES_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    REMARKS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    number: int
    member: int
    generation: int
    parent: int
    hyperparameters: _containers.RepeatedCompositeFieldContainer[NamedValue]
    start_step: int
    steps: int
    seconds: float
    seed: int
    state: str
    decision: Decision
    end_step: int
    score: float
    metrics: _containers.RepeatedCompositeFieldContainer[NamedNumber]
    checkpoint: CheckpointReference
    saved: SavedState
    worker: str
    attempts: int
    failures: int
    losses: int
    timings: Timings
    applied: _containers.RepeatedCompositeFieldContainer[NamedValue]
    remarks: _containers.RepeatedScalarFieldContainer[str]
    error: str
    created: float
    started: float
    finished: float
    def __init__(self, number: _Optional[int] = ..., member: _Optional[int] = ..., generation: _Optional[int] = ..., parent: _Optional[int] = ..., hyperparameters: _Optional[_Iterable[_Union[NamedValue, _Mapping]]] = ..., start_step: _Optional[int] = ..., steps: _Optional[int] = ..., seconds: _Optional[float] = ..., seed: _Optional[int] = ..., state: _Optional[str] = ..., decision: _Optional[_Union[Decision, _Mapping]] = ..., end_step: _Optional[int] = ..., score: _Optional[float] = ..., metrics: _Optional[_Iterable[_Union[NamedNumber, _Mapping]]] = ..., checkpoint: _Optional[_Union[CheckpointReference, _Mapping]] = ..., saved: _Optional[_Union[SavedState, _Mapping]] = ..., worker: _Optional[str] = ..., attempts: _Optional[int] = ..., failures: _Optional[int] = ..., losses: _Optional[int] = ..., timings: _Optional[_Union[Timings, _Mapping]] = ..., applied: _Optional[_Iterable[_Union[NamedValue, _Mapping]]] = ..., remarks: _Optional[_Iterable[str]] = ..., error: _Optional[str] = ..., created: _Optional[float] = ..., started: _Optional[float] = ..., finished: _Optional[float] = ...) -> None: ...

class Lease(_message.Message):
    __slots__ = ("trial", "fence", "token", "session")
    TRIAL_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    trial: int
    fence: int
    token: str
    session: str
    def __init__(self, trial: _Optional[int] = ..., fence: _Optional[int] = ..., token: _Optional[str] = ..., session: _Optional[str] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("kind", "at", "trial", "payload")
    KIND_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    TRIAL_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    kind: str
    at: float
    trial: int
    payload: _containers.RepeatedCompositeFieldContainer[NamedValue]
    def __init__(self, kind: _Optional[str] = ..., at: _Optional[float] = ..., trial: _Optional[int] = ..., payload: _Optional[_Iterable[_Union[NamedValue, _Mapping]]] = ...) -> None: ...

class StudyChange(_message.Message):
    __slots__ = ("sequence", "kind", "at", "trial", "payload")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    TRIAL_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    kind: str
    at: float
    trial: Trial
    payload: _containers.RepeatedCompositeFieldContainer[NamedValue]
    def __init__(self, sequence: _Optional[int] = ..., kind: _Optional[str] = ..., at: _Optional[float] = ..., trial: _Optional[_Union[Trial, _Mapping]] = ..., payload: _Optional[_Iterable[_Union[NamedValue, _Mapping]]] = ...) -> None: ...

class ScoreAtStep(_message.Message):
    __slots__ = ("step", "score")
    STEP_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    step: int
    score: float
    def __init__(self, step: _Optional[int] = ..., score: _Optional[float] = ...) -> None: ...

class Measured(_message.Message):
    __slots__ = ("scores", "history")
    SCORES_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    scores: _containers.RepeatedScalarFieldContainer[float]
    history: _containers.RepeatedCompositeFieldContainer[ScoreAtStep]
    def __init__(self, scores: _Optional[_Iterable[float]] = ..., history: _Optional[_Iterable[_Union[ScoreAtStep, _Mapping]]] = ...) -> None: ...

class MemberRow(_message.Message):
    __slots__ = ("member", "generation", "latest", "head", "tip", "kept", "failed", "early_stopped", "best_score", "measured", "open_measured")
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    LATEST_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    TIP_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    EARLY_STOPPED_FIELD_NUMBER: _ClassVar[int]
    BEST_SCORE_FIELD_NUMBER: _ClassVar[int]
    MEASURED_FIELD_NUMBER: _ClassVar[int]
    OPEN_MEASURED_FIELD_NUMBER: _ClassVar[int]
    member: int
    generation: int
    latest: int
    head: int
    tip: int
    kept: _containers.RepeatedScalarFieldContainer[int]
    failed: bool
    early_stopped: bool
    best_score: float
    measured: Measured
    open_measured: Measured
    def __init__(self, member: _Optional[int] = ..., generation: _Optional[int] = ..., latest: _Optional[int] = ..., head: _Optional[int] = ..., tip: _Optional[int] = ..., kept: _Optional[_Iterable[int]] = ..., failed: bool = ..., early_stopped: bool = ..., best_score: _Optional[float] = ..., measured: _Optional[_Union[Measured, _Mapping]] = ..., open_measured: _Optional[_Union[Measured, _Mapping]] = ...) -> None: ...

class SessionRecord(_message.Message):
    __slots__ = ("session", "worker", "lease_seconds", "deadline", "epoch", "joined")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    LEASE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    JOINED_FIELD_NUMBER: _ClassVar[int]
    session: str
    worker: str
    lease_seconds: float
    deadline: float
    epoch: int
    joined: float
    def __init__(self, session: _Optional[str] = ..., worker: _Optional[str] = ..., lease_seconds: _Optional[float] = ..., deadline: _Optional[float] = ..., epoch: _Optional[int] = ..., joined: _Optional[float] = ...) -> None: ...

class MirroredTrial(_message.Message):
    __slots__ = ("trial", "decided", "ended", "evaluations", "session", "fence", "checkpoint_state", "pinned")
    TRIAL_FIELD_NUMBER: _ClassVar[int]
    DECIDED_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    EVALUATIONS_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_STATE_FIELD_NUMBER: _ClassVar[int]
    PINNED_FIELD_NUMBER: _ClassVar[int]
    trial: Trial
    decided: int
    ended: int
    evaluations: _containers.RepeatedCompositeFieldContainer[Evaluation]
    session: str
    fence: int
    checkpoint_state: str
    pinned: bool
    def __init__(self, trial: _Optional[_Union[Trial, _Mapping]] = ..., decided: _Optional[int] = ..., ended: _Optional[int] = ..., evaluations: _Optional[_Iterable[_Union[Evaluation, _Mapping]]] = ..., session: _Optional[str] = ..., fence: _Optional[int] = ..., checkpoint_state: _Optional[str] = ..., pinned: bool = ...) -> None: ...

class MirroredEvent(_message.Message):
    __slots__ = ("sequence", "position", "event")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    position: int
    event: Event
    def __init__(self, sequence: _Optional[int] = ..., position: _Optional[int] = ..., event: _Optional[_Union[Event, _Mapping]] = ...) -> None: ...

class StudyRows(_message.Message):
    __slots__ = ("study", "members", "sessions", "trials", "events", "more")
    STUDY_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    TRIALS_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    study: StoredStudy
    members: _containers.RepeatedCompositeFieldContainer[MemberRow]
    sessions: _containers.RepeatedCompositeFieldContainer[SessionRecord]
    trials: _containers.RepeatedCompositeFieldContainer[MirroredTrial]
    events: _containers.RepeatedCompositeFieldContainer[MirroredEvent]
    more: bool
    def __init__(self, study: _Optional[_Union[StoredStudy, _Mapping]] = ..., members: _Optional[_Iterable[_Union[MemberRow, _Mapping]]] = ..., sessions: _Optional[_Iterable[_Union[SessionRecord, _Mapping]]] = ..., trials: _Optional[_Iterable[_Union[MirroredTrial, _Mapping]]] = ..., events: _Optional[_Iterable[_Union[MirroredEvent, _Mapping]]] = ..., more: bool = ...) -> None: ...

class Command(_message.Message):
    __slots__ = ("join", "leave", "ask", "tell", "fail", "save", "heartbeat", "ancestors", "control", "pin", "enqueue", "stop")
    JOIN_FIELD_NUMBER: _ClassVar[int]
    LEAVE_FIELD_NUMBER: _ClassVar[int]
    ASK_FIELD_NUMBER: _ClassVar[int]
    TELL_FIELD_NUMBER: _ClassVar[int]
    FAIL_FIELD_NUMBER: _ClassVar[int]
    SAVE_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    ANCESTORS_FIELD_NUMBER: _ClassVar[int]
    CONTROL_FIELD_NUMBER: _ClassVar[int]
    PIN_FIELD_NUMBER: _ClassVar[int]
    ENQUEUE_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    join: Join
    leave: Leave
    ask: Ask
    tell: Tell
    fail: Fail
    save: Save
    heartbeat: Heartbeat
    ancestors: Ancestors
    control: Control
    pin: Pin
    enqueue: Enqueue
    stop: Stop
    def __init__(self, join: _Optional[_Union[Join, _Mapping]] = ..., leave: _Optional[_Union[Leave, _Mapping]] = ..., ask: _Optional[_Union[Ask, _Mapping]] = ..., tell: _Optional[_Union[Tell, _Mapping]] = ..., fail: _Optional[_Union[Fail, _Mapping]] = ..., save: _Optional[_Union[Save, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., ancestors: _Optional[_Union[Ancestors, _Mapping]] = ..., control: _Optional[_Union[Control, _Mapping]] = ..., pin: _Optional[_Union[Pin, _Mapping]] = ..., enqueue: _Optional[_Union[Enqueue, _Mapping]] = ..., stop: _Optional[_Union[Stop, _Mapping]] = ...) -> None: ...

class Join(_message.Message):
    __slots__ = ("session", "worker", "lease_seconds")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    LEASE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    session: str
    worker: str
    lease_seconds: float
    def __init__(self, session: _Optional[str] = ..., worker: _Optional[str] = ..., lease_seconds: _Optional[float] = ...) -> None: ...

class Leave(_message.Message):
    __slots__ = ("session", "lost", "error")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    session: str
    lost: bool
    error: str
    def __init__(self, session: _Optional[str] = ..., lost: bool = ..., error: _Optional[str] = ...) -> None: ...

class Ask(_message.Message):
    __slots__ = ("session", "slots", "in_memory")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    IN_MEMORY_FIELD_NUMBER: _ClassVar[int]
    session: str
    slots: int
    in_memory: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, session: _Optional[str] = ..., slots: _Optional[int] = ..., in_memory: _Optional[_Iterable[int]] = ...) -> None: ...

class Tell(_message.Message):
    __slots__ = ("lease", "evaluations", "steps_done", "checkpoint", "partial", "hopeless", "timings", "applied", "remarks")
    LEASE_FIELD_NUMBER: _ClassVar[int]
    EVALUATIONS_FIELD_NUMBER: _ClassVar[int]
    STEPS_DONE_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    PARTIAL_FIELD_NUMBER: _ClassVar[int]
    HOPELESS_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    REMARKS_FIELD_NUMBER: _ClassVar[int]
    lease: Lease
    evaluations: _containers.RepeatedCompositeFieldContainer[Evaluation]
    steps_done: int
    checkpoint: CheckpointReference
    partial: bool
    hopeless: bool
    timings: Timings
    applied: _containers.RepeatedCompositeFieldContainer[NamedValue]
    remarks: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, lease: _Optional[_Union[Lease, _Mapping]] = ..., evaluations: _Optional[_Iterable[_Union[Evaluation, _Mapping]]] = ..., steps_done: _Optional[int] = ..., checkpoint: _Optional[_Union[CheckpointReference, _Mapping]] = ..., partial: bool = ..., hopeless: bool = ..., timings: _Optional[_Union[Timings, _Mapping]] = ..., applied: _Optional[_Iterable[_Union[NamedValue, _Mapping]]] = ..., remarks: _Optional[_Iterable[str]] = ...) -> None: ...

class Fail(_message.Message):
    __slots__ = ("lease", "error", "cause")
    LEASE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    lease: Lease
    error: str
    cause: str
    def __init__(self, lease: _Optional[_Union[Lease, _Mapping]] = ..., error: _Optional[str] = ..., cause: _Optional[str] = ...) -> None: ...

class Save(_message.Message):
    __slots__ = ("lease", "checkpoint", "step", "evaluations")
    LEASE_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    EVALUATIONS_FIELD_NUMBER: _ClassVar[int]
    lease: Lease
    checkpoint: CheckpointReference
    step: int
    evaluations: _containers.RepeatedCompositeFieldContainer[Evaluation]
    def __init__(self, lease: _Optional[_Union[Lease, _Mapping]] = ..., checkpoint: _Optional[_Union[CheckpointReference, _Mapping]] = ..., step: _Optional[int] = ..., evaluations: _Optional[_Iterable[_Union[Evaluation, _Mapping]]] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("lease", "step", "first", "evaluations")
    LEASE_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    EVALUATIONS_FIELD_NUMBER: _ClassVar[int]
    lease: Lease
    step: int
    first: int
    evaluations: _containers.RepeatedCompositeFieldContainer[Evaluation]
    def __init__(self, lease: _Optional[_Union[Lease, _Mapping]] = ..., step: _Optional[int] = ..., first: _Optional[int] = ..., evaluations: _Optional[_Iterable[_Union[Evaluation, _Mapping]]] = ...) -> None: ...

class Ancestors(_message.Message):
    __slots__ = ("trial",)
    TRIAL_FIELD_NUMBER: _ClassVar[int]
    trial: int
    def __init__(self, trial: _Optional[int] = ...) -> None: ...

class Control(_message.Message):
    __slots__ = ("budget", "population", "paused", "max_failures", "max_losses", "keep_best")
    BUDGET_FIELD_NUMBER: _ClassVar[int]
    POPULATION_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    MAX_FAILURES_FIELD_NUMBER: _ClassVar[int]
    MAX_LOSSES_FIELD_NUMBER: _ClassVar[int]
    KEEP_BEST_FIELD_NUMBER: _ClassVar[int]
    budget: Budget
    population: int
    paused: bool
    max_failures: int
    max_losses: int
    keep_best: int
    def __init__(self, budget: _Optional[_Union[Budget, _Mapping]] = ..., population: _Optional[int] = ..., paused: bool = ..., max_failures: _Optional[int] = ..., max_losses: _Optional[int] = ..., keep_best: _Optional[int] = ...) -> None: ...

class Pin(_message.Message):
    __slots__ = ("trial", "keep")
    TRIAL_FIELD_NUMBER: _ClassVar[int]
    KEEP_FIELD_NUMBER: _ClassVar[int]
    trial: int
    keep: bool
    def __init__(self, trial: _Optional[int] = ..., keep: bool = ...) -> None: ...

class Enqueue(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedCompositeFieldContainer[NamedValue]
    def __init__(self, values: _Optional[_Iterable[_Union[NamedValue, _Mapping]]] = ...) -> None: ...

class Stop(_message.Message):
    __slots__ = ("now",)
    NOW_FIELD_NUMBER: _ClassVar[int]
    now: bool
    def __init__(self, now: bool = ...) -> None: ...

class Reply(_message.Message):
    __slots__ = ("granted", "wait", "finished", "done", "refused")
    GRANTED_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    granted: Granted
    wait: Wait
    finished: Finished
    done: Done
    refused: Refused
    def __init__(self, granted: _Optional[_Union[Granted, _Mapping]] = ..., wait: _Optional[_Union[Wait, _Mapping]] = ..., finished: _Optional[_Union[Finished, _Mapping]] = ..., done: _Optional[_Union[Done, _Mapping]] = ..., refused: _Optional[_Union[Refused, _Mapping]] = ...) -> None: ...

class Grant(_message.Message):
    __slots__ = ("trial", "lease", "checkpoint", "parent", "save_every")
    TRIAL_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    SAVE_EVERY_FIELD_NUMBER: _ClassVar[int]
    trial: Trial
    lease: Lease
    checkpoint: str
    parent: CheckpointReference
    save_every: int
    def __init__(self, trial: _Optional[_Union[Trial, _Mapping]] = ..., lease: _Optional[_Union[Lease, _Mapping]] = ..., checkpoint: _Optional[str] = ..., parent: _Optional[_Union[CheckpointReference, _Mapping]] = ..., save_every: _Optional[int] = ...) -> None: ...

class Granted(_message.Message):
    __slots__ = ("grants", "rest")
    GRANTS_FIELD_NUMBER: _ClassVar[int]
    REST_FIELD_NUMBER: _ClassVar[int]
    grants: _containers.RepeatedCompositeFieldContainer[Grant]
    rest: Reply
    def __init__(self, grants: _Optional[_Iterable[_Union[Grant, _Mapping]]] = ..., rest: _Optional[_Union[Reply, _Mapping]] = ...) -> None: ...

class Wait(_message.Message):
    __slots__ = ("reason",)
    REASON_FIELD_NUMBER: _ClassVar[int]
    reason: str
    def __init__(self, reason: _Optional[str] = ...) -> None: ...

class Finished(_message.Message):
    __slots__ = ("reason", "failed")
    REASON_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    reason: str
    failed: bool
    def __init__(self, reason: _Optional[str] = ..., failed: bool = ...) -> None: ...

class Done(_message.Message):
    __slots__ = ("trial", "stop", "received", "lineage")
    TRIAL_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    LINEAGE_FIELD_NUMBER: _ClassVar[int]
    trial: Trial
    stop: str
    received: int
    lineage: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, trial: _Optional[_Union[Trial, _Mapping]] = ..., stop: _Optional[str] = ..., received: _Optional[int] = ..., lineage: _Optional[_Iterable[int]] = ...) -> None: ...

class Refused(_message.Message):
    __slots__ = ("error", "message", "name", "value")
    ERROR_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    error: str
    message: str
    name: str
    value: str
    def __init__(self, error: _Optional[str] = ..., message: _Optional[str] = ..., name: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...

class HelloRequest(_message.Message):
    __slots__ = ("version",)
    VERSION_FIELD_NUMBER: _ClassVar[int]
    version: str
    def __init__(self, version: _Optional[str] = ...) -> None: ...

class HelloReply(_message.Message):
    __slots__ = ("version", "protocols", "largest_message", "longest_wait", "http_port")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PROTOCOLS_FIELD_NUMBER: _ClassVar[int]
    LARGEST_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    LONGEST_WAIT_FIELD_NUMBER: _ClassVar[int]
    HTTP_PORT_FIELD_NUMBER: _ClassVar[int]
    version: str
    protocols: _containers.RepeatedScalarFieldContainer[str]
    largest_message: int
    longest_wait: float
    http_port: int
    def __init__(self, version: _Optional[str] = ..., protocols: _Optional[_Iterable[str]] = ..., largest_message: _Optional[int] = ..., longest_wait: _Optional[float] = ..., http_port: _Optional[int] = ...) -> None: ...

class CreateStudyRequest(_message.Message):
    __slots__ = ("identity", "control")
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    CONTROL_FIELD_NUMBER: _ClassVar[int]
    identity: StudyIdentity
    control: Control
    def __init__(self, identity: _Optional[_Union[StudyIdentity, _Mapping]] = ..., control: _Optional[_Union[Control, _Mapping]] = ...) -> None: ...

class GetStudyRequest(_message.Message):
    __slots__ = ("study",)
    STUDY_FIELD_NUMBER: _ClassVar[int]
    study: str
    def __init__(self, study: _Optional[str] = ...) -> None: ...

class StudyReply(_message.Message):
    __slots__ = ("study", "checkpoints")
    STUDY_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINTS_FIELD_NUMBER: _ClassVar[int]
    study: StoredStudy
    checkpoints: str
    def __init__(self, study: _Optional[_Union[StoredStudy, _Mapping]] = ..., checkpoints: _Optional[str] = ...) -> None: ...

class ListStudiesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListStudiesReply(_message.Message):
    __slots__ = ("studies",)
    STUDIES_FIELD_NUMBER: _ClassVar[int]
    studies: _containers.RepeatedCompositeFieldContainer[StudyIdentity]
    def __init__(self, studies: _Optional[_Iterable[_Union[StudyIdentity, _Mapping]]] = ...) -> None: ...

class ExchangeRequest(_message.Message):
    __slots__ = ("study", "commands", "wait_seconds", "changes_since")
    STUDY_FIELD_NUMBER: _ClassVar[int]
    COMMANDS_FIELD_NUMBER: _ClassVar[int]
    WAIT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    CHANGES_SINCE_FIELD_NUMBER: _ClassVar[int]
    study: str
    commands: _containers.RepeatedCompositeFieldContainer[Command]
    wait_seconds: float
    changes_since: int
    def __init__(self, study: _Optional[str] = ..., commands: _Optional[_Iterable[_Union[Command, _Mapping]]] = ..., wait_seconds: _Optional[float] = ..., changes_since: _Optional[int] = ...) -> None: ...

class ExchangeReply(_message.Message):
    __slots__ = ("replies", "changes", "changes_missed")
    REPLIES_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    CHANGES_MISSED_FIELD_NUMBER: _ClassVar[int]
    replies: _containers.RepeatedCompositeFieldContainer[Reply]
    changes: _containers.RepeatedCompositeFieldContainer[StudyChange]
    changes_missed: bool
    def __init__(self, replies: _Optional[_Iterable[_Union[Reply, _Mapping]]] = ..., changes: _Optional[_Iterable[_Union[StudyChange, _Mapping]]] = ..., changes_missed: bool = ...) -> None: ...

class ControlRequest(_message.Message):
    __slots__ = ("study", "command")
    STUDY_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    study: str
    command: Command
    def __init__(self, study: _Optional[str] = ..., command: _Optional[_Union[Command, _Mapping]] = ...) -> None: ...

class ControlReply(_message.Message):
    __slots__ = ("reply",)
    REPLY_FIELD_NUMBER: _ClassVar[int]
    reply: Reply
    def __init__(self, reply: _Optional[_Union[Reply, _Mapping]] = ...) -> None: ...

class ListTrialsRequest(_message.Message):
    __slots__ = ("study", "since", "after_trial", "after_event", "limit")
    STUDY_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    AFTER_TRIAL_FIELD_NUMBER: _ClassVar[int]
    AFTER_EVENT_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    study: str
    since: int
    after_trial: int
    after_event: int
    limit: int
    def __init__(self, study: _Optional[str] = ..., since: _Optional[int] = ..., after_trial: _Optional[int] = ..., after_event: _Optional[int] = ..., limit: _Optional[int] = ...) -> None: ...

class ListTrialsReply(_message.Message):
    __slots__ = ("rows",)
    ROWS_FIELD_NUMBER: _ClassVar[int]
    rows: StudyRows
    def __init__(self, rows: _Optional[_Union[StudyRows, _Mapping]] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ("study", "since")
    STUDY_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    study: str
    since: int
    def __init__(self, study: _Optional[str] = ..., since: _Optional[int] = ...) -> None: ...

class WatchReply(_message.Message):
    __slots__ = ("changes",)
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    changes: _containers.RepeatedCompositeFieldContainer[StudyChange]
    def __init__(self, changes: _Optional[_Iterable[_Union[StudyChange, _Mapping]]] = ...) -> None: ...

class StudyDefinition(_message.Message):
    __slots__ = ("space", "metric", "mode", "algorithm", "steps", "initial")
    SPACE_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    ALGORITHM_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    INITIAL_FIELD_NUMBER: _ClassVar[int]
    space: Space
    metric: str
    mode: str
    algorithm: Algorithm
    steps: int
    initial: _containers.RepeatedCompositeFieldContainer[NamedValues]
    def __init__(self, space: _Optional[_Union[Space, _Mapping]] = ..., metric: _Optional[str] = ..., mode: _Optional[str] = ..., algorithm: _Optional[_Union[Algorithm, _Mapping]] = ..., steps: _Optional[int] = ..., initial: _Optional[_Iterable[_Union[NamedValues, _Mapping]]] = ...) -> None: ...

class SuggestRequest(_message.Message):
    __slots__ = ("study", "trials", "k", "seed")
    STUDY_FIELD_NUMBER: _ClassVar[int]
    TRIALS_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    study: StudyDefinition
    trials: _containers.RepeatedCompositeFieldContainer[NamedValues]
    k: int
    seed: int
    def __init__(self, study: _Optional[_Union[StudyDefinition, _Mapping]] = ..., trials: _Optional[_Iterable[_Union[NamedValues, _Mapping]]] = ..., k: _Optional[int] = ..., seed: _Optional[int] = ...) -> None: ...

class Suggestion(_message.Message):
    __slots__ = ("parent", "hyperparameters", "decision", "steps", "seconds", "seed")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    HYPERPARAMETERS_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    parent: int
    hyperparameters: _containers.RepeatedCompositeFieldContainer[NamedValue]
    decision: Decision
    steps: int
    seconds: float
    seed: int
    def __init__(self, parent: _Optional[int] = ..., hyperparameters: _Optional[_Iterable[_Union[NamedValue, _Mapping]]] = ..., decision: _Optional[_Union[Decision, _Mapping]] = ..., steps: _Optional[int] = ..., seconds: _Optional[float] = ..., seed: _Optional[int] = ...) -> None: ...

class MemberSuggestion(_message.Message):
    __slots__ = ("number", "member", "seed", "suggestion")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    SUGGESTION_FIELD_NUMBER: _ClassVar[int]
    number: int
    member: int
    seed: int
    suggestion: Suggestion
    def __init__(self, number: _Optional[int] = ..., member: _Optional[int] = ..., seed: _Optional[int] = ..., suggestion: _Optional[_Union[Suggestion, _Mapping]] = ...) -> None: ...

class SuggestReply(_message.Message):
    __slots__ = ("suggestions",)
    SUGGESTIONS_FIELD_NUMBER: _ClassVar[int]
    suggestions: _containers.RepeatedCompositeFieldContainer[MemberSuggestion]
    def __init__(self, suggestions: _Optional[_Iterable[_Union[MemberSuggestion, _Mapping]]] = ...) -> None: ...

class EarlyStopRequest(_message.Message):
    __slots__ = ("study", "trials")
    STUDY_FIELD_NUMBER: _ClassVar[int]
    TRIALS_FIELD_NUMBER: _ClassVar[int]
    study: StudyDefinition
    trials: _containers.RepeatedCompositeFieldContainer[NamedValues]
    def __init__(self, study: _Optional[_Union[StudyDefinition, _Mapping]] = ..., trials: _Optional[_Iterable[_Union[NamedValues, _Mapping]]] = ...) -> None: ...

class EarlyStopReply(_message.Message):
    __slots__ = ("trials",)
    TRIALS_FIELD_NUMBER: _ClassVar[int]
    trials: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, trials: _Optional[_Iterable[int]] = ...) -> None: ...

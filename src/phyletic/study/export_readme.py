"""The README of an export: what each file is, and how to load it without phyletic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from phyletic.checkpoints.readable import MARKS
from phyletic.records import Metric, Trial
from phyletic.records.encodings import as_unicode
from phyletic.version import __version__


@dataclass(frozen=True)
class Planned:
    """A file to write.

    Attributes:
        path: Below the folder, with ``/`` between names.
        what: What it is, for the README.
        loader: How to load it: a key of :data:`LOADERS`, or "" if there is nothing to say.
        write: Writes the file at a path.
        marks: The marks that its JSON uses.
    """

    path: str
    what: str
    loader: str
    write: Callable[[Path], object]
    marks: tuple[str, ...] = ()


@dataclass(frozen=True)
class LeftOut:
    """An entry that is not exported, and why."""

    name: str
    why: str


@dataclass(frozen=True)
class Facts:
    """What the README says of a trial.

    Attributes:
        study: The study's name.
        metric: The study's first metric.
        trial: The trial.
        ancestors: How many trials its lineage has, with itself.
        storage: Where the study is stored.
    """

    study: str
    metric: Metric
    trial: Trial
    ancestors: int
    storage: str


LOADERS = {
    "torch": "import torch\nstate = torch.load({path}, weights_only=True)\nmodel.load_state_dict(state)  # of your own",
    "numpy": "import numpy as np\narrays = np.load({path})\nprint({{name: arrays[name].shape for name in arrays}})",
    "safetensors": "from safetensors import safe_open  # pip install safetensors; its numpy lacks bfloat16\n"
    'file = safe_open({path}, "pt")\ntensors = {{name: file.get_tensor(name) for name in file.keys()}}',
    "json": 'import json\nwith open({path}, encoding="utf-8") as file:\n    content = json.load(file)',
    "text": 'with open({path}, encoding="utf-8", newline="") as file:\n    text = file.read()',
    "bytes": 'with open({path}, "rb") as file:\n    content = file.read()',
    "keras": "import keras\nmodel = keras.models.load_model({path})\nmodel.summary()",
    "pickle": "import pickle  # runs what the file says: only if you trust it\n"
    'with open({path}, "rb") as file:\n    estimator = pickle.load(file)',
}
"""Lines of Python that load a kind of file."""


def readme(facts: Facts, planned: Sequence[Planned], left_out: Sequence[LeftOut]) -> str:
    """Return the README of an export.

    Args:
        facts: The trial.
        planned: The other files.
        left_out: The entries that are not exported.
    """
    trial = facts.trial
    lines = [
        f"# {facts.study}: trial {trial.number}",
        "",
        f"phyletic {__version__} exported this from {facts.storage}. No file needs phyletic.",
        "",
        f"- score: {'none' if trial.score is None else f'{facts.metric.name} {trial.score!r}'} ({facts.metric.mode})",
        f"- trial {trial.number} of member {trial.member}, which ended at step {trial.end_step}",
        f"- lineage of {facts.ancestors} trials",
        *(f"- {path}: {value!r}" for path, value in trial.hyperparameters.items()),
        "",
        "| file | what it is |",
        "| --- | --- |",
        *(f"| `{file.path}` | {_cell(file.what)} |" for file in planned),
    ]
    if left_out:
        lines += ["", "Left out:", "", *(f"- entry {each.name!r}: {each.why}" for each in left_out)]
    shown: set[str] = set()
    for file in planned:
        if file.loader and file.loader not in shown:
            shown.add(file.loader)
            lines += ["", f"To load a `{Path(file.path).suffix}` file, such as `{file.path}`:", "", "```python"]
            lines += [*LOADERS[file.loader].format(path=repr(file.path)).splitlines(), "```"]
    marks = [mark for mark in MARKS if any(mark in file.marks for file in planned)]
    if marks:
        lines += ["", "In the JSON of an entry, an object whose key begins with `$` stands for what JSON lacks:", ""]
        lines += [f"- `{mark}`: {MARKS[mark]}" for mark in marks]
    return as_unicode("\n".join(lines) + "\n")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")

"""The notebook runs unattended from top to bottom, with local workers, and shows its pictures."""

from __future__ import annotations

import warnings
from pathlib import Path

import nbformat
import pytest

NOTEBOOK = Path(__file__).parents[2] / "examples" / "visualise_pbt.ipynb"


def test_the_notebook_is_kept_without_outputs() -> None:
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)


def test_the_notebook_runs_and_shows_figures_and_an_animation(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from nbclient import NotebookClient
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    shown = [kind for output in outputs for kind in output.get("data", {}) if kind.startswith("image/")]
    assert shown == ["image/png", "image/png", "image/png", "image/gif", "image/png"]
    said = [output["data"]["text/plain"] for output in outputs if "data" in output]
    found, alone = (float(text.split()[2]) for text in said[:2])
    assert found == pytest.approx(1.2, abs=0.01)
    assert alone == pytest.approx(0.7286, abs=0.001)

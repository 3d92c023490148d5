"""The code in the documents runs as printed, and every link in them resolves."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
BLOCK = re.compile(r"(?:<!-- (?P<note>[^\n]*?) -->\n)?```(?P<language>\w*)\n(?P<code>.*?)\n```", re.DOTALL)


def blocks(document: Path) -> list[tuple[str, str]]:
    """Return the note above each Python block of a document, and the code."""
    found = BLOCK.finditer(document.read_text())
    return [(block["note"] or "", block["code"]) for block in found if block["language"] == "python"]


def run(code: str, folder: Path, **variables: str) -> str:
    """Run code as a user would: saved in a file, in a separate process."""
    script = folder / "script.py"
    script.write_text(code + "\n")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg", **variables}
    ended = subprocess.run(
        [sys.executable, script.name], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def printed(example: str) -> str:
    """Return the README's copy of an example."""
    (code,) = [code for note, code in blocks(ROOT / "README.md") if note == f"run: {example}"]
    return code


def test_the_readme_prints_the_example_as_it_is() -> None:
    example = "examples/digits_torch_loop.py"
    assert printed(example) + "\n" == (ROOT / example).read_text()


def test_every_block_of_the_readme_is_run_by_a_test() -> None:
    noted = ["run: alone", "run: examples/digits_torch_loop.py", "run: after the example above"]
    assert [note for note, _ in blocks(ROOT / "README.md")] == noted


def test_the_first_lines_run_and_print_the_best_trial_and_its_schedule(tmp_path: Path) -> None:
    (code,) = [code for note, code in blocks(ROOT / "README.md") if note == "run: alone"]
    assert len([line for line in code.splitlines() if line]) <= 12
    said = run(code, tmp_path)
    assert "start_step,end_step,lr" in said


@pytest.mark.parametrize("workers", ["0", "2"])
def test_the_torch_example_runs_and_its_results_can_be_read(tmp_path: Path, workers: str) -> None:
    for library in ("torch", "sklearn", "pandas", "matplotlib"):
        pytest.importorskip(library)
    run(printed("examples/digits_torch_loop.py"), tmp_path, STEPS="200", WORKERS=workers)
    if workers == "0":
        return  # both runs store the same; read it once
    (results,) = [code for note, code in blocks(ROOT / "README.md") if note == "run: after the example above"]
    said = run(results, tmp_path)
    assert "start_step,end_step,lr,weight_decay,width" in said
    assert "'0.weight'" in said
    assert (tmp_path / "digits.png").stat().st_size > 0
    assert (tmp_path / "schedule.json").stat().st_size > 0


def test_the_numpy_example_prints_the_same_in_this_process_and_in_workers(tmp_path: Path) -> None:
    code = (ROOT / "examples" / "quadratic_arrays.py").read_text()
    alone = run(code, tmp_path, STEPS="40", WORKERS="0")
    assert alone.startswith("q = ")
    assert run(code, tmp_path, STEPS="40", WORKERS="2") == alone


def test_the_guides_code_runs_from_top_to_bottom(tmp_path: Path) -> None:
    code = [code for note, code in blocks(ROOT / "docs" / "guide.md") if note != "not run"]
    assert len(code) > 5
    run("\n\n".join(code), tmp_path)


@pytest.mark.parametrize("document", DOCUMENTS, ids=[document.name for document in DOCUMENTS])
def test_relative_links_resolve(document: Path) -> None:
    text = BLOCK.sub("", document.read_text())
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"^\[[^\]]+\]: (\S+)$", text, re.MULTILINE)
    for link in links:
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


@pytest.mark.parametrize("document", DOCUMENTS, ids=[document.name for document in DOCUMENTS])
def test_every_reference_is_defined_and_used(document: Path) -> None:
    text = BLOCK.sub("", document.read_text())
    defined = re.findall(r"^\[([^\]]+)\]: \S+$", text, re.MULTILINE)
    assert len(set(defined)) == len(defined)
    assert set(re.findall(r"\]\[([^\]]+)\]", text)) == set(defined)


def anchors(document: Path) -> set[str]:
    """Return the anchors of a document's headings."""
    headings = re.findall(r"^#+ (.+)$", BLOCK.sub("", document.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_architecture_map_lists_every_package_in_layer_order() -> None:
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    layers = [[part.strip().removeprefix("phyletic.") for part in layer.split("|")] for layer in contract["layers"]]
    text = (ROOT / "docs" / "architecture.md").read_text()
    rows = [re.findall(r"`(\w+)`", row.split("|")[1]) for row in re.findall(r"^\| `.*$", text, re.MULTILINE)]
    mapped = [name for row in rows for name in row]
    level = {name: place for place, layer in enumerate(layers) for name in layer}
    assert set(mapped) == set(level)
    assert [level[name] for name in mapped] == sorted(level[name] for name in mapped)
    there = {
        path.stem
        for path in (ROOT / "src" / "phyletic").iterdir()
        if path.stem[0] not in "_." and path.suffix != ".typed"
    }
    assert there == set(level)

"""Every notebook runs from its first cell to its last, in a kernel of its own, as a newcomer would run it.

On a quiet machine of two cores 03 takes 16 s and 04 takes 21 s; three minutes are what both may take. The limit here is
per cell, and generous: it ends what hangs, and says nothing of speed.
"""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Jupyter's own
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)

    NotebookClient(
        notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": FOLDER.parent}}
    ).execute()

    assert all(cell.get("execution_count") for cell in notebook.cells if cell.cell_type == "code")

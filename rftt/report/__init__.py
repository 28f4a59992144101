"""The report of a run, or of several side by side: one self-contained page with results, curves, trees and texts.

    rftt view RUN                        RUN/report.html
    rftt view RUN_A RUN_B [--out FILE]   RUN_A/comparison.html

Reads what the phases left in the run folders and embeds it in one page that opens from the disk: no network, no
library, no build step. `report.html` is the page; `report.css` and the scripts `report*.js` are written into it. A
phase that has not run leaves a line that names the command which makes it.

Simplified: trees, rollouts, labelled chains and answers are an even sample of their files, so that the page stays small;
node records go without their token ids. The page says how many of how many it shows, and where the full record stands.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rftt.errors import UsageError
from rftt.model.function_sets import functions_of_folder
from rftt.report.contents import collect, page_data
from rftt.report.page import render, write_page
from rftt.report.trees import chosen_leaf
from search.functions import FunctionSet

__all__ = ["chosen_leaf", "collect", "render", "write_report"]


def write_report(
    runs: Path | Sequence[Path], out: Path | None = None, *, trees: int = 40, functions: FunctionSet | None = None
) -> Path:
    """Write the report of a run, or of several side by side, whole or not at all.

    Args:
        runs: one run folder or several; phases may be missing.
        out: the file to write; in the first run folder ``report.html`` by default, of several ``comparison.html``.
        trees: largest number of trees of each file, at least 1.
        functions: the token set of the runs, its order gives the colours; None for what each run folder keeps, else RFTT's.

    Returns:
        The file that was written.

    Raises:
        UsageError: there is no such folder, it holds nothing of a run, it is given twice, a file in it is damaged, or `out`
            cannot be written.
    """
    folders = [Path(runs)] if isinstance(runs, (str, Path)) else [Path(run) for run in runs]
    if trees < 1:
        raise UsageError(f"trees = {trees}: a report needs at least one tree of each file; give 1 or more")
    if not folders:
        raise UsageError("there is no run to report; give at least one run folder")
    for place, folder in enumerate(folders):
        if os.path.realpath(folder) in map(os.path.realpath, folders[:place]):
            raise UsageError(f"{folder} is given twice; give each run folder once")
    target = Path(out) if out is not None else folders[0] / ("report.html" if len(folders) == 1 else "comparison.html")
    sets = [functions or functions_of_folder(folder) for folder in folders]
    page = render(page_data(folders, sets, trees=trees))
    try:
        write_page(target, page)
    except OSError as error:
        raise UsageError(f"cannot write {target} ({error.strerror}); give another --out") from error
    return target

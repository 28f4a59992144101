"""The report of a run: one self-contained `report.html` with results, curves, trees, chains, rollouts, samples.

    rftt view RUN

Reads what the phases left in the run folder and embeds it in one page that opens from the disk: no network, no
library, no build step. `report.html` is the page; `report.css` and the scripts `report*.js` are written into it. A
phase that has not run leaves a line that names the command which makes it.

Simplified: trees, rollouts and samples are an even sample of their files, so that the page stays small; node records
go without their token ids. The page says how many of how many it shows, and where the full record stands.
"""

from __future__ import annotations

from pathlib import Path

from rftt.errors import UsageError
from rftt.report.contents import collect
from rftt.report.page import render, write_page
from rftt.report.trees import chosen_leaf
from search.functions import RFTT, FunctionSet

__all__ = ["chosen_leaf", "collect", "render", "write_report"]


def write_report(run: Path, out: Path | None = None, *, trees: int = 40, functions: FunctionSet = RFTT) -> Path:
    """Write the report of a run, whole or not at all.

    Args:
        run: the run folder; phases may be missing.
        out: the file to write; ``report.html`` in the run folder by default.
        trees: at most so many trees of each file, at least 1.
        functions: the token set of the run; its order gives the colours.

    Returns:
        The file that was written.

    Raises:
        UsageError: there is no such folder, it holds nothing of a run, a file in it is damaged, or `out` cannot be
            written.
    """
    run = Path(run)
    if trees < 1:
        raise UsageError(f"trees = {trees}: a report needs at least one tree of each file; give 1 or more")
    target = Path(out) if out is not None else run / "report.html"
    page = render(collect(run, trees=trees, functions=functions))
    try:
        write_page(target, page)
    except OSError as error:
        raise UsageError(f"cannot write {target} ({error.strerror}); give another --out") from error
    return target

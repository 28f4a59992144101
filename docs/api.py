"""The API pages from the docstrings, as HTML: ``make docs``, or ``python docs/api.py OUT``.

Every module is documented, also those that a package does not name in its ``__all__``. A module that cannot be imported, an
annotation that cannot be read and a name that is not there are errors.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
import warnings
from pathlib import Path

import pdoc

PACKAGES = ("rewards", "search", "rftt")


def modules() -> list[str]:
    """Names of all modules, packages included."""
    found = []
    for package in map(importlib.import_module, PACKAGES):
        below = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        found += [package.__name__, *(module.name for module in below)]
    return found


def write(out: Path) -> int:
    """Write the pages; returns how many modules there are."""
    names = modules()
    for name in names:
        module = importlib.import_module(name)
        for attribute in getattr(module, "__all__", ()):
            setattr(
                module, attribute, getattr(module, attribute)
            )  # packages load what they export when it is asked for
    pdoc.render.configure(docformat="google", show_source=False, footer_text="rftt")
    warnings.simplefilter("error", UserWarning)
    # Packages without `__all__` bring their modules along, others do not.
    warnings.filterwarnings("ignore", message="The module specification .* has already been added")
    pdoc.pdoc(*names, output_directory=out)
    return len(names)


if __name__ == "__main__":
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "build/docs")
    print(f"{write(out)} modules: {out / 'index.html'}")

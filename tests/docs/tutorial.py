"""The code blocks of docs/tutorial.md, and all of them in a row: ``python -m tests.docs.tutorial FOLDER``.

Runs them as a reader would paste them, but for the installation, in a new FOLDER, and prints the seconds of each.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tutorial.md"


def blocks() -> list[str]:
    """The shell blocks of the page, without the installation."""
    found = re.findall(r"^```bash\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [block for block in found if not block.startswith("make install")]


def heredoc(name: str) -> str:
    """What the page writes into the file ``my/{name}``."""
    pattern = rf"^cat > my/{re.escape(name)} <<'EOF'\n(.*?)^EOF$"
    [text] = re.findall(pattern, "\n".join(blocks()), re.MULTILINE | re.DOTALL)
    return text


def commands() -> list[str]:
    """Every line that calls rftt."""
    return [line for block in blocks() for line in block.splitlines() if line.startswith("rftt ")]


def main(folder: str) -> int:
    """Run the blocks; returns the exit code of the first that fails."""
    Path(folder).mkdir(parents=True)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    begun = time.monotonic()
    for block in blocks():
        start = time.monotonic()
        code = subprocess.run(["bash", "-euo", "pipefail", "-c", block], cwd=folder, env=environment).returncode
        print(f"== {time.monotonic() - start:.0f} s: {block.splitlines()[0]}", flush=True)
        if code:
            return code
    print(f"== {time.monotonic() - begun:.0f} s in all")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

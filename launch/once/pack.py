"""Prepare what a bare machine with a GPU needs for `run.py`: wheels that it lacks, a model, questions, this project.

    python launch/once/pack.py MODEL OUT --train train.jsonl --test test.jsonl --present present.txt

MODEL is a model folder, or ``toy`` for the embedded world. OUT gets the loads, folders of at most --most MiB, and the
scripts of the other side; carry OUT/load-01, OUT/load-02, … one by one, or all at once where nothing stands against it.
--present names the packages of the machine, as ``pip list --format=freeze`` prints them there; without it the list in
`present.txt` beside this script holds. --no-wheels leaves the wheels out, for a machine that has everything.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path

import pieces
import wheels

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
WANTED = ("trl>=1.16,<1.17", "math-verify[antlr4_13_2]>=0.9,<0.10", "sympy>=1.14,<1.15", "datasets>=5.2", "peft>=0.21",
          "accelerate>=1.15")  # fmt: skip
SCRIPTS = ("run.py", "pieces.py", "boxed.py", "once.yaml")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="MODEL", help="model folder, or toy")
    parser.add_argument("out", metavar="OUT", type=Path, help="folder for loads and scripts; must not exist")
    parser.add_argument("--train", type=Path, help="JSONL file of training questions, with question and answer")
    parser.add_argument("--test", type=Path, help="JSONL file of held-out questions")
    parser.add_argument("--questions", type=int, default=2000, help="largest number of lines of each (default: 2000)")
    parser.add_argument("--most", type=int, default=64, help="largest size of a load in MiB (default: 64)")
    parser.add_argument("--present", type=Path, default=HERE / "present.txt", help="packages of the machine")
    parser.add_argument("--python", default="3.12", help="its version of Python (default: 3.12)")
    parser.add_argument("--vllm", default="0.26.0", help="version of vLLM; none leaves it out (default: 0.26.0)")
    parser.add_argument("--without", nargs="*", default=[], metavar="NAME", help="packages to leave out")
    parser.add_argument("--lean", action="store_true", help="leave out what is in lean.txt: one GPU of compute capability "
                        "9.0, a dense model, nothing quantized")  # fmt: skip
    parser.add_argument("--no-wheels", action="store_true", help="leave all wheels out")
    parser.add_argument("--wheels", type=Path, help="folder of wheels, filled where it lacks some (default: temporary)")
    parser.add_argument("--pip", nargs="*", default=[], metavar="OPTION", help="options of pip")
    arguments = parser.parse_args(argv)
    if (arguments.train is None) != (arguments.test is None) or (arguments.train is None and arguments.model != "toy"):
        parser.error("give --train and --test; only MODEL toy has questions of its own")
    if arguments.out.exists():
        parser.error(f"{arguments.out} exists already; give another folder or remove it")
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        files = {"project": _project(work)}
        if arguments.model != "toy":
            files["model"] = Path(arguments.model)
        for name in ("train", "test"):
            if source := getattr(arguments, name):
                files[f"{name}.jsonl"] = _first_lines(source, work / f"{name}.jsonl", arguments.questions)
        if not arguments.no_wheels:
            files["wheels"] = _wheels(arguments, arguments.wheels or work / "downloads", work / "wheels")
        loads = pieces.cut(files, arguments.out, arguments.most << 20)
    for name in SCRIPTS:
        shutil.copy(HERE / name, arguments.out / name)
    for load in loads:
        size = sum(path.stat().st_size for path in load.iterdir())
        print(f"{load}  {size / 2**20:.1f} MiB")
    print(f"there: python run.py {arguments.out.name} RESULTS")
    return 0


def _project(work: Path) -> Path:
    """The project's own packages and configs, as git knows them where it does."""
    found = subprocess.run(
        ["git", "ls-files", "rewards", "search", "rftt", "configs"], cwd=ROOT, capture_output=True, text=True
    )
    names = found.stdout.splitlines() or [
        str(path.relative_to(ROOT)) for top in ("rewards", "search", "rftt", "configs") for path in (ROOT / top).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]  # fmt: skip
    for name in names:
        if (ROOT / name).is_file():
            target = work / "project" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target)
    return work / "project"


def _first_lines(source: Path, target: Path, most: int) -> Path:
    with open(source, encoding="utf-8") as lines:
        target.write_text("".join(islice(lines, most)), encoding="utf-8")
    return target


def _wheels(arguments: argparse.Namespace, downloads: Path, carried: Path) -> Path:
    """A folder of the wheels that the machine lacks; says what is carried although the machine has another version."""
    present = wheels.read_present(arguments.present)
    wanted = [*WANTED, *([] if arguments.vllm == "none" else [f"vllm=={arguments.vllm}"])]
    needed = wheels.missing(wheels.resolve(wanted, present, arguments.python), present)
    for name, version in sorted(needed.items()):
        if before := present.get(name):
            print(f"note: {name} {version} is carried, the machine has {before}", file=sys.stderr)
    lean = (HERE / "lean.txt").read_text(encoding="utf-8").split() if arguments.lean else []
    left_out = {*arguments.without, *lean}
    chosen = {name: version for name, version in needed.items() if name not in left_out}
    carried.mkdir()
    for wheel in wheels.fetch(chosen, downloads, arguments.python, arguments.pip):
        if lean and wheel.name.startswith("vllm-"):
            wheels.slim(wheel, carried / wheel.name, [name for name in lean if "/" in name])
        else:
            shutil.copy(wheel, carried / wheel.name)
    return carried


if __name__ == "__main__":
    sys.exit(main())

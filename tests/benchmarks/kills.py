"""Kills at random moments: a search and an RL that are killed again and again, against ones that nobody killed.

    python -m tests.benchmarks.kills --json OUT [--part search rl] [--engine transformers vllm] [--kills 30 10]

Each command runs once straight. Then it is started in a fresh folder and killed at a moment drawn from the time that it
takes, with SIGTERM, SIGINT and SIGKILL in turn, three times for each folder, and goes on with the same command to its end.
Told are, over all kills: processes and locks that were left 20 s later, commands that did not go on, and files that are not
byte for byte those of the straight run. RL needs the SFT model of a run of configs/toy.yaml, which
`make quickstart` leaves in runs/toy.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.grader import table

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGKILL)
EACH = 3  # kills of one folder
PATIENCE = 20.0  # seconds for what belongs to a killed command to end
SETTINGS = {
    "search": ["data.train_limit=24", "data.eval_limit=4", "search.rollouts=12", "search.live_trees=4"],
    "rl": ["data.eval_limit=4", "rl.max_steps=6", "rl.save_steps=1", "rl.questions_per_step=4", "rl.rollouts=4"],
}
Row = dict[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", nargs="+", choices=tuple(SETTINGS), default=[*SETTINGS], help="what is killed")
    parser.add_argument("--engine", nargs="+", choices=("transformers", "vllm"), default=["transformers", "vllm"])
    parser.add_argument("--kills", nargs="+", type=int, default=[30, 10], help="of each part, over all engines")
    parser.add_argument("--run", type=Path, default=Path("runs/toy"), help="folder of a run with an SFT model")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    # A shell starts what runs in its background deaf to interrupts, and commands would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    rows = []
    for part, kills in zip(options.part, options.kills, strict=False):
        if part == "rl" and not (options.run / "sft" / "final").exists():
            print(f"{options.run} has no SFT model: make quickstart first")
            continue
        for place, engine in enumerate(options.engine):
            count = kills // len(options.engine) + (place < kills % len(options.engine))
            with tempfile.TemporaryDirectory(prefix="rftt-kills-") as work:
                rows.append(killed(part, engine, count, Path(work), options))
            print_row(rows[-1])
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    bad = ("processes_left", "locks_left", "did_not_go_on")
    return int(any(row[name] for row in rows for name in bad) or any(row["files_apart"] for row in rows))


def killed(part: str, engine: str, kills: int, work: Path, options: argparse.Namespace) -> Row:
    """Kill a command so many times."""
    dice = random.Random(f"{options.seed}/{part}/{engine}")
    straight = prepared(part, work / "straight", options.run)
    begun = time.monotonic()
    subprocess.run(command(part, engine, straight), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seconds, expected = time.monotonic() - begun, found(part, straight)
    row: Row = {"part": part, "engine": engine, "kills": 0, "folders": 0, "straight_s": seconds, "processes_left": 0,
                "locks_left": 0, "did_not_go_on": 0, "files_apart": [], "moments": []}  # fmt: skip
    while row["kills"] < kills:
        folder = prepared(part, work / f"killed-{row['folders']}", options.run)
        row["folders"] += 1
        for _ in range(min(EACH, kills - row["kills"])):
            number = SIGNALS[row["kills"] % len(SIGNALS)]
            moment = dice.uniform(0.2, 0.95) * seconds
            if kill(command(part, engine, folder), number, moment):
                row["kills"] += 1
                row["moments"].append([number.name, round(moment, 2)])
            row["processes_left"] += left_after(folder, PATIENCE)
            row["locks_left"] += locks_after(folder, PATIENCE)
            if finished(part, folder):
                break
        with (work / "log").open("w+") as log:
            done = subprocess.run(command(part, engine, folder), stdout=log, stderr=log)
            row["did_not_go_on"] += done.returncode != 0
            if done.returncode:
                print((work / "log").read_text()[-1500:], file=sys.stderr)
        now = found(part, folder)
        row["files_apart"] += [f"{folder.name}/{name}" for name in expected if now.get(name) != expected[name]]
        row["locks_left"] += locks_after(folder, PATIENCE)
        shutil.rmtree(folder)
    return row


def command(part: str, engine: str, folder: Path) -> list[str]:
    options = {"vllm": [], "transformers": ["engine.options={}"]}[engine]
    return [sys.executable, "-m", "rftt.cli", part, "configs/toy.yaml", f"run={folder}", f"engine.name={engine}",
            *options, *SETTINGS[part]]  # fmt: skip


def prepared(part: str, folder: Path, run: Path) -> Path:
    """A fresh run folder with what the phase needs from those before it."""
    folder.mkdir()
    if part == "rl":
        for name in ("model-with-tokens", "sft/final"):
            shutil.copytree(run / name, folder / name)
    return folder


def kill(arguments: list[str], number: signal.Signals, moment: float) -> bool:
    """Start a command and send it a signal after so many seconds; whether it was still there."""
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        process.wait(timeout=moment)
        return False
    except subprocess.TimeoutExpired:
        process.send_signal(number)
    try:
        process.wait(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise AssertionError(f"{number.name} did not end it within {PATIENCE:g} s") from None
    return True


def left_after(folder: Path, seconds: float) -> int:
    """How many processes of commands on this folder are left after so many seconds, or none as soon as that is so."""
    end = time.monotonic() + seconds
    while (count := at_work(folder)) and time.monotonic() < end:
        time.sleep(0.1)
    return count


def at_work(folder: Path) -> int:
    """Processes that name the folder in their command line or hold a file in it open."""
    count = 0
    for process in Path("/proc").glob("[0-9]*"):
        if int(process.name) == os.getpid():
            continue
        try:
            named = str(folder).encode() in (process / "cmdline").read_bytes()
            files = [target(link) for link in (process / "fd").iterdir()]
        except OSError:
            continue  # it has ended
        count += named or any(name.startswith(f"{folder}/") for name in files)
    return count


def target(descriptor: Path) -> str:
    """What an open file of a process is; nothing for one that was closed meanwhile."""
    try:
        return os.readlink(descriptor)
    except OSError:
        return ""


def locks_after(folder: Path, seconds: float) -> int:
    """How many lock files are held after so many seconds, or none as soon as that is so.

    A killed process has no command line and no files any more while its memory is given back, and still its locks.
    """
    end = time.monotonic() + seconds
    while (count := locks(folder)) and time.monotonic() < end:
        time.sleep(0.1)
    return count


def locks(folder: Path) -> int:
    """How many lock files of a folder somebody still holds."""
    count = 0
    for path in folder.glob(".*.lock"):
        with path.open("r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                count += 1
    return count


def finished(part: str, folder: Path) -> bool:
    return (folder / {"search": "search/chains.jsonl", "rl": "rl/final"}[part]).exists()


def found(part: str, folder: Path) -> dict[str, str]:
    """Results by name, as digests; of the log of RL what does not tell the time."""
    names = {"search": ("trees.jsonl", "chains.jsonl"), "rl": ("final/model.safetensors",)}[part]
    digests = {name: digest((folder / part / name).read_bytes()) for name in names if (folder / part / name).exists()}
    rollouts = folder / "rl" / "rollouts.jsonl"
    if part == "rl" and rollouts.exists():
        lines = [json.loads(line) for line in rollouts.read_text().splitlines()]
        digests["rollouts.jsonl"] = digest(
            json.dumps([{k: v for k, v in r.items() if k != "time"} for r in lines]).encode()
        )
    return digests


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def print_row(row: Row) -> None:
    header = ["part", "engine", "kills", "folders", "straight_s", "processes_left", "locks_left", "did_not_go_on"]
    table("kills", [*header, "files apart"], [[*(row[name] for name in header), len(row["files_apart"])]])
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

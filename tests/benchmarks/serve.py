"""Measure `rftt serve`: against vLLM's own server on the same model, and under 10,000 malformed or hostile requests.

    python -m tests.benchmarks.serve --json OUT [--part load beside hostile] [--clients 1 16 64] [--repeat 3]

Needs a tuned model, by default the one that `make quickstart` leaves in runs/toy/rl/final.

*load*: both servers are up, and take turns: so many clients, each of which asks its next question when the last one is
answered. With the strategy *majority* a request to us is, to vLLM, one with ``n`` = rollouts and the seed that the search
derives: both generate the very same chains, so what is left is the servers' own time. With *mcts* vLLM generates as many
tokens as our search did, in ``rollouts`` chains at once: the difference is the search with its dependent rounds as well.
*engine* is the same search without a server, on an engine in this process.

*beside*: seconds of a request alone, and beside six clients that send bodies of a megabyte one after the other.

*hostile*: seeded requests of many kinds, each with the statuses that are right for it; before and after: open files,
threads, memory, and the answer to one seeded question.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from rftt.answering.solve import settings
from rftt.config import Config
from rftt.runtime import environment
from rftt.runtime.running_engine import build_engine, server_flags
from rftt.toy.world import problems
from search import Question, Solver
from search.mcts import derived_seed
from tests.benchmarks._hostile import Attacker, send
from tests.benchmarks.grader import table

PARTS = ("load", "beside", "hostile")
NAME, KEY = "served", "key-of-the-benchmark"
SETTINGS = ("engine.max_model_len=512", "search.max_step_tokens=64", "search.max_tokens=256", "model.dtype=float32")
REQUESTS = {1: 24, 16: 128, 64: 256}  # of one measurement, by the number of clients; half as many of many rollouts
WARM = 16  # questions before the clock runs
AT_ONCE = 32  # hostile requests
Row = dict[str, Any]
Ask = Callable[[str], Awaitable[int]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="runs/toy/rl/final")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--part", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--clients", nargs="+", type=int, default=[1, 16, 64])
    parser.add_argument("--rollouts", nargs="+", type=int, default=[1, 16])
    parser.add_argument("--strategies", nargs="+", default=["majority", "mcts"])
    parser.add_argument("--repeat", type=int, default=3, help="rounds of each measurement; medians are reported")
    parser.add_argument("--share", type=float, default=1.0, help="of the requests of a measurement, for a quick look")
    parser.add_argument("--hostile", type=int, default=10_000, metavar="N", help="hostile requests")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--gpus", type=int, default=0, help="of vLLM's server; 0 runs it on the CPU")
    options = parser.parse_args()
    if not Path(options.model).exists():
        print(f"{options.model} is not there: make quickstart first")
        return 0
    environment.set_defaults()
    figures: dict[str, Any] = {
        "model": options.model,
        "cores": os.cpu_count(),
        "load": [],
        "beside": None,
        "hostile": None,
    }
    failed = False
    if "load" in options.part:
        figures["load"] = load(options)
        show_load(figures["load"])
    if "beside" in options.part:
        figures["beside"] = asyncio.run(beside(options))
        show_beside(figures["beside"])
    if "hostile" in options.part:
        figures["hostile"] = found = asyncio.run(hostile(options))
        failed = show_hostile(found)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    return int(failed)


@contextmanager
def our_server(model: str, *more: str) -> Iterator[tuple[int, psutil.Process]]:
    """`rftt serve` as a process; gives its port."""
    command = [sys.executable, "-m", "rftt.cli", "serve", "--model", model, "--name", NAME, "--port", "0", *more]
    for setting in SETTINGS:
        command += ["--set", setting]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            assert process.stdout is not None
            said = next((line for line in iter(process.stdout.readline, "") if "ready" in line), "")
            port = re.search(r":(\d+)/v1", said)
            if port is None:
                log.seek(0)
                raise SystemExit(f"rftt serve did not start:\n{log.read()[-2000:]}")
            yield int(port[1]), psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait(60)


@contextmanager
def vllm_server(model: str, config: Config, gpus: int) -> Iterator[tuple[str, psutil.Process]]:
    """vLLM's own server with the settings of our engine; gives its URL and the process that holds it."""
    port = str(20_000 + os.getpid() % 20_000)
    command = ["launch/servers.sh", model, "--servers", "1", "--gpus-per-server", str(gpus), "--port", port, "--",
               *server_flags(config), "--served-model-name", NAME, "--disable-uvicorn-access-log"]  # fmt: skip
    script = subprocess.Popen(command, env=os.environ | {"PYTHON": sys.executable}, stdout=subprocess.PIPE, text=True)
    try:
        assert script.stdout is not None
        url = script.stdout.read().strip()
        if not url:
            raise SystemExit("vLLM's server did not start")
        yield url, psutil.Process(script.pid)
    finally:
        script.send_signal(signal.SIGTERM)
        script.wait(60)


def load(options: argparse.Namespace) -> list[Row]:
    """Every number of clients, strategy and rollouts, on both servers and on the engine alone."""
    config = settings(options.model, {"seed": options.seed, "engine": "vllm", "servers": [], "prm": {}}, SETTINGS)
    asked = [p.question for p in islice(problems("test", 0), max(REQUESTS.values()))]
    runs: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    cells = [(s, r, c) for s in options.strategies for r in options.rollouts for c in options.clients]
    with our_server(options.model, "--seed", str(options.seed)) as (port, our_process), \
            vllm_server(options.model, config, options.gpus) as (theirs, their_process):  # fmt: skip

        async def compare() -> None:
            # While one server has its turn, the other closes what is idle: such connections are not taken up again.
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=1)
            async with aiohttp.ClientSession(connector=connector) as session:
                for strategy, rollouts, clients in cells:
                    spent: dict[str, int] = {}
                    ask_us = _ask_us(session, f"http://127.0.0.1:{port}", strategy, rollouts, spent)
                    ask_them = _ask_them(session, theirs, config, strategy, rollouts, spent)
                    questions = _questions(asked, clients, rollouts, options.share)
                    turns = (("rftt", ask_us, our_process), ("vllm", ask_them, their_process))
                    for _, ask, process in turns:
                        # Warm caches, and know what a search spends on each question.
                        some = questions if strategy == "mcts" else questions[:WARM]
                        await clock(some, min(clients, WARM), ask, process)
                    for _ in range(options.repeat):
                        for server, ask, process in turns:
                            row = await clock(questions, clients, ask, process)
                            runs[strategy, rollouts, clients, server].append(row)
                            print(
                                f"{strategy} {rollouts} {clients} {server}: {row['requests_per_s']:.1f}/s",
                                file=sys.stderr,
                            )

        asyncio.run(compare())
    here = psutil.Process()
    with closing(build_engine(config, options.model)) as engine:

        async def alone() -> None:
            for strategy, rollouts, clients in cells:
                solver = Solver(engine, replace(config.search, rollouts=rollouts), strategy)

                async def ask(question: str, solver: Solver = solver) -> int:
                    return (await solver.solve(Question("question", question))).tokens

                questions = _questions(asked, clients, rollouts, options.share)
                await clock(questions[:WARM], min(clients, WARM), ask, here)
                for _ in range(options.repeat):
                    runs[strategy, rollouts, clients, "engine"].append(await clock(questions, clients, ask, here))

        asyncio.run(alone())
    rows = []
    for (strategy, rollouts, clients, server), found in runs.items():
        medians = {name: statistics.median(row[name] for row in found) for name in found[0]}
        rows.append({"strategy": strategy, "rollouts": rollouts, "clients": clients, "server": server, **medians,
                     "each_requests_per_s": [row["requests_per_s"] for row in found]})  # fmt: skip
    return rows


def _questions(asked: list[str], clients: int, rollouts: int, share: float) -> list[str]:
    count = REQUESTS.get(clients, 4 * clients) / (1 if rollouts == 1 else 2)
    return asked[: max(clients, round(count * share))]


def _cpu(server: psutil.Process) -> float:
    """CPU seconds that a process and its children have used."""
    return sum(sum(p.cpu_times()[:2]) for p in (server, *server.children(recursive=True)))


async def clock(questions: list[str], clients: int, ask: Ask, server: psutil.Process) -> Row:
    """Ask all questions, a number of them at a time.

    Returns:
        Requests and tokens per second, latencies in seconds, generated tokens, CPU seconds of the server per request.
    """
    left, seconds, tokens = iter(questions), [], 0

    async def client() -> None:
        nonlocal tokens
        for question in left:
            begun = time.perf_counter()
            spent = await ask(question)
            seconds.append(time.perf_counter() - begun)
            tokens += spent

    used = _cpu(server)
    begun = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    elapsed = time.perf_counter() - begun
    used = _cpu(server) - used
    seconds.sort()
    return {
        "requests": len(seconds), "requests_per_s": len(seconds) / elapsed, "p50_s": statistics.median(seconds),
        "p99_s": seconds[min(len(seconds) - 1, int(0.99 * len(seconds)))], "tokens": tokens,
        "tokens_per_s": tokens / elapsed, "cpu_s": used / len(seconds),
    }  # fmt: skip


def _ask_us(session: aiohttp.ClientSession, url: str, strategy: str, rollouts: int, spent: dict[str, int]) -> Ask:
    async def ask(question: str) -> int:
        body = {"model": NAME, "messages": [{"role": "user", "content": question}], "strategy": strategy,
                "rollouts": rollouts}  # fmt: skip
        tokens = await _post(session, url, body)
        spent[question] = tokens
        return tokens

    return ask


def _ask_them(session: aiohttp.ClientSession, url: str, config: Config, strategy: str, rollouts: int,
              spent: dict[str, int]) -> Ask:  # fmt: skip
    search = config.search

    async def ask(question: str) -> int:
        body = {"model": NAME, "messages": [{"role": "user", "content": question}], "n": rollouts,
                "temperature": search.temperature, "top_p": search.top_p, "max_tokens": search.max_tokens,
                "seed": derived_seed(search.seed, "question", strategy, 0)}  # fmt: skip
        if strategy == "mcts":
            length = max(1, round(spent[question] / rollouts))
            body |= {"max_tokens": length, "min_tokens": length, "ignore_eos": True}
        return await _post(session, url, body)

    return ask


async def _post(session: aiohttp.ClientSession, url: str, body: Row) -> int:
    async with session.post(f"{url}/v1/chat/completions", json=body) as response:
        record = await response.json()
        if response.status != 200:
            raise SystemExit(f"{url}: HTTP {response.status}: {record}")
        return record["usage"]["completion_tokens"]


def show_load(rows: list[Row]) -> None:
    found = {(r["strategy"], r["rollouts"], r["clients"], r["server"]): r for r in rows}
    lines = []
    for (strategy, rollouts, clients, server), row in sorted(found.items()):
        theirs = found[strategy, rollouts, clients, "vllm"]
        slower = theirs["requests_per_s"] / row["requests_per_s"] - 1
        row["overhead"], row["equal_tokens"] = slower, row["tokens"] / theirs["tokens"]
        lines.append([strategy, rollouts, clients, server, row["requests_per_s"], row["p50_s"] * 1e3, row["p99_s"] * 1e3,
                      row["cpu_s"] * 1e3, row["tokens_per_s"], row["equal_tokens"], f"{slower:+.1%}"])  # fmt: skip
    head = [
        "strategy",
        "rollouts",
        "clients",
        "server",
        "requests/s",
        "p50 ms",
        "p99 ms",
        "CPU ms",
        "tokens/s",
        "tokens",
        "against vLLM",
    ]
    table(
        "load: closed loop, median of rounds; tokens as a share of vLLM's; time per request against vLLM's", head, lines
    )


async def beside(options: argparse.Namespace) -> Row:
    """Seconds of short requests, in turn without and with bodies of a megabyte at the same time."""
    count = max(8, int(60 * options.share))
    with our_server(options.model, "--timeout", "60") as (port, _):
        url = f"http://127.0.0.1:{port}/v1/chat/completions"

        def body(text: str) -> bytes:
            fields = {"model": NAME, "messages": [{"role": "user", "content": text}], "strategy": "greedy", "seed": 1}
            return json.dumps(fields).encode()

        short, large = body("Work modulo 10:h=6,m=h*4,r=m+5.(m,r)=?"), body("Work modulo 10:h=6,m=" * 49_000)
        statuses: Counter[int] = Counter()
        over = asyncio.Event()

        async with aiohttp.ClientSession(headers={"Content-Type": "application/json"}) as session:

            async def one(data: bytes) -> float:
                begun = time.perf_counter()
                async with session.post(url, data=data) as answer:
                    await answer.read()
                    statuses[answer.status] += 1
                return time.perf_counter() - begun

            async def crowd() -> None:
                while not over.is_set():
                    await one(large)

            rounds: dict[str, list[float]] = {"alone": [], "beside": []}
            for _ in range(5):
                await one(short)
            for _ in range(options.repeat):
                rounds["alone"] += [await one(short) for _ in range(count)]
                over.clear()
                async with asyncio.TaskGroup() as group:
                    for _ in range(6):
                        group.create_task(crowd())
                    await asyncio.sleep(0.5)
                    rounds["beside"] += [await one(short) for _ in range(count)]
                    over.set()
    figures = {name: {"median": statistics.median(found), "p95": sorted(found)[int(0.95 * len(found))]}
               for name, found in rounds.items()}  # fmt: skip
    return {**figures, "bytes": len(large), "requests": options.repeat * count, "statuses": dict(statuses)}


def show_beside(found: Row) -> None:
    rows = [[name, 1e3 * found[name]["median"], 1e3 * found[name]["p95"]] for name in ("alone", "beside")]
    ratio = found["beside"]["median"] / found["alone"]["median"]
    title = f"beside six bodies of {found['bytes'] / 1e6:.2f} MB: {ratio:.2f} × alone; statuses {found['statuses']}"
    table(title, ["", "median ms", "p95 ms"], rows)


async def hostile(options: argparse.Namespace) -> Row:
    """Send them all; see what is left of the server."""
    with our_server(options.model, "--api-key", KEY, "--timeout", "60") as (port, process):
        url, headers = f"http://127.0.0.1:{port}", {"Authorization": f"Bearer {KEY}"}
        attacker = Attacker(options.seed, NAME, KEY)
        wrong: list[str] = []
        kinds: dict[str, Counter[str]] = defaultdict(Counter)
        states: list[Row] = []

        async def state() -> None:
            async with aiohttp.ClientSession(headers=headers) as session:
                for _ in range(200):  # what was hung up on is cancelled in a moment
                    async with session.get(f"{url}/metrics") as answer:
                        text = await answer.text()
                    busy = sum(float(line.split()[-1]) for line in text.splitlines()
                               if line.startswith(("rftt_searches_running ", "rftt_searches_waiting ")))  # fmt: skip
                    if not busy:
                        break
                    await asyncio.sleep(0.05)
                body = {"model": NAME, "messages": [{"role": "user", "content": "Work modulo 10:h=6,m=h*4,r=m+5.(m,r)=?"}],
                        "seed": 1}  # fmt: skip
                async with session.post(f"{url}/v1/chat/completions", json=body) as answer:
                    record = await answer.json()
                async with session.get(f"{url}/health") as answer:
                    health = answer.status
            await asyncio.sleep(0.2)
            states.append({
                "sent": sum(sum(c.values()) for c in kinds.values()), "open_files": process.num_fds(),
                "threads": process.num_threads(), "memory_mb": process.memory_info().rss / 2**20, "health": health,
                "busy": busy, "answer": [record["choices"][0]["message"]["content"], record["usage"]],
            })  # fmt: skip

            now = states[-1]
            print(f"{now['sent']} sent, {now['memory_mb']:.0f} MiB, {len(wrong)} wrong", file=sys.stderr, flush=True)

        async def sender(count: Iterator[int]) -> None:
            for _ in count:
                request = attacker.draw()
                status = await send(port, request)
                kinds[request.kind][str(status)] += 1
                if status not in request.right:
                    wrong.append(f"{request.kind}: {status}, expected {request.right}: {request.raw[:300]!r}")

        begun = time.perf_counter()
        await state()
        step = max(1, options.hostile // 10)
        for at in range(0, options.hostile, step):
            count = iter(range(min(step, options.hostile - at)))
            async with asyncio.TaskGroup() as group:
                for _ in range(AT_ONCE):
                    group.create_task(sender(count))
            await state()
        seconds = time.perf_counter() - begun
    return {"sent": options.hostile, "seconds": seconds, "wrong": wrong, "states": states,
            "kinds": {kind: dict(found) for kind, found in sorted(kinds.items())}}  # fmt: skip


def show_hostile(found: Row) -> bool:
    """Print the figures; returns whether anything is wrong."""
    table(
        f"hostile: {found['sent']} requests in {found['seconds']:.0f} s, {len(found['wrong'])} with a wrong status",
        ["kind", "requests", "statuses"],
        [
            [kind, sum(c.values()), " ".join(f"{s}×{n}" for s, n in sorted(c.items()))]
            for kind, c in found["kinds"].items()
        ],
    )
    names = ("sent", "open_files", "threads", "memory_mb", "health", "busy")
    table("the server on the way", list(names), [[state[name] for name in names] for state in found["states"]])
    for line in found["wrong"][:20]:
        print(line)
    first, last = found["states"][0], found["states"][-1]
    same = first["answer"] == last["answer"]
    leaks = last["open_files"] > first["open_files"] + 4 or last["busy"] > 0
    memory = [found["states"][1]["memory_mb"], last["memory_mb"]]
    print(
        f"the seeded answer is {'the same' if same else 'ANOTHER ONE'}; open files {first['open_files']} → "
        f"{last['open_files']}; memory {memory[0]:.0f} → {memory[1]:.0f} MiB from the first tenth on"
    )
    return bool(found["wrong"]) or not same or leaks


if __name__ == "__main__":
    sys.exit(main())

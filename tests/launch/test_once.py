"""`launch/once`: what is cut is joined bit by bit, damage is told, wheels are the missing ones, a sitting ends in time."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ONCE = ROOT / "launch" / "once"


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    """The folder's modules import each other by their bare names, as scripts do."""
    monkeypatch.syspath_prepend(str(ONCE))
    yield
    for name in ("pieces", "wheels", "pack", "run", "boxed"):
        sys.modules.pop(name, None)


@pytest.fixture
def files(tmp_path):
    """A large random file, a large compressible one, an empty one, a folder with a link."""
    dice = random.Random(5)
    folder = tmp_path / "model"
    (folder / "deep").mkdir(parents=True)
    (folder / "weights.bin").write_bytes(dice.randbytes(21 << 20))
    (folder / "deep" / "zeros.bin").write_bytes(bytes(30 << 20))
    (folder / "deep" / "empty").write_bytes(b"")
    (tmp_path / "elsewhere.json").write_text("{}")
    (folder / "link.json").symlink_to(tmp_path / "elsewhere.json")
    return {"model": folder, "train.jsonl": tmp_path / "elsewhere.json"}


def test_what_is_cut_is_joined(files, tmp_path):
    import pieces

    most = 10 << 20
    loads = pieces.cut(files, tmp_path / "loads", most)
    assert [load.name for load in loads] == ["load-01", "load-02", "load-03", "load-04"]
    assert all(sum(f.stat().st_size for f in load.iterdir()) <= most for load in loads)
    size = pieces.join(tmp_path / "loads", tmp_path / "out")
    assert (21 << 20) <= size < (23 << 20)  # zeros weigh nothing
    for name in ("weights.bin", "deep/zeros.bin", "deep/empty", "link.json"):
        assert (tmp_path / "out" / "model" / name).read_bytes() == (files["model"] / name).read_bytes()
    assert not (tmp_path / "out" / "model" / "link.json").is_symlink()
    assert (tmp_path / "out" / "train.jsonl").read_text() == "{}"


def test_loads_that_are_missing_damaged_or_mixed_are_told(files, tmp_path):
    import pieces

    loads = pieces.cut(files, tmp_path / "loads", 10 << 20)
    loads[1].rename(tmp_path / "aside")
    with pytest.raises(ValueError, match=r"1 of 7 pieces are missing, the first is 0000\d; carry all 4 loads"):
        pieces.join(tmp_path / "loads", tmp_path / "out")
    (tmp_path / "aside").rename(loads[1])
    damaged = next(loads[1].glob("*.raw"))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    with pytest.raises(ValueError, match="damaged or missing; carry this load again"):
        pieces.join(tmp_path / "loads", tmp_path / "out")
    index = json.loads((loads[1] / "index.json").read_text())
    (loads[1] / "index.json").write_text(json.dumps(index | {"pieces": 99}))
    with pytest.raises(ValueError, match="belongs to other loads"):
        pieces.join(tmp_path / "loads", tmp_path / "out")
    with pytest.raises(ValueError, match="there is no load in it"):
        pieces.join(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(ValueError, match="most"):
        pieces.cut(files, tmp_path / "small", 1 << 20)


def test_wheels_are_those_that_are_missing_or_do_not_fit():
    import wheels

    present = {"torch": "2.11.0+cu130", "Old.Tool": "1.9", "regex": "", "numpy": "2.5.2"}
    needed = {"torch": "2.11.0", "old-tool": "2.0", "regex": "2026.1", "numpy": "2.4.9", "vllm": "0.26.0"}
    assert wheels.missing(needed, present) == {"old-tool": "2.0", "numpy": "2.4.9", "vllm": "0.26.0"}


def test_the_resolution_keeps_torch_and_prefers_what_is_there(tmp_path, monkeypatch):
    import wheels

    uv = tmp_path / "uv"
    copies = "".join(f"cp $(dirname $3)/{name} {tmp_path}/{name}; " for name in ("asked.txt", "fixed.txt", "out.txt"))
    uv.write_text(f"#!/bin/sh\n{copies}printf 'vllm==0.26.0\\nTorch==2.11.0\\n' > $7\n")
    uv.chmod(0o755)
    monkeypatch.setattr(wheels.shutil, "which", lambda *_, **__: str(uv))
    present = {"torch": "2.11.0+cu130", "numpy": "2.5.2", "regex": ""}
    assert wheels.resolve(["vllm==0.26.0"], present, "3.12") == {"vllm": "0.26.0", "torch": "2.11.0"}
    read = {name: (tmp_path / name).read_text() for name in ("asked.txt", "fixed.txt", "out.txt")}
    assert read == {
        "asked.txt": "vllm==0.26.0\n",
        "fixed.txt": "torch==2.11.0\n",
        "out.txt": "torch==2.11.0\nnumpy==2.5.2\n",
    }
    uv.write_text("#!/bin/sh\necho no solution >&2; exit 1\n")
    with pytest.raises(wheels.ResolutionError, match="no solution"):
        wheels.resolve(["vllm==0.26.0"], present, "3.12")
    monkeypatch.setattr(wheels.shutil, "which", lambda *_, **__: None)
    with pytest.raises(wheels.ResolutionError, match="pip install uv"):
        wheels.resolve([], {}, "3.12")


def test_the_list_of_present_packages_is_read(tmp_path):
    import wheels

    present = wheels.read_present(ONCE / "present.txt")
    assert present["torch"] == "2.11.0" and present["regex"] == "" and "trl" not in present and "vllm" not in present
    (tmp_path / "p.txt").write_text("# a comment\nTorch==2.11.0+cu130\nlocal @ file:///x\n-e .\n")
    assert wheels.read_present(tmp_path / "p.txt") == {"Torch": "2.11.0+cu130", "local": ""}


def test_a_sample_that_was_cut_off_still_counts(tmp_path):
    import run

    folder = tmp_path / "eval"
    folder.mkdir()
    rows = [json.dumps({"verdict": v}) for v in ("correct", "wrong", "correct", "no_answer")]
    rows[1] = '{"text": "a\u2028b", "verdict": "wrong"}'
    (folder / "greedy-rl.jsonl.partial").write_bytes("\n".join(rows).encode() + b'\n{"verdict": "corr\xc3')
    assert run.measured_of(tmp_path, "rl") == {"greedy, so far": {"value": 0.5, "n": 4}}
    assert run.shown(run.measured_of(tmp_path, "rl")["greedy, so far"]) == "50.0 (n = 4)"
    (folder / "rl.json").write_text('{"metrics": {"greedy": {"value": 0.5, "low": 0.2, "high": 0.8, "tokens": 12}}}')
    assert run.shown(run.measured_of(tmp_path, "rl")["greedy"]) == "50.0 [20.0, 80.0], 12 tok" and run.shown(None) == ""


def full(*_):
    raise OSError("the disk is full")


def test_what_several_processes_searched_until_the_time_was_up_is_collected(tmp_path, monkeypatch):
    import boxed

    from rftt.config import from_dict
    from rftt.data.questions import problems
    from search.journal import Journal

    config = from_dict({"run": str(tmp_path), "data": {"train_limit": 5, "eval_limit": 2}, "search": {"processes": 2}})
    asked = [p.id for p in problems(config)[0]]
    node = {"id": 0, "parent": None, "function": "question", "verdict": "correct"}
    for share, done in enumerate(([asked[4], asked[0]], [asked[3]])):  # the second share's last record is torn
        journal = Journal(tmp_path / "search" / f"questions-{share}.jsonl")
        for name in done:
            chain = {"question_id": name, "kind": "plain"}
            journal.append({"question_id": name, "chains": [chain], "tree": {"question_id": name, "nodes": [node]}})
        journal.close()
    with open(tmp_path / "search" / "questions-1.jsonl.partial", "a") as file:
        file.write('{"question_id": "' + asked[1])
    (tmp_path / "search" / "failed-1.jsonl").write_text(
        json.dumps({"question_id": asked[1], "reason": "too long"}) + "\n"
    )
    with monkeypatch.context() as patched, pytest.raises(OSError, match="full"):
        patched.setattr(boxed, "write_jsonl", full)
        boxed.collect(config)
    boxed.collect(config)
    for name in ("chains", "trees"):
        lines = (tmp_path / "search" / f"{name}.jsonl").read_text().splitlines()
        assert [json.loads(line)["question_id"] for line in lines] == [asked[0], asked[3], asked[4]]
    assert [p.id for p in problems(config)[0]] == [asked[0], asked[3], asked[4]], "the others were not searched"
    assert not list((tmp_path / "search").glob("*-*.jsonl*"))
    assert "too long" in (tmp_path / "search" / "failed.jsonl").read_text(), "what a share had told is not lost"


@pytest.mark.pages
@pytest.mark.slow
def test_a_sitting_in_miniature_ends_in_time_with_a_table(tmp_path):
    loads, results = tmp_path / "loads", tmp_path / "results"
    subprocess.run([sys.executable, str(ONCE / "pack.py"), "toy", str(loads), "--no-wheels"], check=True)
    small = [
        "engine.name=transformers", "engine.options={}", "engine.max_model_len=512", "model.dtype=float32",
        "model.token_noise=1.0", "data.eval_limit=8", "search.processes=1", "search.max_step_tokens=32",
        "search.live_trees=4",
        "sft.learning_rate=1e-3", "sft.num_train_epochs=400", "sft.max_length=512", "rl.questions_per_step=4",
        "rl.rollouts=4", "rl.max_step_tokens=32", "rl.max_steps=400", "eval.max_step_tokens=32", "eval.max_tokens=200",
        "eval.search_limit=4", "eval.rollouts=[1,2]",
    ]  # fmt: skip
    command = [
        sys.executable,
        str(loads / "run.py"),
        str(loads),
        str(results),
        *small,
        "--work",
        str(tmp_path / "work"),
    ]
    done = subprocess.run([*command, "--minutes", "4"], capture_output=True, text=True, timeout=330)
    logs = "".join(path.read_text()[-1500:] for path in results.glob("*.log"))
    assert done.returncode == 0, done.stdout + done.stderr + logs
    figures = json.loads((results / "figures.json").read_text())
    assert [row["phase"] for row in figures["phases"]] == ["join", "install", "tokens", "search", "sft", "rl", "eval"]
    assert sum(row["seconds"] for row in figures["phases"]) < 4 * 60 + 30
    assert all(figures["models"][model] for model in ("base", "sft", "rl"))
    assert (results / "table.md").read_text() in done.stdout + "\n"
    # Far more was asked for than there was time: the search and both trainings ended early, and whole.
    assert "time is up" in (results / "search.log").read_text()
    assert "time is up" in (results / "sft.log").read_text() and "time is up" in (results / "rl.log").read_text()


def test_what_one_gpu_does_not_call_is_left_out_of_the_loads_and_stays_in_the_downloads(tmp_path, monkeypatch):
    import argparse
    import zipfile

    import pack
    import wheels

    downloads = tmp_path / "downloads"
    downloads.mkdir()
    files = {
        "vllm/__init__.py": "x = 1\n",
        "vllm/vllm_flash_attn/_vllm_fa2_C.abi3.so": "0" * 1000,
        "vllm-0.26.0.dist-info/RECORD": "vllm/__init__.py,,\nvllm/vllm_flash_attn/_vllm_fa2_C.abi3.so,,\n",
    }
    with zipfile.ZipFile(downloads / "vllm-0.26.0-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    (downloads / "trl-1.16.0-py3-none-any.whl").write_bytes(b"trl")
    (downloads / "another-1.0-py3-none-any.whl").write_bytes(b"of another day")
    needed = {"vllm": "0.26.0", "trl": "1.16.0"}
    monkeypatch.setattr(wheels, "resolve", lambda *_: needed)

    def carried(name: str, lean: bool) -> dict[str, bytes]:
        options = {"present": ONCE / "present.txt", "vllm": "0.26.0", "python": "3.12", "without": [], "pip": []}
        folder = pack._wheels(argparse.Namespace(lean=lean, **options), downloads, tmp_path / name)
        assert {path.name for path in folder.iterdir()} == {
            "vllm-0.26.0-py3-none-any.whl", "trl-1.16.0-py3-none-any.whl",
        }  # fmt: skip
        with zipfile.ZipFile(folder / "vllm-0.26.0-py3-none-any.whl") as archive:
            assert not lean or all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())
            return {name: archive.read(name).decode() for name in archive.namelist()}

    assert carried("lean", lean=True) == {
        "vllm/__init__.py": "x = 1\n", "vllm-0.26.0.dist-info/RECORD": "vllm/__init__.py,,\n",
    }  # fmt: skip
    assert carried("whole", lean=False) == files

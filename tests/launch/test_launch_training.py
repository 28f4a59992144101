"""The launch scripts of training and evaluation hand everything on to the right launcher; two processes train for real."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
STUB = Path(__file__).with_name("stub_vllm.py")
PATIENCE = 240  # seconds; on a machine with nothing else to do, a tenth of it


@pytest.fixture
def launch(tmp_path):
    """Runs a script with the stand-in for python; returns exit code, lines of standard output and what it told."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} {STUB} "$@"\n')
    python.chmod(0o755)

    def run(script, *arguments, **environment):
        clean = {k: v for k, v in os.environ.items() if k not in ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "NODES")}
        done = subprocess.run(
            ["bash", str(ROOT / "launch" / script), *map(str, arguments)], cwd=ROOT, text=True, capture_output=True,
            env=clean | {"PYTHON": str(python), "TMPDIR": str(tmp_path)} | environment, timeout=PATIENCE,
        )  # fmt: skip
        return done.returncode, done.stdout.splitlines(), done.stderr

    return run


@pytest.mark.parametrize("phase", ["sft", "rl"])
def test_one_node_is_started_by_torchrun_with_a_process_per_gpu(launch, phase):
    code, [out], told = launch(f"{phase}.sh", "c.yaml", "seed=5", "run=a b", CUDA_VISIBLE_DEVICES="0,1,3")
    assert code == 0, told
    expected = ["--standalone", "--nproc-per-node", "3", "-m", "rftt.cli", phase, "c.yaml", "seed=5", "run=a b"]
    assert json.loads(out) == ["torch.distributed.run", *expected]


def test_the_stage_of_zero_is_an_override_with_a_file_that_is_there(launch):
    code, [out], told = launch("rl.sh", "--gpus", 2, "--zero", "3-offload", "c.yaml", CUDA_VISIBLE_DEVICES="0,1,2")
    assert code == 0, told
    argv = json.loads(out)
    name, _, path = argv[-1].partition("=")
    assert argv[argv.index("--nproc-per-node") + 1] == "2" and name == "rl.trainer.deepspeed"
    assert json.loads(Path(path).read_text())["zero_optimization"]["offload_param"]["device"] == "cpu"


def test_several_nodes_are_started_by_deepspeed(launch, tmp_path):
    hosts = tmp_path / "hosts"
    hosts.write_text("node1 slots=8\nnode2 slots=8\n")
    code, [out], told = launch("sft.sh", "--hostfile", hosts, "--port", 4000, "--zero", 2, "c.yaml", "seed=5")
    assert code == 0, told
    assert json.loads(out) == [
        "deepspeed.launcher.runner", "--hostfile", str(hosts), "--master_port", "4000", "--no_local_rank",
        "--module", "rftt.cli", "sft", "c.yaml", "seed=5",
        f"sft.trainer.deepspeed={ROOT}/configs/deepspeed/zero2.json",
    ]  # fmt: skip


def test_a_slurm_job_has_one_torchrun_on_each_node(launch, tmp_path):
    """The stand-in for srun runs its command once per node, one after the other."""
    for name, text in {
        "srun": 'for n in 0 1; do SLURM_NODEID=$n "$@"; done',
        "scontrol": '[ "$3" = "gpu[1-20000]" ] && printf "gpu%s\\n" $(seq 20000)',  # more than a pipe holds
    }.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    code, lines, told = launch(
        "slurm-train.sbatch", "rl", "--zero", "3", "c.yaml", SLURM_JOB_ID="7", SLURM_JOB_NUM_NODES="2",
        SLURM_JOB_NODELIST="gpu[1-20000]", SLURM_SUBMIT_DIR=str(ROOT), CUDA_VISIBLE_DEVICES="0,1",
        PATH=f"{tmp_path}:{os.environ['PATH']}",
    )  # fmt: skip
    assert code == 0, told
    for node, line in enumerate(lines):
        argv = json.loads(line)
        nodes = ["--nnodes", "2", "--node-rank", str(node), "--master-addr", "gpu1", "--master-port", "20007"]
        assert argv[1:9] == nodes and argv[9:11] == ["--nproc-per-node", "2"]
    assert len(lines) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "CONFIG is missing"),
        (["--gpus", "two", "c.yaml"], "--gpus is two, expected a whole number from 1"),
        (["--zero", "4", "c.yaml"], "--zero is 4, expected 2, 2-offload, 3 or 3-offload"),
        (["--fast", "c.yaml"], "--fast is unknown"),
        (["--hostfile", "/no/such/file", "c.yaml"], "/no/such/file cannot be read"),
        (["--gpus", "1", "--cpu", "1", "c.yaml"], "--gpus and --cpu exclude each other"),
        (["--gpus", "3", "c.yaml"], "--gpus is 3, but this node has 2"),
    ],
)
@pytest.mark.parametrize("script", ["sft.sh", "rl.sh"])
def test_a_slip_is_told_in_one_line(launch, script, arguments, message):
    code, _, told = launch(script, *arguments, CUDA_VISIBLE_DEVICES="0,1")
    assert code == 2 and message in told and told.count("\n") == 1


def test_models_are_measured_one_after_the_other_on_servers_of_their_own(launch, tmp_path):
    run, port = tmp_path / "run", free_port()
    (run / "sft" / "final").mkdir(parents=True)
    (run / "eval").mkdir()
    (run / "eval" / "rl.json").write_text("{}")  # measured before
    config = tmp_path / "config.yaml"
    config.write_text(f"run: {run}\nmodel: {{path: m}}\nengine: {{max_model_len: 99}}\n")
    logs = tmp_path / "logs"
    code, lines, told = launch(
        "eval.sh",
        config,
        "seed=5",
        "--",
        "--gpus-per-server",
        0,
        "--port",
        port,
        "--logs",
        logs,
        "--",
        "--dtype",
        "float32",
    )
    assert code == 0, told
    server = f'engine.servers=["http://127.0.0.1:{port}"]'
    shared = ["eval", str(config)]
    rest = ["seed=5", "engine.options={}", "engine.name=server", server]
    assert [json.loads(line) for line in lines] == [
        [*shared, "--model", "base", *rest], [*shared, "--model", "sft", *rest], [*shared, "seed=5"],
    ]  # fmt: skip
    last = json.loads((logs / "server-0.log").read_text().splitlines()[0])["argv"]
    assert last[:2] == ["--model", str(run / "sft" / "final")] and last[-2:] == ["--dtype", "float32"]


@pytest.mark.slow
@pytest.mark.deepspeed
def test_two_processes_on_the_cpu_train_both_phases(tiny_model, tmp_path):
    pytest.importorskip("deepspeed", reason="DeepSpeed is not installed: pip install 'rftt[deepspeed]'")
    import yaml
    from transformers import AutoModelForCausalLM

    from rftt.model.vocabulary import add_functional_tokens
    from search.chain import Step, render
    from search.journal import write_jsonl

    run, base = tmp_path / "run", tiny_model()
    add_functional_tokens(base, run / "model-with-tokens")
    turns = [{"role": "user", "content": "What is 1 + 1?"},
             {"role": "assistant", "content": render([Step("output", "\\boxed{2}")])}]  # fmt: skip
    write_jsonl(run / "search" / "chains.jsonl", ({"question_id": f"q{i}", "messages": turns} for i in range(8)))
    for name, other in (("train", 2), ("eval", 5)):
        rows = ({"id": f"{name}{i}", "question": f"What is {i} + {other}?", "answer": str(i + other), "source": "test"}
                for i in range(4))  # fmt: skip
        write_jsonl(run / "data" / f"{name}.jsonl", rows)
    trainer = {"max_steps": 1, "save_strategy": "no", "disable_tqdm": True}
    config = {
        "run": str(run), "model": {"path": str(base), "dtype": "float32"},
        "engine": {"name": "transformers", "max_model_len": 120},
        "sft": {"batch_size": 4, "trainer": trainer},
        "rl": {"questions_per_step": 2, "rollouts": 2, "max_depth": 3, "max_step_tokens": 8, "trainer": trainer},
    }  # fmt: skip
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    for script, options in (("sft.sh", ["--zero", "2"]), ("rl.sh", [])):
        done = subprocess.run(
            ["bash", str(ROOT / "launch" / script), "--cpu", "2", *options, str(tmp_path / "config.yaml")], cwd=ROOT,
            text=True, capture_output=True, timeout=PATIENCE, env=os.environ | {"PYTHON": sys.executable},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-4000:]
    steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [(line["phase"], line["step"]) for line in steps if "loss" in line] == [("rl", 1)]
    assert AutoModelForCausalLM.from_pretrained(run / "rl" / "final").config.vocab_size

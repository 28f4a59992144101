"""Process reward models behind real vLLM servers: every format gives the scores of the model in this process."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request

import pytest

from rewards.prm.process import PRMError, ProcessScorer, ServerPRM
from tests.rewards.prm.prms import FORMATS, build, load
from tests.search.fake_server import free_port

pytestmark = [pytest.mark.slow, pytest.mark.vllm]
FLAGS = ["--dtype", "float32", "--enforce-eager", "--max-model-len", "256", "--gpu-memory-utilization", "0.1"]
STEPS = ["3 + 4 = 7", "The <extra_0> final number is 8 ки.\nOr is it?", "", "The answer is \\boxed{7}."]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Folder and URL by format."""
    root, processes, found = tmp_path_factory.mktemp("vllm-prms"), [], {}
    try:
        for form in FORMATS:
            build(root / form, form)
            flags = [] if form == "math_shepherd" else ["--runner", "pooling"]
            if form == "qwen":  # the published model's separator has the id that vLLM takes by default
                tokens = json.loads((root / form / "tokenizer.json").read_text())["added_tokens"]
                separator = next(t["id"] for t in tokens if t["content"] == "<extra_0>")
                flags += ["--pooler-config", json.dumps({"step_tag_id": separator})]
            port = free_port()
            command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(root / form),
                       "--port", str(port), *FLAGS, *flags]  # fmt: skip
            log = (root / f"{form}.log").open("w")
            processes.append(subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, cwd=root,
                                              env=os.environ | {"VLLM_ENABLE_V1_MULTIPROCESSING": "1"}))  # fmt: skip
            found[form] = (root / form, f"http://127.0.0.1:{port}")
        for form, (_, url) in found.items():
            wait_for(url, root / f"{form}.log")
        yield found
    finally:
        for process in processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for process in processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def wait_for(url, log):
    for _ in range(300):
        try:
            with urllib.request.urlopen(f"{url}/v1/models", timeout=2):
                return
        except OSError:
            time.sleep(1)
    raise AssertionError(log.read_text()[-2000:])


@pytest.mark.parametrize("form", FORMATS)
def test_a_real_server_scores_as_the_same_model_in_this_process(served, form):
    folder, url = served[form]
    local = load(folder, form)
    scorer = ProcessScorer(ServerPRM([url], str(folder), local.form))
    paths = [STEPS[:2], STEPS, [*STEPS[:3], "other", "1 2 3"], ["x"]]

    async def ask(asked):
        return await asyncio.gather(*(asked("What is 3 + 4?", path) for path in paths))

    for found, expected in zip(asyncio.run(ask(scorer)), asyncio.run(ask(ProcessScorer(local))), strict=True):
        assert found == pytest.approx(expected, abs=1e-4)
    with pytest.raises(PRMError, match="HTTP 400: .*256"):
        asyncio.run(scorer("What is 3 + 4?", ["1 2 3 4 " * 100]))

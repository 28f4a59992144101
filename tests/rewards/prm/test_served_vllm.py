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
from tests.ports import IN_USE, PortTaken, free_port, on_free_port
from tests.rewards.prm.prms import FORMATS, build, load

pytestmark = [pytest.mark.slow, pytest.mark.vllm]
FLAGS = ["--dtype", "float32", "--enforce-eager", "--max-model-len", "256", "--gpu-memory-utilization", "0.1"]
STEPS = ["3 + 4 = 7", "The <extra_0> final number is 8 ки.\nOr is it?", "", "The answer is \\boxed{7}."]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Folder and URL by format."""
    root, processes, flags, first = tmp_path_factory.mktemp("vllm-prms"), [], {}, {}

    def launch(form, port):
        command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(root / form),
                   "--port", str(port), *FLAGS, *flags[form]]  # fmt: skip
        with (root / f"{form}.log").open("w") as log:
            processes.append(subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, cwd=root,
                                              env=os.environ | {"VLLM_ENABLE_V1_MULTIPROCESSING": "1"}))  # fmt: skip
        return processes[-1], f"http://127.0.0.1:{port}"

    try:
        for form in FORMATS:
            build(root / form, form)
            flags[form] = [] if form == "math_shepherd" else ["--runner", "pooling"]
            if form == "qwen":  # the published model's separator has the id that vLLM takes by default
                tokens = json.loads((root / form / "tokenizer.json").read_text())["added_tokens"]
                separator = next(t["id"] for t in tokens if t["content"] == "<extra_0>")
                flags[form] += ["--pooler-config", json.dumps({"step_tag_id": separator})]
            first[form] = launch(form, free_port())  # all at once; one whose port is taken starts again

        def up(form):
            return on_free_port(
                lambda port: wait_for(*(first.pop(form, None) or launch(form, port)), root / f"{form}.log")
            )

        yield {form: (root / form, up(form)) for form in FORMATS}
    finally:
        for process in processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for process in processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def wait_for(process, url, log):
    """The URL, once it is up.

    Raises:
        PortTaken: another program has taken its port.
    """
    for _ in range(300):
        try:
            with urllib.request.urlopen(f"{url}/v1/models", timeout=2):
                return url
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(1)
    if IN_USE in (told := log.read_text()):
        raise PortTaken
    raise AssertionError(told[-2000:])


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

"""Process reward models behind servers: right scores, and an error, never a zero, from servers that misbehave."""

import asyncio
import random
import threading
from contextlib import contextmanager

import pytest
from aiohttp import web

from rewards.prm.process import PRMError, PRMGone, ProcessScorer, ServerPRM
from tests.ports import free_port
from tests.rewards.prm.prms import FORMATS, build, load

QUESTION, STEPS = "What is the sum of 3 and 4?", ["3 + 4 = 7", "", "The answer is 7."]


class FakePRM:
    """A server with vLLM's interface in front of a local model, in a thread of its own.

    `script` says what to do with the next requests (ok, 500, 400, torn, hang, short, garbage, extreme, nan,
    floor), after it `always`.
    """

    def __init__(self, model, *, separators_only=False):
        self.model, self.separators_only = model, separators_only
        self.script, self.always, self.bodies = [], "ok", []
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._do(self._start())

    def _do(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _start(self):
        app = web.Application()
        app.router.add_post("/pooling", self._answer)
        app.router.add_post("/v1/completions", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.01)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    def stop(self):
        self._do(self._runner.cleanup())
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def _answer(self, request):
        body = await request.json()
        self.bodies.append(body)
        how = self.script.pop(0) if self.script else self.always
        if how.isdigit():
            return web.json_response({"error": {"message": f"no\n such {how}"}}, status=int(how))
        if how == "torn":
            request.transport.abort()
        if how == "hang":
            await asyncio.sleep(1)
        if how == "garbage":
            return web.Response(text="<html>gateway</html>")
        answer = self._pooled(body) if request.path == "/pooling" else self._completed(body)
        key = "data" if request.path == "/pooling" else "choices"
        if how == "short":
            answer[key] = [{"index": 0, "data": answer[key][0]["data"][1:]}] if key == "data" else answer[key][1:]
        if how == "extreme" and key == "data":
            answer[key][0]["data"] = [[7.0, -6.0] for _ in answer[key][0]["data"]]
        if how == "extreme" and key == "choices":
            answer[key][0]["logprobs"]["top_logprobs"] = [{}]
        for choice in answer["choices"] if how in ("nan", "floor") else ():
            [said] = choice["logprobs"]["top_logprobs"]
            said[min(said)] = float("nan") if how == "nan" else -9999.0
            said[max(said)] = said[max(said)] if how == "nan" else 0.0
        return web.json_response(answer)

    def _logits(self, ids):
        import torch

        with torch.no_grad():
            return self.model.model(torch.tensor([ids]), attention_mask=torch.ones(1, len(ids))).logits[0]

    def _pooled(self, body):
        assert body["task"] == "token_classify" and body["use_activation"] is True
        found, ids = self._logits(body["input"]).softmax(-1).tolist(), body["input"]
        if self.separators_only:
            found = [pair for pair, token in zip(found, ids, strict=True) if token == ids[-1]]
        return {"data": [{"index": 0, "data": found}]}

    def _completed(self, body):
        assert body["max_tokens"] == 1 and body["return_tokens_as_token_ids"] and body["logprobs"] == 0
        choices = []
        for i, ids in enumerate(body["prompt"]):
            logps = self._logits(ids)[-1].log_softmax(-1)
            said = {f"token_id:{t}": logps[t].item() for t in body["logprob_token_ids"]}
            choices.append({"index": i, "logprobs": {"top_logprobs": [said]}})
        return {"choices": choices[::-1]}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("served")
    for form in FORMATS:
        build(root / form, form)
    return {form: load(root / form, form) for form in FORMATS}


@contextmanager
def serving(model, count=1, **options):
    servers = [FakePRM(model, **options) for _ in range(count)]
    try:
        yield servers
    finally:
        for server in servers:
            server.stop()


def client(servers, model, **options):
    settings = {"backoff": 0.01, "attempts": 3} | options
    return ProcessScorer(ServerPRM([f"{s.url}/v1/" for s in servers], "m", model.form, **settings))


def local(model, *paths):
    scorer = ProcessScorer(model)
    return [asyncio.run(scorer(QUESTION, steps)) for steps in paths]


def ask(scorer, *paths):
    async def run():
        return await asyncio.gather(*(scorer(QUESTION, steps) for steps in paths), return_exceptions=True)

    return asyncio.run(run())


@pytest.mark.parametrize(("form", "separators_only"), [*((form, False) for form in FORMATS), ("qwen", True)])
def test_a_server_scores_as_the_same_model_in_this_process(models, form, separators_only):
    with serving(models[form], separators_only=separators_only) as servers:
        [found, longer] = ask(client(servers, models[form]), STEPS, [*STEPS, "So \\boxed{7}"])
    expected = local(models[form], STEPS, [*STEPS, "So \\boxed{7}"])
    assert found == pytest.approx(expected[0], abs=1e-5) and longer == pytest.approx(expected[1], abs=1e-5)
    assert len(servers[0].bodies) == 1, "the shorter path is part of the longer one"


@pytest.mark.parametrize("form", ["token_classification", "math_shepherd"])
@pytest.mark.parametrize("fault", ["500", "429", "torn", "garbage", "short", "extreme", "hang"])
def test_a_fault_that_passes_leaves_no_trace(models, form, fault):
    with serving(models[form]) as [server]:
        server.script = [fault, fault]
        [found] = ask(client([server], models[form], timeout=0.3), STEPS)
        assert found == pytest.approx(local(models[form], STEPS)[0], abs=1e-5)
        assert len(server.bodies) == 3


@pytest.mark.parametrize(
    ("good", "bad", "score"), [(-9999.0, 0.0, 0.0), (0.0, -9999.0, 1.0), (float("-inf"), 0.0, 0.0)]
)
def test_a_score_is_stable_at_both_ends(good, bad, score):
    from rewards.prm.served import _logistic

    assert _logistic(good - bad) == score


def test_a_sign_at_the_floor_is_a_score_and_nan_is_none(models):
    model = models["math_shepherd"]
    with serving(model) as [server]:
        server.always = "floor"
        [found] = ask(client([server], model), STEPS)
        assert found in ([0.0] * len(STEPS), [1.0] * len(STEPS))
        server.always = "nan"
        [error] = ask(client([server], model), STEPS)
        assert isinstance(error, PRMGone) and "not numbers" in str(error)


@pytest.mark.parametrize("fault", ["500", "torn", "garbage", "short", "hang"])
def test_a_fault_that_stays_is_an_error_for_everyone_and_never_a_zero(models, fault):
    model = models["token_classification"]
    with serving(model) as [server]:
        server.always = fault
        scorer = client([server], model, timeout=0.2)
        errors = ask(scorer, ["a"], ["b"], ["c"])
        assert all(isinstance(e, PRMGone) for e in errors)
        assert "3 attempts failed" in str(errors[0]) and server.url in str(errors[0]) and "\n" not in str(errors[0])
        server.always = "ok"
        [found] = ask(scorer, ["a"])
        assert 0 < found[0] < 1


def test_a_request_that_is_refused_fails_alone_and_at_once(models):
    model = models["token_classification"]
    with serving(model) as [server]:
        server.script = ["400"]
        found = ask(client([server], model), ["a"], ["b"], ["c"])
    refused = [e for e in found if isinstance(e, PRMError)]
    assert len(refused) == 1 and "HTTP 400: no such 400" in str(refused[0]) and len(server.bodies) == 3


def test_a_server_that_dies_midway_is_replaced_by_the_other(models):
    model = models["qwen"]
    paths = [[f"{random.Random(i).random()}", f"{i}"] for i in range(12)]
    with serving(model, count=2) as servers:
        scorer = client(servers, model, batch_size=4)
        first = ask(scorer, *paths[:4])
        servers[0].always = "torn"
        rest = ask(scorer, *paths[4:])
    for one, other in zip([*first, *rest], local(model, *paths), strict=True):
        assert one == pytest.approx(other, abs=1e-5)


def test_no_server_at_all_is_an_error():
    form = type("Form", (), {"pair": None, "encode": staticmethod(plain_row)})
    scorer = ProcessScorer(ServerPRM([f"127.0.0.1:{free_port()}"], "m", form, attempts=2, backoff=0.01))
    [error] = ask(scorer, ["a"])
    assert isinstance(error, PRMGone) and "start the server" in str(error)
    with pytest.raises(PRMError, match="expected URLs"):
        ServerPRM([], "m", form)


def plain_row(question, steps):
    from rewards.prm.process import Row

    return Row(list(range(len(steps) + 1)), list(range(1, len(steps) + 1)))

"""The server engine keeps the promises of the interface, whatever becomes of its servers."""

import asyncio
import gc
import logging
import time

import pytest

from search.engines import Generation, Sampling, ServerEngine
from search.engines.completions import read_generations
from search.engines.engine import EngineError, EngineGone
from search.engines.fleet import Fleet
from tests.ports import free_port
from tests.search.fake_server import FakeServer, completion
from tests.search.fakes import TOKENIZER

EOS = TOKENIZER.eos_token_id


@pytest.fixture
def servers():
    started = []

    def start(count=1, **options):
        started.extend(FakeServer(**options) for _ in range(count))
        return started[-count:]

    yield start
    for server in started:
        server.stop()


def engine_of(servers, **options):
    quick = {"timeout": 20.0, "backoff": 0.02, "give_up": 10.0} | options
    return ServerEngine([server.url for server in servers], tokenizer=TOKENIZER, **quick)


def gather(engine, *requests, errors=False):
    async def run():
        return await asyncio.gather(*(engine.generate(p, s) for p, s in requests), return_exceptions=errors)

    return asyncio.run(run())


def trees_of(engine, server, count):
    """Names of trees that belong to one server."""
    names = (f"q{i}" for i in range(10_000))
    return [name for name in names if engine._fleet.choose(name).url == server.url][:count]


def test_token_ids_go_out_and_come_back_with_their_logprobs(servers):
    [server] = servers()
    engine = engine_of([server])
    sampling = Sampling(9, n=2, seed=7, stop_ids=(5, 3), watch_ids=(4, 6), logprobs=True)
    [generations] = gather(engine, ([8, 9], sampling))
    watched = {4: -4.0, 6: -6.0}
    assert generations == [Generation((7, i, EOS), True, (-1.0, -2.0, -3.0), watched) for i in range(2)]
    [body] = server.bodies
    assert (body["model"], body["prompt"], body["seed"], body["n"]) == ("m", [8, 9], 7, 2)
    assert body["stop_token_ids"] == sorted({5, 3, EOS}) and body["max_tokens"] == 9
    assert (body["top_k"], body["min_p"], body["repetition_penalty"]) == (0, 0.0, 1.0)
    stats = engine.stats
    assert (stats.requests, stats.prompt_tokens, stats.cached_tokens, stats.generated_tokens) == (1, 4, 2, 6)


def test_the_likeliest_ids_come_back_likeliest_first(servers):
    [server] = servers()
    sampling = Sampling(9, seed=7, temperature=0.0, logprobs=True, top_logprobs=3)
    [[generation]] = gather(engine_of([server]), ([1], sampling))
    assert server.bodies[0]["logprobs"] == 3 and "logprob_token_ids" not in server.bodies[0]
    assert generation.top == tuple(((id, -k - 1.0), (40, -5.0), (41, -6.0)) for k, id in enumerate(generation.ids))


def test_a_position_without_its_likeliest_ids_is_asked_for_again(servers):
    """vLLM tells them wrongly in a step in which another client's request watches ids."""
    answer = completion({"n": 1, "seed": 7, "stop_token_ids": [2], "logprobs": 2, "prompt": [1]})
    answer["choices"][0]["logprobs"]["top_logprobs"][1] = {"token_id:0": -2.0, "token_id:5": -9999.0}
    with pytest.raises(ValueError, match="1 of the 2 likeliest ids"):
        read_generations(answer, Sampling(9, top_logprobs=2), 9)


def test_without_logprobs_none_are_asked_for(servers):
    [server] = servers()
    [[generation]] = gather(engine_of([server]), ([8], Sampling(9)))
    assert generation.logprobs == () and generation.watched is None
    assert "logprobs" not in server.bodies[0] and "logprob_token_ids" not in server.bodies[0]


def test_a_prompt_that_leaves_no_room_yields_nothing(servers):
    [server] = servers()
    engine = engine_of([server])
    [nothing, little] = gather(engine, ([5] * 64, Sampling(8, n=3)), ([5] * 62, Sampling(8)))
    assert nothing == [Generation((), False)] * 3
    assert [b["max_tokens"] for b in server.bodies] == [2] and little[0].stopped


@pytest.mark.parametrize("how", ["500", "503", "429", "torn", "garbage", "headless", "hang"])
def test_what_one_server_fails_another_one_serves(servers, how, caplog):
    bad, good = servers(2)
    bad.always = how
    engine = engine_of([bad, good], timeout=1.0)
    [name] = trees_of(engine, bad, 1)
    [[generation]] = gather(engine, ([8], Sampling(9, seed=1, tree=name)))
    assert generation.ids == (1, 0, EOS)
    assert len(bad.bodies) == len(good.bodies) == 1
    assert f"{bad.url} is set aside" in caplog.text and good.url not in caplog.text


def test_a_request_that_failed_somewhere_is_not_sent_there_again(servers):
    """The sick server answers probes: what comes by finds it live again and again."""
    sick, good = servers(2)
    sick.always = "500"
    engine = engine_of([sick, good], attempts=2, backoff=0.005)
    requests = [([8], Sampling(9, seed=i, tree=f"q{i}")) for i in range(300)]

    async def run():
        return [(await asyncio.gather(*(engine.generate(p, s) for p, s in requests[i::30]))) for i in range(30)]

    assert sum(len(answers) for answers in asyncio.run(run())) == 300
    assert len(sick.bodies) > 10 and len(good.bodies) == 300


def test_a_bad_request_fails_at_once_and_says_why(servers):
    one, other = servers(2)
    one.always = other.always = "400"
    engine = engine_of([one, other])
    [error] = gather(engine, ([8], Sampling(9)), errors=True)
    assert type(error) is EngineError
    assert str(error) == f"{one.url} refuses a request: HTTP 400: no such 400"
    assert len(one.bodies) + len(other.bodies) == 1


def test_attempts_end_and_the_error_names_tree_and_reason(servers):
    [server] = servers()
    server.always = "500"
    engine = engine_of([server], attempts=3)
    [error] = gather(engine, ([8], Sampling(9, tree="q7")), errors=True)
    assert type(error) is EngineError and len(server.bodies) == 3
    assert "tree q7: 3 attempts failed" in str(error) and f"{server.url}: HTTP 500: no such 500" in str(error)
    assert "\n" not in str(error)


def test_a_continuation_that_the_server_cuts_off_by_its_own_rules_is_an_error(servers):
    [server] = servers()
    server.always = "cut"
    [error] = gather(engine_of([server]), ([8], Sampling(9)), errors=True)
    assert type(error) is EngineError and "3 of 9 tokens" in str(error) and "max_new_tokens" in str(error)


def test_when_no_server_is_left_the_engine_is_gone(servers):
    one, other = servers(2)
    engine = engine_of([one, other], give_up=0.3)
    one.die()
    other.die()
    begun = time.monotonic()
    errors = gather(engine, *[([8], Sampling(9, tree=f"q{i}")) for i in range(20)], errors=True)
    assert {type(e) for e in errors} == {EngineGone}
    assert 0.3 <= time.monotonic() - begun < 10 and "launch/servers.sh" in str(errors[0])
    one.start()
    [[generation]] = gather(engine, ([8], Sampling(9, seed=3)))
    assert generation.ids[0] == 3


def test_a_server_that_dies_moves_only_its_own_trees_and_gets_them_back(servers):
    fleet = servers(3)
    engine = engine_of(fleet)
    requests = [([8], Sampling(9, seed=i, tree=f"q{i % 30}")) for i in range(300)]

    def homes():
        for server in fleet:
            server.bodies.clear()
        answers = gather(engine, *requests)
        assert [g.ids[0] for [g] in answers] == list(range(300))
        return {b["seed"] % 30: s.url for s in fleet for b in s.bodies}

    before = homes()
    assert set(before.values()) == {s.url for s in fleet}
    fleet[0].die()
    without = homes()
    assert all(without[t] == home for t, home in before.items() if home != fleet[0].url)
    assert fleet[0].url not in without.values()
    fleet[0].start()
    end = time.monotonic() + 20
    while homes() != before:  # what comes first finds it set aside and has it probed
        assert time.monotonic() < end


def test_a_server_that_dies_on_the_way_loses_no_request(servers):
    one, other = servers(2)
    one.pause = other.pause = 0.2
    engine = engine_of([one, other])

    async def run():
        jobs = [asyncio.ensure_future(engine.generate([8], Sampling(9, seed=i, tree=f"q{i}"))) for i in range(100)]
        await asyncio.sleep(0.1)
        await asyncio.to_thread(one.die)
        return await asyncio.gather(*jobs)

    answers = asyncio.run(run())
    assert [g.ids[0] for [g] in answers] == list(range(100))
    assert engine.stats.requests == 100 and engine.stats.generated_tokens == 300


def test_the_only_server_may_restart(servers):
    [server] = servers()
    engine = engine_of([server])
    server.die()

    async def run():
        job = asyncio.ensure_future(engine.generate([8], Sampling(9, seed=4)))
        await asyncio.sleep(0.3)
        await asyncio.to_thread(server.start)
        return await job

    [generation] = asyncio.run(run())
    assert generation.ids[0] == 4


def test_a_server_that_comes_back_with_another_model_stays_aside(servers, caplog):
    one, other = servers(2)
    engine = engine_of([one, other])
    one.script.append("500")
    one.card["id"] = "another"
    requests = [([8], Sampling(9, tree=name)) for name in trees_of(engine, one, 3)]
    end = time.monotonic() + 20
    while "does not serve m but another" not in engine._fleet.servers[0].reason:
        gather(engine, *requests)
        assert time.monotonic() < end
    assert 1 <= len(one.bodies) <= 3


def test_a_server_comes_back_although_requests_come_one_by_one(servers):
    one, other = servers(2)
    engine = engine_of([one, other])
    [name] = trees_of(engine, one, 1)
    one.script.append("500")
    end = time.monotonic() + 20
    while len(one.bodies) < 2:
        gather(engine, ([8], Sampling(9, tree=name)))
        assert time.monotonic() < end


def test_requests_without_a_tree_go_to_the_server_with_the_least_to_do(servers):
    fleet = servers(3)
    for server in fleet:
        server.pause = 0.1
    gather(engine_of(fleet), *[([8], Sampling(9)) for _ in range(30)])
    assert [len(s.bodies) for s in fleet] == [10, 10, 10]


def test_most_requests_wait_for_their_turn_in_order(servers):
    [server] = servers()
    server.pause = 0.01
    engine = engine_of([server], max_in_flight=4)
    gather(engine, *[([8], Sampling(9, seed=i)) for i in range(40)])
    assert server.most_in_flight == 4
    order = [b["seed"] for b in server.bodies]
    assert all(abs(place - seed) < 4 for place, seed in enumerate(order))


def test_those_who_wait_for_a_server_that_fails_go_elsewhere(servers):
    slow, good = servers(2)
    slow.always = "hang"
    engine = engine_of([slow, good], max_in_flight=2, timeout=1.0, backoff=0.5)
    gather(engine, *[([8], Sampling(9, tree=name)) for name in trees_of(engine, slow, 12)])
    assert len(slow.bodies) == 2 and len(good.bodies) == 12


def test_a_cancelled_request_is_aborted_on_the_server(servers):
    [server] = servers()
    server.always = "hang"
    engine = engine_of([server])

    async def run():
        job = asyncio.ensure_future(engine.generate([8], Sampling(9)))
        await asyncio.sleep(0.1)
        job.cancel()
        await asyncio.gather(job, return_exceptions=True)
        await asyncio.sleep(0.1)

    asyncio.run(run())
    assert server.aborted == 1 and server.in_flight == 0


def test_several_event_loops_leave_nothing_open(servers, caplog, recwarn):
    [server] = servers()
    engine = engine_of([server])
    for seed in range(3):
        [[generation]] = gather(engine, ([8], Sampling(9, seed=seed)))
        assert generation.ids[0] == seed
    engine.close()
    # A loop that is stopped in the middle, as by a signal handler, cannot close anything itself.
    server.always = "hang"
    engine = engine_of([server])
    loop = asyncio.new_event_loop()
    job = loop.create_task(engine.generate([8], Sampling(9)))
    loop.run_until_complete(asyncio.sleep(0.1))
    engine.close()
    job.cancel()
    loop.run_until_complete(asyncio.gather(job, return_exceptions=True))
    loop.close()
    del engine, job
    gc.collect()
    assert not [w for w in recwarn if "nclosed" in str(w.message)]
    assert "nclosed" not in caplog.text


def test_seconds_are_those_with_a_request_in_flight(servers):
    [server] = servers()
    server.pause = 0.2
    engine = engine_of([server])
    begun = time.perf_counter()
    gather(engine, *[([8], Sampling(9))] * 5)
    time.sleep(0.3)
    gather(engine, ([8], Sampling(9)))
    assert 0.4 <= engine.stats.seconds <= time.perf_counter() - begun - 0.3


def test_a_silent_server_is_set_aside_as_long_as_another_answers(servers, caplog):
    [server] = servers()
    absent = f"http://127.0.0.1:{free_port()}"
    with caplog.at_level(logging.WARNING):
        engine = ServerEngine([f"{absent}/v1", f"{server.url}/v1/"], tokenizer=TOKENIZER)
    assert f"{absent} is set aside" in caplog.text
    assert (engine.model, engine.max_model_len, engine.served) == ("m", 64, {"m", "/models/m"})
    assert [len(g) for g in gather(engine, *[([8], Sampling(9, tree=f"q{i}")) for i in range(8)])] == [1] * 8


def test_what_servers_disagree_on_is_told_at_the_start(servers):
    one, other = servers()[0], servers(model="other")[0]
    with pytest.raises(EngineError, match=f"{one.url}: m; {other.url}: other.*engine.options.model"):
        engine_of([one, other])
    with pytest.raises(EngineError, match=f"{other.url} does not serve m but other"):
        engine_of([one, other], model="m")
    [short] = servers(max_model_len=32)
    assert engine_of([one, short]).max_model_len == 32
    with pytest.raises(EngineError, match=f"{short.url} takes 32 tokens, not 64.*--max-model-len 64"):
        engine_of([one, short], max_model_len=64)
    with pytest.raises(EngineError, match="no server answers .*launch/servers.sh"):
        ServerEngine([f"127.0.0.1:{free_port()}"], tokenizer=TOKENIZER)
    with pytest.raises(EngineError, match="no tokenizer at /nowhere"):
        ServerEngine([one.url], tokenizer="/nowhere")


def test_trees_spread_evenly():
    fleet = Fleet([f"http://node{i}:8000" for i in range(4)], max_in_flight=1, backoff=1, give_up=1)
    counts = {server.url: 0 for server in fleet.servers}
    for i in range(2000):
        counts[fleet.choose(f"q{i}").url] += 1
    assert all(400 < count < 600 for count in counts.values())

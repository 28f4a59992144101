"""Real engines keep the promises of the interface: seeds, stops, log-probs, priors, and errors that reach the caller."""

import asyncio

import pytest

from rftt.model.vocabulary import add_functional_tokens
from search import Question, SearchConfig, search_many
from search.engines import Sampling, TransformersEngine
from search.engines.engine import EngineError
from search.functional import tag_ids
from search.functions import RFTT
from search.prompt import question_ids
from tests.search.fakes import CharTokenizer

VLLM_OPTIONS = {"dtype": "float32", "enforce_eager": True, "max_num_seqs": 32}


@pytest.fixture(scope="module")
def model(tiny_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("engines") / "model"
    add_functional_tokens(tiny_model("qwen2"), folder)
    return str(folder)


@pytest.fixture(scope="module", params=["transformers", pytest.param("vllm", marks=pytest.mark.vllm)])
def engine(request, model):
    if request.param == "transformers":
        built = TransformersEngine(model, max_model_len=256, dtype="float32")
    else:
        from search.engines import VLLMEngine

        built = VLLMEngine(model, max_model_len=256, **VLLM_OPTIONS)
    yield built
    built.close()


def gather(engine, *requests):
    async def run():
        return await asyncio.gather(*(engine.generate(p, s) for p, s in requests))

    return asyncio.run(run())


def test_the_same_seed_gives_the_same_tokens_whatever_else_is_in_flight(engine):
    prompt = question_ids(engine.tokenizer, "What is 1 + 2?")
    request = (prompt, Sampling(12, n=2, seed=5))
    [alone] = gather(engine, request)
    crowd = [(prompt[:k], Sampling(9, seed=k)) for k in range(2, 8)]
    [together, *_] = gather(engine, request, *crowd)
    assert [g.ids for g in alone] == [g.ids for g in together]
    assert alone[0].ids != alone[1].ids


def test_logprobs_are_those_of_the_model(engine, model):
    import torch
    from transformers import AutoModelForCausalLM

    reference = AutoModelForCausalLM.from_pretrained(model, dtype="float32")
    prompt = question_ids(engine.tokenizer, "What is 3 + 4?")
    watch = tuple(tag_ids(engine.tokenizer, [f.open for f in RFTT.functions]).values())
    [[generation]] = gather(engine, (prompt, Sampling(8, seed=1, temperature=1.0, logprobs=True, watch_ids=watch)))
    with torch.no_grad():
        logits = reference(torch.tensor([[*prompt, *generation.ids]])).logits[0].float().log_softmax(-1)
    for i, (token, logprob) in enumerate(zip(generation.ids, generation.logprobs, strict=True)):
        assert logits[len(prompt) - 1 + i, token].item() == pytest.approx(logprob, abs=2e-3)
    last = logits[len(prompt) + len(generation.ids) - 2]
    assert {i: pytest.approx(last[i].item(), abs=2e-3) for i in watch} == generation.watched


def test_a_stop_id_ends_a_continuation_and_is_kept(engine):
    prompt = question_ids(engine.tokenizer, "What is 3 + 4?")
    [[free]] = gather(engine, (prompt, Sampling(10, temperature=0.0)))
    stop = free.ids[3]
    [[cut]] = gather(engine, (prompt, Sampling(10, temperature=0.0, stop_ids=(stop,))))
    assert cut.stopped and cut.ids == free.ids[: free.ids.index(stop) + 1]


def test_forbidden_ids_are_not_sampled_and_log_probs_stay_those_of_the_model(engine):
    prompt = question_ids(engine.tokenizer, "What is 3 + 4?")
    [free] = gather(engine, (prompt, Sampling(1, n=64, seed=2, logprobs=True)))
    known = {g.ids[0]: g.logprobs[0] for g in free}
    forbidden = tuple(sorted(known, key=known.__getitem__)[len(known) // 2 :])
    [[greedy], others] = gather(
        engine,
        (prompt, Sampling(1, temperature=0.0, forbidden_ids=forbidden, logprobs=True)),
        (prompt, Sampling(1, n=64, seed=3, forbidden_ids=forbidden, logprobs=True)),
    )
    assert not {g.ids[0] for g in [greedy, *others]} & set(forbidden)
    for generation in others:
        if generation.ids[0] in known:
            assert generation.logprobs[0] == pytest.approx(known[generation.ids[0]], abs=1e-4)


def test_vllm_refuses_to_forbid_ids_where_its_log_probs_would_not_be_the_models(engine, monkeypatch):
    if not hasattr(engine, "llm"):
        pytest.skip("vLLM only")
    monkeypatch.setattr(engine, "_raw_logprobs", False)
    with pytest.raises(EngineError, match="logprobs_mode=raw_logprobs"):
        gather(engine, ([5, 6, 7], Sampling(1, forbidden_ids=(8,), logprobs=True)))


def test_a_length_limit_is_told_apart_from_a_stop(engine):
    prompt = question_ids(engine.tokenizer, "What is 3 + 4?")
    [[generation]] = gather(engine, (prompt, Sampling(3, temperature=0.0)))
    assert len(generation.ids) == 3 and not generation.stopped


def test_a_prompt_that_leaves_no_room_yields_nothing(engine):
    [generations] = gather(engine, ([5] * 300, Sampling(8, n=3)))
    assert [(g.ids, g.stopped) for g in generations] == [((), False)] * 3


def test_a_search_runs_on_a_model_that_never_saw_a_chain(engine):
    found = []
    questions = [Question(f"q{i}", f"What is {i} + 2?", "3") for i in range(4)]
    config = SearchConfig(rollouts=3, max_depth=4, max_step_tokens=8)
    asyncio.run(search_many(questions, engine, config, found.append, policy="functional"))
    assert sorted(t.question_id for t in found) == ["q0", "q1", "q2", "q3"]
    for tree in found:
        assert tree.root.visits == 3
        for leaf in tree.leaves():
            assert leaf.status in ("answered", "truncated", "malformed")
            assert all(len(n.ids) == len(n.logprobs) for n in tree.path(leaf))


@pytest.mark.vllm
def test_what_breaks_vllm_reaches_every_waiting_request(engine, monkeypatch):
    if not hasattr(engine, "llm"):
        pytest.skip("vLLM only")

    def broken():
        raise RuntimeError("out of memory")

    async def run():
        requests = [engine.generate([5, 6, 7], Sampling(4)) for _ in range(3)]
        return await asyncio.gather(*requests, return_exceptions=True)

    with monkeypatch.context() as patch:
        patch.setattr(engine.llm.llm_engine, "step", broken)
        results = asyncio.run(run())
    assert all(isinstance(r, EngineError) and "out of memory" in str(r) for r in results)
    while engine.llm.llm_engine.has_unfinished_requests():
        engine.llm.llm_engine.step()


def test_the_likeliest_ids_of_every_position_are_those_of_the_model(engine, model):
    import torch
    from transformers import AutoModelForCausalLM

    reference = AutoModelForCausalLM.from_pretrained(model, dtype="float32")
    prompt = question_ids(engine.tokenizer, "What is 5 + 4?")
    watch = tuple(tag_ids(engine.tokenizer, [f.open for f in RFTT.functions]).values())
    # Requests that watch ids are in flight together with it: each gets what it asked for.
    crowd = [(prompt[:k], Sampling(9, seed=k, watch_ids=watch)) for k in range(2, 5)]
    request = (prompt, Sampling(6, temperature=0.0, logprobs=True, top_logprobs=4))
    [generation], *others = gather(engine, request, *crowd)
    assert all(set(g.watched) == set(watch) for [g] in others)
    with torch.no_grad():
        logits = reference(torch.tensor([[*prompt, *generation.ids]])).logits[0].float().log_softmax(-1)
    assert len(generation.top) == len(generation.ids)
    for i, place in enumerate(generation.top):
        expected = logits[len(prompt) - 1 + i].topk(4)
        assert place[0] == (generation.ids[i], generation.logprobs[i])
        assert [logprob for _, logprob in place] == pytest.approx(expected.values.tolist(), abs=2e-3)
        assert {id for id, _ in place} == set(expected.indices.tolist())


def test_of_vllms_flat_lists_the_sampled_id_is_left_out_and_of_equally_likely_ids_the_lower_comes_first():
    from search.engines.vllm import _top

    ids, logprobs = [4, 4, 9, 3, 8, 2], [-0.5, -0.5, -1.0, -7.0, -1.5, -1.5]
    assert _top(ids, logprobs, 2) == (((4, -0.5), (9, -1.0)), ((2, -1.5), (8, -1.5)))


def test_watched_and_likeliest_ids_are_not_asked_for_together():
    with pytest.raises(ValueError, match="expected one of them"):
        Sampling(1, watch_ids=(1,), top_logprobs=2)


def small_gpt2():
    """A model whose positions are a table of 64, and a tokenizer without a token to pad with."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    tokenizer = CharTokenizer()
    tokenizer.pad_token_id = None
    size = {"vocab_size": len(tokenizer.vocabulary), "n_positions": 64, "n_embd": 16, "n_layer": 1, "n_head": 2}
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(**size, bos_token_id=0, eos_token_id=0)).eval()
    return TransformersEngine(model, tokenizer=tokenizer, max_batch=4)


def test_no_row_of_a_batch_is_continued_beyond_the_context():
    engine = small_gpt2()
    sampling = Sampling(100, seed=1, logprobs=True, top_logprobs=2)
    requests = [([5] * length, sampling) for length in (60, 4, 33)]
    alone = [gather(engine, request)[0] for request in requests]
    together = gather(engine, *requests)
    assert [[g.ids for g in found] for found in together] == [[g.ids for g in found] for found in alone]
    for (prompt, _), [one], [other] in zip(requests, alone, together, strict=True):
        assert one.stopped or len(prompt) + len(one.ids) == 64
        assert len(other.ids) == len(other.top) and other.logprobs == pytest.approx(one.logprobs, abs=1e-4)


def test_what_was_cancelled_while_it_waited_is_not_generated():
    engine = small_gpt2()

    async def run():
        gone = [asyncio.ensure_future(engine.generate([5] * 9, Sampling(3))) for _ in range(40)]
        await asyncio.sleep(0)
        for request in gone:
            request.cancel()
        await engine.generate([6], Sampling(3))
        await asyncio.gather(*gone, return_exceptions=True)

    asyncio.run(run())
    assert engine.stats.requests == 1

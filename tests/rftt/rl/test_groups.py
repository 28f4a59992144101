"""Groups by sampler, fill and correction, on a policy that can be enumerated: origins, weights, tokens, what is refused."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from dataclasses import replace

import pytest

from rftt.config import from_dict
from rftt.config.sections import RLSection
from rftt.data.problems import Problem
from rftt.errors import UsageError
from rftt.rl.groups import Group, GroupSampler
from rftt.rl.replay import SolvedRollouts
from rftt.rl.reward import whole_reward
from rftt.rl.rollout import Rollout
from rftt.rl.sampler import FunctionalSampler, Turn, prompt_of
from search.driver import make_policy
from search.engines import FakeEngine
from search.functions import RFTT
from search.prompt import question_ids
from tests.search import enumerable

PROBLEMS = [Problem(f"q{k}", f"What is {k}?", "0", "test") for k in range(3)]


class Tokenizer(type(enumerable.TOKENIZER)):
    def decode(self, ids, skip_special_tokens: bool = False) -> str:
        text = super().decode(ids)
        return text.replace("<eos>", "") if skip_special_tokens else text


TOKENIZER = Tokenizer()
MARK = TOKENIZER("[assistant]")["input_ids"]


def engine() -> FakeEngine:
    def script(ids, sampling):
        prompt = next(k for k in range(len(ids)) if ids[k : k + len(MARK)] == MARK) + len(MARK)
        return enumerable.write(prompt, ids, sampling)

    return FakeEngine(script, TOKENIZER, eos_ids=frozenset({enumerable.EOS}))


def settings(**given) -> RLSection:
    return from_dict({"rl": {"max_depth": 10, "max_step_tokens": 120, "parallel_rollouts": 8, **given}}).rl


def group(rollouts: int = 12, on: FakeEngine | None = None, seed: int = 0, **given) -> Group:
    on = on or engine()
    chosen = settings(**given)
    config = replace(chosen.search_config(parallel=True), rollouts=rollouts, seed=seed)
    made = GroupSampler(on, make_policy("functional", on, config, RFTT), config, chosen, RFTT)
    return asyncio.run(made.group(PROBLEMS[0], question_ids(TOKENIZER, PROBLEMS[0].question)))


def ids(rollouts: list[Rollout]) -> list[tuple[int, ...]]:
    return [tuple(r.completion_ids) for r in rollouts]


DRY = {"min_prior": 1e-6}  # functions that this policy never takes are no options


def test_a_dry_tree_is_filled_up_by_walks_for_fewer_tokens_than_by_plain_samples():
    plain, walk = engine(), engine()
    before, after = group(on=plain, fill="plain", **DRY), group(on=walk, **DRY)
    assert before.short and after.short and ids(before.rollouts)[:5] == ids(after.rollouts)[:5]
    origins = [r.origin for r in after.rollouts]
    assert set(origins) == {"tree", "walk"} and "plain" in {r.origin for r in before.rollouts}
    assert len(after.rollouts) == 12 and {r.weight for r in after.rollouts} == {1.0}
    assert after.filled < 0.8 * before.filled
    assert walk.stats.generated_tokens - after.filled == plain.stats.generated_tokens - before.filled, "the same tree"
    for rollout in after.rollouts:
        assert len(rollout.logprobs) == len(rollout.completion_ids) and rollout.status == "answered"
        assert rollout.verdict == ("correct" if "{0}" in TOKENIZER.decode(rollout.completion_ids) else "wrong")


def test_what_fills_up_begins_beside_the_tree_and_is_a_sample_of_the_policy():
    once = engine()
    group(rollouts=8, on=once, **DRY)
    of_tree = [bool(sampling.watch_ids) for _, sampling in once.log]
    assert any(of_tree[of_tree.index(False) :]), "the tree goes on after the first walk has begun"

    exact, on = dict(enumerable.chains()), engine()
    found = [group(rollouts=12, on=on, seed=seed, **DRY) for seed in range(400)]
    counts = Counter(i for given in found for i in ids([r for r in given.rollouts if r.origin == "walk"]))
    number = sum(counts.values())
    chi_square = sum((counts[i] - number * p) ** 2 / (number * p) for i, p in exact.items())
    freedom = len(exact) - 1
    assert number > 1500 and abs(chi_square - freedom) < 4 * math.sqrt(2 * freedom), "four standard deviations"


def test_paths_of_a_tree_come_before_those_that_were_begun_beside_it(monkeypatch):
    """A tree may yield more than was in sight: what is too many then is left out."""
    more, too_many, inner = 0, 0, GroupSampler._samples

    def counted(self, problem, prompt_ids, trie, count, begun):
        asked.append(count)
        return inner(self, problem, prompt_ids, trie, count, begun)

    monkeypatch.setattr(GroupSampler, "_samples", counted)
    for seed in range(60):
        asked: list[int] = []
        found = group(rollouts=8, seed=seed, **DRY)
        too_many += sum(asked) > 8 - len(found.tree.leaves())
        of_tree = len(found.tree.leaves())
        assert [r.origin for r in found.rollouts] == ["tree"] * of_tree + ["walk"] * (8 - of_tree)
        serial = group(rollouts=8, seed=seed, parallel_rollouts=1, **DRY)
        assert len(serial.tree.leaves()) == of_tree
        more += found.filled > serial.filled
    assert more, "what does not wait for the tree shares less"
    assert too_many


def test_walks_without_a_tree_are_a_sampler_of_their_own():
    flat, walked = group(sampler="flat"), group(sampler="walk")
    for found, origin in ((flat, "plain"), (walked, "walk")):
        assert {r.origin for r in found.rollouts} == {origin} and found.tree is None and not found.short
    assert sum(map(len, ids(walked.rollouts))) > 1.2 * walked.filled
    assert flat.filled == sum(map(len, ids(flat.rollouts)))
    assert ids(group(sampler="walk").rollouts) == ids(walked.rollouts) != ids(group(sampler="walk", seed=1).rollouts)


def test_strata_give_half_of_the_group_to_the_tree_and_half_to_what_it_lacks():
    found = group(branch_correction="strata", **DRY)
    tree = [r for r in found.rollouts if r.origin == "tree"]
    rest = [r for r in found.rollouts if r.origin == "walk"]
    assert len(tree) <= 6 and len(tree) + len(rest) == 12
    exact = dict(enumerable.chains())
    assert [r.weight / 12 for r in tree] == pytest.approx([exact[i] for i in ids(tree)])
    assert sum(r.weight for r in found.rollouts) == pytest.approx(12.0)
    assert len({r.weight for r in rest}) == 1 and not set(ids(tree)) & set(ids(rest))


def test_priority_weighs_its_paths_and_gives_no_weight_to_what_fills_up():
    found = group(sampler="priority")
    assert {r.origin for r in found.rollouts[:5]} == {"tree"} and found.tree is not None
    weights = [r.weight for r in found.rollouts]
    assert all(w > 0 for w, r in zip(weights, found.rollouts, strict=True) if r.origin == "tree")
    assert len(set(ids([r for r in found.rollouts if r.origin == "tree"]))) == sum(
        r.origin == "tree" for r in found.rollouts
    )
    whole = group(rollouts=60, sampler="priority", fill="walk")
    filled = [r for r in whole.rollouts if r.origin == "walk"]
    assert whole.short and filled and {r.weight for r in filled} == {0.0}
    assert sum(r.weight for r in whole.rollouts) == pytest.approx(60.0), (
        "an exhausted tree counts with its probabilities"
    )


def test_priority_does_not_depend_on_what_is_in_flight():
    one, many = group(sampler="priority", parallel_rollouts=1), group(sampler="priority", parallel_rollouts=8)
    assert ids(one.rollouts) == ids(many.rollouts)
    assert [r.weight for r in one.rollouts] == pytest.approx([r.weight for r in many.rollouts])


@pytest.mark.parametrize("sampler", ["uct", "puct", "priority", "flat", "walk"])
@pytest.mark.parametrize("fill", ["plain", "walk"])
def test_no_completion_is_longer_than_the_limit_and_what_it_cuts_is_cut_off(sampler, fill):
    longest, whole, cut, dry = 17, 0, 0, {} if sampler == "priority" else DRY
    sampler_of = FunctionalSampler(PROBLEMS, settings(sampler=sampler, fill=fill, max_completion_length=longest, **dry))
    for rollout in sampler_of([prompt_of(PROBLEMS[0])] * 24, engine(), Turn(0, 24)):
        assert len(rollout.completion_ids) == len(rollout.logprobs) <= longest
        ended = rollout.completion_ids[-1] == enumerable.EOS
        assert (rollout.status, len(rollout.completion_ids)) == ("truncated", longest) or ended
        assert (rollout.status == "answered") == ended and (rollout.verdict == "no_answer") != ended
        whole, cut = whole + ended, cut + (not ended)
    assert whole and cut


def test_cut_samples_are_the_beginnings_of_what_the_policy_writes():
    longest = 17
    exact: Counter[tuple[int, ...]] = Counter()
    for chain, probability in enumerable.chains():
        exact[chain[:longest]] += probability
    limited = settings(sampler="uct", max_completion_length=longest, parallel_rollouts=8, **DRY)
    counts: Counter[tuple[int, ...]] = Counter()
    for step in range(150):
        found = FunctionalSampler(PROBLEMS, limited, seed=step)([prompt_of(PROBLEMS[0])] * 16, engine(), Turn(step, 16))
        counts.update(ids([r for r in found if r.origin == "walk"]))
    number = sum(counts.values())
    assert number > 500 and set(counts) <= set(exact)
    chi_square = sum((counts[i] - number * p) ** 2 / (number * p) for i, p in exact.items())
    freedom = len(exact) - 1
    assert abs(chi_square - freedom) < 4 * math.sqrt(2 * freedom), "four standard deviations"


@pytest.mark.parametrize("longest", [0, -1, 2.5, "many"])
def test_a_limit_that_is_none_is_refused(longest):
    with pytest.raises(UsageError, match="max_completion_length"):
        settings(max_completion_length=longest)


def test_steps_of_a_tree_are_samples_of_the_policy():
    for given in ({"step_temperature": 0.1}, {"temperature": 0.5}, {"top_p": 0.9}, {"step_temperature": 0.0}):
        with pytest.raises(UsageError, match=f"rl.{next(iter(given))}.*policy whose log-probs are trained"):
            settings(**given)
    for sampler in ("uct", "priority", "flat"):
        assert settings(sampler=sampler, step_temperature=None).search.temperature_of_steps == 1.0
        assert settings(sampler=sampler).search.temperature_of_steps == 1.0


def test_what_does_not_go_together_is_refused():
    for given in ({"min_prior": 0.02}, {"branch_entropy": 0.1}, {"budget_tokens": 100}, {"branch_correction": "mask"}):
        with pytest.raises(UsageError, match=f"{next(iter(given))}.*priority"):
            settings(sampler="priority", **given)
    for sampler in ("flat", "walk"):
        with pytest.raises(UsageError, match="strata"):
            settings(sampler=sampler, branch_correction="strata")


def test_dynamic_sampling_looks_at_the_whole_reward():
    """Paths that are all wrong differ where some are whole chains and others are cut off."""
    on, kept = engine(), {"dynamic_sampling": 2, "max_depth": 3, "wrong_reward": 0.0, "sampler": "flat"}
    nobody = [Problem(p.id, p.question, "7", "test") for p in PROBLEMS]

    def asked(**given) -> tuple[set[str], list[Rollout]]:
        sampler = FunctionalSampler(nobody, settings(**kept, **given))
        found = sampler([prompt_of(nobody[0])] * 32, on, Turn(0, 32))
        return {r.question_id for r in found}, found

    outcome_only, _ = asked(max_step_tokens=6)
    with_format, found = asked(max_step_tokens=6, format_reward=0.2)
    assert {whole_reward(r, 0.0, 0.2) for r in found} == {0.0, 0.2}
    assert with_format == {"q0"} != outcome_only


def test_a_replayed_rollout_keeps_origin_weight_and_mask():
    solved = SolvedRollouts()
    first = group(branch_correction="strata", **DRY).rollouts
    right = next(r for r in first if r.verdict == "correct")
    assert right.origin == "tree" and right.weight != 1.0
    solved.exchange(first)
    wrong = [r for r in first if r.verdict != "correct"]
    replayed = solved.exchange(wrong)[-1]
    assert replayed.replayed and replayed.nodes == [] and not any(r.replayed for r in first)
    assert (replayed.origin, replayed.weight, replayed.completion_ids) == ("tree", right.weight, right.completion_ids)
    again = SolvedRollouts()
    again.load(solved.to_json())
    assert again.exchange(wrong)[-1] == replayed


def test_the_mask_of_chosen_functions_stays_with_a_replayed_path():
    sampler = FunctionalSampler(PROBLEMS, settings(branch_correction="mask", replay=True, **DRY))
    on = engine()
    found = sampler([prompt_of(PROBLEMS[0])] * 8, on, Turn(0, 8))
    [stored] = sampler.solved.to_json()
    kept = Rollout(**stored)
    assert kept.origin == "tree"
    mask = sampler._loss_mask(kept)
    assert [k for k, inside in enumerate(mask) if not inside] == kept.starts
    assert any(r.loss_mask == mask for r in found)

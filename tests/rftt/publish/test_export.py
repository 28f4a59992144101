"""What is published can be loaded by others, tells the truth about itself, and never takes the place of something else."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from rftt.cli import main
from rftt.config import from_dict
from rftt.errors import UsageError
from rftt.model.checkpoints import publish
from rftt.model.vocabulary import add_functional_tokens
from rftt.publish import export as exporting
from rftt.publish.export import card, check_push, export, push, result_tables, shortest_chain
from search.chain import well_formed
from search.function_files import read_functions
from search.functions import RFTT
from tests.own_functions import OWN

RESULT = {"value": 0.733, "low": 0.703, "high": 0.762, "n": 500, "tokens": 117.01}
SUMMARY = {
    "models": {"base": {"pass@1": RESULT | {"value": 0.006}}, "rl": {"pass@1": RESULT, "search@4": RESULT}},
    "benchmarks": {"math500": {"rl": {"greedy": RESULT | {"value": 0.25}}}},
    "seconds": {"search": 61.2, "rl": 142.0},
    "data": {"train": 259},
    "command": "/somewhere/rftt/cli.py run configs/toy.yaml prm.options.api_key=hidden",
    "versions": {"trl": "1.16.0"},
}


@pytest.fixture
def make_run(tiny_model, tmp_path):
    """Factory of a run folder with an RL model: functions, how the tiny model is made, what the config says."""

    def make(functions=RFTT, *, summary=SUMMARY, settings=None, **model):
        run = tmp_path / "my-run"
        partial = tmp_path / "partial"
        add_functional_tokens(tiny_model(**model), partial, functions)
        (partial / "training_args.bin").write_bytes(b"of the trainer")
        config = json.loads((partial / "config.json").read_text())
        (partial / "config.json").write_text(json.dumps(config | {"use_cache": False}))
        (run / "rl").mkdir(parents=True)
        publish(partial, run / "rl" / "final")
        (run / "config.yaml").write_text(yaml.safe_dump(from_dict(settings or {"run": str(run)}).to_dict()))
        if summary:
            (run / "summary.json").write_text(json.dumps(summary))
        return run

    return make


def front_of(text):
    _, front, body = text.split("---\n", 2)
    return yaml.safe_load(front), body


@pytest.mark.parametrize(
    "model",
    [{}, {"arch": "llama", "tied": False}, {"arch": "qwen3", "padded_rows": 40}],
    ids=["qwen2", "llama untied", "qwen3 padded"],
)
def test_others_can_load_it(make_run, tmp_path, model):
    run = make_run(**model)
    out = export(run, tmp_path / "out")
    assert {p.name for p in out.iterdir()} == {
        "README.md", "chat_template.jinja", "config.json", "functions.yaml", "generation_config.json",
        "model.safetensors", "tokenizer.json", "tokenizer_config.json", "training",
    }  # fmt: skip
    before, after = (load_file(folder / "model.safetensors") for folder in (run / "rl" / "final", out))
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    tokenizer, loaded = AutoTokenizer.from_pretrained(out), AutoModelForCausalLM.from_pretrained(out)
    assert tokenizer.encode("<verify>", add_special_tokens=False) == [tokenizer.get_vocab()["<verify>"]]
    assert loaded.config.use_cache is True
    # What converters to other formats look at: rows as the config says, ids below them, ids without a gap or a rival.
    rows = loaded.get_input_embeddings().weight.shape[0]
    assert rows == loaded.config.vocab_size > max(tokenizer.get_vocab().values())
    listed = json.loads((out / "tokenizer.json").read_text())
    added = {t["content"]: t for t in listed["added_tokens"]}
    assert all(not added[tag]["special"] and not added[tag]["normalized"] for tag in RFTT.tags)
    ids = [*listed["model"]["vocab"].values(), *(t["id"] for t in listed["added_tokens"])]
    assert sorted(set(ids)) == list(range(len(set(ids))))
    copied = (run / "rl" / "final" / "generation_config.json").read_text()
    assert (out / "generation_config.json").read_text() == copied


def test_weights_can_be_converted(make_run, tmp_path):
    out = export(make_run(), tmp_path / "out", dtype="bfloat16")
    assert {t.dtype for t in load_file(out / "model.safetensors").values()} == {torch.bfloat16}
    assert json.loads((out / "config.json").read_text())["dtype"] == "bfloat16"
    assert "bfloat16, safetensors" in (out / "README.md").read_text()
    for wrong in ("int8", "half-precision"):
        with pytest.raises(UsageError, match=f"dtype: '{wrong}' is not a floating point type"):
            export(tmp_path / "my-run", tmp_path / "other", dtype=wrong)


def test_the_card_holds_what_was_measured_and_how_it_was_made(make_run, tmp_path):
    settings = {
        "model": {"path": "Qwen/Qwen2.5-7B-Instruct"},
        "data": {"train": "openai/gsm8k", "eval": "files/held-out.jsonl"},
        "prm": {"path": "someone/prm", "options": {"api_key": "hidden"}},
    }
    out = export(make_run(settings=settings), tmp_path / "out", license="apache-2.0")
    front, body = front_of((out / "README.md").read_text())
    assert front["base_model"] == "Qwen/Qwen2.5-7B-Instruct" and front["datasets"] == ["openai/gsm8k"]
    assert front["license"] == "apache-2.0" and front["library_name"] == "transformers"
    assert "| pass@1 | 0.6 [70.3, 76.2] | 117 | 73.3 [70.3, 76.2] | 117 | 500 |" in body
    assert "| search@4 |  |  | 73.3 [70.3, 76.2] | 117 | 500 |" in body
    assert "**`held-out.jsonl`**" in body and "| greedy | 25.0 [70.3, 76.2] | 117 | 500 |" in body
    assert (
        "rftt run configs/toy.yaml" in body and "/somewhere" not in body and "rl 142" in body and "trl 1.16.0" in body
    )
    assert "`my-run`, seed 0" in body and "`openai/gsm8k`, 259 questions" in body
    written = "".join(p.read_text() for p in [out / "README.md", *(out / "training").iterdir()])
    assert "hidden" not in written
    assert yaml.safe_load((out / "training" / "config.yaml").read_text())["model"] == front_model(settings)


def front_model(settings):
    return from_dict(settings).to_dict()["model"]


def test_a_run_without_figures_says_so(make_run, tmp_path):
    text = (export(make_run(summary=None), tmp_path / "out") / "README.md").read_text()
    assert "was not evaluated" in text and "summary.json" not in text and "| pass@1" not in text
    assert front_of(text)[0]["license"] == "apache-2.0", "the toy's"


def test_the_token_set_goes_along(make_run, tmp_path):
    out = export(make_run(OWN), tmp_path / "out")
    assert read_functions(out / "functions.yaml") == OWN
    text = (out / "README.md").read_text()
    assert "| `<plan>` | " in text and "<verify>" not in text and "last `<answer>` step" in text


@pytest.mark.parametrize("functions", [RFTT, OWN])
def test_the_chain_of_the_card_is_one(functions):
    assert well_formed(shortest_chain(functions).replace("…", "1"), functions)


def test_a_license_is_read_from_the_card_of_a_base_folder(tmp_path):
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\nA model.\n")
    values = {"model": {"path": str(tmp_path)}}
    about = {"name": "n", "run": "r", "stage": "s", "weights": "w"}
    ids = {tag: i for i, tag in enumerate(RFTT.tags)}
    front, body = front_of(card(from_dict(values).to_dict(), {}, RFTT, ids, about))
    assert front["license"] == "mit" and "base_model" not in front
    assert str(tmp_path.parent) not in body, "folders of this machine are nobody's business"
    (tmp_path / "README.md").write_text("A model.\n")
    front, body = front_of(card(from_dict(values).to_dict(), {}, RFTT, ids, about))
    assert "license" not in front and "No license was given" in body


def test_tables_keep_the_order_of_metrics_and_leave_gaps():
    [table, further] = result_tables(SUMMARY, "eval")
    assert [row["metric"] for row in table["rows"]] == ["pass@1", "search@4"] and table["models"] == ["base", "rl"]
    assert table["rows"][1]["cells"][0] == {"value": "", "tokens": ""} and further["title"] == "math500"


def test_nothing_is_overwritten_and_what_is_missing_is_told(make_run, tmp_path, capsys):
    run, out = make_run(), tmp_path / "out"
    out.mkdir()
    assert main(["export", str(run), str(out)]) == 2
    assert "is not overwritten" in capsys.readouterr().err
    out.rmdir()
    for arguments, told in (
        ([str(run), str(out), "--model", "sft"], "there is no sft model yet"),
        ([str(tmp_path / "none"), str(out)], "no run folder"),
    ):
        assert main(["export", *arguments]) == 2
        assert told in capsys.readouterr().err
    (run / "rl" / "final" / "model.safetensors").write_bytes(b"torn")
    assert main(["export", str(run), str(out)]) == 2
    assert "missing or cut off" in capsys.readouterr().err
    assert not out.exists() and not list(tmp_path.glob(".out*"))


class FakeApi:
    """The hub, in a dictionary."""

    def __init__(self, broken=None):
        self.repos, self.broken = {}, broken

    def whoami(self):
        if self.broken == "login":
            raise OSError("Token is required.\nMore about that.")

    def repo_exists(self, repo):
        return repo in self.repos

    def create_repo(self, repo, *, private, exist_ok):
        assert repo not in self.repos or exist_ok
        self.repos[repo] = {"private": private}
        return f"https://huggingface.co/{repo}"

    def upload_folder(self, *, repo_id, folder_path, commit_message):
        if self.broken == "upload":
            raise ConnectionError("the line is cut")
        self.repos[repo_id]["files"] = {p.name for p in (exporting.Path(folder_path)).rglob("*") if p.is_file()}


def test_push_is_private_unless_told_otherwise(make_run, tmp_path, monkeypatch, capsys):
    run, api = make_run(), FakeApi()
    monkeypatch.setattr("huggingface_hub.HfApi", lambda: api)
    assert main(["export", str(run), str(tmp_path / "out"), "--push", "me/model"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "https://huggingface.co/me/model"
    assert api.repos["me/model"]["private"] is True
    assert {"README.md", "model.safetensors", "functions.yaml"} <= api.repos["me/model"]["files"]
    assert main(["export", str(run), str(tmp_path / "two"), "--push", "me/open", "--no-private"]) == 0
    assert api.repos["me/open"]["private"] is False
    assert main(["export", str(run), str(tmp_path / "three"), "--push", "me/model"]) == 2
    assert "the repository exists already" in capsys.readouterr().err and not (tmp_path / "three").exists()


def test_a_hub_that_does_not_answer_is_told_in_one_line(tmp_path):
    with pytest.raises(UsageError, match=r"\(Token is required.\); log in with `hf auth login`") as told:
        check_push("me/model", FakeApi("login"))
    assert "More about" not in str(told.value)
    with pytest.raises(UsageError, match="expected OWNER/NAME"):
        check_push("model", FakeApi())
    with pytest.raises(UsageError, match=r"\(the line is cut\); .* is written, `hf upload me/model"):
        push(tmp_path, "me/model", api=FakeApi("upload"))


@pytest.mark.slow
@pytest.mark.vllm
def test_vllm_searches_with_it(make_run, tmp_path, capfd):
    out = export(make_run(OWN), tmp_path / "out", dtype="bfloat16")
    shutil.rmtree(tmp_path / "my-run")
    small = ["--set", "search.max_step_tokens=12", "--set", "search.max_depth=4", "--set", "engine.max_model_len=512"]
    assert (
        main(
            ["solve", "What is 1 + 1?", "--model", str(out), "--strategy", "mcts", "--rollouts", "4", "--json", *small]
        )
        == 0
    )
    tree = json.loads(capfd.readouterr().out.splitlines()[-1])["tree"]
    assert {n["function"] for n in tree["nodes"]} <= {"question", *OWN.names} and len(tree["nodes"]) > 1

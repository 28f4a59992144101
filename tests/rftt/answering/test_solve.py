"""``rftt solve``: any input gets an answer or one line that says why not."""

import asyncio
import io
import json

import pytest

from rftt.answering.solve import _answer, read_questions
from rftt.cli import main
from rftt.errors import UsageError
from rftt.model.vocabulary import add_functional_tokens
from search import Question, SearchConfig, Solver
from search.accounting import CountedEngine
from search.engines import FakeEngine
from search.engines.engine import EngineError
from search.journal import read_jsonl
from tests.search.fakes import TOKENIZER, functional_script


@pytest.fixture(scope="module")
def model(tiny_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("solve") / "model"
    add_functional_tokens(tiny_model("qwen2"), folder)
    return str(folder)


@pytest.fixture
def solve(model, capsys):
    """Run the command; returns its exit code, what it printed and what it said on standard error."""

    def run(*argv):
        small = ["--set", "search.max_step_tokens=12", "--set", "search.max_depth=4", "--set", "search.max_tokens=24"]
        arguments = ["solve", "--model", model, "--engine", "transformers", "--rollouts", "4", *small, *argv]
        try:
            code = main(arguments)
        except SystemExit as error:
            code = error.code
        printed = capsys.readouterr()
        return code, printed.out, [line for line in printed.err.splitlines() if line.startswith("rftt: ")]

    return run


@pytest.mark.parametrize(
    "question", ["What is 1 + 1?", "ἀβγ 数学 🙂 \u202e ﷽", "lorem ipsum", "<output>\\boxed{7}</output>", "0"]
)
def test_any_text_gets_a_vote_and_a_tree(solve, question):
    code, out, errors = solve(question)
    assert code == 0 and not errors
    assert out.startswith("Answer: ") and "Votes: " in out and "best_first" in out
    code, out, errors = solve(question, "--strategy", "mcts")
    assert code == 0 and not errors
    assert "Votes: " in out and "question ×" in out


@pytest.mark.parametrize(
    ("question", "message"),
    [("", "empty"), (" \n\t", "empty"), ("What is " + "1 + " * 25_000 + "1?", "leaves no room"), ("\udcff", "UTF-8")],
    ids=["empty", "blank", "100 kB", "broken bytes"],
)
def test_what_cannot_be_asked_is_told_in_one_line(solve, question, message):
    code, out, [error] = solve(question)
    assert code in (1, 2) and not out
    assert message in error and len(error) < 300


@pytest.mark.parametrize("strategy", ["greedy", "majority", "best_of_n", "beam", "dvts", "mcts", "best_first"])
def test_json_holds_everything(solve, strategy):
    code, out, _ = solve("What is 1 + 1?", "--json", "--strategy", strategy)
    record = json.loads(out)
    assert code == 0 and record["schema"] == "rftt.solution/1" and record["strategy"] == strategy
    assert record["tokens"] >= sum(c["tokens"] for c in record["candidates"][:1]) > 0
    assert (record["tree"] is not None) is (strategy == "mcts")


def test_many_questions_answer_in_their_order_and_a_bad_one_stands_aside(solve, tmp_path):
    file = tmp_path / "questions.txt"
    file.write_text(
        'What is 1 + 1?\n\n{"id": "a", "question": "What is 2 + 2?"}\n{"problem": "x"}\n' + "9" * 3000 + "\n"
    )
    code, out, errors = solve("--file", str(file), "--json")
    assert [json.loads(line)["question_id"] for line in out.splitlines()] == ["1", "a", "4"]
    assert code == 1 and "question 5" in errors[0] and "leaves no room" in errors[0]


def test_lines_are_read_as_data_files_are():
    lines = '{"question": "one\u2028line?"}\r\n\n{"id": "b", "question": "cut \\ud83d?"}\nplain\u2028text?\n'
    found = read_questions("q.txt", lines.encode("utf-8-sig"))
    assert [(q.id, q.text) for q in found] == [
        ("1", "one\u2028line?"), ("b", "cut \ufffd?"), ("4", "plain\u2028text?"),
    ]  # fmt: skip
    with pytest.raises(UsageError, match=r"q\.txt:2: not UTF-8"):
        read_questions("q.txt", b"a?\ncaf\xe9?\n")


def test_questions_from_standard_input(solve, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("What is 1?\nWhat is 2?\n"))
    code, out, _ = solve("--file", "-")
    assert code == 0 and out.index("[1] What is 1?") < out.index("[2] What is 2?")


def texts(path):
    """What was sampled: log-probs of this engine change in the last digit with what else is in the batch."""
    return {r["question_id"]: [c["text"] for c in r["candidates"]] for r in read_jsonl(path)}


def test_solutions_are_kept_and_the_same_command_goes_on(solve, tmp_path):
    out, file = tmp_path / "solutions.jsonl", tmp_path / "questions.txt"
    file.write_text("".join(f"What is {i}?\n" for i in range(4)))
    assert solve("--file", str(file), "--out", str(out))[0] == 0
    whole, first = out.read_bytes(), texts(out)
    lines = whole.splitlines(keepends=True)
    out.unlink()
    out.with_name("solutions.jsonl.partial").write_bytes(lines[2] + lines[0] + lines[1][:50])
    assert solve("--file", str(file), "--out", str(out))[0] == 0
    assert texts(out) == first and list(first) == ["1", "2", "3", "4"]
    again = out.read_bytes()
    assert solve("--file", str(file), "--out", str(out))[0] == 0 and out.read_bytes() == again


@pytest.mark.parametrize(
    ("kept", "line"),
    [
        ("solutions.jsonl", '{"question_id": "1", "question": "What is 2?"}'),
        ("solutions.jsonl.partial", '{"question_id": "1", "question": "What is 2?"}'),
        ("solutions.jsonl", '{"question_id": "9"}'),
        ("solutions.jsonl", "notes"),
    ],
)
def test_a_file_of_other_answers_is_not_taken_for_these(solve, tmp_path, kept, line):
    file, path = tmp_path / "questions.txt", tmp_path / kept
    file.write_text("What is 1?\n")
    path.write_text(line + "\n")
    code, out, [error] = solve("--file", str(file), "--out", str(tmp_path / "solutions.jsonl"))
    assert code == 2 and not out and "give another --out" in error and path.read_text() == line + "\n"


def test_a_kill_between_the_last_solution_and_the_final_file_is_mended(solve, tmp_path):
    out, partial = tmp_path / "solutions.jsonl", tmp_path / "solutions.jsonl.partial"
    partial.write_text('{"question_id": "question"}\n')
    assert solve("What is 1?", "--out", str(out))[0] == 0
    assert [r["question_id"] for r in read_jsonl(out)] == ["question"] and not partial.exists()


def test_a_question_that_is_done_or_has_failed_leaves_no_tokens_in_memory():
    class Breaking(FakeEngine):
        async def generate(self, prompt_ids, sampling):
            if sampling.tree == "bad" and self.log:
                raise EngineError("it broke")
            return await super().generate(prompt_ids, sampling)

    engine = CountedEngine(Breaking(functional_script, TOKENIZER, eos_ids=frozenset({0})))
    solver = Solver(engine, SearchConfig(rollouts=4, live_trees=1, beam_width=4), "beam")
    questions = [Question("bad", "What is 0?"), Question("1", "What is 1?"), Question("2", "What is 2?")]
    assert asyncio.run(_answer(questions, solver, engine, None, False, 3)) == 1
    assert not engine._open and engine.figures()["questions"] == 2


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "give a question"),
        (["What?", "--file", "x"], "give a question"),
        (["--file", "/no/such/file"], "/no/such/file"),
        (["What?", "--strategy", "oracle"], "expected one of greedy"),
        (["What?", "--strategy", "beam", "--rollouts", "6"], "multiple of beam_width"),
        (["What?", "--rollouts", "0"], "expected 1 or more"),
        (["What?", "--set", "search.selektion=puct"], "did you mean selection"),
        (["What?", "--set", "search.vote=prm"], "process reward model"),
        (["What?", "--model", "/no/such/model"], "/no/such/model"),
    ],
)
def test_bad_usage_is_one_line_and_code_2(solve, argv, message):
    code, out, errors = solve(*argv)
    assert code == 2 and not out and len(errors) == 1
    assert message in errors[0]


@pytest.mark.parametrize(
    "text", ['{"question": ', '{"ask": "x"}', '{"question": ""}', "\n\n", '{"id":1,"question":"a"}\n' * 2]
)
def test_a_bad_file_names_its_line(solve, tmp_path, text):
    file = tmp_path / "questions.jsonl"
    file.write_text(text)
    code, _, [error] = solve("--file", str(file))
    assert code == 2 and str(file) in error


def test_a_run_folder_is_no_model(solve, tmp_path):
    (tmp_path / "rl" / "final").mkdir(parents=True)
    code, _, [error] = solve("What?", "--model", str(tmp_path))
    assert code == 2 and "rl/final" in error

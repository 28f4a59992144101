"""What a setting names: built-in, module or file; a slip is told before anything is imported."""

import sys

import pytest

from search.named import check_name, load_named

TABLE = {"sum": sum, "late": "json:dumps"}


def test_built_in_things_are_found_by_name_and_imported_when_they_are_used():
    assert load_named("sum", TABLE, "rule") is sum
    assert load_named("late", TABLE, "rule")([1]) == "[1]"


def test_a_users_module_in_the_working_folder_is_found(tmp_path, monkeypatch):
    (tmp_path / "mine_in_cwd.py").write_text("class Inner:\n    def rule(self): return 7\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p not in ("", str(tmp_path))])
    assert load_named("mine_in_cwd:Inner.rule", TABLE, "rule")(None) == 7


def test_a_users_file_is_found(tmp_path):
    (tmp_path / "own.py").write_text("def rule(): return 8\n")
    assert load_named(f"{tmp_path}/own.py:rule", TABLE, "rule")() == 8


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("som", "there is no rule 'som'; did you mean sum"),
        ("nothing", "there is no rule 'nothing'; expected one of sum, late, or module:name"),
        (":x", "there is no rule"),
        ("json:nothing", "rule 'json:nothing' cannot be imported .*AttributeError"),
        ("no_such_module_here:x", "cannot be imported .*ModuleNotFoundError"),
        ("/no/such/file.py:x", "cannot be imported .*FileNotFoundError"),
    ],
)
def test_what_is_not_there_is_told_in_one_line(name: str, message: str):
    with pytest.raises(ValueError, match=message) as caught:
        load_named(name, TABLE, "rule")
    assert "\n" not in str(caught.value)


def test_a_name_is_checked_without_importing_it():
    check_name("no_such_module_here:x", TABLE, "rule")
    with pytest.raises(ValueError, match="did you mean late"):
        check_name("lat", TABLE, "rule")

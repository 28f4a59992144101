"""Versions of packages in results."""

from importlib.metadata import PackageNotFoundError

from rftt.evaluate import about
from rftt.runtime import versions


def test_what_is_found_on_the_path_alone_has_no_version_and_stops_nothing(monkeypatch):
    def version(name):
        if name == "rftt":
            raise PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(versions, "version", version)
    assert versions.versions(("rftt", "sympy")) == {"sympy": "1.0"}
    about.grader.cache_clear()
    grader = about.grader()
    about.grader.cache_clear()
    assert set(grader) == {"sympy", "math-verify", "sha256"}

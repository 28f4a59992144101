"""Wheels that another machine lacks, with everything that they need and that is not there either.

The machine is described by the names of its packages. What is there stays as it is: a version that does not suit a wheel is
told and left to the reader, since a machine for a quarter of an hour is not the place to change its torch.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Iterable, Mapping
from email.parser import HeaderParser
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

PLATFORMS = ("manylinux_2_17_x86_64", "manylinux_2_24_x86_64", "manylinux_2_27_x86_64", "manylinux_2_28_x86_64",
             "manylinux_2_31_x86_64", "manylinux_2_34_x86_64", "manylinux_2_35_x86_64", "manylinux2014_x86_64",
             "manylinux2010_x86_64", "manylinux1_x86_64", "linux_x86_64")  # fmt: skip


class Machine:
    """The machine that the wheels are for: Linux on x86-64.

    Args:
        python: its version of Python, e.g. ``3.12``.
        present: versions of its packages by name; an empty version is an unknown one.
    """

    def __init__(self, python: str, present: Mapping[str, str]) -> None:
        self.python = python
        self.present = {canonicalize_name(name): version for name, version in present.items()}
        self.markers: dict[str, str] = {
            **{k: str(v) for k, v in default_environment().items()},
            "python_version": python,
            "python_full_version": f"{python}.0",
            "sys_platform": "linux",
            "platform_system": "Linux",
            "platform_machine": "x86_64",
            "os_name": "posix",
        }

    def needs(self, wheel: Path, extras: Iterable[str]) -> list[Requirement]:
        """What a wheel asks for on this machine, with some of its extras."""
        with zipfile.ZipFile(wheel) as archive:
            [name] = [n for n in archive.namelist() if n.count("/") == 1 and n.endswith(".dist-info/METADATA")]
            metadata = HeaderParser().parsestr(archive.read(name).decode())
        asked = map(Requirement, metadata.get_all("Requires-Dist") or ())
        return [
            r
            for r in asked
            if r.marker is None or any(r.marker.evaluate({**self.markers, "extra": e}) for e in ("", *extras))
        ]

    def fetch(self, requirement: Requirement, folder: Path, pip: Iterable[str] = ()) -> Path:
        """Download one wheel with pip, without what it needs.

        Args:
            requirement: name and versions of the wheel.
            folder: folder for the wheel.
            pip: further options of pip, e.g. an index.

        Raises:
            subprocess.CalledProcessError: pip finds no wheel that fits; it has said why.
        """
        before = set(folder.glob("*.whl"))
        platforms = [word for name in PLATFORMS for word in ("--platform", name)]
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps",
             "--only-binary=:all:", "--implementation", "cp", "--python-version", self.python, *platforms, "-d", str(folder),
             *pip, f"{requirement.name}{requirement.specifier}"],
            check=True,
        )  # fmt: skip
        wanted = canonicalize_name(requirement.name)
        new = set(folder.glob("*.whl")) - before
        return next(iter(new or {w for w in before if parse_wheel_filename(w.name)[0] == wanted}))


def closure(
    machine: Machine, wanted: Iterable[str], folder: Path, without: Iterable[str] = (), pip: Iterable[str] = ()
) -> list[str]:
    """Download `wanted` and all that it needs and the machine lacks.

    Args:
        machine: target.
        wanted: requirements, e.g. ``vllm==0.26.0``.
        folder: folder for the wheels, which is created.
        without: names of packages to leave out although they are asked for.
        pip: further options of pip.

    Returns:
        What is not as it is asked for: packages that were left out, and present ones of an unsuitable version.
    """
    folder.mkdir(parents=True, exist_ok=True)
    left_out = set(map(canonicalize_name, without))
    found: dict[str, Path] = {}
    specifiers: dict[str, Requirement] = {}
    told: list[str] = []
    waiting = [(Requirement(text), "you") for text in wanted]
    seen: set[tuple[str, str]] = set()
    while waiting:
        requirement, by = waiting.pop(0)
        name = canonicalize_name(requirement.name)
        if (name, f"{requirement.specifier}{sorted(requirement.extras)}") in seen:
            continue
        seen.add((name, f"{requirement.specifier}{sorted(requirement.extras)}"))
        if name in machine.present and by != "you":
            version = machine.present[name]
            if version and not requirement.specifier.contains(version.partition("+")[0], prereleases=True):
                told.append(f"{by} asks for {requirement.name}{requirement.specifier}, the machine has {version}")
            continue
        if name in left_out:
            told.append(f"{by} asks for {requirement.name}, which is left out")
            continue
        if name in specifiers:
            requirement.specifier &= specifiers[name].specifier
            requirement.extras |= specifiers[name].extras
        specifiers[name] = requirement
        if name in found and not requirement.specifier.contains(
            str(parse_wheel_filename(found[name].name)[1]), prereleases=True
        ):
            found.pop(name).unlink()
        if name not in found:
            print(f"{requirement.name}{requirement.specifier}  ({by})", flush=True)
            found[name] = machine.fetch(requirement, folder, pip)
        waiting += [(needed, requirement.name) for needed in machine.needs(found[name], requirement.extras)]
    return told


def read_present(path: Path) -> dict[str, str]:
    """Packages of a machine from a file: the output of ``pip list --format=freeze``, or names alone, one a line."""
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    pairs = (line.split("@")[0].strip().partition("==") for line in lines if line and not line.startswith(("#", "-")))
    return {name.strip(): version.strip() for name, _, version in pairs}

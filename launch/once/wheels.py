"""Wheels that another machine lacks: what is asked for, resolved together with what the machine has.

uv resolves for that machine's Python and platform. Its torch and triton stay as they are; its other packages are kept
where they fit, and those that do not are carried in a version that does. pip downloads, one wheel for each package.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from packaging.utils import canonicalize_name

FIXED = ("torch", "torchvision", "torchaudio", "triton")  # built for each other, and for the machine's CUDA
PLATFORM = "x86_64-manylinux_2_35"
TAGS = ("manylinux_2_17", "manylinux_2_24", "manylinux_2_27", "manylinux_2_28", "manylinux_2_31", "manylinux_2_34",
        "manylinux_2_35", "manylinux2014", "manylinux2010", "manylinux1", "linux")  # fmt: skip


class ResolutionError(RuntimeError):
    """What is asked for cannot be had together; the message is uv's."""


def resolve(wanted: Sequence[str], present: Mapping[str, str], python: str) -> dict[str, str]:
    """Versions of all packages that are needed, by name.

    Args:
        wanted: requirements, e.g. ``vllm==0.26.0``.
        present: versions of the machine's packages by name; an empty version is an unknown one.
        python: version of Python on the machine, e.g. ``3.12``.

    Raises:
        ResolutionError: there is no solution with the machine's torch, or uv is not installed.
    """
    if (uv := shutil.which("uv", path=f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin")) is None:
        uv = shutil.which("uv")
    if uv is None:
        raise ResolutionError("uv is not there; pip install uv")
    pins = {canonicalize_name(name): version.partition("+")[0] for name, version in present.items() if version}
    with tempfile.TemporaryDirectory() as folder:
        asked, fixed, out = (Path(folder) / name for name in ("asked.txt", "fixed.txt", "out.txt"))
        asked.write_text("\n".join(wanted) + "\n", encoding="utf-8")
        fixed.write_text("".join(f"{n}=={pins[n]}\n" for n in FIXED if n in pins), encoding="utf-8")
        out.write_text("".join(f"{n}=={v}\n" for n, v in pins.items()), encoding="utf-8")  # kept where they fit
        done = subprocess.run(
            [uv, "pip", "compile", str(asked), "-c", str(fixed), "-o", str(out), "--python-version", python,
             "--python-platform", PLATFORM, "--no-header", "--no-annotate", "--no-python-downloads", "-q"],
            capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            raise ResolutionError(done.stderr.strip())
        return {canonicalize_name(name): version for name, version in read_present(out).items()}


def missing(needed: Mapping[str, str], present: Mapping[str, str]) -> dict[str, str]:
    """Packages that must be carried: what the machine lacks or has in another version; unknown versions are taken to fit."""
    there = {canonicalize_name(name): version.partition("+")[0] for name, version in present.items()}
    return {name: version for name, version in needed.items() if there.get(name, "-") not in (version, "")}


def fetch(packages: Mapping[str, str], folder: Path, python: str, pip: Iterable[str] = ()) -> list[Path]:
    """Download one wheel for each package, without what it needs.

    Args:
        packages: versions by name.
        folder: folder for the wheels; those that are there are not downloaded again.
        python: version of Python on the machine.
        pip: further options of pip, e.g. an index.

    Returns:
        Their files in `folder`, which may hold others as well.

    Raises:
        subprocess.CalledProcessError: pip finds no wheel that fits; it has said why.
    """
    folder.mkdir(parents=True, exist_ok=True)
    platforms = [word for tag in TAGS for word in ("--platform", f"{tag}_x86_64")]
    found = []
    for name, version in packages.items():
        files = f"{name.replace('-', '_')}-{version}-*.whl"
        if there := list(folder.glob(files)):
            found += there
            continue
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps",
             "--only-binary=:all:", "--implementation", "cp", "--python-version", python, *platforms, "-d", str(folder),
             *pip, f"{name}=={version}"],
            check=True,
        )  # fmt: skip
        found += folder.glob(files)
    return found


def slim(wheel: Path, slimmer: Path, unneeded: Sequence[str]) -> None:
    """Take files out of a wheel, and store the others as they are, which the pieces compress better.

    Args:
        wheel: the wheel.
        slimmer: file for what is left of it.
        unneeded: what the names of the files begin with.
    """
    with zipfile.ZipFile(wheel) as before, zipfile.ZipFile(slimmer, "w", zipfile.ZIP_STORED) as after:
        for entry in before.infolist():
            if entry.filename.startswith(tuple(unneeded)):
                continue
            content = before.read(entry)
            if entry.filename.endswith(".dist-info/RECORD"):
                kept = [x for x in content.splitlines(True) if not x.decode().startswith(tuple(unneeded))]
                content = b"".join(kept)
            after.writestr(entry.filename, content)


def read_present(path: Path) -> dict[str, str]:
    """Packages of a machine from a file: the output of ``pip list --format=freeze``, or names alone, one a line."""
    lines = (line.partition(";")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    pairs = (line.split("@")[0].strip().partition("==") for line in lines if line and not line.startswith(("#", "-")))
    return {name.strip().partition("[")[0]: version.strip() for name, _, version in pairs}

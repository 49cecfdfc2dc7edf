"""`./run` on a machine of its own: a copy in an empty directory, no network, its own .venv."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import shutil
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
RUN = ROOT / "run"

# Does what uv does as far as ./run can see: `venv` makes a Python (here one that says how it was
# called), everything is written down, and a list with "broken" in it cannot be installed.
_UV = """
    #!{python}
    import json, os, pathlib, sys, time
    here = pathlib.Path(__file__).parent
    arguments = sys.argv[1:]
    index = os.environ.get("UV_DEFAULT_INDEX")
    def note(what):
        with open(here / "uv.log", "a") as log:
            log.write(json.dumps([what, index, *arguments]) + "\\n")
    if arguments != ["--version"]:
        note("begins")
        time.sleep(0.2)
        if arguments[0] == "venv":
            python = pathlib.Path(arguments[-1]) / "bin" / "python"
            python.parent.mkdir(parents=True)
            python.write_text((here / "python-of-venv").read_text())
            python.chmod(0o755)
        elif "broken" in open(arguments[-1]).read():
            sys.exit("no such package")
        note("ends")
"""
_PYTHON_OF_VENV = """
    #!{python}
    import json, os, sys
    print(json.dumps([sys.argv[1:], os.getcwd(), os.environ.get("PYTHONPATH")]))
    sys.exit(7)
"""


class Machine:
    """A directory with `run` and two lists of packages, and a PATH with nothing but a fake uv."""

    def __init__(self, directory: Path, *, uv: bool = True) -> None:
        self.home = directory / "town"
        self.path = directory / "path"
        self.home.mkdir(parents=True)
        self.path.mkdir()
        shutil.copy(RUN, self.home / "run")
        (self.home / "requirements.lock").write_text("one\n")
        (self.home / "requirements-dev.lock").write_text("one\ntwo\n")
        if uv:
            self.put("uv", _UV)
            self.put("python-of-venv", _PYTHON_OF_VENV)

    def put(self, name: str, text: str) -> None:
        """A program on the PATH."""
        file = self.path / name
        file.write_text(textwrap.dedent(text).strip().format(python=sys.executable) + "\n")
        file.chmod(0o755)

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(self.home / "run"), *arguments],
            cwd=self.path,
            env={"PATH": str(self.path), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **environment: str) -> tuple[int, str, str]:
        running = self.start(*arguments, **environment)
        out, err = running.communicate(timeout=60)
        return running.returncode, out, err

    def called(self, *arguments: str, **environment: str) -> list[Any]:
        """How the Python of .venv was called: its arguments, directory and PYTHONPATH."""
        code, out, err = self.run(*arguments, **environment)
        assert code == 7, err
        return list(json.loads(out))

    def installed(self) -> list[str]:
        """The lists that uv has installed so far, in order."""
        return [Path(call[-1]).name for what, call in self.uv() if what == "ends" and "pip" in call]

    def uv(self) -> list[tuple[str, list[str]]]:
        log = self.path / "uv.log"
        lines = log.read_text().splitlines() if log.exists() else []
        return [(what, call) for what, _, *call in map(json.loads, lines)]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_without_arguments_it_serves_from_where_it_was_called(machine: Machine) -> None:
    town, path = str(machine.home), str(machine.path)
    assert machine.called() == [["-m", "api", "serve"], path, town]
    given = ["demo", "--reset", "--data", "a b", "", "$HOME"]
    assert machine.called(*given) == [["-m", "api", *given], path, town]


def test_tests_run_in_the_project_on_every_core_unless_told_otherwise(machine: Machine) -> None:
    town = str(machine.home)
    assert machine.called("test", "-k", "a or b") == [
        ["-m", "pytest", "-nauto", "-k", "a or b"],
        town,
        None,
    ]
    assert machine.called("test", "-n0", "-x")[0] == ["-m", "pytest", "-n0", "-x"]
    assert machine.called("bench", "rank", "10000")[0] == ["-m", "tests.bench.rank", "10000"]


def test_a_benchmark_without_a_name_lists_those_there_are(machine: Machine) -> None:
    bench = machine.home / "tests" / "bench"
    bench.mkdir(parents=True)
    for name in ("__init__.py", "rank.py", "plan.py"):
        (bench / name).touch()
    code, out, err = machine.run("bench")
    assert (code, out) == (1, "")
    assert err.endswith("run: Name the benchmark: plan, rank\n")


def test_the_list_is_installed_once_and_again_when_it_changes(machine: Machine) -> None:
    machine.called()
    machine.called()
    assert machine.installed() == ["requirements.lock"]
    (machine.home / "requirements.lock").write_text("one==2\n")
    code, _, err = machine.run()
    assert code == 7
    assert err.splitlines() == ["Preparing .venv (once, a minute or so) …"]
    assert machine.installed() == ["requirements.lock"] * 2
    venv = str(machine.home / ".venv")
    made = [call for what, call in machine.uv() if what == "ends" and call[0] == "venv"]
    assert [call[-1] for call in made] == [venv]
    assert made[0][made[0].index("--python") + 1] == sys.executable


def test_tests_install_more_and_that_serves_too(machine: Machine) -> None:
    machine.called()
    machine.called("test")
    machine.called()
    machine.called("bench", "rank")
    assert machine.installed() == ["requirements.lock", "requirements-dev.lock"]


def test_packages_come_from_the_index_that_pip_is_told(machine: Machine) -> None:
    machine.called(PIP_INDEX_URL="https://index.test/simple")
    lines = (machine.path / "uv.log").read_text().splitlines()
    (sync,) = [line for line in map(json.loads, lines) if line[0] == "ends" and "pip" in line]
    assert sync[1] == "https://index.test/simple"
    assert "--require-hashes" in sync


def test_two_at_once_install_once(machine: Machine) -> None:
    both = [machine.start(), machine.start()]
    for running in both:
        running.communicate(timeout=60)
        assert running.returncode == 7
    assert machine.installed() == ["requirements.lock"]


def test_a_failed_installation_is_not_taken_for_one(machine: Machine) -> None:
    machine.called()
    good = (machine.home / "requirements.lock").read_text()
    (machine.home / "requirements.lock").write_text("broken\n")
    for _ in range(2):
        code, out, err = machine.run()
        assert (code, out) == (1, "")
        assert err.splitlines()[-1].startswith("run: Preparing .venv failed")
        assert "Traceback" not in err
    # What was there may be half of another list by now: the old one is installed anew.
    (machine.home / "requirements.lock").write_text(good)
    machine.called()
    assert machine.installed() == ["requirements.lock"] * 2


def test_what_is_prepared_runs_where_nothing_may_be_written(machine: Machine) -> None:
    machine.called()
    # Root may write everywhere: nobody opens a directory as a file.
    (machine.home / ".venv" / "preparing.lock").unlink()
    (machine.home / ".venv" / "preparing.lock").mkdir()
    machine.called()
    (machine.home / "requirements.lock").write_text("one==2\n")
    code, _, err = machine.run()
    assert (code, len(err.splitlines())) == (1, 1)
    assert err.startswith("run: Cannot prepare .venv here: ")


# Without uv: the real venv and the real pip, and a package of our own instead of the network.


def _package(directory: Path) -> str:
    """A wheel that needs no network, and the line that locks it."""
    wheel = directory / "tiny-1.0-py3-none-any.whl"
    about = "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n"
    kind = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files = {"tiny.py": "SIZE = 1\n", "METADATA": about, "WHEEL": kind, "RECORD": ""}
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name if name.endswith(".py") else f"tiny-1.0.dist-info/{name}", text)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return f"--no-index\n--find-links {directory}\ntiny==1.0 --hash=sha256:{digest}\n"


def test_without_uv_pip_installs_exactly_what_the_list_says(tmp_path: Path) -> None:
    machine = Machine(tmp_path, uv=False)
    lock = machine.home / "requirements.lock"
    line = _package(tmp_path)
    (machine.home / "api").mkdir()
    (machine.home / "api" / "__main__.py").write_text("import sys, tiny; print(tiny, sys.argv[1:])")
    lock.write_text(line.replace("sha256:", "sha256:0000")[:-5] + "\n")
    code, out, err = machine.run("serve")
    assert (code, out) == (1, "")
    assert err.splitlines()[-1].startswith("run: Preparing .venv failed")
    lock.write_text(line)
    code, out, err = machine.run("serve", "--port", "0")
    assert code == 0, err
    assert str(machine.home / ".venv") in out
    assert out.endswith("['serve', '--port', '0']\n")


# The right Python

# As an old Python would see it: the file is run by this one, which says that it is another.
_PRETEND = """
import runpy, sys
sys.version_info = (3, 8, 18, "final", 0)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def _with_old_python(machine: Machine, *arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-c", _PRETEND, str(machine.home / "run"), *arguments],
        env={"PATH": str(machine.path)},
        cwd=machine.path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_an_old_python_is_refused_in_one_line(machine: Machine) -> None:
    assert _with_old_python(machine, "serve") == (
        1,
        "",
        "run: Python 3.8 is not supported: install Python 3.11, 3.12 or 3.13 and run it again.\n",
    )
    assert machine.uv() == []


def test_an_old_python_goes_on_with_a_newer_one_and_passes_over_what_does_not_run(
    machine: Machine,
) -> None:
    minor = sys.version_info[1]
    for other in {11, 12, 13} - {minor}:
        machine.put(f"python3.{other}", "#!/bin/sh\necho 'not this one' >&2\nexit 127")
    machine.put(f"python3.{minor}", '#!/bin/sh\nexec {python} "$@"')
    code, out, err = _with_old_python(machine, "serve", "--port", "0")
    assert code == 7, err
    assert json.loads(out)[0] == ["-m", "api", "serve", "--port", "0"]


def test_a_real_old_python_says_the_same(machine: Machine) -> None:
    names = [shutil.which(f"python3.{minor}") or "" for minor in range(6, 11)]
    old = next((name for name in names if name and _version(name)), None)
    if old is None:
        pytest.skip("no Python from 3.6 to 3.10 on the PATH")
    done = subprocess.run(
        [old, str(machine.home / "run")],
        env={**os.environ, "PATH": str(machine.path)},
        capture_output=True,
        check=False,
    )
    said = done.stderr.decode()
    assert done.returncode == 1
    assert said.startswith(f"run: Python {_version(old)} is not supported")
    assert len(said.splitlines()) == 1


def _version(python: str) -> str:
    """Its version, or nothing where a version manager left a name that runs nothing."""
    ask = "import sys; print('%d.%d' % sys.version_info[:2])"
    done = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def test_every_python_since_3_6_can_read_it() -> None:
    ast.parse(RUN.read_text(), feature_version=(3, 6))


def test_it_imports_nothing_that_has_to_be_installed() -> None:
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(RUN.read_text()))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else _names(node))
    }
    assert imported <= sys.stdlib_module_names


def _names(node: ast.Import) -> list[str]:
    return [alias.name for alias in node.names]

"""The container files: what they promise, and that the image's own command keeps it."""

from __future__ import annotations

import json
import os
import re
import secrets
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from models import settings
from tests import servers

ROOT = servers.ROOT
COMPOSE_FILE = ROOT / "docker" / "compose.yaml"
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
SETTINGS = {setting.variable for setting in settings.SETTINGS}
NOBODY = 65534


def _dockerfile() -> list[list[tuple[str, str]]]:
    """The instructions of each stage."""
    text = (ROOT / "docker" / "Dockerfile").read_text()
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    stages: list[list[tuple[str, str]]] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        name, _, rest = line.partition(" ")
        if name == "FROM":
            stages.append([])
        stages[-1].append((name, rest.strip()))
    return stages


BUILD, IMAGE = _dockerfile()


def _said(stage: list[tuple[str, str]], instruction: str) -> list[str]:
    return [rest for name, rest in stage if name == instruction]


def _copied() -> Iterator[tuple[str, str]]:
    """What the image takes from the project: where from, where to."""
    for rest in _said(BUILD, "COPY") + _said(IMAGE, "COPY"):
        source, target = rest.split()[-2:]
        if "--from" not in rest and target.startswith("/app/"):
            yield source, f"{target}{source}" if target.endswith("/") else target


def test_the_example_of_settings_is_what_the_program_prints() -> None:
    assert (ROOT / ".env.example").read_text() == settings.env_example()


def test_the_compose_file_fits_the_compose_specification() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*command, str(COMPOSE_FILE)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_image_is_pinned_by_a_version() -> None:
    images = [service["image"] for service in SERVICES.values()]
    images += [rest.split()[0] for stage in (BUILD, IMAGE) for rest in _said(stage, "FROM")]
    for image in images:
        assert re.search(r":v?\d+(\.\d+)*(-[a-z]+)*$", image), image


def test_every_variable_is_a_setting_or_is_asked_for_by_name() -> None:
    text = "\n".join(line for line in COMPOSE_FILE.read_text().splitlines() if "#" not in line)
    used = dict(re.findall(r"\$\{(\w+)(:[?-][^}]*)?\}", text))
    assert {"POSTGRES_PASSWORD", "MEILI_MASTER_KEY"} <= used.keys()
    for variable, otherwise in used.items():
        assert variable in SETTINGS or otherwise.startswith(":?"), variable
        assert f"#   {variable}" in COMPOSE_FILE.read_text() or variable in SETTINGS


def test_the_program_is_given_settings_that_it_has() -> None:
    for name in ("migrate", "api", "worker"):
        assert SERVICES[name]["environment"].keys() <= SETTINGS


def test_only_the_search_server_knows_its_master_key() -> None:
    holders = {name for name, service in SERVICES.items() if "MASTER_KEY" in json.dumps(service)}
    assert holders == {"meilisearch"}


def test_the_demo_town_with_its_known_passwords_stays_out() -> None:
    assert SERVICES["api"]["environment"]["DEMO"] == "false"


def test_a_container_starts_only_when_that_is_safe_in_public() -> None:
    environment = SERVICES["api"]["environment"]
    assert environment["MODE"] == "production"
    assert environment["SECRET_KEY"].startswith("${SECRET_KEY:?")


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_kept_small_and_comes_back(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    once = name == "migrate"
    assert service["restart"] == ("no" if once else "unless-stopped")
    assert service.get("healthcheck", {}).get("disable", False) == once
    assert {"mem_limit", "pids_limit"} <= service.keys()
    assert "/tmp" in service["tmpfs"]
    assert "privileged" not in service
    assert name == "api" or "healthcheck" in service  # the API's is in its image


def test_only_the_api_can_be_reached_and_only_from_this_machine() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert list(published) == ["api"]
    assert all(port.startswith("127.0.0.1:") for port in published["api"])


def test_nobody_starts_before_what_it_needs_is_healthy() -> None:
    assert SERVICES["migrate"]["depends_on"]["postgres"]["condition"] == "service_healthy"
    migrated = SERVICES["api"]["depends_on"]["migrate"]["condition"]
    assert migrated == "service_completed_successfully"
    assert SERVICES["worker"]["depends_on"]["api"]["condition"] == "service_healthy"


def test_what_must_survive_lies_in_a_named_volume() -> None:
    mounted = {
        volume.partition(":")[0] for s in SERVICES.values() for volume in s.get("volumes", [])
    }
    assert mounted == set(COMPOSE["volumes"])


def test_the_image_takes_only_locked_and_hashed_packages() -> None:
    (install,) = (rest for rest in _said(BUILD, "RUN") if "pip" in rest)
    assert "--require-hashes" in install
    assert "requirements.lock" in install


def test_the_image_runs_as_somebody_without_rights() -> None:
    (user,) = _said(IMAGE, "USER")
    assert re.fullmatch(r"(\d{5}):\1", user)
    assert _said(IMAGE, "VOLUME") == ["/data"]


def test_the_image_fetches_nothing_by_address_and_holds_no_secret() -> None:
    everything = [(name, rest) for stage in (BUILD, IMAGE) for name, rest in stage]
    assert not [rest for name, rest in everything if name == "ADD" or "://" in rest]
    hidden = {setting.variable for setting in settings.SETTINGS if setting.secret}
    stated = [rest for name, rest in everything if name in ("ENV", "ARG")]
    assert not [rest for rest in stated if any(name in rest for name in hidden)]


def test_the_build_sees_what_it_copies_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    seen = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert seen == {source for source, _ in _copied()} | {"requirements.lock"}


def _interpreter() -> str:
    """A Python of our version that an account without rights may run."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for candidate in (sys.executable, f"/usr/local/bin/{version}", f"/usr/bin/{version}"):
        try:
            subprocess.run([candidate, "-c", "pass"], check=True, **_as_nobody())
        except (OSError, subprocess.CalledProcessError):
            continue
        return candidate
    pytest.skip(f"no {version} that uid {NOBODY} may run: this one is below a private directory")


def _as_nobody() -> dict[str, Any]:
    """Options that start a process without rights; whoever runs the tests may have none."""
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.getuid() == 0 else {}


@pytest.fixture
def container() -> Iterator[Path]:
    """A directory like the image's file system: `/app` only for reading, `/data` for writing."""
    # Not tmp_path, which is private to whoever runs the tests.
    root = Path(tempfile.mkdtemp())
    root.chmod(0o755)
    for source, target in _copied():
        if (ROOT / source).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / source, root / target[1:], ignore=ignored)
    (root / "data").mkdir(mode=0o700)
    if os.getuid() == 0:
        os.chown(root / "data", NOBODY, NOBODY)
    subprocess.run(["chmod", "-R", "a-w,a+rX", str(root / "app")], check=True)
    yield root
    subprocess.run(["chmod", "-R", "u+w", str(root)], check=True)
    shutil.rmtree(root)


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="containers are Linux")
def test_the_images_command_serves_read_only_and_unprivileged_and_stops_in_time(
    container: Path,
) -> None:
    assert _said(IMAGE, "WORKDIR") == ["/app"]
    (entrypoint,), (command,) = _said(IMAGE, "ENTRYPOINT"), _said(IMAGE, "CMD")
    python, *program = json.loads(entrypoint)
    assert python == "python"
    stated = dict(pair.split("=", 1) for pair in shlex.split(" ".join(_said(IMAGE, "ENV"))))
    environment = {
        **{name: value for name, value in stated.items() if name != "PATH"},
        "DATA_DIR": str(container / stated["DATA_DIR"][1:]),
        "MODE": SERVICES["api"]["environment"]["MODE"],
        "DEMO": SERVICES["api"]["environment"]["DEMO"],
        "SECRET_KEY": secrets.token_hex(32),
        "PYTHONPATH": sysconfig.get_path("purelib"),
    }
    runs: dict[str, Any] = {"env": environment, "cwd": container / "app", **_as_nobody()}
    before = sorted((container / "app").rglob("*"))
    migrated = [_interpreter(), *program, *SERVICES["migrate"]["command"]]
    subprocess.run(migrated, check=True, timeout=60, **runs)
    with servers.running([_interpreter(), *program, *json.loads(command)], **runs) as address:
        assert httpx.get(f"{address}/readyz").json() == {"status": "ok", "database": "ok"}
        assert httpx.get(f"{address}/docs").status_code == 200
    assert sorted((container / "app").rglob("*")) == before
    owner = (container / "data" / "community.sqlite").stat().st_uid
    assert owner == (os.getuid() or NOBODY)

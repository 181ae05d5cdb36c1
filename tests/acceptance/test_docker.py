"""The Docker commands of docs/operations.md, word for word, by a stand-in for `docker`."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.machines.checkout import make_bare_repository
from tests.support.machines.docker import DockerStandIn, docker_stand_in
from tests.support.machines.image import ImageBuilder
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.machine, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text("utf-8")


def blocks(heading: str) -> list[str]:
    """Return the blocks of a section that use `docker`."""
    section = PAGE[PAGE.index(f"\n{heading}\n") + 1 :]
    section = re.split(r"^#{2,3} ", section.partition("\n")[2], maxsplit=1, flags=re.M)[0]
    found = re.findall(r"^```sh\n(.*?)^```$", section, re.M | re.S)
    return [block for block in found if "docker" in block]


ONE, BESIDE = blocks("### Run one container")
SEVERAL, RELOAD = blocks("### Run two nodes with Docker Compose")
(ONE_UPGRADED,) = blocks("### Upgrade one container")
(SEVERAL_UPGRADED,) = blocks("### Upgrade nodes of Docker Compose")
(ONE_SAVED,) = blocks("### Back up and restore one container")
(SEVERAL_SAVED,) = blocks("### Back up and restore Docker Compose")
CALLED = ("docker kill -s HUP campaignd",)
CAMPAIGN = '{"campaign": {"name": "Begun"}, "schedule": null}\n'
SLOW_S = 120.0
"""Seconds to wait for a container."""


@pytest.fixture
def docker(image: ImageBuilder) -> Iterator[DockerStandIn]:
    """A stand-in with the image of this checkout."""
    with image.mounted_container() as (_, root):
        top = Path(tempfile.mkdtemp(prefix="campaignd-docker-"))
        with docker_stand_in(top, root, image.image_configuration()) as made:
            yield made


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A clone, as an operator has it, with a campaign to load."""
    make_bare_repository(ROOT, tmp_path / "campaignd.git")
    made = tmp_path / "campaignd"
    subprocess.run(["git", "clone", "-q", tmp_path / "campaignd.git", made], check=True)
    (made / "campaigns.jsonl").write_text(CAMPAIGN)
    return made


def test_one_container(docker: DockerStandIn, checkout: Path) -> None:
    """Start, use, upgrade, back up and restore one container."""

    def well() -> bool:
        (ask,) = [line for line in ONE.splitlines() if "inspect" in line]
        return docker.run_script(ask, checkout) == "healthy\n"

    def completed() -> bool:
        return '"completed"' in docker.run_script(
            "docker exec campaignd campaignd runs --json", checkout
        )

    docker.run_script(ONE, checkout)
    wait_until("it is well", well, SLOW_S)
    said = docker.run_script(BESIDE, checkout)
    assert re.search(r"^ok +database", said, re.M), said
    docker.run_script("docker exec campaignd campaignd start 1", checkout)
    wait_until("a run completed", completed, SLOW_S)
    toml = checkout / "etc" / "campaignd.toml"
    toml.write_text('[log]\nlevel = "debug"\n[targets.later]\ntype = "log"\n')
    docker.run_script(*CALLED, checkout)
    wait_until(
        "it has read its file again",
        lambda: '"reloaded"' in docker.container_log("campaignd"),
        SLOW_S,
    )
    docker.run_script(ONE_UPGRADED, checkout)
    wait_until("it is well again", well, SLOW_S)
    assert completed(), "what was there is there"
    docker.run_script(ONE_SAVED, checkout)
    docker.run_script("docker stop campaignd; docker rm campaignd", checkout)
    (start,) = re.findall(r"^docker run -d.*?[^\\]\n", ONE, re.M | re.S)
    docker.run_script(start.replace("-v campaignd:", "-v campaignd-restored:"), checkout)
    wait_until("it is well on what was restored", well, SLOW_S)
    assert completed(), "what was there is there"
    assert "Begun" in docker.run_script("docker exec campaignd campaignd campaigns", checkout)
    docker.run_script("docker stop campaignd", checkout)
    assert '"event":"stopped"' in docker.container_log("campaignd")


def test_several_nodes(docker: DockerStandIn, checkout: Path) -> None:
    """The same with compose.yaml, on a PostgreSQL of this machine."""

    def command(text: str) -> str:
        return docker.run_script(f"docker compose exec {text}", checkout)

    def well() -> bool:
        asked = (f"docker compose exec {node} campaignd health" for node in "ab")
        return all(
            "FAILED" not in docker.run_script(f"{ask} || echo FAILED", checkout) for ask in asked
        )

    key = docker.run_script(SEVERAL, checkout).split()[-1]
    wait_until("both are well", well, SLOW_S)
    docker.run_script(RELOAD, checkout)
    wait_until("both have read their file again", lambda: reloaded(docker) == 2, SLOW_S)
    called = f"curl -fsS -H 'Authorization: Bearer {key}' http://127.0.0.1:8081/api/v1/campaigns"
    assert '"items"' in docker.run_script(called, checkout)
    assert "queue" in command("a campaignd check || true")
    docker.run_script("docker compose exec -T a campaignd import - < campaigns.jsonl", checkout)
    command("b campaignd start 1")
    wait_until(
        "a run completed", lambda: '"completed"' in command("a campaignd runs --json"), SLOW_S
    )
    docker.run_script(SEVERAL_UPGRADED, checkout)
    docker.run_script(SEVERAL_SAVED, checkout)
    wait_until("both are well on what was restored", well, SLOW_S)
    assert "Begun" in command("b campaignd campaigns")
    docker.run_script("docker compose stop a b postgres", checkout)


def reloaded(docker: DockerStandIn) -> int:
    """Return how many nodes have reloaded."""
    return sum('"reloaded"' in docker.container_log(node) for node in "ab")


def test_every_command_of_docker_is_one_of_those_run() -> None:
    """Every command of the page is tested, except the one that starts the broker."""
    run = {ONE, BESIDE, SEVERAL, RELOAD}
    run |= {ONE_UPGRADED, SEVERAL_UPGRADED, ONE_SAVED, SEVERAL_SAVED}
    typed = {
        block
        for block in re.findall(r"^```sh\n(.*?)^```$", PAGE, re.M | re.S)
        if "docker " in block
    }
    assert typed == run
    assert {"docker compose --profile broker up -d"} == {
        text for text in re.findall(r"`(docker [^`\n]* -[^`\n]*)`", PAGE) if text not in CALLED
    }

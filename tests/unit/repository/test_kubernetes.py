"""The manifests for Kubernetes are valid, and fit the daemon, the image and the alerts."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from campaignd import __version__
from config.load import load_settings
from config.settings import SchedulerSettings
from daemon.app import STOP_MARGIN_S
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[3]
TOP = ROOT / "deploy" / "kubernetes"
BASE, OVERLAY = TOP / "base", TOP / "overlays" / "example"
DEPLOYMENT: dict[str, Any] = yaml.safe_load((BASE / "deployment.yaml").read_text())
POD = DEPLOYMENT["spec"]["template"]["spec"]
CONTAINERS = {each["name"]: each for each in [*POD["initContainers"], *POD["containers"]]}
OLDEST, NEWEST = "1.30", "1.37"


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_the_manifests_follow_the_schemas_of_kubernetes(version: str) -> None:
    """No field is unknown, from the oldest supported version on."""
    for path in BASE.glob("[!k]*.yaml"):
        kubernetes_validate.validate(yaml.safe_load(path.read_text()), version, strict=True)
    assert f"Kubernetes {OLDEST} or later" in (ROOT / "docs/kubernetes.md").read_text("utf-8")


def test_the_overlay_can_be_built() -> None:
    """kustomize finds every file; the database's secret is that of the operator."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    built = subprocess.run(
        ["kubectl", "kustomize", OVERLAY], capture_output=True, text=True, check=True
    )
    made = {each["kind"]: each for each in yaml.safe_load_all(built.stdout)}
    assert {"Cluster", "PodMonitor", "PrometheusRule", "NetworkPolicy"} <= made.keys()
    for kind in ("Deployment", "NetworkPolicy", "Service", "PodDisruptionBudget"):
        kubernetes_validate.validate(made[kind], NEWEST, strict=True)
        assert made[kind]["metadata"]["namespace"] == made["Namespace"]["metadata"]["name"]
    volumes = {
        each["name"]: each for each in made["Deployment"]["spec"]["template"]["spec"]["volumes"]
    }
    cluster = made["Cluster"]["metadata"]["name"]
    assert volumes["database"]["secret"] == {
        "secretName": f"{cluster}-app",
        "defaultMode": 0o440,
        "items": [{"key": "uri", "path": "database_url"}],
    }


def test_the_images_are_those_of_this_release() -> None:
    for path in (BASE, OVERLAY):
        (image,) = yaml.safe_load((path / "kustomization.yaml").read_text())["images"]
        assert (image["name"], image["newTag"]) == ("campaignd", __version__)
    assert {each["image"] for each in CONTAINERS.values()} == {"campaignd"}


def test_a_pod_is_that_of_the_image() -> None:
    """The user, the port, and a stop that ends before Kubernetes kills the process."""
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert f"USER {POD['securityContext']['runAsUser']}:{POD['securityContext']['fsGroup']}" in (
        dockerfile
    )
    node = CONTAINERS["campaignd"]
    (port,) = node["ports"]
    assert f"EXPOSE {port['containerPort']}\n" in dockerfile
    stop = SchedulerSettings().drain_timeout + STOP_MARGIN_S
    assert POD["terminationGracePeriodSeconds"] > (
        stop + node["lifecycle"]["preStop"]["sleep"]["seconds"]
    )
    for each in CONTAINERS.values():
        assert each["securityContext"]["readOnlyRootFilesystem"] is True
        assert each["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_secrets_are_files() -> None:
    """The migration and the node read the same ones."""
    volumes = {each["name"]: each for each in POD["volumes"]}
    for name in ("migrate", "campaignd"):
        (variable,) = CONTAINERS[name]["env"]
        assert variable["name"] == "CAMPAIGND_DATABASE_URL_FILE"
        (mount,) = [each for each in CONTAINERS[name]["volumeMounts"] if each["name"] == "database"]
        assert variable["value"] == f"{mount['mountPath']}/database_url"
    assert volumes["database"]["secret"]["defaultMode"] == 0o440


@pytest.mark.parametrize("path", [BASE, OVERLAY], ids=["base", "overlay"])
def test_the_settings_are_valid(path: Path) -> None:
    environ = {"CAMPAIGND_DATABASE_URL": "postgresql://campaignd@postgres/campaignd"}
    load_settings(path / "campaignd.toml", environ=environ)


def test_the_rules_are_the_alerts() -> None:
    """`make rules` writes them again."""
    rule = yaml.safe_load((TOP / "components/monitoring/prometheusrule.yaml").read_text())
    assert rule["spec"] == yaml.safe_load((ROOT / "docs/alerts.yml").read_text())
    monitor = yaml.safe_load((TOP / "components/monitoring/podmonitor.yaml").read_text())
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint["relabelings"] == [{"targetLabel": "job", "replacement": "campaignd"}]


def test_each_alert_names_its_section_of_the_runbook() -> None:
    (group,) = yaml.safe_load((ROOT / "docs/alerts.yml").read_text())["groups"]
    named = [(rule["alert"], rule["annotations"]["runbook"]) for rule in group["rules"]]
    assert named == [(name, f"docs/runbook.md#{name.lower()}") for name, _ in named]
    sections = re.findall(r"^## (\w+)$", (ROOT / "docs/runbook.md").read_text("utf-8"), re.M)
    assert sections == [name for name, _ in named]


def test_a_replaced_config_map_is_reloaded(tmp_path: Path) -> None:
    """The script beside the node sends SIGHUP when the link to the files has another target."""
    if os.geteuid() != 0:
        pytest.skip("a process namespace of one's own needs root")
    data, seen = tmp_path / "..data", tmp_path / "seen"
    data.symlink_to("one")
    node = tmp_path / "campaignd"
    node.write_text(
        f"#!/bin/sh\ntrap 'echo again >> {seen}' HUP\ntouch {seen}\nwhile :; do sleep 0.05; done\n"
    )
    node.chmod(0o755)
    script = f"{node} & exec sh {BASE / 'reload.sh'} {tmp_path}"
    spaces = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
    pod = subprocess.Popen(
        # A shell cannot trap a signal that is ignored from the beginning, as under nohup.
        [*spaces, "env", "--default-signal=HUP", "sh", "-c", script],
        env={**os.environ, "POLL_SECONDS": "0.05"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until("the node runs", seen.exists)
        assert pod.stdout is not None
        assert pod.stdout.readline() == f"watching {tmp_path}\n"
        following = tmp_path / "following"
        following.symlink_to("two")
        following.replace(data)
        assert pod.stdout.readline() == "reload requested: two\n"
        wait_until("it is reloaded", lambda: seen.read_text() == "again\n")
    finally:
        pod.kill()
        pod.communicate()

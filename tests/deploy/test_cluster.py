"""What deploy/cluster and deploy/kubernetes say is understood by the command, and comes to work.

Schemas are looked at in judges/, since those are large.
"""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from prometheus_client.parser import text_string_to_metric_families
from tests.cluster.processes import Part, until
from tests.harness import Server
from tests.valkey import Store, free_port

from etagere.cli import app
from etagere.config import PREFIX, Settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "cluster" / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
FILES = sorted((DEPLOY / "kubernetes").rglob("*.yaml"))
OBJECTS = [each for file in FILES for each in yaml.safe_load_all(file.read_text())]
NODES = ("node-a", "node-b")
IMAGE = "etagere:0.1"
UID = 10001


def named(kind: str) -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each for each in OBJECTS if each["kind"] == kind}


def workloads() -> list[dict[str, Any]]:
    return [*named("Deployment").values(), *named("StatefulSet").values()]


def pod(workload: Mapping[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = workload["spec"]["template"]["spec"]
    return spec


def containers() -> dict[str, dict[str, Any]]:
    """The containers of Etagere in Kubernetes."""
    found = (container for workload in workloads() for container in pod(workload)["containers"])
    return {each["name"]: each for each in found if each["image"] == IMAGE}


COMMANDS = {
    **{f"compose {name}": each["command"] for name, each in SERVICES.items() if each["image"] == IMAGE},
    **{f"kubernetes {name}": each["args"] for name, each in containers().items()},
}


def environments() -> dict[str, dict[str, str]]:
    """What processes of Etagere find in their environment, by where that is said."""
    given = {f"compose {name}": each["environment"] for name, each in SERVICES.items() if each["image"] == IMAGE}
    for name, container in containers().items():
        here: dict[str, str] = {}
        for source in container["envFrom"]:
            here |= named("ConfigMap")[source["configMapRef"]["name"]]["data"]
        for variable in container["env"]:
            secret = variable.get("valueFrom", {}).get("secretKeyRef")
            said = named("Secret")[secret["name"]]["stringData"][secret["key"]] if secret else variable["value"]
            here[variable["name"]] = said
        given[f"kubernetes {name}"] = here
    return given


def understood(words: Sequence[str]) -> Mapping[str, Any]:
    """The options of a command line as the command takes it; a fault is raised."""
    command = typer.main.get_command(app)
    with command.make_context("etagere", [*words], resilient_parsing=False) as context:
        name, found, rest = command.resolve_command(context, [*words])  # type: ignore[attr-defined]
        with found.make_context(name, rest, parent=context) as inner:
            options: Mapping[str, Any] = inner.params
            return options


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_the_command_understands_it(words: list[str]) -> None:
    assert all(isinstance(word, str) for word in words)
    assert understood(words)["target"] == "/models/models.py"


def test_a_command_line_that_is_wrong_would_be_noticed() -> None:
    with pytest.raises(Exception, match="No such option"):
        understood(["worker", "/models/models.py", "--port", "1"])
    with pytest.raises(Exception, match="No such command"):
        understood(["work", "/models/models.py"])


@pytest.mark.parametrize("given", environments().values(), ids=environments())
def test_settings_are_settings_and_their_values_valid(given: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    ours = {name: value for name, value in given.items() if name.startswith(PREFIX)}
    assert {name.removeprefix(PREFIX).lower() for name in ours} <= set(Settings.model_fields)
    assert all(isinstance(value, str) for value in given.values())
    for name, value in ours.items():
        monkeypatch.setenv(name, value)
    settings = Settings.layered({}, {})
    assert settings.store is not None
    assert settings.blobs == "file:///blobs"
    # What stands in front says for whom it asks.
    assert settings.trusted_proxies


def test_every_part_is_there_in_both() -> None:
    parts = {"serve", "worker", "collect"}
    for place in ("compose", "kubernetes"):
        assert {words[0] for name, words in COMMANDS.items() if name.startswith(place)} == parts


class TestCompose:
    @pytest.mark.parametrize("name", [name for name, each in SERVICES.items() if each["image"] == IMAGE])
    def test_a_process_has_no_more_rights_than_it_needs(self, name: str) -> None:
        service = SERVICES[name]
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
        assert "no-new-privileges:true" in service["security_opt"]
        assert not service.get("ports"), "nobody reaches it but by what stands in front"
        assert service["build"]["args"]["LOCKED"] == "cluster"

    def test_only_loopback_is_published(self) -> None:
        published = [port for service in SERVICES.values() for port in service.get("ports", ())]
        assert published
        assert all(port.startswith("127.0.0.1:") for port in published)

    def test_volumes_are_there_and_data_is_a_node_s_own(self) -> None:
        mounts = [volume.split(":")[0] for service in SERVICES.values() for volume in service["volumes"]]
        assert {name for name in mounts if not name.startswith(".")} == set(COMPOSE["volumes"])
        own = [volume for node in NODES for volume in SERVICES[node]["volumes"] if volume.endswith(":/data")]
        assert len(own) == len(set(own)) == 2

    def test_folders_that_are_mounted_belong_to_the_user_in_the_image(self) -> None:
        [made] = re.findall(r"install -d -o etagere -g etagere -m 0700 (.*)", (DEPLOY / "Dockerfile").read_text())
        assert made.split() == ["/data", "/blobs"]

    def test_only_nodes_are_asked_for_their_health_at_the_port(self) -> None:
        without = {name for name, each in SERVICES.items() if each.get("healthcheck", {}).get("disable")}
        assert without == {"worker", "collector"}

    def test_what_stands_in_front_leads_to_the_nodes(self) -> None:
        front = (DEPLOY / "cluster" / "Caddyfile").read_text()
        assert f"reverse_proxy {' '.join(f'{node}:8000' for node in NODES)} {{" in front

    @pytest.mark.skipif(shutil.which("docker") is None, reason="docker is not installed")
    def test_docker_understands_it(self) -> None:
        if subprocess.run(["docker", "compose", "version"], capture_output=True, timeout=30).returncode:
            pytest.skip("this docker has no compose")
        command = ["docker", "compose", "-f", str(DEPLOY / "cluster" / "compose.yaml"), "config", "--quiet"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")


class TestKubernetes:
    def test_names_are_used_once_and_what_is_named_is_there(self) -> None:
        keys = [(each["kind"], each["metadata"]["name"]) for each in OBJECTS]
        assert len(keys) == len(set(keys))
        for workload in workloads():
            volumes = pod(workload).get("volumes", ())
            claims = {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", ())}
            mounted = {each["name"] for container in pod(workload)["containers"] for each in container["volumeMounts"]}
            assert mounted == {volume["name"] for volume in volumes} | claims
            assert {v["configMap"]["name"] for v in volumes if "configMap" in v} <= set(named("ConfigMap"))
            claimed = {v["persistentVolumeClaim"]["claimName"] for v in volumes if "persistentVolumeClaim" in v}
            assert claimed <= set(named("PersistentVolumeClaim"))

    def test_selectors_select(self) -> None:
        labels = [workload["spec"]["template"]["metadata"]["labels"] for workload in workloads()]
        selectors = [each["spec"]["selector"]["matchLabels"] for each in workloads()]
        selectors += [each["spec"]["selector"]["matchLabels"] for each in named("PodDisruptionBudget").values()]
        selectors += [each["spec"]["selector"] for each in named("Service").values()]
        for policy in named("NetworkPolicy").values():
            selectors.append(policy["spec"]["podSelector"]["matchLabels"])
            selectors += [
                source["podSelector"]["matchLabels"] for rule in policy["spec"]["ingress"] for source in rule["from"]
            ]
        for selector in selectors:
            assert any(selector.items() <= those.items() for those in labels), selector
        assert all(workload["spec"]["selector"]["matchLabels"].items() <= those.items()
                   for workload, those in zip(workloads(), labels, strict=True))  # fmt: skip

    def test_services_lead_to_ports_that_there_are(self) -> None:
        ports = {port["name"] for each in workloads() for c in pod(each)["containers"] for port in c.get("ports", ())}
        assert {port["targetPort"] for each in named("Service").values() for port in each["spec"]["ports"]} <= ports
        store = named("Secret")["etagere-store"]["stringData"]
        assert store["ETAGERE_STORE"] == f"redis://:{store['password']}@etagere-valkey:6379/0"
        assert "etagere-valkey" in named("Service")

    @pytest.mark.parametrize("workload", workloads(), ids=lambda each: each["metadata"]["name"])
    def test_pods_have_no_more_rights_than_they_need(self, workload: dict[str, Any]) -> None:
        context = pod(workload)["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod(workload)["automountServiceAccountToken"] is False
        assert "hostNetwork" not in pod(workload)
        for container in pod(workload)["containers"]:
            assert container["image"] != IMAGE or context["runAsUser"] == UID
            inside = container["securityContext"]
            assert (inside["allowPrivilegeEscalation"], inside["readOnlyRootFilesystem"]) == (False, True)
            assert inside["capabilities"] == {"drop": ["ALL"]}
            assert "memory" in container["resources"]["limits"]

    @pytest.mark.parametrize("workload", workloads(), ids=lambda each: each["metadata"]["name"])
    def test_variables_of_services_are_not_taken_for_settings(self, workload: dict[str, Any]) -> None:
        """That of the Service `etagere` would be ETAGERE_PORT=tcp://…, which is no port."""
        ours = any(container["image"] == IMAGE for container in pod(workload)["containers"])
        assert not ours or pod(workload)["enableServiceLinks"] is False

    def test_each_part_of_etagere_may_lose_one_pod_at_a_time(self) -> None:
        covered = {budget["spec"]["selector"]["matchLabels"]["app"] for budget in named("PodDisruptionBudget").values()}
        assert covered == {workload["metadata"]["name"] for workload in named("Deployment").values()}

    def test_what_is_scaled_is_there(self) -> None:
        [scaled] = named("ScaledObject").values()
        assert scaled["spec"]["scaleTargetRef"]["name"] in named("Deployment")
        [trigger] = scaled["spec"]["triggers"]
        runs = understood(containers()["worker"]["args"])["runs"]
        assert trigger["metadata"]["threshold"] == str(runs)

    @pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
    @pytest.mark.parametrize("workload", workloads(), ids=lambda each: each["metadata"]["name"])
    def test_kubectl_knows_each_field(self, workload: dict[str, Any]) -> None:
        """What it has read into its own types and written again lacks what it does not know."""
        command = ["kubectl", "set", "env", "--local", "--filename", "-", "--output", "json", "SET_BY_TEST=1"]
        given = json.dumps(workload)
        done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert lacking(json.loads(given), json.loads(done.stdout)) == []
        planted = copy.deepcopy(workload)
        pod(planted)["terminationGracePeriod"] = 1
        done = subprocess.run(command, input=json.dumps(planted), capture_output=True, text=True, timeout=60)
        assert lacking(planted, json.loads(done.stdout)) == [".spec.template.spec.terminationGracePeriod"]


def lacking(given: Any, kept: Any, place: str = "") -> list[str]:
    """Where something was given that was not kept."""
    if isinstance(given, dict):
        if not isinstance(kept, dict):
            return [place]
        return [found for name in given for found in lacking(given[name], kept.get(name), f"{place}.{name}")]
    if isinstance(given, list):
        if not isinstance(kept, list) or len(kept) < len(given):
            return [place]
        by_name = {each.get("name"): each for each in kept if isinstance(each, dict)}
        pairs = ((each, by_name.get(each.get("name")) if isinstance(each, dict) and "name" in each else kept[n])
                 for n, each in enumerate(given))  # fmt: skip
        return [found for n, (each, other) in enumerate(pairs) for found in lacking(each, other, f"{place}[{n}]")]
    # A quantity may be spelt otherwise.
    return [] if kept == given or (kept is not None and isinstance(given, str)) else [place]


class Composed:
    """The processes of compose.yaml on loopback, with their own command lines and settings."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        models = folder / "models"
        models.mkdir()
        (folder / "blobs").mkdir()
        shutil.copy(ROOT / "tests" / "cluster" / "models.py", models / "models.py")
        _, *options = SERVICES["store"]["command"]
        self.store = Store(folder / "store", *options).start()
        self.parts: dict[str, Part] = {}
        self.front: subprocess.Popen[bytes] | None = None

    def begin(self, name: str) -> Part:
        service, port = SERVICES[name], free_port()
        data = self.folder / name
        places = {"/models/models.py": str(self.folder / "models" / "models.py"), "/data": str(data)}
        places |= {"0.0.0.0": "127.0.0.1"}
        words = [places.get(word, word) for word in service["command"]]
        settings = dict(service["environment"])
        settings["ETAGERE_STORE"] = settings["ETAGERE_STORE"].replace("store:6379", f"127.0.0.1:{self.store.port}")
        settings["ETAGERE_BLOBS"] = settings["ETAGERE_BLOBS"].replace("/blobs", f"{self.folder}/blobs")
        settings["ETAGERE_TRUSTED_PROXIES"] = '["127.0.0.1"]'
        settings["STARTS"] = str(self.folder)
        if words[0] == "serve":
            words += ["--port", str(port)]
        self.parts[name] = part = Part(words, settings, f"http://127.0.0.1:{port}")
        part.start()
        return part

    def caddy(self) -> str:
        """Its Caddyfile in front of the nodes; the address of that."""
        port, text = free_port(), (DEPLOY / "cluster" / "Caddyfile").read_text()
        text = text.replace("\n:8000 {", f"\nhttp://127.0.0.1:{port} {{")
        for node in NODES:
            text = text.replace(f"{node}:8000", self.parts[node].netloc)
        file = self.folder / "Caddyfile"
        file.write_text(text)
        home = {**os.environ, "HOME": str(self.folder), "XDG_DATA_HOME": str(self.folder)}
        command = ["caddy", "run", "--adapter", "caddyfile", "--config", str(file)]
        with (self.folder / "caddy.log").open("wb") as log:
            self.front = subprocess.Popen(command, env=home, stdout=log, stderr=log)
        return f"http://127.0.0.1:{port}"

    def stop(self) -> None:
        for part in self.parts.values():
            part.stop()
        if self.front is not None:
            self.front.terminate()
            self.front.wait(30)
        self.store.stop()


@pytest.fixture
def composed(tmp_path: Path) -> Iterator[Composed]:
    made = Composed(tmp_path)
    try:
        for name in (*NODES, "worker", "collector"):
            made.begin(name)
        yield made
    finally:
        made.stop()


@pytest.mark.skipif(shutil.which("caddy") is None, reason="caddy is not installed")
def test_what_is_composed_works_and_goes_on_without_a_node(composed: Composed) -> None:
    front = Server([sys.executable])
    front.url = composed.caddy()

    def answers() -> bool:
        try:
            return front.get("/-/health/ready").status == 200
        except OSError:
            return False

    until(answers, what="that what stands in front begins")
    assert front.result("/nap?name=a").json() == {"name": "a"}
    assert len(front.result("/zeros?size=3000000").body) == 3_000_000
    tag = front.get("/nap?name=b&seconds=1").etag
    composed.parts["node-a"].kill()
    assert [front.get("/nap?name=a").status for _ in range(20)] == [200] * 20
    assert front.get("/nap?name=b&seconds=1", tag).status in (200, 304)
    assert front.result("/nap?name=b&seconds=1").status == 200
    composed.parts["node-b"].kill()
    away = front.get("/nap?name=a")
    assert (away.status, away["Retry-After"], away["Cache-Control"]) == (503, "5", "no-store")
    composed.begin("node-b")


def metrics(node: Part) -> dict[str, dict[tuple[str, ...], float]]:
    """Their values, by the values of their labels."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(node.get("/-/metrics").body.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


def test_what_is_scaled_by_is_measured(composed: Composed) -> None:
    [scaled] = named("ScaledObject").values()
    query = scaled["spec"]["triggers"][0]["metadata"]["query"]
    assert set(re.findall(r"\betagere_\w+", query)) <= metrics(composed.parts["node-b"]).keys()


def test_who_is_there_is_measured_and_watched(composed: Composed) -> None:
    node = composed.parts["node-b"]
    until(lambda: metrics(node)["etagere_processes"].items() >= {("worker",): 1, ("collector",): 1}.items())
    found = metrics(node)
    assert found["etagere_places"][()] > 1
    assert found["etagere_store_unconfirmed_seconds"][()] < 5
    alerts = (DEPLOY / "cluster" / "alerts.yml").read_text()
    assert set(re.findall(r"\betagere_\w+", alerts)) <= found.keys()
    assert {(kind,) for kind in re.findall(r'kind="(\w+)"', alerts)} <= found["etagere_processes"].keys()


def test_every_metric_of_a_node_is_on_a_page(composed: Composed) -> None:
    node = composed.parts["node-b"]
    assert node.result("/nap?name=measured").status == 200
    until(lambda: "etagere_run_duration_seconds_count" in metrics(node))
    pages = [(ROOT / "docs" / name).read_text() for name in ("operating.md", "scaling.md")]
    shown = {name for page in pages for name in re.findall(r"^\| `(etagere_[a-z_]+)` ", page, re.MULTILINE)}
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in metrics(node)}
    assert shown == {name for name in families if name.startswith("etagere_")}

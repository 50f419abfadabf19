"""Each operating system of tests/fixtures/platforms.yml gets what README's table says, on amd64 and on arm64."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.endolab.active_learning.plugins.modules import host_facts
from catalogue import HOSTS, SUITE

from tests.unit.roles.test_checks import HOST, ROLES, evaluate, refusals, variables_of

ROOT = Path(__file__).resolve().parents[3]
PLATFORMS: list[dict[str, Any]] = yaml.safe_load((ROOT / "tests/fixtures/platforms.yml").read_text(encoding="utf-8"))
MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}  # as uname calls them, and dpkg

# What a host of each column is asked for, and the tables of checks that know of systems.
DOCKERS, NVIDIAS = "__docker_engine_checks", "__nvidia_container_toolkit_checks"
COLUMNS: dict[str, tuple[list[str], dict[str, Any]]] = {
    "docker": ([DOCKERS, NVIDIAS], {"docker_engine_source": "docker"}),
    "distribution": ([DOCKERS], {"docker_engine_source": "distribution", "monailabel_gpus": "none"}),
    "distribution_gpu": ([DOCKERS, NVIDIAS], {"docker_engine_source": "distribution"}),
}
EXPECTED = [platform for platform in PLATFORMS if platform["docker"] != "refused"]

of_platforms = pytest.mark.parametrize("platform", PLATFORMS, ids=lambda each: each["name"])
of_expected = pytest.mark.parametrize("platform", EXPECTED, ids=lambda each: each["name"])
of_machines = pytest.mark.parametrize("machine", MACHINES)


def system(platform: dict[str, Any]) -> dict[str, Any]:
    """What the module host_facts makes of the system's /etc/os-release."""
    text = "".join(f'{name}="{value}"\n' for name, value in platform["os_release"].items())
    return dict(host_facts.operating_system(text))


def host(platform: dict[str, Any], machine: str = "x86_64") -> dict[str, Any]:
    """What is known of a bare host with this system."""
    return {
        **HOST,
        "os": system(platform),
        "architecture": host_facts.architecture(machine),
        "programs": ["nvidia-smi"],
    }


def value(name: str, platform: dict[str, Any], machine: str = "x86_64", **settings: Any) -> Any:
    """A variable of a role on such a host."""
    variables = {"ansible_facts": {"endolab_host": host(platform, machine)}, "ansible_check_mode": False}
    return evaluate(f"{{{{ {name} }}}}", {**variables_of(ROLES), **variables, **settings})


@pytest.mark.parametrize("column", COLUMNS)
@of_platforms
def test_what_is_refused_is_what_the_table_says(platform: dict[str, Any], column: str) -> None:
    tables, settings = COLUMNS[column]
    assert bool(refusals(host(platform, "aarch64"), tables, **settings)) is (platform[column] == "refused")


@pytest.mark.parametrize("column", ["distribution", "distribution_gpu"])
@of_expected
def test_where_the_distributions_docker_is_refused_dockers_own_is_named(platform: dict[str, Any], column: str) -> None:
    tables, settings = COLUMNS[column]
    checks = [check for table in tables for check in value(table, platform, inventory_hostname="gpu1", **settings)]
    refused = [check["otherwise"] for check in checks if not check["that"]]
    assert bool(refused) is (platform[column] == "refused")
    assert [sentence for sentence in refused if "Set docker_engine_source: docker" not in sentence] == []


@pytest.mark.parametrize("machine", ["armv7l", "ppc64le"])
def test_another_architecture_is_refused(machine: str) -> None:
    assert refusals(host(PLATFORMS[0], machine), [DOCKERS]) == ["the architecture is supported"]


def suites(inventory: Path) -> set[str]:
    """What the simulated hosts of an inventory are."""
    hosts = yaml.safe_load((inventory / "hosts.yml").read_text(encoding="utf-8"))["lab"]["hosts"]
    return {(of_its_own or {}).get("stand_ins_suite", SUITE) for of_its_own in hosts.values()}


def test_what_is_tested_is_what_the_simulated_hosts_are() -> None:
    demo = ROOT / "inventories/demo/group_vars/lab/stand_ins.yml"
    assert f"\nstand_ins_suite: {SUITE}\n" in demo.read_text(encoding="utf-8")
    simulated: dict[str, set[str]] = {"docker": set(), "distribution": set(), "distribution_gpu": set()}
    for inventory in ROOT.glob("molecule/*/inventory"):
        path = inventory / "group_vars/lab/settings.yml"
        settings = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}
        gpu = "" if settings.get("monailabel_gpus") == "none" else "_gpu"
        source = settings.get("docker_engine_source", "docker")
        simulated[source if source == "docker" else f"{source}{gpu}"] |= suites(inventory)
    assert set.union(*simulated.values()) == set(HOSTS)
    assert simulated == {
        column: {each["os_release"]["VERSION_CODENAME"] for each in PLATFORMS if each[column] == "tested"}
        for column in COLUMNS
    }


@of_expected
def test_a_role_has_tasks_and_packages_for_the_family(platform: dict[str, Any]) -> None:
    family = system(platform)["family"]
    wanted = [
        path.with_name(name.replace("{{ ansible_facts.endolab_host.os.family }}", family))
        for path in (ROOT / "roles").glob("*/tasks/*.yml")
        for name in re.findall(
            r"include_tasks: (\w+_{{ ansible_facts\.endolab_host\.os\.family }}\.yml)", path.read_text()
        )
    ]
    assert len(wanted) >= 7
    assert [str(path) for path in wanted if not path.is_file()] == []
    assert (
        value("__backup_missing", platform, backup_repository="sftp:host:/path")
        == {
            "debian": ["restic", "openssh-client"],
            "redhat": ["restic", "openssh-clients"],
        }[family]
    )
    dockers = {"docker-ce", "docker-ce-cli", "containerd.io", "docker-buildx-plugin", "docker-compose-plugin"}
    assert set(value("__docker_engine_missing", platform)) == {*dockers, "python3-requests"}


@of_machines
@pytest.mark.parametrize("platform", [p for p in EXPECTED if system(p)["family"] == "debian"], ids=lambda p: p["name"])
def test_apt_finds_the_repositories(platform: dict[str, Any], machine: str) -> None:
    release, architecture = platform["os_release"], MACHINES[machine]
    (docker,) = value("__docker_engine_apt_sources", platform, machine)
    assert docker["content"].splitlines()[1:5] == [
        f"URIs: https://download.docker.com/linux/{release['ID']}",
        f"Suites: {release['VERSION_CODENAME']}",
        "Components: stable",
        f"Architectures: {architecture}",
    ]
    assert value("__docker_engine_key.url", platform) == f"https://download.docker.com/linux/{release['ID']}/gpg"
    (nvidia,) = value("__nvidia_container_toolkit_apt_sources", platform, machine)
    assert f"\nURIs: https://nvidia.github.io/libnvidia-container/stable/deb/{architecture}\n" in nvidia["content"]


@pytest.mark.parametrize("platform", [p for p in EXPECTED if system(p)["family"] == "redhat"], ids=lambda p: p["name"])
def test_dnf_finds_the_repositories(platform: dict[str, Any]) -> None:
    assert value("__docker_engine_key.url", platform) == "https://download.docker.com/linux/rhel/gpg"
    assert value("__docker_engine_repository_file", platform) == "/etc/yum.repos.d/docker.repo"
    urls = []
    for role in ("docker_engine", "nvidia_container_toolkit"):
        tasks = yaml.safe_load((ROOT / f"roles/{role}/tasks/install_redhat.yml").read_text(encoding="utf-8"))
        (known,) = [
            task["ansible.builtin.yum_repository"] for task in tasks if "ansible.builtin.yum_repository" in task
        ]
        urls.append(evaluate(known["baseurl"], variables_of([role])))
    # dnf itself knows the release, without its minor part, and the architecture by uname's name.
    assert urls == [
        "https://download.docker.com/linux/rhel/$releasever/$basearch/stable",
        "https://nvidia.github.io/libnvidia-container/stable/rpm/$basearch",
    ]


def test_nothing_but_the_facts_names_an_architecture_for_itself() -> None:
    files = [path for directory in ("playbooks", "roles") for path in (ROOT / directory).rglob("*.yml")]
    named = [path for path in files if re.search(r"x86_64|aarch64", path.read_text(encoding="utf-8"))]
    assert named == []


@pytest.mark.parametrize("role", ROLES)
def test_a_role_tells_galaxy_the_same(role: str) -> None:
    meta = yaml.safe_load((ROOT / "roles" / role / "meta/main.yml").read_text(encoding="utf-8"))["galaxy_info"]
    told = {(platform["name"], version) for platform in meta["platforms"] for version in platform["versions"]}
    assert told == {
        (release["ID"].capitalize(), release["VERSION_CODENAME"])
        if "VERSION_CODENAME" in release
        else ("EL", release["VERSION_ID"].partition(".")[0])
        for release in (platform["os_release"] for platform in EXPECTED)
    }

"""The roles' refusals let through what is right, each with a real boolean, as conditions must have."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.community.docker.plugins.module_utils.util import compare_generic

ROOT = Path(__file__).resolve().parents[3]
ROLES = sorted(role.name for role in (ROOT / "roles").iterdir())

GPUS = ["GPU-00000000-0000-4000-8000-000000000000", "GPU-00000000-0000-4000-8000-000000000001"]
BUNDLE = "/srv/endolab/apps/endoscopy/model/endoscopic_tool_segmentation/models/model.pt"
NOT_THERE: dict[str, Any] = {"exists": False, "images": {}}
THERE: dict[str, Any] = {"exists": True, "images": {}}
HOST: dict[str, Any] = {
    "os": {"id": "debian", "version_id": "13", "codename": "trixie", "family": "debian"},
    "architecture": "amd64",
    "memory_bytes": 64 * 2**30,
    "addresses": ["192.0.2.10"],
    "systemd": True,
    "programs": ["nft", "nvidia-smi", "restic", "ssh"],
    "firewalls": [],
    "units": {},
    "snap_docker": False,
    "docker": {
        "binary": None,
        "package": None,
        "conflicts": [],
        "running": False,
        "manageable": False,
        "version": None,
        "compose": False,
        "data_root": "/var/lib/docker",
        "left_behind": None,
        "free_bytes": 100 * 2**30,
        "containers": {},
        "images": {},
        "daemon_json": {"exists": False, "valid": True, "error": None, "data_root": None, "holds": {}},
    },
    "nvidia": {
        "driver_version": "580.95.05",
        "library_versions": ["580.95.05"],
        "gpus": GPUS,
        "toolkit_version": None,
        "toolkit_held": False,
        "cdi_devices": [],
    },
    "paths": {
        "/etc/endolab": NOT_THERE,
        "/etc/endolab/cvat/compose.yml": NOT_THERE,
        "/srv/endolab/datasets": THERE,
        **{
            f"/srv/endolab/datasets/{name}images": {"exists": True, "images": {"png": 24}}
            for name in ("", "tools/", "polyps/")
        },
        BUNDLE: NOT_THERE,
    },
    "packages": {},
    "files": {},
    "apt_sources": [],
    "signing_keys": {},
    "texts": {"/var/lib/endolab/cvat_version": "", "/etc/endolab/monailabel/image": ""},
    "ports": {str(port): [] for port in (80, 443, 8000, 8001, 8080, 8081, 8082, 8083)},
}
KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n-----END OPENSSH PRIVATE KEY-----\n"
CREDENTIALS = {
    "cvat_admin_username": "admin",
    "cvat_admin_password": 'any\npassword "it\'s" $HOME',
    "cvat_service_username": "monailabel",
    "cvat_service_password": "\nß",
    "cvat_postgres_password": "letters1",
    "cvat_redis_password": "letters2",
    "cvat_kvrocks_password": "letters3",
    "cvat_clickhouse_password": "letters4",
}

LISTENING = {
    "80": [{"address": "::", "process": "caddy", "container": "endolab-edge"}],
    "443": [{"address": "::", "process": "caddy", "container": "endolab-edge"}],
    "8080": [{"address": "127.0.0.1", "process": "caddy", "container": "endolab-edge"}],
    "8081": [{"address": "127.0.0.1", "process": "docker-proxy", "container": "cvat-server-1"}],
    "8082": [{"address": "127.0.0.1", "process": "dockerd", "container": "cvat-ui-1"}],
    "8000": [{"address": "127.0.0.1", "process": "python3", "container": "monailabel"}],
}
RUNNING = {
    **HOST,
    "docker": {
        **HOST["docker"],
        "binary": "/usr/bin/dockerd",
        "package": "docker-ce",
        "conflicts": ["runc"],
        "running": True,
        "manageable": True,
        "version": "28.5.2",
        "free_bytes": 2**30,
        "containers": {"monailabel": "projectmonai/monailabel:latest"},
    },
    "paths": {**HOST["paths"], "/etc/endolab": THERE},
    "ports": {**HOST["ports"], **LISTENING},
}


CANARY = "/etc/endolab/monailabel/canary.py"
DEPLOYED = {
    **RUNNING,
    "paths": {**RUNNING["paths"], BUNDLE: THERE, CANARY: THERE},
}


def of_list(path: Path) -> list[dict[str, Any]]:
    """The tasks of a file."""
    return list(yaml.safe_load(path.read_text(encoding="utf-8")))


@functools.cache
def of_file(path: Path) -> dict[str, Any]:
    """The variables of a file, read once; nobody may change them."""
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")))


def variables_of(roles: list[str]) -> dict[str, Any]:
    """The variables that files give these roles."""
    files = [
        *(ROOT / "playbooks/group_vars/all").glob("*.yml"),
        *(ROOT / "roles" / role / part / "main.yml" for role in roles for part in ("defaults", "vars")),
    ]
    return {name: value for file in files for name, value in of_file(file).items()}


def seen(name: str, **variables: Any) -> Any:
    """A variable of the roles, with these given."""
    known = trusted({**variables_of(ROLES), **CREDENTIALS, **variables})
    return Templar(loader=DataLoader(), variables=known).template(trusted(f"{{{{ {name} }}}}"))


def refusals(host: dict[str, Any], tables: list[str] | None = None, **settings: Any) -> list[str]:
    """The names of the checks that refuse this host with these settings: those of all roles, or of these tables."""
    variables: dict[str, Any] = {
        "inventory_hostname": "gpu1",
        "groups": {"cvat": ["gpu1"], "edge": ["gpu1"], "monailabel": ["gpu1"]},
        "group_names": ["cvat", "edge", "monailabel"],
        "hostvars": {"gpu1": {}},
        "ansible_facts": {"endolab_host": host},
        "__backup_settings": "{{ __backup_host_settings }}",
    }
    variables = trusted({**variables, **variables_of(ROLES), **CREDENTIALS, **settings})
    templar = Templar(loader=DataLoader(), variables=variables)
    found = []
    # As playbooks/tasks/host.yml does.
    variables["__monailabel_places"] = templar.template(variables["__monailabel_laid_out"])
    templar = Templar(loader=DataLoader(), variables=variables)
    # Those of MONAI Label's count for each instance.
    places = list(variables["__monailabel_places"].values())
    of_instances = ("__monailabel_checks", "__monailabel_canary_checks")
    chosen = [
        (table, place)
        for table in tables or ["__monailabel_host_checks", *(f"__{role}_checks" for role in ROLES)]
        for place in (places if table in of_instances else places[:1])
    ]
    for table, place in chosen:
        templar = Templar(loader=DataLoader(), variables={**variables, "__monailabel_chosen": place})
        for check in variables[table]:
            held = templar.template(check["that"])
            assert isinstance(held, bool), (table, check["name"], held)
            # Ansible evaluates the sentence of a check that holds, too.
            assert isinstance(templar.template(check["otherwise"]), str)
            if not held:
                found.append(check["name"])
    return found


def evaluate(template: str, variables: dict[str, Any]) -> Any:
    """What a template comes to with these variables, as in the project's files."""
    return Templar(loader=DataLoader(), variables=trusted(variables)).template(trusted(template))


def trusted(value: Any) -> Any:
    """The value with every text in it marked as a template, as those of the project's files are."""
    if isinstance(value, dict):
        return {key: trusted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [trusted(item) for item in value]
    return trust_as_template(value) if isinstance(value, str) else value


TOOLS, POLYPS = {"name": "tools", "port": 8000, "gpus": [0]}, {"name": "polyps", "port": 8001, "gpus": [GPUS[1]]}
TWO = [TOOLS, POLYPS]
SHARING = [TOOLS, {**POLYPS, "gpus": [GPUS[0]]}]
INSTANCES = "the instances have names"


@pytest.mark.parametrize(
    ("entries", "refused"),
    [
        (SHARING, "no two instances want the same GPU"),
        ([TOOLS, {**POLYPS, "gpus": "all"}], "no two instances want the same GPU"),
        ([TOOLS, {**POLYPS, "name": "tools"}], INSTANCES),
        ([{**TOOLS, "name": "Tools"}], INSTANCES),
        ([{**TOOLS, "name": "canary"}], INSTANCES),
        ([{**TOOLS, "name": "image"}], INSTANCES),
        ([{**TOOLS, "name": "../etc"}], INSTANCES),
        ([TOOLS, {**POLYPS, "datasets_dir": "/srv/endolab/datasets/tools"}], "no two instances share a directory"),
        ([TOOLS, {**POLYPS, "apps_dir": "/srv/endolab/apps/tools"}], "no two instances share a directory"),
        ([TOOLS, {**POLYPS, "apps_dir": "/srv/endolab/datasets/tools/apps/"}], "frames and apps lie apart"),
        ([TOOLS, {**POLYPS, "datasets_dir": "/srv/endolab/apps/polyps"}], "frames and apps lie apart"),
        ([TOOLS, {**POLYPS, "apps_dir": "/srv/endolab"}], "frames and apps lie apart"),
        ([TOOLS, {**POLYPS, "cvat_username": "polyps"}], "an account of an instance's own has a password of its own"),
        ([TOOLS, {**POLYPS, "cvat_password": "word"}], "an account of an instance's own has a password of its own"),
        (
            [
                {**TOOLS, "cvat_username": "a", "cvat_password": "b"},
                {**POLYPS, "cvat_username": "a", "cvat_password": "c"},
            ],
            "an account has one password",
        ),
        ([TOOLS, {**POLYPS, "gpus": [2]}], "the GPUs are there"),
        ([TOOLS, {**POLYPS, "gpus": 1}], "gpus is all, none or a list"),
        ([TOOLS, {**POLYPS, "port": 80}], "the port is one for a service"),
        ([TOOLS, {**POLYPS, "conf": {"epistemic_top_k": -1}}], "epistemic_top_k makes sense"),
        ([TOOLS, {**POLYPS, "datasets_dir": "polyps"}], "the directories on the host can be mounted"),
    ],
    ids=str,
)
def test_instances_that_cannot_be_are_refused(entries: list[dict[str, Any]], refused: str) -> None:
    assert refused in refusals(HOST, monailabel_instances=entries)


def test_a_teardown_takes_away_what_endolab_has_put_below_apps() -> None:
    def made(*entries: dict[str, Any]) -> list[str]:
        return list(seen("__monailabel_made", monailabel_instances=list(entries)))

    assert made() == ["/srv/endolab/apps/endoscopy"]
    own = {**POLYPS, "app": "apps/ours", "apps_dir": "/data/apps", "bundle_name": "ours"}
    assert made(TOOLS, own) == ["/srv/endolab/apps/tools/endoscopy", "/data/apps/ours/model"]


def test_secrets_of_analytics_go_with_them() -> None:
    def leftovers(**settings: Any) -> list[str]:
        secret = "/etc/endolab/cvat/secrets/backend/clickhouse_password"
        facts = {"endolab_host": {**HOST, "paths": {**HOST["paths"], secret: THERE}}}
        return list(seen("__cvat_leftovers", ansible_facts=facts, **settings))

    assert leftovers() == ["/etc/endolab/cvat/secrets/backend/clickhouse_password"]
    assert leftovers(cvat_analytics=True) == []


def test_a_host_with_a_cvat_of_its_own_asks_no_other() -> None:
    people = {"gpu1": {"ann": 3}, "gpu2": {"ben": 7}, "gpu3": {}}
    lab: dict[str, Any] = {
        "groups": {"cvat": ["gpu1", "gpu2"], "edge": ["gpu1", "gpu2"], "monailabel": ["gpu1", "gpu2", "gpu3"]},
        "hostvars": {host: {"__cvat_annotators_present": each} for host, each in people.items()},
    }

    def of_each(name: str) -> list[Any]:
        return [seen(name, inventory_hostname=host, **lab) for host in people]

    assert of_each("monailabel_annotators") == [{"ann": 3}, {"ben": 7}, {"ann": 3}]
    assert of_each("__hop_edge_url") == ["https://gpu1", "https://gpu2", "https://gpu1"]


def test_a_program_at_the_port_of_analytics_is_in_their_way_alone() -> None:
    taken = [{"address": "127.0.0.1", "process": "influxd", "container": None}]
    host = {**HOST, "ports": {**HOST["ports"], "8083": taken}}
    assert refusals(host) == []
    assert refusals(host, cvat_analytics=True) == ["the ports are free"]


def test_frames_that_a_restore_has_set_aside_are_not_missed() -> None:
    paths = {**HOST["paths"], "/srv/endolab/datasets/images": {"exists": True, "images": {}}}
    assert refusals({**HOST, "paths": paths}) == ["the frames are there"]
    assert refusals({**HOST, "paths": {**paths, "/var/lib/endolab/backup/restore.json": THERE}}) == []


def test_an_upgrade_that_was_broken_off_is_ended_first() -> None:
    tables = ["__upgrade_verification"]
    host = {**HOST, "paths": {**HOST["paths"], "/var/lib/endolab/upgrade/notes.json": THERE}}
    assert refusals(host, tables) == ["no upgrade was broken off"]
    assert refusals(host, tables, __upgrading=True) == []


def test_an_instances_account_without_a_password_is_none() -> None:
    def accounts(**entry: Any) -> list[str]:
        variables: dict[str, Any] = {
            "inventory_hostname": "gpu1",
            "groups": {"cvat": ["gpu1"], "edge": ["gpu1"], "monailabel": ["gpu1"]},
            "hostvars": {"gpu1": {"monailabel_instances": [{**POLYPS, "cvat_username": "polyps", **entry}]}},
        }
        return [each["username"] for each in seen("__cvat_accounts", **variables)]

    assert accounts(cvat_password="word") == ["admin", "monailabel", "polyps"]
    assert accounts() == accounts(cvat_password="") == accounts(cvat_password=None) == ["admin", "monailabel"]


def test_an_instance_takes_no_port_from_another_that_stays() -> None:
    taken = [{"address": "127.0.0.1", "process": "python3", "container": "monailabel-tools"}]
    host = {**HOST, "ports": {**HOST["ports"], "8001": taken}}
    assert refusals(host, monailabel_instances=[TOOLS, POLYPS]) == ["the port is free"]
    gone = {**host, "docker": {**HOST["docker"], "containers": {"monailabel-tools": "image"}}}
    assert refusals(gone, monailabel_instances=[POLYPS]) == []


@pytest.mark.parametrize("host", [HOST, RUNNING], ids=["bare", "running"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"monailabel_gpus": "none"},
        {"monailabel_gpus": [0]},
        {"monailabel_gpus": [0, "1"]},
        {"monailabel_gpus": [GPUS[1]]},
        {"monailabel_gpus": ["MIG-1", "0:1"]},
        {"monailabel_instances": TWO},
        {"monailabel_instances": SHARING, "monailabel_gpus_shared": True},
        {"monailabel_conf": {"epistemic_top_k": 0, "cvat_segment_size": 0, "models": ["deepedit"]}},
        {"monailabel_conf": '{"epistemic_top_k": 5}'},
        {"edge_http_port": "8080", "monailabel_port": "8000", "cvat_disk_usage_max": "90"},
        {"firewall_ssh_from": ["10.0.0.0/8", "2001:db8::/32", "192.0.2.7"], "firewall_patience": "30"},
        {
            "firewall_open": [{"port": 5000}, {"port": 53, "protocol": "udp", "from": ["fe80::1"]}],
            "firewall_enabled": False,
        },
        {"edge_name": "10.1.2.3", "edge_https_port": "443"},
        {"edge_name": "cvat.example.org", "edge_certificate": "acme", "edge_acme_email": "it@example.org"},
        {"edge_monailabel_organization": "endoscopy", "edge_monailabel": False},
        {"edge_metrics_token": "0123456789abcdef0123456789ABCDEF=="},
        {"cvat_analytics": True},
        {"cvat_analytics": "true"},
        {"cvat_clickhouse_password": ""},
        {"docker_engine_free_gib": "1"},
        {"backup_repository": "/mnt/backup/endolab", "backup_password": "any password"},
        {"backup_repository": "sftp:backup@nas:/lab", "backup_password": 'pa\nss"wo$rd', "backup_keep_weekly": "0"},
        {
            "backup_repository": "sftp://backup@nas:2222//lab",
            "backup_password": "any password",
            "backup_ssh_key": KEY,
            "backup_ssh_known_hosts": "# nas:2222 SSH-2.0\n[nas]:2222 ssh-rsa AAAA\n\n[nas]:2222 ssh-dss AAAA word\n",
        },
        {
            "backup_repository": "s3:https://nas:9000/lab",
            "backup_password": "any password",
            "backup_environment": {"AWS_ACCESS_KEY_ID": "x"},
            "restore_from": "latest",
        },
    ],
    ids=str,
)
def test_what_is_right_is_let_through(host: dict[str, Any], settings: dict[str, Any]) -> None:
    assert refusals(host, **settings) == []


@pytest.mark.parametrize(
    ("settings", "refused"),
    [
        ({"backup_repository": "somewhere"}, "restic knows the repository"),
        ({"backup_repository": "/mnt/my backup"}, "restic knows the repository"),
        ({"backup_repository": "rest:https://me:word@nas/"}, "the repository's name holds no password"),
        ({"backup_repository": "/srv/endolab/apps/backup"}, "the repository is not in what it keeps"),
        ({"backup_repository": "/var/lib/docker"}, "the repository is not in what it keeps"),
        ({"backup_password": ""}, "the archives have a password"),
        ({"backup_password": "short"}, "the archives have a password"),
        ({"backup_password": 1234567890}, "the archives have a password"),
        ({"backup_environment": {"A B": "x"}}, "the repository's environment is one"),
        ({"backup_environment": {"AB": 1}}, "the repository's environment is one"),
        ({"backup_keep_daily": 0, "backup_keep_weekly": 0, "backup_keep_monthly": 0}, "some archives stay"),
        ({"backup_keep_daily": -1}, "some archives stay"),
        (
            {"backup_ssh_key": "ssh-ed25519 AAAA me@here", "backup_ssh_known_hosts": "nas ssh-rsa AAAA"},
            "the key is one",
        ),
        ({"backup_ssh_key": KEY}, "the host that the key logs in to is known"),
        ({"backup_ssh_key": KEY, "backup_ssh_known_hosts": "nas"}, "the host that the key logs in to is known"),
        ({"backup_ssh_key": KEY, "backup_ssh_known_hosts": "# nas SSH"}, "the host that the key logs in to is known"),
        ({"backup_schedule": ""}, "the schedule is one"),
        ({"backup_schedule": "daily; reboot"}, "the schedule is one"),
        ({"backup_lab": "endoscopy, building 2"}, "the lab's name is one"),
        ({"restore_from": "yesterday"}, "the archive is named"),
        ({"restore_from": "2026-11-27"}, "the archive is named"),
    ],
    ids=str,
)
def test_archives_that_could_not_be_made_are_refused(settings: dict[str, Any], refused: str) -> None:
    right = {"backup_repository": "/mnt/backup", "backup_password": "any password"}
    assert refusals(HOST, **{**right, **settings}) == [refused]


def test_an_archive_comes_from_a_repository() -> None:
    assert refusals(HOST, restore_from="latest") == ["an archive comes from a repository"]


@pytest.mark.parametrize("name", ["latest", "0123abcd", "2026-11-27T02:30:00", "2026-11-27 02:30", ""])
def test_an_archive_is_named_by_its_id_or_a_time(name: str) -> None:
    right: dict[str, Any] = {"backup_repository": "/mnt/backup", "backup_password": "any password"}
    assert refusals(HOST, **right, restore_from=name) == []


def test_a_step_that_failed_leaves_the_word_to_its_fault() -> None:
    """Ansible evaluates the sentence of success in any case."""
    variables = yaml.safe_load((ROOT / "roles/backup/vars/main.yml").read_text(encoding="utf-8"))
    step = yaml.safe_load((ROOT / "roles/backup/tasks/run_step.yml").read_text(encoding="utf-8"))[1]
    failed = {"rc": 1, "stdout": "", "stderr": "the disk is full."}
    templar = Templar(loader=DataLoader(), variables=trusted({**variables, "__backup_followed": failed}))
    assert isinstance(templar.template(trusted(step["ansible.builtin.assert"]["success_msg"])), str)


@pytest.mark.parametrize(
    ("cvats", "own", "together"),
    [
        ("2026-11-27T02:30:00", "2026-11-27T03:30:00", True),
        ("2026-11-27T02:30:00", "2026-11-27T02:30:00", True),
        ("2026-11-27T02:30:00", "2026-11-27T02:29:59", False),
        ("2026-11-26T02:30:00", "2026-11-27T03:30:00", False),
        (None, "2026-11-27T03:30:00", True),
        ("2026-11-27T02:30:00", None, True),
    ],
)
def test_labels_come_back_with_the_database_of_their_night(cvats: str | None, own: str | None, together: bool) -> None:
    """A host that brings nothing back has no say."""

    def checked(at: str | None) -> dict[str, Any]:
        return {"skipped": True} if at is None else {"stdout": json.dumps({"at": f"{at}+00:00"})}

    variables = {"inventory_hostname": "gpu1", "groups": {"cvat": ["front"]}}
    variables["hostvars"] = {"front": {"__backup_checked": checked(cvats)}}
    variables |= {**variables_of(["backup"]), "__backup_checked": checked(own)}
    templar = Templar(loader=DataLoader(), variables=trusted(variables))
    assert templar.template(trust_as_template("{{ __backup_belong_together }}")) is together


@pytest.mark.parametrize(
    ("system", "version", "refused"),
    [("ubuntu", "24.04", False), ("ubuntu", "20.04", True), ("rocky", "9.6", False), ("linuxmint", "22", True),
     ("debian", "", True), ("rhel", "8.10", True), ("almalinux", "10.1", False)],
)  # fmt: skip
def test_unknown_systems_are_refused(system: str, version: str, refused: bool) -> None:
    host = {**HOST, "os": {**HOST["os"], "id": system, "version_id": version}}
    assert ("the operating system is supported" in refusals(host)) is refused


@pytest.mark.parametrize("password", [12345678, None, ""])
@pytest.mark.parametrize("name", [name for name in CREDENTIALS if name.endswith("password")])
def test_a_password_that_is_no_text_is_refused(name: str, password: Any) -> None:
    found = refusals(HOST, **{name: password, "cvat_analytics": True})
    assert {"every password is a text", "no password is empty"} & set(found)


@pytest.mark.parametrize("token", ["short", "with a space in it and long enough", "x" * 40 + "\n", 'x" ' * 20])
def test_a_token_that_is_none_is_refused(token: str) -> None:
    assert refusals(HOST, edge_metrics_token=token) == ["the numbers' token is one"]


def test_a_port_of_somebody_elses_container_is_refused() -> None:
    foreign = {"address": "0.0.0.0", "process": "docker-proxy", "container": "cadvisor"}
    host = {**RUNNING, "ports": {port: [foreign] for port in HOST["ports"]}}
    assert refusals(host).count("the port is free") == 1
    assert refusals(host).count("the ports are free") == 2


@pytest.mark.parametrize(
    ("there", "wanted", "upgrading", "refused"),
    [
        ("", "2.73.0", False, False),
        ("2.73.0", "2.73.0", False, False),
        ("2.72.0", "2.73.0", False, True),
        ("2.72.0", "2.73.0", True, False),
        ("2.9.0", "2.73.0", True, False),
        ("2.73.0", "2.72.0", False, True),
        ("2.73.0", "2.72.0", True, True),
    ],
)
def test_cvats_database_is_migrated_by_an_upgrade_alone_and_never_back(
    there: str, wanted: str, upgrading: bool, refused: bool
) -> None:
    host = {**RUNNING, "texts": {"/var/lib/endolab/cvat_version": there}}
    found = refusals(host, endolab_cvat_version=wanted, __upgrading=upgrading)
    assert ("the database is of this version" in found) is refused


def test_a_podman_or_kubernetes_host_is_refused() -> None:
    host = {**HOST, "docker": {**HOST["docker"], "conflicts": ["containerd"]}}
    assert refusals(host) == ["nothing else runs on what Docker would replace"]


@pytest.mark.parametrize(
    ("libraries", "refused"), [([], False), (["550.163.01", "580.95.05"], False), (["580.105.08"], True)]
)
def test_libraries_of_another_driver_are_refused(libraries: list[str], refused: bool) -> None:
    host = {**HOST, "nvidia": {**HOST["nvidia"], "library_versions": libraries}}
    found = refusals(host, ["__nvidia_container_toolkit_checks"])
    assert ("the driver's libraries are its own" in found) is refused


def apt_sources(file: str, uri: str, signed_by: str) -> dict[str, Any]:
    """A host on which somebody else has named a repository."""
    named = {"file": f"/etc/apt/sources.list.d/{file}", "uri": uri, "signed_by": signed_by}
    return {**HOST, "apt_sources": [named]}


DOCKERS, NVIDIAS = (
    "https://download.docker.com/linux/debian",
    "https://nvidia.github.io/libnvidia-container/stable/deb/",
)


@pytest.mark.parametrize(
    ("host", "refused"),
    [
        (
            apt_sources("docker.list", DOCKERS, "/etc/apt/keyrings/docker.gpg"),
            ["apt can read its sources with Docker's"],
        ),
        (apt_sources("docker.list", DOCKERS, "/etc/apt/keyrings/docker.asc"), []),
        (apt_sources("docker.sources", DOCKERS, "/etc/apt/keyrings/docker.gpg"), []),
        (apt_sources("nvidia.list", f"{NVIDIAS}$(ARCH)", "/n.gpg"), ["apt can read its sources with NVIDIA's"]),
        (apt_sources("debian.sources", "http://deb.debian.org/debian", ""), []),
    ],
    ids=["another key", "the same key", "Endolab's own file", "NVIDIA's", "others"],
)
def test_a_repository_that_apt_knows_with_another_key_is_refused(host: dict[str, Any], refused: list[str]) -> None:
    assert refusals(host) == refused


def test_a_data_directory_that_would_be_left_behind_is_refused() -> None:
    host = {**RUNNING, "docker": {**RUNNING["docker"], "left_behind": "/var/lib/docker"}}
    assert refusals(host) == ["the engine's data stay with it"]
    assert refusals({**host, "docker": {**host["docker"], "containers": {}}}) == []


def test_a_driver_without_its_program_is_refused() -> None:
    assert refusals({**HOST, "programs": ["nft"]}) == ["the driver's own program is there"]
    assert refusals({**HOST, "programs": ["nft"]}, monailabel_gpus="none", __nvidia_container_toolkit_checks=[]) == []


@pytest.mark.parametrize(("version", "right"), [("1.18.0-1", True), ("1.19.0-1", False), ("1.19.1-1", True)])
def test_a_toolkit_that_keeps_docker_from_starting_is_refused(version: str, right: bool) -> None:
    assert (refusals(HOST, nvidia_container_toolkit_version=version) == []) is right


@pytest.mark.parametrize(
    ("network", "right"),
    [
        ("10.0.0.0/8", True),
        ("192.168.255.199", True),
        ("2001:db8::/32", True),
        ("300.1.2.3", False),
        ("1.2.3", False),
        ("1.2.3.4.", False),
        ("10.0.0.0/33", False),
        ("lab.example.org", False),
    ],
)
def test_a_network_that_nft_would_not_know_is_refused(network: str, right: bool) -> None:
    assert refusals(HOST, firewall_ssh_from=[network]) == ([] if right else ["networks are networks"])


@pytest.mark.parametrize(
    ("looked", "closed"),
    [
        ({"changed": False}, True),
        ({"changed": True}, False),
        ({"changed": False, "msg": "`nft --check` failed: no table"}, False),
        (None, False),
    ],
    ids=["as it should be", "other rules", "not to be asked", "not asked"],
)
def test_a_firewall_that_could_not_be_asked_is_not_closed(looked: dict[str, Any] | None, closed: bool) -> None:
    known = {} if looked is None else {"__firewall_looked": looked}
    assert seen("__firewall_holds", **known) is closed


@pytest.mark.parametrize(
    ("gpus", "devices", "named"),
    [
        ("all", ["nvidia.com/gpu=0", "nvidia.com/gpu=all"], True),
        ("all", [], False),
        (["0:1", 0], ["nvidia.com/gpu=0", "nvidia.com/gpu=all"], False),
        (["0:1"], ["nvidia.com/gpu=0:1"], True),
    ],
)
def test_a_specification_from_before_a_gpu_was_parted_is_made_anew(gpus: Any, devices: list[str], named: bool) -> None:
    host = {**HOST, "nvidia": {**HOST["nvidia"], "cdi_devices": devices}}
    known = {"groups": {"monailabel": ["gpu1"]}, "inventory_hostname": "gpu1", "ansible_facts": {"endolab_host": host}}
    assert seen("__nvidia_container_toolkit_named", monailabel_gpus=gpus, **known) is named


def test_a_container_that_is_to_have_no_gpu_is_made_anew() -> None:
    tasks = of_list(ROOT / "roles/monailabel/tasks/server.yml")
    options = tasks[0]["block"][0]["community.docker.docker_container"]
    method = options["comparisons"]["device_requests"]
    held = [{"Driver": "cdi", "Count": 0, "DeviceIDs": ["nvidia.com/gpu=all"]}]
    assert not compare_generic([], held, method, "set(dict)")
    assert compare_generic(held, held, method, "set(dict)")


def test_an_older_engine_is_refused_with_a_gpu() -> None:
    host = {**RUNNING, "docker": {**RUNNING["docker"], "version": "26.1.5"}}
    assert refusals(host) == ["the engine starts GPU containers again"]


@pytest.mark.parametrize(
    ("host", "settings", "refused"),
    [
        (DEPLOYED, {}, []),
        (DEPLOYED, {"monailabel_conf": {"models": ["inbody", "tooltracking"]}, "verify_loop_timeout": "60"}, []),
        (DEPLOYED, {"monailabel_conf": {"models": ["all"]}}, []),
        (DEPLOYED, {"monailabel_app_source": "upstream"}, ["the app is Endolab's"]),
        (DEPLOYED, {"monailabel_conf": {"models": ["deepedit"]}}, ["it has a model that it can train"]),
        (DEPLOYED, {"verify_loop_timeout": "soon"}, ["it has time"]),
        ({**DEPLOYED, "docker": HOST["docker"]}, {}, ["the lab is there"]),
        ({**DEPLOYED, "paths": {**DEPLOYED["paths"], CANARY: NOT_THERE}}, {}, ["the lab is there"]),
    ],
    ids=["as it comes", "more models", "all models", "upstream", "deepedit", "soon", "no Docker", "older"],
)
def test_a_canary_goes_round_only_where_it_can(
    host: dict[str, Any], settings: dict[str, Any], refused: list[str]
) -> None:
    assert refusals(host, ["__monailabel_canary_checks"], **settings) == refused

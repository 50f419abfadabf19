"""Wrong input is refused before the host is touched, with a sentence that says how to mend it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.vault import VaultLib, VaultSecret
from docker.models.containers import Container

ROOT = Path(__file__).resolve().parents[2]
Refused = Callable[..., str]

SUM = "sha256:" + 64 * "0"

# Of each batch all sentences are said at once, because a table of checks shows all that is wrong.
BATCHES: dict[str, list[tuple[dict[str, Any], str]]] = {
    "conf keys of MONAI Label": [
        ({"monailabel_conf": {"epistemic_top_k": -3}}, "epistemic_top_k is -3. Write how many frames go into a task"),
        ({"monailabel_conf": {"epistemic_max_samples": -1}}, "how many frames are scored in one round, or 0 for all."),
        ({"monailabel_conf": {"epistemic_simulation_size": 1}}, "Passes can disagree when there are 2 or more"),
        ({"monailabel_conf": {"auto_finetune_check_interval": 0}}, "Write seconds, 1 or more; 60 is usual."),
        ({"monailabel_conf": {"cvat_image_quality": 500}}, "Write a number from 1 to 100; 70 is usual."),
        ({"monailabel_conf": {"cvat_segment_size": -1}}, "Write how many frames are one job, or 0"),
        ({"monailabel_conf": {"cvat_project": ""}}, "Write a name, or leave the key out for the usual one."),
        ({"monailabel_conf": {"cvat_normalize_label": False}}, "so labels are colours, which no model trains on"),
        ({"monailabel_conf": {"train_max_epochs": 0}}, "train_max_epochs is 0. Write epochs, 1 or more; 50 is usual."),
        ({"monailabel_conf": {"train_val_split": 1.0}}, "train_val_split is 1.0. Write a share between 0 and 1"),
        ({"monailabel_conf": {"train_keep": -1}}, "monailabel_conf.train_keep is negative. Write 0 or more."),
    ],
    "how MONAI Label is reached": [
        ({"monailabel_cvat_url": "http://127.0.0.1:8080/api"}, "Write scheme, name and port only, for example http://"),
        ({"monailabel_cvat_username": "lab:1"}, "must not be empty or contain a colon"),
        ({"monailabel_cvat_password": "密码"}, "a character beyond Latin-1"),
        ({"monailabel_port": 70000}, "monailabel_port is 70000. Write a number from 1024 to 65535"),
    ],
    "what MONAI Label works with": [
        ({"monailabel_datasets_dir": "/srv/nowhere"}, "/srv/nowhere/images on endolab-bare holds no frames"),
        ({"monailabel_gpus": [0, 7]}, "monailabel_gpus names 7, and endolab-bare has 0, GPU-00000000-"),
        (
            {"monailabel_app_source": "upstream", "monailabel_conf": {"train_keep": 1}},
            "names train_keep, which only Endolab's endoscopy app reads",
        ),
        (
            {"monailabel_bundle": "/nowhere.zip", "monailabel_bundle_checksum": SUM},
            "which is neither a URL nor a file on the machine you run",
        ),
    ],
    "sums and GPUs": [
        ({"monailabel_bundle_checksum": "md5:1"}, "Write sha256: and 64 hexadecimal digits"),
        ({"monailabel_gpus": ["GPU-1"]}, "`nvidia-smi -L` on the host lists them"),
    ],
    "no GPUs at all": [({"monailabel_gpus": "two"}, 'monailabel_gpus is \\"two\\". Write all, none, or a list')],
    "an app elsewhere": [({"monailabel_app": "apps/../endoscopy"}, "Write apps/NAME")],
    "studies elsewhere": [
        ({"monailabel_studies": "images"}, "datasets or a directory below it such as datasets/images")
    ],
    "no whole path": [({"monailabel_datasets_dir": "~/datasets"}, "Write whole paths from / on, without a colon")],
    "no key of conf": [
        ({"monailabel_conf": {"epistemic_topk": 5}}, "epistemic_topk. Supported parameters include: auto_finetune"),
    ],
    "no conf": [({"monailabel_conf": "top_k"}, "argument 'monailabel_conf' is of type")],
    "another type": [
        ({"monailabel_conf": {"epistemic_top_k": "ten"}}, "argument 'epistemic_top_k' is of type"),
        ({"edge_http_port": "http"}, "argument 'edge_http_port' is of type"),
        ({"cvat_disk_usage_max": "most"}, "argument 'cvat_disk_usage_max' is of type"),
    ],
    "no choice": [
        ({"monailabel_app_source": "ours"}, "value of monailabel_app_source must be one of: endolab, upstream"),
        ({"docker_engine_source": "snap"}, "value of docker_engine_source must be one of: docker, distribution"),
    ],
    "no choice of suggestions": [
        ({"monailabel_conf": {"cvat_preannotate": "maybe"}}, "must be one of: auto, always, never")
    ],
    "no model": [
        (
            {"monailabel_conf": {"models": ["tooltraking"]}},
            "must be one or more of: tooltracking, inbody, deepedit, all",
        )
    ],
    "misspelt": [
        ({"endolab_cvat_versions": "2.73.0"}, "endolab_cvat_versions (did you mean endolab_cvat_version?)"),
        ({"monailabel_gpu": "none"}, "monailabel_gpu (did you mean monailabel_gpus?)"),
    ],
    "registry": [
        ({"endolab_registry": "registry:5000"}, "with a slash at its end, for example registry.example.org:5000/.")
    ],
    "no lock of images": [({"endolab_images_lock": "/nowhere.lock"}, "there is no file /nowhere.lock. Have lock.yml")],
    "another file than the lock": [
        ({"endolab_images_lock": "galaxy.yml"}, "it has version, which is no image of the stack; it lacks caddy")
    ],
    "others at work": [
        ({"endolab_lock_wait": -1}, "Write for how many seconds to wait for somebody else who changes a host"),
        ({"endolab_lock_break": "perhaps"}, "Write true to take the hosts from a run that is known to be dead"),
    ],
    "a port taken from MONAI Label": [({"monailabel_port": 3142}, "Port 3142 on endolab-bare is taken by python3")],
    "a port taken from the edge": [
        ({"edge_http_port": 3142}, "Port 3142 or 443 or 80 on endolab-bare is taken by python3")
    ],
    "a port taken from CVAT": [
        ({"cvat_server_port": 3142}, "Port 3142 or 8082 or 8083 on endolab-bare is taken by python3")
    ],
    "one port twice": [({"edge_http_port": 8000}, "monailabel_port are the same: 443, 80, 8000, 8081, 8082, 8000")],
    "the edge": [
        ({"edge_http_port": 81}, "edge_http_port is 81, edge_https_port 443 and edge_redirect_port 80. Write a number"),
        ({"edge_image": "Caddy 2"}, 'edge_image is "Caddy 2", which Docker cannot read as an image\'s name'),
        ({"edge_name": "gpu_1"}, "Write the name by which people reach endolab-bare in a browser"),
        ({"edge_certificate": "acme"}, "An authority vouches for whole names only: write one such as cvat.example.org"),
        ({"edge_acme_directory": "ftp://acme"}, "Write a URL that begins with https://, and a mail address or nothing"),
        ({"edge_request_size": "lots"}, "Write a number with MB or GB behind it; 1GB is usual."),
        ({"edge_metrics_token": "short"}, "`openssl rand -hex 32` makes one."),
        ({"edge_cvat_server": "cvat"}, "Write host:port, for example 127.0.0.1:8081."),
        ({"edge_monailabel_organization": "an organization"}, "Write the short name of an organization in CVAT"),
    ],
    "the firewall": [
        (
            {"firewall_ssh_port": 70000},
            "firewall_ssh_port is 70000, and firewall_open has 8888. Write ports from 1 to 65535.",
        ),
        (
            {"firewall_ssh_from": ["our network"]},
            "our network and 10.0.0.0/33 in firewall_ssh_from, firewall_edge_from, firewall_hop_from or firewall_open",
        ),
        (
            {"firewall_open": [{"port": 8888, "from": ["10.0.0.0/33"]}]},
            "Write for example 10.0.0.0/8, 192.0.2.7 or 2001:db8",
        ),
        ({"firewall_patience": 1}, "firewall_patience is 1. Write seconds, 10 or more; 60 is usual."),
    ],
    "no root certificate": [
        (
            {"edge_name": "cvat.example.org", "edge_certificate": "acme", "edge_acme_root_file": __file__},
            "and no file with a certificate in PEM on the machine you run",
        ),
    ],
    "no certificate": [
        ({"edge_certificate": "file", "edge_certificate_file": "/nowhere.pem"}, "is no file on the machine you run"),
    ],
    "a certificate that is none": [
        (
            {"edge_certificate": "file", "edge_certificate_file": __file__, "edge_certificate_key_file": __file__},
            "cannot be used for endolab-bare: it holds no certificate in PEM",
        ),
    ],
    "CVAT": [
        ({"cvat_images": {"postgres": "-"}}, "cvat_images has no image name for cvat_server and"),
        (
            {"cvat_ui_port": 99},
            "cvat_server_port is 8081, cvat_ui_port 99 and cvat_grafana_port 8083. Write numbers from 1024 to 65535",
        ),
        ({"cvat_disk_usage_max": 120}, "Write a percentage from 1 to 100"),
        ({"cvat_service_username": "admin"}, "MONAI Label needs an account of its own"),
        ({"cvat_redis_password": "a%b"}, "may hold letters and digits only"),
    ],
    "CVAT's administrator": [
        ({"cvat_admin_username": "the admin"}, "1 to 150 letters, digits and @ . + - _."),
        ({"cvat_admin_password": ""}, "cvat_admin_password is empty. Mend it with `ansible-vault edit"),
    ],
    "analytics": [
        ({"cvat_analytics": True, "cvat_clickhouse_password": ""}, "cvat_clickhouse_password is empty. Mend it with")
    ],
    "a password that is a number": [
        ({"cvat_admin_password": 12345678}, "is a number or nothing to YAML, not a text. Put quotes around each")
    ],
    "no room": [({"docker_engine_free_gib": 1000000}, "GiB free and the images need 1000000 GiB. Make room")],
    "another key": [
        ({"docker_engine_key_fingerprint": "0" * 40}, "Nothing was written. If the publisher has changed its key")
    ],
    "another key of NVIDIA's": [
        (
            {"nvidia_container_toolkit_key_fingerprint": "0" * 40},
            "Nothing was written. If the publisher has changed its key",
        )
    ],
    "another kind": [
        ({"firewall_ssh_from": "10.0.0.0/8"}, "firewall_ssh_from must be a list, such as [this, that]"),
        ({"edge_acme_email": None}, "edge_acme_email is empty: give it a value, or leave it out"),
        ({"monailabel_app": ["apps/endoscopy"]}, "monailabel_app must be a text; put it in quotes"),
    ],
    "several lines": [
        (
            {"edge_name": "gpu\n", "edge_acme_email": "a@b\u202e"},
            "edge_acme_email and edge_name and edge_root_file of endolab-bare",
        ),
        ({"monailabel_conf": {"cvat_project": "a\nb"}}, "monailabel_conf of endolab-bare holds a line break"),
    ],
    "a Docker without CDI": [
        ({"docker_engine_source": "distribution"}, "cannot start containers with a GPU by itself after a reboot")
    ],
    "the toolkit": [
        ({"nvidia_container_toolkit_version": "1.20.0"}, "it needs the package revision too, for example 1.20.0-1"),
        (
            {"nvidia_container_toolkit_minimum_driver": "999.1"},
            "999.1 or newer is needed. Upgrade the driver and reboot.",
        ),
    ],
    "an old toolkit": [({"nvidia_container_toolkit_version": "1.17.4-1"}, "Endolab needs 1.18.0 or newer")],
}


# These are refused in ways that other batches show, too.
LONG = {
    *("no GPUs at all", "an app elsewhere", "studies elsewhere", "no whole path", "no conf", "no choice", "no model"),
    *("no choice of suggestions", "a port taken from the edge", "a port taken from CVAT", "no root certificate"),
    *("no certificate", "analytics", "CVAT's administrator", "another key of NVIDIA's", "an old toolkit"),
}


@pytest.mark.parametrize(
    "batch", [pytest.param(each, id=name, marks=[pytest.mark.long] * (name in LONG)) for name, each in BATCHES.items()]
)
def test_wrong_values_are_refused(refused: Refused, batch: list[tuple[dict[str, Any], str]]) -> None:
    together: dict[str, Any] = {}
    for variables, _ in batch:
        assert variables.keys().isdisjoint(together.keys() - {"monailabel_conf"})
        conf = variables.get("monailabel_conf")
        if isinstance(conf, dict):
            variables = {**variables, "monailabel_conf": {**together.get("monailabel_conf", {}), **conf}}
        together |= variables
    said = refused(together)
    assert [sentence for _, sentence in batch if sentence not in said] == []


@contextmanager
def condition(bare: Container, begin: str, end: str) -> Iterator[None]:
    """The host with something wrong on it."""
    assert bare.exec_run(["sh", "-c", begin])[0] == 0
    try:
        yield
    finally:
        assert bare.exec_run(["sh", "-c", end])[0] == 0


CONDITIONS = [
    (
        "sed 's/^VERSION_ID=.*/VERSION_ID=10/' /etc/os-release > /tmp/os-release"
        " && mount --bind /tmp/os-release /usr/lib/os-release",
        "umount /usr/lib/os-release",
        "endolab-bare runs debian 10. Endolab knows almalinux from 9, centos from 9, debian from 11",
    ),
    ("systemctl stop stand-in-nvidia-driver", "systemctl start stand-in-nvidia-driver", "has no NVIDIA driver loaded"),
    (
        "mkdir -p /etc/stand-ins && echo VERSION=470.57.02 > /etc/stand-ins/nvidia-driver.env"
        " && systemctl restart stand-in-nvidia-driver",
        "rm -r /etc/stand-ins && systemctl restart stand-in-nvidia-driver",
        "The NVIDIA driver on endolab-bare is 470.57.02; 525.60.13 or newer is needed.",
    ),
    (
        "mkdir -p /snap/bin && touch /snap/bin/docker",
        "rm -r /snap",
        "comes from snap, where containers cannot get the GPU",
    ),
    (
        "mkdir -p /etc/ufw && echo ENABLED=yes > /etc/ufw/ufw.conf",
        "rm -r /etc/ufw",
        "Set firewall_enabled: false and let yours admit ports 22, 443, 80, or turn it off.",
    ),
    (
        "cp /etc/docker/daemon.json /tmp/kept && echo '{\"a\": 1,}' > /etc/docker/daemon.json",
        "cp /tmp/kept /etc/docker/daemon.json",
        "/etc/docker/daemon.json on endolab-bare is not valid JSON",
    ),
    (
        "cp -r /var/lib/dpkg /tmp/dpkg && mount --bind /tmp/dpkg /var/lib/dpkg"
        " && mkdir -p /tmp/docker.io/DEBIAN && printf 'Package: docker.io\nVersion: 26\nArchitecture: all\n"
        "Maintainer: test\nDescription: test\n' > /tmp/docker.io/DEBIAN/control"
        " && dpkg-deb --build /tmp/docker.io && dpkg --install /tmp/docker.io.deb",
        "umount /var/lib/dpkg",
        "Set docker_engine_source: distribution in the inventory, or remove docker.io first.",
    ),
    (
        "mv /srv/endolab/datasets/images /tmp/images && mkdir /srv/endolab/datasets/images",
        "rmdir /srv/endolab/datasets/images && mv /tmp/images /srv/endolab/datasets/images",
        "*.jpeg and subdirectories are not read by MONAI Label",
    ),
]


@pytest.mark.parametrize(("begin", "end", "sentence"), CONDITIONS, ids=[sentence[:40] for *_, sentence in CONDITIONS])
def test_a_wrong_host_is_refused(refused: Refused, bare: Container, begin: str, end: str, sentence: str) -> None:
    with condition(bare, begin, end):
        assert sentence in refused()


def test_missing_credentials_are_refused(refused: Refused, inventory: str, tmp_path: Path) -> None:
    shutil.copytree(inventory, tmp_path / "lab")
    (tmp_path / "lab/group_vars/lab/credentials.yml").unlink()
    said = refused(inventory=str(tmp_path / "lab"))
    assert "init.yml writes all credentials" in said


def test_an_inventory_without_hosts_is_refused(refused: Refused) -> None:
    said = refused(inventory="inventories/lab")
    assert 'Group \\"cvat\\" of the inventory has no host. Write your host' in said


@pytest.mark.parametrize(
    ("group", "sentence"),
    [("cvat", "is in group edge and not in group cvat"), ("edge", "is in group cvat and not in group edge")],
)
def test_hosts_that_would_not_find_each_other_are_refused(
    refused: Refused, inventory: str, tmp_path: Path, group: str, sentence: str
) -> None:
    shutil.copytree(inventory, tmp_path / "lab")
    hosts = tmp_path / "lab/hosts.yml"
    spread = yaml.safe_load(hosts.read_text(encoding="utf-8"))
    spread["lab"]["hosts"]["another"] = None
    spread[group] = {"hosts": {"another": None}}
    hosts.write_text(yaml.safe_dump(spread), encoding="utf-8")
    assert sentence in refused(inventory=str(tmp_path / "lab"))


@pytest.mark.parametrize(
    ("vault_password", "sentence"),
    [
        ("another password", "Decryption failed"),
        (None, "make one with `ansible-playbook playbooks/init.yml`, or copy your lab's there."),
    ],
    ids=["wrong", "missing"],
)
def test_a_vault_without_its_password_is_refused(
    refused: Refused, inventory: str, tmp_path: Path, vault_password: str | None, sentence: str
) -> None:
    assert not (ROOT / ".vault_pass").exists(), "this test needs a checkout without a vault password"
    shutil.copytree(inventory, tmp_path / "lab")
    vault = VaultLib([("default", VaultSecret(b"the password"))]).encrypt("cvat_admin_password: vaulted")
    (tmp_path / "lab/group_vars/lab/vault.yml").write_bytes(vault)
    environment = {}
    if vault_password:
        (tmp_path / "vault_pass").write_text(vault_password, encoding="utf-8")
        environment["ANSIBLE_VAULT_PASSWORD_FILE"] = str(tmp_path / "vault_pass")
    said = refused(inventory=str(tmp_path / "lab"), environment=environment)
    assert sentence in said
    assert "Decryption failed" in said


def test_a_wrongly_signed_repository_is_refused(bare: Container, fails: Refused) -> None:
    """The repository's address is written before apt looks at its signature; nothing is installed from it."""
    with condition(bare, "true", "rm /etc/apt/sources.list.d/docker.sources /etc/apt/keyrings/docker.asc"):
        said = fails({"docker_engine_repository": "http://127.0.0.1:3142/wrong-signature/linux"})
        assert "not signed" in said or "NO_PUBKEY" in said or "signature" in said
        assert bare.exec_run(["sh", "-c", "command -v dockerd"])[0] != 0

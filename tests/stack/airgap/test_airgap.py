"""From a bare host to the first task in CVAT, with a bundle, while neither the host nor the controller reaches anybody.

The tests follow on each other.
"""

from __future__ import annotations

import re
import subprocess
from typing import Any

import docker
import pytest
from testinfra.host import Host

from tests.stack.common import SERVICES, healthy, open_tasks, wait_until
from tests.stack.conftest import PLAIN, ROOT

BUNDLE = "/srv/bundle"


def site(inventory: str, *arguments: str) -> str:
    """What site.yml says, run where the controller has no network at all; it must end well."""
    command = ["ansible-playbook", "site.yml", "-i", inventory, "-e", f"bundle={BUNDLE}", *arguments]
    done = subprocess.run(["unshare", "--net", *command], cwd=ROOT, env=PLAIN, capture_output=True, text=True)
    # Ansible breaks long sentences.
    assert done.returncode == 0, " ".join((done.stdout + done.stderr).split())
    return done.stdout


def changed(output: str) -> int:
    """How much a run has changed on the host."""
    return int(re.findall(r"endolab-airgap +: ok=\d+ +changed=(\d+)", output)[-1])


@pytest.mark.parametrize("url", ["http://registry:5000/v2/", "http://deb.debian.org/debian/", "https://1.1.1.1/"])
def test_the_host_reaches_nobody(host: Host, url: str) -> None:
    assert host.run("curl -sS --max-time 5 %s", url).rc != 0


def test_the_controller_reaches_nobody() -> None:
    routes = subprocess.run(["unshare", "--net", "ip", "route"], capture_output=True, text=True, check=True)
    assert routes.stdout == ""


def test_a_damaged_file_is_named_and_nothing_is_changed(host: Host, inventory: str) -> None:
    file = host.check_output("find %s/packages -name 'nftables_*.deb'", BUNDLE)
    host.check_output("cp -p %s /root/whole && printf x | dd of=%s conv=notrunc bs=1 seek=1000 status=none", file, file)
    with pytest.raises(AssertionError, match=re.escape(f"{file.removeprefix(BUNDLE + '/')} is damaged")):
        site(inventory)
    assert not host.file("/var/lib/endolab").exists
    assert not host.socket("tcp://127.0.0.1:8500").is_listening
    host.check_output("mv /root/whole %s", file)


def test_another_bundle_than_the_one_that_is_meant_is_refused(inventory: str) -> None:
    with pytest.raises(AssertionError, match="is not the one that you mean"):
        site(inventory, "-e", f"bundle_digest={'0' * 64}")


def test_the_stack_is_installed(host: Host, inventory: str) -> None:
    number = host.check_output("cut -d ' ' -f 1 %s/manifest.json.sha256", BUNDLE)
    site(inventory, "-e", f"bundle_digest={number}")


def test_its_services_are_healthy(engine: docker.DockerClient) -> None:
    assert healthy(engine) >= SERVICES


def test_it_gets_to_the_first_task(host: Host, variables: dict[str, Any]) -> None:
    wait_until(lambda: bool(open_tasks(host, variables)), 300, "an open task")


def test_the_images_are_known_by_the_digests_of_their_registries(host: Host, engine: docker.DockerClient) -> None:
    held = {digest for image in engine.images.list() for digest in image.attrs["RepoDigests"]}
    bundled = host.file(f"{BUNDLE}/manifest.json").content_string
    assert held
    assert all(digest.partition("@")[2] in bundled for digest in held)


def test_nothing_of_the_bundle_is_served_any_more(host: Host) -> None:
    assert not host.socket("tcp://127.0.0.1:8500").is_listening
    assert not host.file("/run/endolab-bundle").exists


def test_a_second_run_changes_nothing(inventory: str) -> None:
    assert changed(site(inventory)) == 0


def test_a_host_that_was_installed_from_elsewhere_before_is_led_to_the_bundle(host: Host, inventory: str) -> None:
    file = "/etc/apt/sources.list.d/docker.sources"
    before = host.file(file).content_string
    host.check_output("sed -i 's,^URIs:.*,URIs: http://127.0.0.1:9/elsewhere,' %s", file)
    assert changed(site(inventory)) > 0
    assert host.file(file).content_string == before

"""The module host_facts: what the roles' refusals ask of a host, in one round trip."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_facts
short_description: What the roles of this collection ask of a host
version_added: 0.1.0
author: Endolab (@endolab)
description:
  - Reads the operating system, Docker, the NVIDIA driver, directories and listeners in one round trip.
  - Changes nothing.
options:
  paths:
    description: Paths to describe.
    type: list
    elements: path
    default: []
  texts:
    description: Files of one line whose content to read.
    type: list
    elements: path
    default: []
  ports:
    description: TCP ports whose listeners to name.
    type: list
    elements: int
    default: []
  files:
    description: Files and directories to describe, for M(endolab.active_learning.files) not to look at them again.
    type: list
    elements: path
    default: []
  trees:
    description: Directories to describe with all that lies below them.
    type: list
    elements: path
    default: []
  model_bundles:
    description: Directories of MONAI bundles, to say what they lack.
    type: list
    elements: path
    default: []
  unless:
    description: A path that, while it is there, keeps O(files), O(trees) and O(model_bundles) from being described.
    type: path
  daemon_settings:
    description: >-
      Settings of C(daemon.json) by a name for them, each with C(settings) and C(defaults) as
      M(endolab.active_learning.daemon_json) has them, to say whether the file holds them.
    type: dict
    default: {}
  signing_keys:
    description: Files of signing keys whose fingerprints to read.
    type: list
    elements: path
    default: []
  packages:
    description: Packages whose versions to read.
    type: list
    elements: str
    default: []
  images:
    description: Images whose ids to ask Docker for.
    type: list
    elements: str
    default: []
  data_root:
    description: Docker's data directory where it is to be another than C(daemon.json) says.
    type: path
attributes:
  check_mode:
    description: Reads only.
    support: full
"""

EXAMPLES = r"""
- name: What the host is, is known
  endolab.active_learning.host_facts:
    paths: [/srv/endolab/datasets/images]
    ports: [8080]
"""

RETURN = r"""
ansible_facts:
  description: The facts.
  returned: always
  type: complex
  contains:
    endolab_host:
      description: What was read.
      returned: always
      type: complex
      contains:
        os:
          description: >-
            C(id), C(version_id), C(codename) of the operating system and its C(family), C(debian), C(redhat) or null.
          returned: always
          type: dict
        architecture:
          description: The processor's name as Debian writes it.
          returned: always
          type: str
          sample: amd64
        memory_bytes:
          description: The host's memory.
          returned: always
          type: int
        addresses:
          description: The host's own addresses in its networks, without those of Docker's.
          returned: always
          type: list
          elements: str
        systemd:
          description: Whether the host was booted with systemd.
          returned: always
          type: bool
        units:
          description: For each unit of systemd's that a role enables, whether it is C(enabled) and C(active).
          returned: always
          type: dict
          sample: {docker.service: {enabled: true, active: true}}
        snap_docker:
          description: Whether Docker comes from snap.
          returned: always
          type: bool
        programs:
          description: Those of the programs C(nft), C(nvidia-smi), C(restic) and C(ssh) that are there.
          returned: always
          type: list
          elements: str
        lock:
          description: C(owner), C(machine), C(playbook) and C(since) of the run that changes the host now, or null.
          returned: always
          type: dict
        firewalls:
          description: The firewall programs that are active, C(ufw) or C(firewalld).
          returned: always
          type: list
        docker:
          description: >-
            C(binary) (path or null), C(package) (name or null), C(conflicts) (what Docker's packages would replace),
            C(running), C(manageable) (it runs, and Ansible's modules have the library to ask it), C(version) (or null),
            C(compose), C(data_root), C(left_behind) (where the engine has its data, if the option data_root says
            another place, or null), C(free_bytes) of its disk, C(containers) (the image of each, by its name),
            C(images) (the id of each that was asked for by its name; nothing for one that is not there), and
            C(daemon_json) with C(exists), C(valid), C(error) and C(holds), whether it has each of the settings.
          returned: always
          type: dict
        nvidia:
          description: >-
            C(driver_version), C(library_versions) (of the driver's libraries that are installed), C(gpus) (the UUIDs,
            in the order of their indices), C(toolkit_version) (null where there is none), C(toolkit_held), and
            C(cdi_devices), the GPU names in the CDI specifications.
          returned: always
          type: dict
        packages:
          description: C(version) of each of the packages that is installed, and whether it is C(held).
          returned: always
          type: dict
        files:
          description: >-
            For each of the files and directories that is there C(kind), C(file) or C(directory), C(uid), C(gid),
            C(mode) in octal digits, and C(written), in nanoseconds since 1970; of a file that everybody may read
            C(sha256), too. What lies below a directory that not everybody may enter is left out.
          returned: always
          type: dict
        model_bundles:
          description: >-
            For each of the bundles the files that M(endolab.active_learning.model_bundle) requires and that are
            missing, empty or damaged.
          returned: always
          type: dict
        apt_sources:
          description: The repositories that apt knows, each with C(file), C(uri) and C(signed_by).
          returned: always
          type: list
          elements: dict
        signing_keys:
          description: The fingerprints in each of the files of keys that is there.
          returned: always
          type: dict
        paths:
          description: For each path C(exists) and C(images) (a number for each extension).
          returned: always
          type: dict
        texts:
          description: The content of each of the files, without its end of line; nothing for one that is not there.
          returned: always
          type: dict
        ports:
          description: >-
            For each port, its listeners with C(port), C(address), C(process) and C(container) (its name, or null).
          returned: always
          type: dict
    endolab_written:
      description: What M(endolab.active_learning.files) has written since; nothing yet.
      returned: always
      type: list
      elements: str
"""

import hashlib
import importlib.util
import json
import os
import platform
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.endolab.active_learning.plugins.module_utils.daemon_settings import merge_with_defaults
from ansible_collections.endolab.active_learning.plugins.module_utils.docker_socket import ask_docker
from ansible_collections.endolab.active_learning.plugins.module_utils.listeners import listeners
from ansible_collections.endolab.active_learning.plugins.module_utils.lock_file import LOCK, lives, read_lock
from ansible_collections.endolab.active_learning.plugins.module_utils.model_bundles import faults
from ansible_collections.endolab.active_learning.plugins.module_utils.openpgp import keyring
from ansible_collections.endolab.active_learning.plugins.module_utils.text import read

DAEMON_JSON = Path("/etc/docker/daemon.json")
SNAP_DOCKER = ["/snap/bin/docker", "/var/lib/snapd/snap/bin/docker"]
DEFAULT_DATA_ROOT = "/var/lib/docker"
PROGRAMS = ["nft", "nvidia-smi", "restic", "ssh"]
PROGRAM_PATH = "/usr/local/bin:/usr/sbin:/sbin:/usr/bin:/bin"
DOCKER_PACKAGES = ["docker-ce", "docker.io"]
CONFLICTING_PACKAGES = ["containerd", "containerd.io", "runc", "podman-docker"]
TOOLKIT_PACKAGE = "nvidia-container-toolkit"
NVIDIA_PROC = Path("/proc/driver/nvidia")
CDI_DIRECTORIES = ["/etc/cdi", "/var/run/cdi"]

# Where distributions, and NVIDIA's own installer, put the driver's libraries.
LIBRARY_DIRECTORIES = ["/usr/lib/*-linux-gnu", "/usr/lib/*-linux-gnu/nvidia/current", "/usr/lib64"]
COMPOSE_PLUGIN = "docker/cli-plugins/docker-compose"
COMPOSE_DIRECTORIES = ["/usr/libexec", "/usr/lib", "/usr/local/libexec", "/usr/local/lib"]
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
UFW_SETTINGS = Path("/etc/ufw/ufw.conf")
FIREWALLD = ["systemctl", "is-active", "firewalld"]
ADDRESSES = ["ip", "-json", "address", "show", "scope", "global"]
DOCKERS_LINKS = ("docker", "br-", "veth")
UNITS = ["docker.service", "nvidia-cdi-refresh.path", "endolab-firewall.service", "endolab-backup.timer"]


def operating_system(os_release: str) -> dict[str, str | None]:
    """What /etc/os-release says, and the family whose package manager the roles use."""
    values = dict(re.findall(r'^(\w+)="?(.*?)"?$', os_release, re.M))
    names = {values.get("ID", ""), *values.get("ID_LIKE", "").split()}
    return {
        "id": values.get("ID", ""),
        "version_id": values.get("VERSION_ID", ""),
        "codename": values.get("VERSION_CODENAME", ""),
        "family": "debian" if "debian" in names else "redhat" if names & {"rhel", "fedora"} else None,
    }


def architecture(machine: str) -> str:
    """What dpkg calls what uname calls `machine`, as far as roles know both."""
    return ARCHITECTURES.get(machine, machine)


def daemon_json(text: str | None, wanted: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Whether daemon.json is there and an object, and if not, why not; where it puts the data, and what it holds.

    What else it says may be a secret.
    """
    if text is None:
        return {"exists": False, "valid": True, "error": None, "data_root": None, "holds": dict.fromkeys(wanted, False)}
    settings, error = {}, None
    try:
        settings = json.loads(text or "{}")
    except ValueError as fault:
        error = str(fault)
    if not isinstance(settings, dict):
        settings, error = {}, "it is no object"
    return {
        "exists": True,
        "valid": error is None,
        "error": error,
        "data_root": settings.get("data-root"),
        "holds": {
            name: merge_with_defaults(settings, each["settings"], each.get("defaults", [])) == settings
            for name, each in wanted.items()
        },
    }


def apt_sources(root: Path) -> list[dict[str, str]]:
    """The repositories that apt knows by its files below `root`, each with the file and the keys that sign it."""
    found = []
    for file in (root / "sources.list", *sorted(root.glob("sources.list.d/*.list"))):
        for options, uri in re.findall(r"^deb(?:-src)?\s+(?:\[(.*?)\]\s+)?(\S+)", read(file), re.M):
            signed_by = re.search(r"signed-by=(\S+)", options)
            found.append({"file": str(file), "uri": uri, "signed_by": signed_by[1] if signed_by else ""})
    for file in sorted(root.glob("sources.list.d/*.sources")):
        for text in re.split(r"\n\s*\n", re.sub(r"(?m)^#.*\n?", "", read(file))):
            fields = {key.lower(): value.strip() for key, value in re.findall(r"(?m)^([\w-]+):[ \t]*(.*)$", text)}
            if fields.get("enabled", "yes").lower() != "no":
                signed_by = fields.get("signed-by", "")
                found += [
                    {"file": str(file), "uri": uri, "signed_by": signed_by} for uri in fields.get("uris", "").split()
                ]
    return found


def installed_packages(names: list[str]) -> dict[str, tuple[str, bool]]:
    """Version of each of the packages that is installed, and whether it is held."""
    if shutil.which("dpkg-query"):
        line = "${Package} ${Version} ${db:Status-Want} ${db:Status-Status}\\n"
        command = ["dpkg-query", "-W", "-f", line, *names]
    elif shutil.which("rpm"):
        command = ["rpm", "-q", "--qf", "%{NAME} %{VERSION}-%{RELEASE} install installed\\n", *names]
    else:
        return {}
    output = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    rows = [words for words in map(str.split, output.splitlines()) if words[3:] == ["installed"]]
    return {name: (version, want == "hold") for name, version, want, _ in rows}


def active_firewalls() -> list[str]:
    """Those firewall programs that have rules of their own; ufw's unit is active also where ufw is not."""
    found = ["ufw"] if re.search(r"^ENABLED=yes", read(UFW_SETTINGS), re.M) else []
    if shutil.which("firewall-cmd") and not subprocess.run(FIREWALLD, capture_output=True, check=False).returncode:
        found.append("firewalld")
    return found


def units(shown: str) -> dict[str, dict[str, bool]]:
    """The units of which `systemctl show` has shown Id, ActiveState and UnitFileState, an empty line between them."""
    blocks = [dict(line.split("=", 1) for line in block.splitlines()) for block in shown.split("\n\n") if block]
    return {
        block["Id"]: {"enabled": block["UnitFileState"] == "enabled", "active": block["ActiveState"] == "active"}
        for block in blocks
    }


def show_units() -> str:
    """What systemd says of the units; nothing where there is none."""
    if not Path("/run/systemd/system").is_dir():
        return ""
    command = ["systemctl", "show", "--property=Id,ActiveState,UnitFileState", *UNITS]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def lock(path: Path) -> dict[str, str] | None:
    """Who changes the host now."""
    found = read_lock(path)
    if not found or not lives(found):
        return None
    return {field: found[field] for field in ("owner", "machine", "playbook", "since")}


def addresses() -> list[str]:
    """The host's own addresses in its networks; those of Docker's bridges and pairs are the containers'."""
    shown = subprocess.run(ADDRESSES, capture_output=True, text=True, check=False).stdout
    return [
        each["local"]
        for link in json.loads(shown or "[]")
        if not link.get("ifname", "").startswith(DOCKERS_LINKS)
        for each in link.get("addr_info", [])
        if "local" in each  # those of another scope are empty
    ]


def free_bytes(path: Path) -> int:
    """Free space of the disk that a path is, or would be, on."""
    return shutil.disk_usage(next(parent for parent in [path, *path.parents] if parent.exists())).free


def container_images() -> dict[str, str]:
    """The image of every container, whether it runs or not, by its name."""
    return {each["Names"][0].lstrip("/"): each["Image"] for each in ask_docker("/containers/json?all=1") or []}


def image_ids(names: list[str]) -> dict[str, str]:
    """The id of each of the images; nothing for one that is not there."""
    return {name: (ask_docker(f"/images/{quote(name)}/json") or {}).get("Id", "") for name in names}


def left_behind(data_root: str | None) -> str | None:
    """Where the engine that runs has its data, where that is another place than where it is to have them."""
    root = (ask_docker("/info") or {}).get("DockerRootDir") if data_root else None
    if not root:
        return None
    now, then = Path(root).resolve(), Path(str(data_root)).resolve()
    # With user namespaces the engine's own is one below it.
    return None if then in (now, *now.parents) else root


def docker(packages: dict[str, tuple[str, bool]], options: dict[str, Any]) -> dict[str, Any]:
    version = (ask_docker("/version") or {}).get("Version")
    settings = daemon_json(read(DAEMON_JSON) if DAEMON_JSON.exists() else None, options["daemon_settings"])
    data_root = options["data_root"] or settings["data_root"] or DEFAULT_DATA_ROOT
    return {
        "binary": shutil.which("dockerd"),
        "package": next((name for name in DOCKER_PACKAGES if name in packages), None),
        "conflicts": [name for name in CONFLICTING_PACKAGES if name in packages],
        "running": version is not None,
        "manageable": version is not None and importlib.util.find_spec("requests") is not None,
        "version": version,
        "compose": any(Path(directory, COMPOSE_PLUGIN).exists() for directory in COMPOSE_DIRECTORIES),
        "data_root": data_root,
        "left_behind": left_behind(options["data_root"]),
        "free_bytes": free_bytes(Path(data_root)),
        "containers": container_images(),
        "images": image_ids(options["images"]),
        "daemon_json": settings,
    }


def driver_version(text: str) -> str | None:
    """The version in /proc/driver/nvidia/version, whose words differ between the open and the closed module."""
    found = re.search(r"^NVRM version:.*?\s(\d+\.\d+(?:\.\d+)?)\s", text, re.M)
    return found.group(1) if found else None


def library_versions(root: Path) -> list[str]:
    """The versions of the driver's libraries that are installed, by the name of one that each of them has."""
    name = "libnvidia-ml.so."
    files = [file for each in LIBRARY_DIRECTORIES for file in root.glob(f"{each.lstrip('/')}/{name}*.*")]
    return sorted({file.name.removeprefix(name) for file in files})


def gpus(proc: Path) -> list[str]:
    """The UUIDs of the driver's GPUs in the order of their PCI addresses, which is that of their indices.

    Those that the driver was told to leave out are none of them.
    """
    texts = map(read, sorted(proc.glob("gpus/*/information")))
    used = (text for text in texts if not re.search(r"^GPU Excluded:\s*Yes", text, re.M))
    found = (re.search(r"^GPU UUID:\s*(\S+)", text, re.M) for text in used)
    return [match.group(1) for match in found if match]


def cdi_devices(text: str) -> list[str]:
    """The devices of kind nvidia.com/gpu in one CDI specification, YAML or JSON; a host may lack PyYAML."""
    if not re.search(r"""kind["']?:\s*["']?nvidia\.com/gpu\b""", text):
        return []
    names = re.findall(r"""^\s*-?\s*["']?name["']?:\s*["']?([^"',\s]+)|"name":\s*"([^"]+)\"""", text, re.M)
    return [f"nvidia.com/gpu={first or second}" for first, second in names]


def nvidia(packages: dict[str, tuple[str, bool]]) -> dict[str, Any]:
    version, held = packages.get(TOOLKIT_PACKAGE, (None, False))
    specifications = [file for directory in CDI_DIRECTORIES for file in Path(directory).glob("*.[jy]*")]
    return {
        "driver_version": driver_version(read(NVIDIA_PROC / "version")),
        "library_versions": library_versions(Path("/")),
        "gpus": gpus(NVIDIA_PROC),
        "toolkit_version": version,
        "toolkit_held": held,
        "cdi_devices": sorted({name for file in specifications for name in cdi_devices(read(file))}),
    }


def describe(path: Path) -> dict[str, Any]:
    """A path's images by extension."""
    images: dict[str, int] = {}
    if path.is_dir():
        for file in path.iterdir():
            if file.is_file():
                extension = file.suffix.lstrip(".")
                images[extension] = images.get(extension, 0) + 1
    return {"exists": path.exists(), "images": images}


def describe_files(path: Path, below: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """Owner and mode of a file or directory, and of all `below` one that everybody may enter; links are left out."""
    try:
        found = path.lstat()
        readable = stat.S_ISREG(found.st_mode) and found.st_mode & stat.S_IROTH
        # What everybody may read holds no secret that a digest could betray.
        digest = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()} if readable else {}
    except FileNotFoundError:
        return
    if stat.S_ISLNK(found.st_mode):
        return
    facts = {
        "kind": "directory" if stat.S_ISDIR(found.st_mode) else "file",
        "uid": found.st_uid,
        "gid": found.st_gid,
        "mode": f"{stat.S_IMODE(found.st_mode):04o}",
        "written": str(found.st_mtime_ns),
        **digest,
    }
    yield str(path), facts
    if below and stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_IXOTH:
        for each in path.iterdir():
            yield from describe_files(each, below)


def files(options: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What is found of all files and trees, by path."""
    return {
        path: found
        for option, below in (("files", False), ("trees", True))
        for each in options[option]
        for path, found in describe_files(Path(each), below)
    }


def fingerprints_in(paths: list[str]) -> dict[str, list[str]]:
    """The fingerprints in each of the files that is there; none in one that is no keyring."""
    return {path: keyring(Path(path).read_bytes()) for path in paths if Path(path).is_file()}


def by_port(ports: list[int]) -> dict[str, list[dict[str, Any]]]:
    """Who listens on each of the ports."""
    found = listeners(lambda port: port in ports)
    return {str(port): [each for each in found if each["port"] == port] for port in ports}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "paths": {"type": "list", "elements": "path", "default": []},
            "texts": {"type": "list", "elements": "path", "default": []},
            "ports": {"type": "list", "elements": "int", "default": []},
            "files": {"type": "list", "elements": "path", "default": []},
            "trees": {"type": "list", "elements": "path", "default": []},
            "model_bundles": {"type": "list", "elements": "path", "default": []},
            "unless": {"type": "path"},
            "daemon_settings": {"type": "dict", "default": {}},
            "signing_keys": {"type": "list", "elements": "path", "default": [], "no_log": False},
            "packages": {"type": "list", "elements": "str", "default": []},
            "images": {"type": "list", "elements": "str", "default": []},
            "data_root": {"type": "path"},
        },
        supports_check_mode=True,
    )
    machine = platform.machine()
    asked = module.params["packages"]
    unsettled = Path(module.params["unless"] or "/nonexistent").exists()
    packages = installed_packages([*DOCKER_PACKAGES, *CONFLICTING_PACKAGES, TOOLKIT_PACKAGE, *asked])
    facts = {
        "os": operating_system(read("/etc/os-release")),
        "architecture": architecture(machine),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "addresses": addresses(),
        "systemd": Path("/run/systemd/system").is_dir(),
        "programs": [name for name in PROGRAMS if shutil.which(name, path=PROGRAM_PATH)],
        "lock": lock(Path(LOCK)),
        "firewalls": active_firewalls(),
        "units": units(show_units()),
        "snap_docker": any(Path(path).exists() for path in SNAP_DOCKER),
        "docker": docker(packages, module.params),
        "nvidia": nvidia(packages),
        "packages": {
            name: {"version": version, "held": held} for name, (version, held) in packages.items() if name in asked
        },
        "files": {} if unsettled else files(module.params),
        "model_bundles": {} if unsettled else {path: faults(Path(path)) for path in module.params["model_bundles"]},
        "apt_sources": apt_sources(Path("/etc/apt")),
        "signing_keys": fingerprints_in(module.params["signing_keys"]),
        "paths": {path: describe(Path(path)) for path in module.params["paths"]},
        "texts": {path: read(Path(path)).rstrip("\n") for path in module.params["texts"]},
        "ports": by_port(module.params["ports"]),
    }
    module.exit_json(changed=False, ansible_facts={"endolab_host": facts, "endolab_written": []})


if __name__ == "__main__":
    main()

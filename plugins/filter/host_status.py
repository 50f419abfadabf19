"""The filter host_status: what a host of the lab does, and what is wrong with it, of what the modules have found."""

from __future__ import annotations

DOCUMENTATION = r"""
name: host_status
short_description: What a host of the lab does, and what is wrong with it
version_added: 0.1.0
author: Endolab (@endolab)
description:
  - Puts together what modules have found on one host, for people (by the filter C(status_block)) and for programs.
  - Whatever was not found is left out, so that a host is described also where something on it is down.
options:
  _input:
    description: The fact C(endolab_host) of the module C(host_facts); none where the host cannot be reached.
    type: dict
    required: true
  name:
    description: The host's name.
    type: str
    required: true
  at:
    description: The time, ISO 8601; the time of MONAI Label's answer counts instead where it answers.
    type: str
    required: true
  services:
    description: Names of the containers that are to run.
    type: list
    elements: str
    default: []
  containers:
    description: Docker's list of all containers; none where it cannot be asked.
    type: list
    elements: dict
  gpu_wanted:
    description: Whether MONAI Label is to have a GPU.
    type: bool
    default: false
  gpu_lines:
    description: Lines of C(nvidia-smi --query-gpu=index,uuid,name,memory.used,memory.total,utilization.gpu).
    type: list
    elements: str
    default: []
  gpu_rc:
    description: What C(nvidia-smi) ended with; none where it was not run.
    type: int
  loops:
    description: >-
      Of each MONAI Label of the host a pair: its place, as the filter C(instances) says it, and what the module C(uri)
      has found at its loop's address.
    type: list
    elements: list
    default: []
  extensions:
    description: Kinds of files that count as frames for as long as a loop has not counted them.
    type: list
    elements: str
    default: []
  archives:
    description: What C(endolab-backup state) says; empty where it says nothing, none where no archives are made.
    type: dict
  door:
    description: Where people find CVAT, as a URL without a path; empty where that is the address that the loop has.
    type: str
    default: ""
"""

EXAMPLES = r"""
status: "{{ ansible_facts.endolab_host | endolab.active_learning.host_status('gpu1', now(utc=true).isoformat()) }}"
"""

RETURN = r"""
_value:
  description: >-
    C(host); C(at); C(reachable); C(healthy), whether there are no C(problems), each with C(what), C(remedy) and, of the
    loop's own, C(since) and C(times); C(docker) with C(running), C(version), C(free_bytes) and C(data_root);
    C(services), the state of each by its name; C(archive), the last one, or null;
    C(lock), with C(owner), C(machine), C(playbook) and C(since) of who changes the host now, or null;
    C(gpu) with C(wanted), C(driver) and C(gpus); and C(instances), of each MONAI Label C(name), empty where it has
    none; C(container); C(frames), how many lie on the host; C(loop), what C(GET /loop) answers, or null; and
    C(silence), why there is no loop to see, or null.
  type: dict
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.endolab.active_learning.plugins.filter.archive_problems import archive_problems

# How Docker begins a container's status, and the word for it.
STATES = {"Up": "running", "Exited": "stopped", "Dead": "stopped", "Created": "never started"}

GOOD = ("healthy", "running")

# What mends services in each state; {all} are their names, {one} is the first of them.
REMEDIES = {
    "missing": "run site.yml",
    "never started": "run site.yml",
    "stopped": "`docker start {all}` on the host; `docker logs {one}` says why",
    "paused": "`docker unpause {all}` on the host",
    "starting": "wait a minute, and look again",
}
ANOTHER_REMEDY = "see `docker logs {one}` on the host"

# Bytes on Docker's disk below which people are told, while there is time.
TIGHT = 5 * 2**30


def host_status(
    host: Mapping[str, Any] | None,
    name: str,
    at: str,
    services: Sequence[str] = (),
    containers: Iterable[Mapping[str, Any]] | None = None,
    gpu_wanted: bool = False,
    gpu_lines: Iterable[str] = (),
    gpu_rc: int | None = None,
    loops: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]] = (),
    extensions: Iterable[str] = (),
    archives: Mapping[str, Any] | None = None,
    door: str = "",
) -> dict[str, Any]:
    """The status of one host; DOCUMENTATION says what it is made of."""
    status: dict[str, Any] = {"host": name, "at": at, "reachable": host is not None, "healthy": False, "problems": []}
    status["instances"] = []
    if host is None:
        status["problems"].append(problem(f"{name} cannot be reached", "see what Ansible says of it"))
        return status
    loops = list(loops)
    if times := [answer["date"] for _, answer in loops if answer.get("date")]:
        status["at"] = parsedate_to_datetime(times[-1]).isoformat()

    status["lock"] = host["lock"]
    docker, nvidia = host["docker"], host["nvidia"]
    status["docker"] = {key: docker[key] for key in ("running", "version", "free_bytes", "data_root")}
    found = {} if containers is None else {each["Names"][0].lstrip("/"): state(each["Status"]) for each in containers}
    status["services"] = {each: found.get(each, "unknown" if containers is None else "missing") for each in services}
    # A driver may put a warning between the lines.
    read = [gpu(line) for line in gpu_lines if line.count(", ") == 5]
    shown = read or [{"uuid": uuid} for uuid in nvidia["gpus"]]
    status["gpu"] = {"wanted": gpu_wanted, "driver": nvidia["driver_version"], "gpus": shown}
    problems = docker_problems(docker) or service_problems(status["services"])
    problems += room_problems(docker)
    if gpu_wanted:
        problems += gpu_problems(nvidia, len(read), gpu_rc)
    if archives is not None:
        status["archive"] = archives.get("last")
        problems += archive_problems(archives)
    for place, answer in loops:
        images = host["paths"].get(place["images_dir"], {}).get("images", {})
        instance = seen(place, answer, sum(number for kind, number in images.items() if kind in extensions), door)
        status["instances"].append(instance)
        if instance["loop"]:
            problems += loop_problems(instance)
        # A container that does not run is a problem already, and the image's own app has no loop.
        elif status["services"].get(place["container"]) in GOOD and (place["endolabs"] or answer["status"] != 404):
            problems.append(silent(place, answer))
    return {**status, "healthy": not problems, "problems": problems}


def problem(what: str, remedy: str, **more: Any) -> dict[str, Any]:
    return {"what": what, "remedy": remedy, **more}


def state(status: str) -> str:
    """A container's state in one word, of what Docker says in its list: `Up 3 hours (healthy)`."""
    health = re.search(r"\((?:health: )?(healthy|unhealthy|starting|Paused)\)", status)
    word = status.partition(" ")[0]
    return health[1].lower() if health else STATES.get(word, word.lower())


def gpu(line: str) -> dict[str, Any]:
    """A GPU as a line of nvidia-smi shows it; what the driver does not know is null."""
    index, uuid, name, used, total, busy = line.split(", ")

    def number(text: str) -> int | None:
        return int(text.split()[0]) if text.split()[0].isdigit() else None

    memory = {"memory_used_mib": number(used), "memory_total_mib": number(total)}
    return {"index": number(index), "uuid": uuid, "name": name, **memory, "busy_percent": number(busy)}


def docker_problems(docker: Mapping[str, Any]) -> list[dict[str, Any]]:
    if not docker["running"]:
        if docker["binary"]:
            return [problem("Docker does not run", "`systemctl start docker` on the host")]
        return [problem("Docker is not installed", "run site.yml")]
    if not docker["manageable"]:
        return [problem("the host lacks the Python library requests, so Docker cannot be asked", "run site.yml")]
    return []


def gpu_problems(nvidia: Mapping[str, Any], read: int, rc: int | None) -> list[dict[str, Any]]:
    """What keeps a container from a GPU, of which nvidia-smi, where it is there, has `read` so many."""
    driver, libraries, known = nvidia["driver_version"], nvidia["library_versions"], len(nvidia["gpus"])
    if not driver:
        return [problem("no NVIDIA driver is loaded", "install it, and reboot the host")]
    if libraries and driver not in libraries:
        what = f"the NVIDIA driver that runs is {driver}, and its libraries are {' and '.join(libraries)}"
        return [problem(what, "reboot the host")]
    if not known and not read:
        return [problem("the NVIDIA driver has no GPU", "see `lspci | grep -i nvidia` on the host")]
    if rc is not None and read < known:
        remedy = "see `nvidia-smi` and `dmesg | grep -i xid` on the host; a reboot brings a lost one back"
        return [problem(f"nvidia-smi answers for {read} of the driver's {known} GPUs", remedy)]
    if rc:
        return [problem(f"nvidia-smi ends with {rc}", "see what it says on the host")]
    return []


def room_problems(docker: Mapping[str, Any]) -> list[dict[str, Any]]:
    """CVAT's database stops where its disk is full."""
    if docker["free_bytes"] >= TIGHT:
        return []
    what = f"{docker['free_bytes'] / 2**30:.1f} GiB are left on the disk of {docker['data_root']}"
    return [problem(what, "make room before it is full; `docker system df` on the host shows what takes it")]


def service_problems(services: Mapping[str, str]) -> list[dict[str, Any]]:
    """One problem for each bad state, because one cause often takes many services down."""
    found = []
    for bad in sorted(set(services.values()).difference(GOOD)):
        names = [name for name, each in services.items() if each == bad]
        what = f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} {bad}"
        remedy = REMEDIES.get(bad, ANOTHER_REMEDY).format(all=" ".join(names), one=names[0])
        found.append(problem(what, remedy))
    return found


def seen(place: Mapping[str, Any], answer: Mapping[str, Any], frames: int, door: str) -> dict[str, Any]:
    """What an instance does."""
    loop = answer.get("json") if answer["status"] == 200 else None
    silence = None if loop else silent(place, answer)["what"]
    if loop and loop["task"] and door:
        # The loop knows CVAT's address on the host alone.
        loop = {**loop, "task": {**loop["task"], "url": f"{door}{urlsplit(loop['task']['url']).path}"}}
    return {
        "name": place["name"],
        "container": place["container"],
        "frames": frames,
        "loop": loop,
        "silence": silence,
    }


def loop_problems(instance: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The loop's last error, its ailment where that is another, and what it warns of."""
    loop, whose = instance["loop"], f"{instance['name']}: " if instance["name"] else ""
    found, error, ailment = [], loop["error"], loop["ailment"]
    if error:
        found.append(problem(**{key: error[key] for key in ("what", "remedy", "since", "times")}))
    if ailment and not (error and ailment.startswith(error["what"])):
        remedy = f"see `docker logs {instance['container']}` on the host, and restart it"
        found.append(problem(ailment, remedy))
    if loop.get("warning"):  # the app on the host may be older
        found.append(problem(loop["warning"], "make room"))
    return [{**each, "what": f"{whose}{each['what']}"} for each in found]


def silent(place: Mapping[str, Any], answer: Mapping[str, Any]) -> dict[str, Any]:
    """Why there is no loop to see."""
    if answer["status"] != 404:
        why = re.sub(r"^<\w+ error (?:\[Errno -?\d+\] )?(.*)>$", r"\1", answer["msg"].rpartition(": ")[2])
        what = f"MONAI Label does not answer at {answer['url']} ({why})"
        return problem(what, f"see `docker logs {place['container']}` on the host")
    if place["endolabs"]:
        return problem("the app on the host is another than this Endolab has, without a loop to see", "run site.yml")
    return problem("the app is not Endolab's, and has no loop to see", f"set {place['prefix']}app_source: endolab")


class FilterModule:
    """Makes the filter known to Ansible."""

    def filters(self) -> dict[str, Callable[..., dict[str, Any]]]:
        return {"host_status": host_status}

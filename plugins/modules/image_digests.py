"""The module image_digests: which bytes the names of images stand for, to the engine or to their registries."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_digests
short_description: Which bytes the names of images stand for
version_added: 0.1.0
author: Endolab (@endolab)
description:
  - Asks Docker's engine under which digests it has pulled images, or what their registries have now, which the engine
    asks with its own mirrors and authorities and the host's credentials.
  - Changes nothing, and pulls nothing.
options:
  names:
    description: The images as one pulls them, each with its registry, and with a tag or a digest.
    type: list
    elements: str
    required: true
  source:
    description: >-
      Who is asked. With V(registry) an image that its registry does not have is a failure, which names all of them.
    type: str
    choices: [engine, registry]
    default: engine
attributes:
  check_mode:
    description: Reads only.
    support: full
"""

EXAMPLES = r"""
- name: What the registry has is known
  endolab.active_learning.image_digests:
    names: [registry.lab:5000/caddy:2.10.2]
    source: registry
"""

RETURN = r"""
manageable:
  description: Whether there is an engine, and the library to ask it for what registries have.
  returned: success
  type: bool
digests:
  description: The digest of each image by its name; an image that the engine has not pulled by this name is left out.
  returned: success
  type: dict
  sample: {"registry.lab:5000/caddy:2.10.2": "sha256:a37ecfa4888e4f3afe4f85726f04f393a778901f964b1f0b0492d8ce8d0a0fe0"}
"""

import importlib.util
from urllib.parse import quote

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.community.docker.plugins.module_utils._api import auth
from ansible_collections.community.docker.plugins.module_utils._api.api.client import APIClient
from ansible_collections.community.docker.plugins.module_utils._api.errors import DockerException
from ansible_collections.community.docker.plugins.module_utils.common_api import RequestException
from ansible_collections.endolab.active_learning.plugins.module_utils.docker_socket import SOCKET, ask_docker
from ansible_collections.endolab.active_learning.plugins.module_utils.image_names import repository


class NotPublishedError(Exception):
    """A registry does not have an image, or cannot be asked."""


def pulled(name: str) -> str:
    """The digest under which the engine has pulled an image from its registry; nothing where it has not."""
    image = ask_docker(f"/images/{quote(name)}/json") or {}
    digests = dict(each.split("@") for each in image.get("RepoDigests") or [])
    found: str = digests.get(repository(name), "")
    return found


def published(client: APIClient, name: str) -> str:
    """The digest that the registry has for an image. Raises NotPublishedError."""
    registry, _ = auth.resolve_repository_name(repository(name))
    credentials = auth.get_config_header(client, registry)
    headers = {"X-Registry-Auth": credentials} if credentials else {}
    try:
        found: str = client.get_json("/distribution/{0}/json", name, headers=headers)["Descriptor"]["digest"]
    except (DockerException, RequestException) as fault:
        raise NotPublishedError(f"{name} ({getattr(fault, 'explanation', None) or fault})") from fault
    return found


def from_registries(names: list[str]) -> dict[str, str]:
    """The digest of each image in its registry. Raises NotPublishedError with all that cannot be had."""
    client = APIClient(f"unix://{SOCKET}")
    digests, faults = {}, []
    for name in names:
        try:
            digests[name] = published(client, name)
        except NotPublishedError as fault:
            faults.append(str(fault))
    if faults:
        raise NotPublishedError(", ".join(faults))
    return digests


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "names": {"type": "list", "elements": "str", "required": True},
            "source": {"type": "str", "choices": ["engine", "registry"], "default": "engine"},
        },
        supports_check_mode=True,
    )
    names = module.params["names"]
    manageable = ask_docker("/version") is not None and importlib.util.find_spec("requests") is not None
    if module.params["source"] == "engine":
        digests = {name: digest for name in names if (digest := pulled(name))}
    elif manageable:
        try:
            digests = from_registries(names)
        except NotPublishedError as fault:
            module.fail_json(msg=f"These images cannot be had: {fault}.")
    else:
        module.fail_json(msg="Docker does not run, or Python's requests are missing, so that no registry can be asked.")
    module.exit_json(changed=False, manageable=manageable, digests=digests)


if __name__ == "__main__":
    main()

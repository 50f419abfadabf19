"""The module signing_key: the one key that may sign a package repository."""

from __future__ import annotations

DOCUMENTATION = r"""
module: signing_key
short_description: The one key that may sign a package repository
version_added: 0.1.0
author: Endolab (@endolab)
description:
  - Fetches a repository's key, and writes it only when its fingerprint is the expected one.
  - A file that already holds just that key is not touched, and no network is used.
options:
  url:
    description: Where the key is published, armored or not.
    type: str
    required: true
  path:
    description: The file that the repository's C(Signed-By) (apt) or C(gpgkey) (dnf) names.
    type: path
    required: true
  fingerprint:
    description: The key's fingerprint, 40 hexadecimal digits; spaces do not count.
    type: str
    required: true
attributes:
  check_mode:
    description: Fetches a key that is not there yet, and compares it, but writes nothing.
    support: full
"""

EXAMPLES = r"""
- name: The key that signs NVIDIA's repository is there
  endolab.active_learning.signing_key:
    url: https://nvidia.github.io/libnvidia-container/gpgkey
    path: /etc/apt/keyrings/nvidia-container-toolkit.asc
    fingerprint: C95B321B61E88C1809C4F759DDCAE044F796ECB0
"""

RETURN = r"""
fingerprint:
  description: The fingerprint of the key in the file.
  returned: success
  type: str
"""

import os
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.urls import fetch_url
from ansible_collections.endolab.active_learning.plugins.module_utils.openpgp import keyring

TIMEOUT_SECONDS = 60


def fetch(module: AnsibleModule, url: str, expected: str) -> bytes:
    """The key from its URL; refuses any other than the expected one."""
    answer, info = fetch_url(module, url, timeout=TIMEOUT_SECONDS)
    if info["status"] != 200:
        module.fail_json(msg=f"The signing key cannot be fetched from {url}: {info['msg']}.")
    data: bytes = answer.read()
    found = keyring(data)
    if found != [expected]:
        module.fail_json(
            msg=f"{url} holds {'the key ' + ' and '.join(found) if found else 'no OpenPGP key'}, and {expected} was"
            " expected. Nothing was written. If the publisher has changed its key, compare the new fingerprint with the"
            " one on its website and set it in the inventory; else somebody stands between this host and the publisher."
        )
    return data


def write(module: AnsibleModule, path: Path, data: bytes) -> None:
    """Puts the key into its file, at once and whole."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=module.tmpdir)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
    Path(name).chmod(0o644)
    module.atomic_move(name, str(path), keep_dest_attrs=False)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "required": True},
            "path": {"type": "path", "required": True},
            "fingerprint": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    path = Path(module.params["path"])
    expected = module.params["fingerprint"].replace(" ", "").upper()
    if len(expected) != 40 or set(expected) - set("0123456789ABCDEF"):
        module.fail_json(msg=f"{module.params['fingerprint']!r} is no fingerprint: 40 hexadecimal digits are needed.")
    changed = not path.exists() or keyring(path.read_bytes()) != [expected]
    if changed:
        data = fetch(module, module.params["url"], expected)
        if not module.check_mode:
            write(module, path, data)
    module.exit_json(changed=changed, fingerprint=expected)


if __name__ == "__main__":
    main()

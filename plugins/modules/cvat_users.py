"""The module cvat_users: whom CVAT knows, and whom of its accounts it does not let in."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cvat_users
short_description: Whom CVAT knows, and whom of its accounts it does not let in
version_added: 0.1.0
author: Endolab (@endolab)
description:
  - Logs in to CVAT's API with each of several accounts, all at once, as CVAT takes its time over a password.
  - Changes nothing. A CVAT that cannot be reached lets nobody in.
options:
  url:
    description: CVAT's address, without a path.
    type: str
    required: true
  logins:
    description: The accounts, an administrator's first.
    type: list
    elements: dict
    required: true
    suboptions:
      username:
        description: The account's name.
        type: str
        required: true
      password:
        description: Its password.
        type: str
        required: true
attributes:
  check_mode:
    description: Asks all the same.
    support: full
"""

EXAMPLES = r"""
- name: CVAT is asked whom it knows
  endolab.active_learning.cvat_users:
    url: http://127.0.0.1:8081
    logins:
      - username: admin
        password: "{{ cvat_admin_password }}"
      - username: monailabel
        password: "{{ monailabel_cvat_password }}"
  register: known
  no_log: true
"""

RETURN = r"""
users:
  description: All that CVAT tells of each of its users, by its API; none where it does not let the administrator in.
  returned: success
  type: list
  elements: dict
  sample: [{id: 1, username: admin, is_active: true, groups: [admin]}]
refused:
  description: The names of accounts that CVAT does not let in.
  returned: success
  type: list
  elements: str
"""

import json
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.urls import open_url

TIMEOUT_SECONDS = 60
USERS_A_PAGE = 500


def ask(url: str, login: dict[str, Any]) -> dict[str, Any]:
    """What CVAT answers this account; nothing where it does not let it in."""
    try:
        with open_url(
            url,
            url_username=login["username"],
            url_password=login["password"],
            force_basic_auth=True,
            # Passwords of this host's CVAT go to nobody else, whatever proxy the host has.
            use_proxy=False,
            timeout=TIMEOUT_SECONDS,
        ) as answer:
            said: dict[str, Any] = json.load(answer)
            return said
    except (OSError, ValueError, HTTPException):
        return {}


def users(url: str, login: dict[str, Any]) -> list[dict[str, Any]]:
    """All of CVAT's users, of whom there is at least the one who asks; none where it is not let in."""
    found: list[dict[str, Any]] = []
    page = 1
    while said := ask(f"{url}/api/users?page_size={USERS_A_PAGE}&page={page}", login):
        found += said.get("results", [])
        if not said.get("next"):
            break
        page += 1
    return found


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "required": True},
            "logins": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "username": {"type": "str", "required": True},
                    "password": {"type": "str", "required": True, "no_log": True},
                },
            },
        },
        supports_check_mode=True,
    )
    url, (administrator, *others) = module.params["url"], module.params["logins"]
    with ThreadPoolExecutor() as pool:
        known = pool.submit(users, url, administrator)
        answers = [(login["username"], pool.submit(ask, f"{url}/api/users/self", login)) for login in others]
        refused = [name for name, answer in answers if not answer.result()]
    if not known.result():
        refused.insert(0, administrator["username"])
    module.exit_json(changed=False, users=known.result(), refused=refused)


if __name__ == "__main__":
    main()

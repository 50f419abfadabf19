"""Runs in CVAT's Django shell: makes the accounts in /run/secrets/accounts.json be as that file says.

An account that is right is not written, so that nobody's sessions end.
"""

import json
from pathlib import Path

from django.contrib.auth import get_user_model
from django.db import transaction

for wanted in json.loads(Path("/run/secrets/accounts.json").read_text(encoding="utf-8")):
    with transaction.atomic():
        user, changed = get_user_model().objects.select_for_update().get_or_create(username=wanted["username"])
        if not user.check_password(wanted["password"]):
            user.set_password(wanted["password"])
            changed = True
        rights = {"is_active": True, "is_staff": wanted["administrator"], "is_superuser": wanted["administrator"]}
        for flag, value in rights.items():
            if getattr(user, flag) != value:
                setattr(user, flag, value)
                changed = True
        # CVAT puts administrators into this group and never takes them out.
        groups = user.groups.filter(name="admin") if user.pk and not wanted["administrator"] else ()
        for group in groups:
            user.groups.remove(group)
            changed = True
        if changed:
            user.save()
            print(f"changed account: {user.username}")

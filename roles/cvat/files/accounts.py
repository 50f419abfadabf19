"""Runs in CVAT's Django shell: makes the accounts in /run/secrets/accounts.json be as that file says.

An account that is right is not written, so that nobody's sessions end. An `initial` password is given to a new account
alone: the others have chosen theirs.
"""

import json
from pathlib import Path

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import transaction

for wanted in json.loads(Path("/run/secrets/accounts.json").read_text(encoding="utf-8")):
    with transaction.atomic():
        user, changed = get_user_model().objects.select_for_update().get_or_create(username=wanted["username"])
        if (changed or not wanted["initial"]) and not user.check_password(wanted["password"]):
            user.set_password(wanted["password"])
            changed = True
            # Django ends the sessions that began with the old password, and not the login's token.
            if token := getattr(user, "auth_token", None):
                token.delete()
        administrator = wanted["group"] == "admin"
        rights = {"is_active": wanted["active"], "is_staff": administrator, "is_superuser": administrator}
        for flag, value in rights.items():
            if getattr(user, flag) != value:
                setattr(user, flag, value)
                changed = True
        if changed:
            user.save()
        # CVAT itself puts a new account into "user", an administrator into "admin", and never takes anybody out.
        if {group.name for group in user.groups.all()} != {wanted["group"]}:
            user.groups.set([Group.objects.get_or_create(name=wanted["group"])[0]])
            changed = True
        if changed:
            print(f"changed account: {user.username}")

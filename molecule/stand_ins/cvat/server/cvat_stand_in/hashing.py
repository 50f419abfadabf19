"""How the stand-in keeps passwords."""

from __future__ import annotations

from django.contrib.auth.hashers import PBKDF2PasswordHasher


class Quick(PBKDF2PasswordHasher):
    """Django's own, with fewer rounds. It is for tests alone."""

    iterations = 1000

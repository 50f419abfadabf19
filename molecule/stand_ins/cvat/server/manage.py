#!/usr/bin/env python3
"""Django's own command line, with the commands that the real manage.py has and Endolab uses."""

import os
import sys

from django.core.management import execute_from_command_line

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cvat_stand_in.settings")
execute_from_command_line(sys.argv)

"""Runs inside MONAI Label's image: prints what it holds, as JSON."""

import importlib.metadata
import json
import platform

print(json.dumps({"version": importlib.metadata.version("monailabel"), "python": platform.python_version()}))

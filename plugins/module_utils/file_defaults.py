"""What the module files takes for granted of what it writes, where a task does not say otherwise."""

OWNER = "0"
MODES = {"directories": "0755", "files": "0644", "secrets": "0600"}

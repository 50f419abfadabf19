"""Backs up what a host holds of its lab, and brings it back; run as root on the host by `endolab-backup`.

Only what Python brings itself is used, from 3.9 on, so that a host needs nothing but restic.
"""

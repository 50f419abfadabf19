"""The filter certificate_faults: why a certificate cannot serve a website, or vouch for one."""

from __future__ import annotations

DOCUMENTATION = r"""
name: certificate_faults
short_description: Why a certificate cannot serve a website, or vouch for one
version_added: 0.1.0
author: Endolab (@endolab)
description:
  - A web server tells such faults when it starts, or its visitors do; this tells them before.
options:
  _input:
    description: >-
      The certificate and its chain, in PEM, the certificate first; without C(key) and C(name) those of authorities, of
      which one is enough that can be used.
    type: str
    required: true
  key:
    description: The certificate's private key, in PEM; none of an authority.
    type: str
  name:
    description: The name, or address, of the website; needed with C(key).
    type: str
    default: ""
"""

EXAMPLES = r"""
faults: "{{ certificate | endolab.active_learning.certificate_faults(key, 'cvat.example.org') }}"
faults_of_authority: "{{ root | endolab.active_learning.certificate_faults }}"
"""

RETURN = r"""
_value:
  description: One part of a sentence for each fault, such as C(it has ended on 2026-01-31); none where it can be used.
  type: list
  elements: str
"""

import datetime
import fnmatch
from collections.abc import Callable
from typing import TYPE_CHECKING

# Otherwise only where there is a certificate: Ansible loads all filters in each process, and this would be most of it.
if TYPE_CHECKING:
    from cryptography import x509


def certificate_faults(certificate: str, key: str | None = None, name: str = "") -> list[str]:
    """What is wrong with the first `certificate` and its `key` for a website called `name`, or with every authority."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    try:
        chain = x509.load_pem_x509_certificates(certificate.encode())
    except ValueError:
        return ["it holds no certificate in PEM"]
    if key is None:
        return min((_faults_of_dates(each) for each in chain), key=len)
    try:
        public = load_pem_private_key(key.encode(), None).public_key()
    except (ValueError, TypeError):
        return ["its key is none in PEM, or has a password"]
    first, faults, plain = chain[0], [], (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if first.public_key().public_bytes(*plain) != public.public_bytes(*plain):
        faults.append("it does not belong to the key; the site's own certificate must come first, its chain behind it")
    faults += _faults_of_dates(first)
    names = _names(first)
    if not any(_covers(each, name) for each in names):
        faults.append(f"it is for {', '.join(names) or 'no name'}, not for {name}")
    return faults


def _faults_of_dates(certificate: x509.Certificate) -> list[str]:
    now, faults = datetime.datetime.now(datetime.timezone.utc), []
    if now > certificate.not_valid_after_utc:
        faults.append(f"it has ended on {certificate.not_valid_after_utc:%Y-%m-%d}")
    if now < certificate.not_valid_before_utc:
        faults.append(f"it begins on {certificate.not_valid_before_utc:%Y-%m-%d}")
    return faults


def _names(certificate: x509.Certificate) -> list[str]:
    from cryptography import x509

    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [*found.get_values_for_type(x509.DNSName), *map(str, found.get_values_for_type(x509.IPAddress))]


def _covers(pattern: str, name: str) -> bool:
    """A star stands for one part of a name."""
    return fnmatch.fnmatchcase(name.lower(), pattern.lower()) and name.count(".") == pattern.count(".")


class FilterModule:
    """Makes the filter known to Ansible."""

    def filters(self) -> dict[str, Callable[..., list[str]]]:
        return {"certificate_faults": certificate_faults}

"""The filter self_signed: of certificates those that vouch for themselves."""

from __future__ import annotations

DOCUMENTATION = r"""
name: self_signed
short_description: Of certificates those that vouch for themselves
version_added: 0.1.0
author: Endolab (@endolab)
description:
  - What a chain begins with may be trusted; the rest of it has to be vouched for by somebody else.
options:
  _input:
    description: Certificates in PEM.
    type: str
    required: true
"""

EXAMPLES = r"""
authority: "{{ chain | endolab.active_learning.self_signed }}"
"""

RETURN = r"""
_value:
  description: Those in PEM whose issuer is their subject; empty without any.
  type: str
"""

from collections.abc import Callable


def self_signed(certificates: str) -> str:
    """The `certificates` that nobody else has issued. Raises ValueError where there are none in PEM at all."""
    # Only where there is a certificate: Ansible loads all filters in each process.
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    chain = x509.load_pem_x509_certificates(certificates.encode())
    return "".join(each.public_bytes(Encoding.PEM).decode() for each in chain if each.issuer == each.subject)


class FilterModule:
    """Makes the filter known to Ansible."""

    def filters(self) -> dict[str, Callable[[str], str]]:
        return {"self_signed": self_signed}

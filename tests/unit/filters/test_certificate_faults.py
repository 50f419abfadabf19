"""The filter that judges a lab's own certificate, on certificates made here."""

from __future__ import annotations

import datetime
import ipaddress

import pytest
from ansible_collections.endolab.active_learning.plugins.filter.certificate_faults import certificate_faults
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

KEY, OTHER_KEY = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())


def pem(key: ec.EllipticCurvePrivateKey, password: bytes | None = None) -> str:
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption).decode()


def certificate(*names: str, days: tuple[int, int] = (-1, 30)) -> str:
    """A self-signed certificate for these names and addresses, good between these days from now."""
    now = datetime.datetime.now(datetime.timezone.utc)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "lab")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(now + datetime.timedelta(days=days[0]))
        .not_valid_after(now + datetime.timedelta(days=days[1]))
    )
    if names:
        general: list[x509.GeneralName] = [
            x509.IPAddress(ipaddress.ip_address(name)) if name[0].isdigit() else x509.DNSName(name) for name in names
        ]
        builder = builder.add_extension(x509.SubjectAlternativeName(general), critical=False)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


@pytest.mark.parametrize(
    ("names", "name"),
    [
        (["cvat.example.org"], "cvat.example.org"),
        (["cvat.example.org"], "CVAT.example.org"),
        (["other.org", "*.example.org"], "cvat.example.org"),
        (["192.0.2.7"], "192.0.2.7"),
    ],
)
def test_a_certificate_that_fits_has_no_faults(names: list[str], name: str) -> None:
    assert certificate_faults(certificate(*names), pem(KEY), name) == []


@pytest.mark.parametrize("name", ["example.org", "a.cvat.example.org", "cvat.example.com"])
def test_a_star_stands_for_one_part_of_a_name(name: str) -> None:
    found = certificate_faults(certificate("*.example.org"), pem(KEY), name)
    assert found == [f"it is for *.example.org, not for {name}"]


def test_each_fault_is_told() -> None:
    assert certificate_faults("nothing", pem(KEY), "a.org") == ["it holds no certificate in PEM"]
    for key in ("nothing", pem(KEY, b"secret"), certificate("a.org")):
        assert certificate_faults(certificate("a.org"), key, "a.org") == ["its key is none in PEM, or has a password"]
    late = certificate_faults(certificate(days=(-9, -2)), pem(OTHER_KEY), "a.org")
    assert [fault.split()[:3] for fault in late] == [["it", "does", "not"], ["it", "has", "ended"], ["it", "is", "for"]]
    assert "no name" in late[-1]
    assert certificate_faults(certificate("a.org", days=(2, 9)), pem(KEY), "a.org")[0].startswith("it begins on")

"""Certificates that vouch for themselves, or for another, made for tests."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from pathlib import Path
from socketserver import TCPServer

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

KEY = ec.generate_private_key(ec.SECP256R1())


def pem(key: ec.EllipticCurvePrivateKey, password: bytes | None = None) -> str:
    """A private key as a file holds it."""
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption).decode()


def certificate(*names: str, days: tuple[int, int] = (-1, 30)) -> str:
    """KEY's certificate for these names and addresses, good between these days from now."""
    return _certificate("lab", names, days)


def issued(*names: str) -> str:
    """The same, that another certificate of KEY's vouches for."""
    return _certificate("site", names, (-1, 30))


def _certificate(common_name: str, names: tuple[str, ...], days: tuple[int, int]) -> str:
    now = datetime.datetime.now(datetime.timezone.utc)
    subject, issuer = (x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, each)]) for each in (common_name, "lab"))
    builder = (
        x509.CertificateBuilder(issuer, subject, KEY.public_key(), 1 if common_name == "lab" else 2)
        .not_valid_before(now + datetime.timedelta(days=days[0]))
        .not_valid_after(now + datetime.timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    if names:
        general: list[x509.GeneralName] = [
            x509.IPAddress(ipaddress.ip_address(name)) if name[0].isdigit() else x509.DNSName(name) for name in names
        ]
        builder = builder.add_extension(x509.SubjectAlternativeName(general), critical=False)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def over_tls(server: TCPServer, directory: Path, *names: str) -> Path:
    """Lets a server speak TLS by a certificate for these names; returns the file that vouches for it."""
    authority, key = directory / "ca.pem", directory / "key.pem"
    authority.write_text(certificate(*names), encoding="utf-8")
    key.write_text(pem(KEY), encoding="utf-8")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return authority

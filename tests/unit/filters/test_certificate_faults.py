"""The filter that judges a lab's own certificate, on certificates made here."""

from __future__ import annotations

import pytest
from ansible_collections.endolab.active_learning.plugins.filter.certificate_faults import certificate_faults
from cryptography.hazmat.primitives.asymmetric import ec

from tests.certificates import KEY, certificate, pem

OTHER_KEY = ec.generate_private_key(ec.SECP256R1())


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


def test_of_authorities_one_is_enough() -> None:
    old, young, good = certificate(days=(-9, -2)), certificate(days=(2, 9)), certificate()
    assert certificate_faults("nothing") == ["it holds no certificate in PEM"]
    assert [fault.split()[:3] for fault in certificate_faults(old)] == [["it", "has", "ended"]]
    assert certificate_faults(young)[0].startswith("it begins on")
    assert certificate_faults(old + good) == certificate_faults(good + young) == []


def test_each_fault_is_told() -> None:
    assert certificate_faults("nothing", pem(KEY), "a.org") == ["it holds no certificate in PEM"]
    for key in ("nothing", pem(KEY, b"secret"), certificate("a.org")):
        assert certificate_faults(certificate("a.org"), key, "a.org") == ["its key is none in PEM, or has a password"]
    late = certificate_faults(certificate(days=(-9, -2)), pem(OTHER_KEY), "a.org")
    assert [fault.split()[:3] for fault in late] == [["it", "does", "not"], ["it", "has", "ended"], ["it", "is", "for"]]
    assert "no name" in late[-1]
    assert certificate_faults(certificate("a.org", days=(2, 9)), pem(KEY), "a.org")[0].startswith("it begins on")

"""The documentation of the action bundle, which needs no host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: bundle
short_description: All that a lab is installed from where there is no network, in one directory
version_added: 0.1.0
author: Endolab (@endolab)
description:
  - Fetches images, packages, the model bundle and the wheels of the controller to a directory on the controller, with a
    manifest of sizes and sums and a bill of materials.
  - What is there already and right is not fetched again, and a file that was cut off goes on from there.
  - Says every few seconds how many bytes are done, and how long the rest will take.
options:
  path:
    description: The directory; empty, new, or of a bundle.
    type: path
    required: true
  images:
    description: Where each image is now, by the name that hosts ask for.
    type: dict
    required: true
  packages:
    description: Packages that hosts install, each with C(=) and a version where it has to be that one.
    type: list
    elements: str
    required: true
  repositories:
    description:
      - Where packages come from, each with its C(name) in the bundle, its C(url), and its C(suites), or an apt
        C(source) in deb822 form.
      - C(key) and C(fingerprint) name the publisher's key; without them those of O(keyring) count.
    type: list
    elements: dict
    required: true
  keyring:
    description: File with the keys that sign the distribution's packages.
    type: path
    required: true
  lock:
    description: File that says which bytes images are; it comes into the bundle where it is there.
    type: path
    required: true
  model:
    description: The model bundle, its C(source), a path or a URL, its C(checksum), and the C(name) that it gets.
    type: dict
    required: true
  system:
    description: C(id), C(codename) and C(architecture) of the hosts.
    type: dict
    required: true
attributes:
  check_mode:
    description: Refuses a directory with somebody else's files; asks neither registries nor repositories.
    support: partial
"""

EXAMPLES = r"""
- name: The bundle is whole
  endolab.active_learning.bundle:
    path: /srv/bundle
    images: {"postgres:15-alpine": "registry.example.org/postgres:15-alpine"}
    packages: [nftables]
    repositories: [{name: distribution, url: "http://deb.debian.org/debian", suites: trixie}]
    keyring: /usr/share/keyrings/debian-archive-keyring.gpg
    lock: /root/lab/images.lock
    model: {source: /srv/model.zip, checksum: "sha1:17da026fdcfb4ed36d7fbb5928ade9977adcc589", name: tools}
    system: {id: debian, codename: trixie, architecture: amd64}
"""

RETURN = r"""
path:
  description: The directory.
  returned: success
  type: str
digest:
  description: SHA-256 of its manifest.
  returned: success, but not in check mode
  type: str
bytes:
  description: Its size.
  returned: success, but not in check mode
  type: int
"""

"""Takes the place of a package that MONAI Label imports but the endoscopy app never calls."""

from typing import NoReturn


def __getattr__(name: str) -> NoReturn:
    """Refuses any use of the package, so that its absence is never taken for a result."""
    raise AttributeError(f"{__name__}.{name}: {__name__} is left out of this MONAI Label test image")

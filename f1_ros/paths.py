"""Where f1_ros finds its own files, in a source checkout and when installed."""

from __future__ import annotations

from pathlib import Path

import f1_ros
from f1_ros.errors import ConfigError


def share_dir() -> Path:
    """Return the folder that holds `config/` and `models/`.

    A source checkout (or an editable install of it) is that folder itself. When installed by colcon or pip, it is
    `<prefix>/share/f1_ros`, where prefix is the first folder above the Python package that has one.

    Raises:
        ConfigError: if neither is found.
    """
    package = Path(f1_ros.__file__).resolve().parent
    checkout = package.parent
    if (checkout / "package.xml").is_file() and (checkout / "config").is_dir():
        return checkout
    for prefix in package.parents:
        share = prefix / "share" / "f1_ros"
        if (share / "config").is_dir():
            return share
    raise ConfigError(
        f"No config/ folder belongs to the f1_ros installed at {package}.",
        remedy="Install f1_ros with colcon or pip from a complete checkout, so that its data files come along.",
    )

"""An action node on a machine that lacks the package which the environment names."""

import os
import sys
from importlib.machinery import ModuleSpec


class Refuse:
    """Finds no module of that package."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name.partition(".")[0] == os.environ["WITHOUT_PACKAGE"]:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
        return None


sys.meta_path.insert(0, Refuse())

from f1_ros.nodes.action_node import main  # noqa: E402

sys.exit(main())

"""Which deployed release this program is part of. On the path to the first label, so it imports next to nothing."""

import json
import os
import sys
from pathlib import Path

_VARIABLE = "FER_EDGE_RELEASE"


def release_id(environment: Path = Path(sys.prefix)) -> str | None:
    """$FER_EDGE_RELEASE, or the id in release.json beside the environment that runs this; None where nobody deployed.

    Links are followed when this is called: ask at the start, before another release becomes the current one.
    """
    given = os.environ.get(_VARIABLE)
    if given:
        return given
    try:
        told = json.loads((environment.resolve().parent / "release.json").read_text(encoding="utf-8"))
        return told["id"] if isinstance(told["id"], str) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None

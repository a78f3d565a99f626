"""The errors that a user can mend; they live in the lowest folder so that every folder can raise them.

Libraries raise them with one sentence that says what was found, what was expected and what to do. Only `cli` catches
them. Anything else that is raised is a bug and keeps its traceback.
"""


class FerEdgeError(Exception):
    """Base of every error that is the input's or the environment's fault, never the program's."""


class DataError(FerEdgeError):
    """A data set, a cache or a calibration set that cannot be used as it is."""


class RunError(FerEdgeError):
    """A training run folder that is missing, incomplete or made by another configuration."""


class BundleError(FerEdgeError):
    """A bundle that is incomplete, altered, or of a schema this version does not read."""


class EngineError(FerEdgeError):
    """An inference engine that is not installed, does not start, or rejects the model."""


class SourceError(FerEdgeError):
    """A camera, clip or image that cannot be opened or read."""


class ConversionError(FerEdgeError):
    """A conversion whose result is not what was asked for: not all int8, or less accurate than allowed."""


class DeployError(FerEdgeError):
    """A board that cannot be reached or does not take a release, or a release that is not as it was made."""


class OutputError(FerEdgeError):
    """A result that cannot be written."""


class BoardError(FerEdgeError):
    """What stops a deployment on the board: a payload that is not whole, a self-test that fails, a service that does
    not come up."""


def install_command(extra: str) -> str:
    """What to run to have an extra."""
    return f"pip install 'fer-edge[{extra}]'"


def needs_extra(module: str, extra: str) -> str:
    """The one sentence for a dependency that is not installed."""
    return f"{module} is not installed; run: {install_command(extra)}"

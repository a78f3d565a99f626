"""`fer-edge tune`: the fastest settings for this device that keep the accuracy."""


def tune() -> None:
    """Search for this device's best settings and keep them as its profile, which `run` then takes."""
    raise NotImplementedError

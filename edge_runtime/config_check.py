"""What is wrong with a configuration before anything is opened: outputs that would destroy inputs, options that
contradict each other or do nothing."""

from pathlib import Path

from fer_edge.devices.errors import OutputError
from fer_edge.edge_runtime.config import ConfigError, RunConfig

_NEEDS = {
    "rotate_mb": ("jsonl", "csv"),
    "web_token_file": ("web",),
    "mqtt_topic": ("mqtt",),
    "mqtt_ca": ("mqtt",),
    "mqtt_password_file": ("mqtt",),
}
"""An option that does nothing without one of these."""


def check_config(config: RunConfig, file: Path | None = None) -> None:
    """Refuse what cannot be meant.

    Args:
        config: what a run would do.
        file: the TOML file that it came from.

    Raises:
        OutputError: an output that is the source, another input, or another output; an address or token of no use.
        ConfigError: options that contradict each other, or that nothing would heed.
    """
    _check_outputs(config, file)
    for option, hosts in _NEEDS.items():
        if getattr(config, option) is not None and not any(getattr(config, host) for host in hosts):
            raise ConfigError(f"{option} does nothing without {' or '.join(hosts)}")
    if config.aggregate and (config.save or config.show):
        raise ConfigError("aggregate gives out no faces; leave save and show away")
    if config.aggregate and not (config.jsonl or config.csv or config.mqtt or config.web or config.metrics):
        raise ConfigError("aggregate needs somewhere to give its counts; add jsonl, csv, mqtt, web or metrics")
    if config.web:
        from fer_edge.edge_runtime.web_server import parse_address, token_for

        token_for(parse_address(config.web)[0], config.web_token_file)


def _check_outputs(config: RunConfig, file: Path | None) -> None:
    source = Path(config.source.removeprefix("replay:").partition("?")[0])
    inputs = [source, file, config.bundle, config.detector_model, config.web_token_file, config.mqtt_password_file]
    taken = [path.resolve() for path in inputs if path is not None]
    for output in (config.save, config.jsonl, config.csv):
        if output is None:
            continue
        for path in (output, *_rotated(config, output)):
            if path.resolve() in taken:
                raise OutputError(f"{path} is the source or another output; writing it would destroy that")
            if source.is_dir() and path.resolve().parent == source.resolve():
                raise OutputError(f"{path} lies in the source's folder and could replace a photo; write elsewhere")
            taken.append(path.resolve())


def _rotated(config: RunConfig, output: Path) -> list[Path]:
    if config.rotate_mb is None or output == config.save:
        return []
    return [output.with_name(f"{output.name}.{n}") for n in range(1, config.rotate_keep + 1)]

"""Which boards there are: `hosts.toml`, or an Ansible inventory as INI or YAML."""

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fer_edge.devices.errors import DataError, needs_extra

OF_A_BOARD = ("camera", "profile", "config", "bundle")
"""What an inventory may say of one board in place of the command line; in Ansible with `fer_edge_` before it."""
_ANSIBLE = {
    "ansible_port": ("-p",), "ansible_ssh_port": ("-p",), "ansible_ssh_private_key_file": ("-i",),
    "ansible_private_key_file": ("-i",),
}  # fmt: skip


@dataclass(frozen=True)
class Host:
    """A board: its name for people, what ssh is told, and what is set for it alone (keys of `OF_A_BOARD`)."""

    name: str
    address: str
    options: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    own: Mapping[str, str] = field(default_factory=dict, hash=False, compare=False)


def read_inventory(path: Path) -> list[Host]:
    """The boards of a file, in its order.

    Raises:
        DataError: it cannot be read, names a board twice, has a key that is not known, or names none.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise DataError(f"cannot read the inventory {path}: {why}") from error
    readers = {".toml": _toml, ".yml": _yaml, ".yaml": _yaml}
    hosts = list(readers.get(path.suffix.lower(), _ini)(path, text))
    if not hosts:
        raise DataError(f"{path} names no board")
    names = [host.name for host in hosts]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{path} names {twice} twice")
    return hosts


def chosen(hosts: list[Host], limit: str | None) -> list[Host]:
    """Those that `limit` names, comma-separated by name or group.

    Raises:
        DataError: one of the names is neither.
    """
    if limit is None:
        return hosts
    wanted = [word.strip() for word in limit.split(",") if word.strip()]
    known = {name for host in hosts for name in (host.name, *host.groups)}
    unknown = [word for word in wanted if word not in known]
    if unknown or not wanted:
        named = ", ".join(unknown) or repr(limit)
        raise DataError(f"no board or group is called {named}; there are {', '.join(sorted(known))}")
    return [host for host in hosts if {host.name, *host.groups} & set(wanted)]


def _toml(path: Path, text: str) -> Iterator[Host]:
    import tomllib

    try:
        words = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"{path} is not TOML ({error})") from error
    unknown = set(words) - {"defaults", "host"}
    if unknown:
        raise DataError(f"{path}: unknown key {min(unknown)!r}; expected [defaults] and [[host]]")
    defaults = words.get("defaults", {})
    for table in words.get("host", []):
        told = defaults | table
        unknown = set(told) - {"name", "ssh", "ssh_options", "groups", *OF_A_BOARD}
        if unknown:
            keys = ", ".join(("name", "ssh", "ssh_options", "groups", *OF_A_BOARD))
            raise DataError(f"{path}: unknown key {min(unknown)!r} of a host; there are {keys}")
        address = told.get("ssh") or told.get("name")
        if not isinstance(address, str) or not address:
            raise DataError(f'{path}: a host without ssh = "user@address"')
        own = {key: _text(path, key, told[key]) for key in OF_A_BOARD if key in told}
        options = tuple(map(str, told.get("ssh_options", ())))
        yield Host(str(told.get("name", address)), address, options, tuple(told.get("groups", ())), _placed(path, own))


def _yaml(path: Path, text: str) -> Iterator[Host]:
    try:
        import yaml
    except ModuleNotFoundError as error:
        raise DataError(needs_extra("yaml", "deploy")) from error
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise DataError(f"{path} is not YAML ({' '.join(str(error).split())})") from error
    found: dict[str, tuple[dict[str, Any], list[str]]] = {}

    def walk(group: str, node: Any, inherited: dict[str, Any], above: tuple[str, ...]) -> None:
        if node is None:
            return
        if not isinstance(node, dict):
            raise DataError(f"{path}: group {group} is {type(node).__name__}; expected hosts, vars, children")
        told, here = inherited | (node.get("vars") or {}), (*above, group)
        for pattern, own in (node.get("hosts") or {}).items():
            for name in _expanded(str(pattern)):
                variables, groups = found.setdefault(name, ({}, []))
                variables.update(told | (own or {}))
                groups += [each for each in here if each not in groups]
        for child, below in (node.get("children") or {}).items():
            walk(str(child), below, told, here)

    for group, node in (tree if isinstance(tree, dict) else {}).items():
        walk(str(group), node, {}, ())
    for name, (variables, groups) in found.items():
        yield _ansible(path, name, variables, groups)


def _ini(path: Path, text: str) -> Iterator[Host]:
    members: dict[str, list[str]] = {}
    of_group: dict[str, dict[str, str]] = {}
    parents: dict[str, list[str]] = {}
    of_host: dict[str, dict[str, str]] = {}
    group, kind = "ungrouped", ""
    for number, line in enumerate(text.splitlines(), 1):
        line = re.sub(r"(^|\s)[#;].*", "", line).strip()
        if not line:
            continue
        header = re.fullmatch(r"\[([^:\]]+)(?::(vars|children))?\]", line)
        if header:
            group, kind = header[1], header[2] or ""
        elif kind == "vars":
            key, _, value = line.partition("=")
            of_group.setdefault(group, {})[key.strip()] = value.strip().strip("\"'")
        elif kind == "children":
            parents.setdefault(line, []).append(group)
        else:
            try:
                pattern, *words = shlex.split(line)
            except ValueError as error:
                raise DataError(f"{path}, line {number}: {error}") from error
            told = dict(word.partition("=")[::2] for word in words)
            for name in _expanded(pattern):
                of_host.setdefault(name, {}).update(told)
                members.setdefault(name, []).append(group)
    for name, told in of_host.items():
        groups = _with_parents(members[name], parents)
        inherited: dict[str, str] = dict(of_group.get("all", {}))
        for each in reversed(groups):
            inherited.update(of_group.get(each, {}))
        yield _ansible(path, name, inherited | told, groups)


def _with_parents(groups: list[str], parents: Mapping[str, list[str]]) -> list[str]:
    """The groups and those that they are children of, nearest first."""
    found = list(dict.fromkeys(groups))
    for group in found:
        found += [parent for parent in parents.get(group, ()) if parent not in found]
    return found


def _ansible(path: Path, name: str, variables: Mapping[str, Any], groups: list[str]) -> Host:
    told = {key: str(value) for key, value in variables.items() if value is not None}
    user = told.get("ansible_user") or told.get("ansible_ssh_user")
    host = told.get("ansible_host") or told.get("ansible_ssh_host") or name
    options = [word for key, flag in _ANSIBLE.items() if key in told for word in (*flag, told[key])]
    options += shlex.split(told.get("ansible_ssh_common_args", "")) + shlex.split(
        told.get("ansible_ssh_extra_args", "")
    )
    own = {key: told[f"fer_edge_{key}"] for key in OF_A_BOARD if f"fer_edge_{key}" in told}
    return Host(name, f"{user}@{host}" if user else host, tuple(options), tuple(groups), _placed(path, own))


def _expanded(pattern: str) -> list[str]:
    """`pi[01:03].local` as pi01.local, pi02.local, pi03.local."""
    found = re.search(r"\[(\d+):(\d+)\]", pattern)
    if not found:
        return [pattern]
    width = len(found[1]) if found[1].startswith("0") else 0
    numbers = range(int(found[1]), int(found[2]) + 1)
    return [pattern[: found.start()] + f"{n:0{width}d}" + pattern[found.end() :] for n in numbers]


def _placed(path: Path, own: dict[str, str]) -> dict[str, str]:
    """Files are named relative to the inventory; a bare word that is none there is a bundle that ships, by its name."""
    placed = {key: str(path.parent / value) if key in ("config", "bundle") else value for key, value in own.items()}
    if "bundle" in own and Path(own["bundle"]).name == own["bundle"] and not Path(placed["bundle"]).exists():
        placed["bundle"] = own["bundle"]
    return placed


def _text(path: Path, key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise DataError(f"{path}: {key} is {value!r}; expected a text in quotes")
    return value

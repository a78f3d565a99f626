"""What the words of `fer-edge bench` mean, checked before anything is measured, and what becomes of the report."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from fer_edge.devices.errors import OutputError

if TYPE_CHECKING:
    from fer_edge.edge_runtime.bench_subject import Model
    from fer_edge.edge_runtime.bundle import Bundle


def scope_of(word: str) -> str:
    """`engine`, `classify` or `pipeline`.

    Raises:
        BadParameter: another word.
    """
    from fer_edge.edge_runtime.bench_subject import SCOPES

    if word not in SCOPES:
        raise typer.BadParameter(f"{word!r} is none of {', '.join(SCOPES)}", param_hint="--scope")
    return word


def numbers(flag: str, text: str | None, most: int) -> tuple[int, ...]:
    """`1,2,4` as numbers, each once; () where nothing is given.

    Raises:
        BadParameter: anything else than numbers from 1 to `most`.
    """
    words = [] if text is None else [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdigit() and 1 <= int(word) <= most for word in words):
        raise typer.BadParameter(f"{text!r} is no number from 1 to {most}, nor several as 1,2,4", param_hint=flag)
    return tuple(dict.fromkeys(map(int, words)))


def cores_of(text: str | None) -> tuple[int, ...] | None:
    """The cores of `0-1,3`.

    Raises:
        BadParameter: no such list.
    """
    from fer_edge.devices.cores import parse_cores

    try:
        return None if text is None else tuple(parse_cores(text))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--cores") from None


def boards_of(text: str | None) -> tuple[str, ...]:
    """The boards of `pi4,pi5`.

    Raises:
        DataError: a board that nobody knows.
    """
    names = tuple(dict.fromkeys(word.strip() for word in text.split(","))) if text is not None else ()
    if names:
        from fer_edge.devices.boards import find_boards

        find_boards(names)
    return names


def refuse_idle(flags: Mapping[str, tuple[bool, bool, str]]) -> None:
    """Flags that were given and would do nothing: flag to (given, of use, where it is not).

    Raises:
        BadParameter: one of them.
    """
    for flag, (given, of_use, where) in flags.items():
        if given and not of_use:
            raise typer.BadParameter(f"does nothing {where}", param_hint=flag)


def check_outputs(json_file: Path | None, html: Path | None) -> None:
    """Say before the minutes of measuring what could not be written after them.

    Raises:
        OutputError: a folder is in the way, or two outputs are one file.
        ModuleNotFoundError: what draws the page is not installed.
    """
    for path in (json_file, html):
        if path is not None and path.is_dir():
            raise OutputError(f"{path} is a folder; name a file in it")
    if html is not None:
        if json_file is not None and json_file.resolve() == html.resolve():
            raise OutputError(f"{html} cannot be both --json and --html")
        import fer_edge.edge_runtime.bench_page  # noqa: F401


def models_of(
    bundle: Path | None, files: list[Path], precision: str | None, only: str | None
) -> "tuple[list[Model], Bundle | None]":
    """What to measure, and the bundle where it is one.

    Raises:
        FerEdgeError: something that is not there, or is not what it should be.
        BadParameter: a precision that nobody knows.
    """
    from fer_edge.edge_runtime.bench_subject import models_of_bundle, models_of_files
    from fer_edge.edge_runtime.bundle import Bundle
    from fer_edge.edge_runtime.vocabulary import Precision

    if precision is not None and precision not in list(Precision):
        raise typer.BadParameter(f"{precision!r} is none of {', '.join(Precision)}", param_hint="--precision")
    if files:
        return models_of_files(files, None if precision is None else Precision(precision), only), None
    opened = Bundle.open(bundle)
    return models_of_bundle(opened, only), opened


def write(report: dict[str, Any], json_file: Path | None, html: Path | None) -> None:
    """Write what was asked for, each whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    if json_file is not None:
        from fer_edge.devices.files import write_json

        write_json(json_file, report, indent=None)
    if html is not None:
        from fer_edge.edge_runtime.bench_page import write_page

        write_page(report, html)


def show(report: dict[str, Any], *, markdown: bool) -> None:
    """Print tables, or Markdown."""
    if markdown:
        from fer_edge.edge_runtime.bench_markdown import as_markdown

        print(as_markdown(report), end="")
        return
    from fer_edge.cli.bench_screen import print_bench

    print_bench(report)

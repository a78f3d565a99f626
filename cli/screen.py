"""Tables on stdout and progress bars on stderr, with rich, which is imported only when something is drawn."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fer_edge.devices.errors import OutputError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


@contextmanager
def progress(what: str, total: float | None = None) -> Iterator[tuple["Progress", "TaskID"]]:
    """A progress bar on stderr; where stderr is no terminal, one line when done."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        yield bar, bar.add_task(what, total=total)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], texts: Sequence[int] = (0,)) -> None:
    """Print a table to stdout; the first column is text, or those whose numbers are given, the others are figures.

    Callers keep it within 80 columns: that is what a Pi is seen through.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    drawn = Table(
        title=title,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for at, column in enumerate(columns):
        drawn.add_column(column, justify="left" if at in texts else "right", no_wrap=True)
    for row in rows:
        drawn.add_row(*row)
    console = Console()
    if not console.is_terminal:  # into a file or a pipe: as wide as the table is, rows never folded
        console.width = max(console.width, 200)
    console.print(drawn)


def refuse_existing(path: Path, *, force: bool) -> None:
    """Say that `path` exists before the work is done, not after it.

    Raises:
        OutputError: it exists and `force` is not given.
    """
    if path.exists() and not force:
        raise OutputError(f"{path} exists already; choose another --out or pass --force to replace it")

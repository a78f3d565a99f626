"""`fer-edge train-worker`: one process of `fer-edge train --workers`, which starts it; not for people."""

from typing import Annotated

import typer


def train_worker(reports: Annotated[int, typer.Argument(help="File descriptor that takes the progress.")]) -> None:
    """Do the job that comes on stdin."""
    from fer_edge.train.worker import work

    work(reports)

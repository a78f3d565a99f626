"""What training asks of the processes that share it, and the answers of one that trains alone."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from fer_edge.train.recipe import Recipe
from fer_edge.train.run_folder import Epoch

if TYPE_CHECKING:
    import keras


class Team(Protocol):
    """The workers of one run, seen from one of them."""

    @property
    def shard(self) -> tuple[int, int]:
        """This worker's number, from 0, and how many there are."""

    def begin(self, recipe: Recipe, history: Sequence[Epoch], checkpoint: Path | None) -> None:
        """Say to the others where training begins; worker 0 alone calls it."""

    def sharing(self) -> AbstractContextManager:
        """While it is open, networks are built in step with the others' and fitted on all parts of a batch."""

    def apart(self, model: "keras.Model", epoch: int) -> AbstractContextManager:
        """Within `sharing`, after a 1-based epoch: while it is open, this process may save the network by itself.

        Raises:
            RunError: the workers' weights differ.
        """


class Alone:
    """A team of one."""

    shard = (0, 1)

    def begin(self, recipe: Recipe, history: Sequence[Epoch], checkpoint: Path | None) -> None:
        """There is nobody to tell."""

    def sharing(self) -> AbstractContextManager:
        """Nothing is shared."""
        return nullcontext()

    def apart(self, model: "keras.Model", epoch: int) -> AbstractContextManager:
        """It is by itself."""
        return nullcontext()

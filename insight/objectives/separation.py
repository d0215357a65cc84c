"""Guards of triplet training: steps without a triplet, and a network that has collapsed."""

from __future__ import annotations

from ..errors import InsightError

EMPTY_STEPS = 100  # in a row, until the run is stopped
COLLAPSED_STEPS = 100  # likewise
NEAR = 0.01  # of the margin: how far the loss of a network that gives all images one embedding is from it


class SeparationGuard:
    """Counts steps in a row whose batches have no triplet, or a loss that is the margin's.

    Parameters
    ----------
    margin : float
        The loss if all distances are equal: alpha, or ln 2 of a soft loss.
    remedy : str
        What finds more triplets, for messages.
    """

    def __init__(self, margin: float, remedy: str):
        self.margin = margin
        self.remedy = remedy
        self._empty = self._at_margin = 0

    def saw(self, step: int, triplets: int, loss: float) -> None:
        """Take note of a step.

        Raises
        ------
        InsightError
            It is the last of too many.
        """
        self._empty = 0 if triplets else self._empty + 1
        at_margin = triplets > 0 and self.margin > 0 and abs(loss - self.margin) < NEAR * self.margin
        self._at_margin = self._at_margin + 1 if at_margin else 0
        kept = "the last saved state is kept"
        if self._empty == EMPTY_STEPS:
            raise InsightError(
                f"step {step + 1}: no triplets in {EMPTY_STEPS} batches in a row; {self.remedy}, or end here: the "
                f"network separates this set; {kept}"
            )
        if self._at_margin == COLLAPSED_STEPS:
            raise InsightError(
                f"step {step + 1}: the network has collapsed: for {COLLAPSED_STEPS} steps the triplet loss has been "
                f"{loss:.4g}, as if all images had one embedding ({self.margin:.4g}); go back to the checkpoint that "
                f"the run started from, with a lower --lr, or with --classification-weight; {kept}"
            )

    def state(self) -> list:
        """For exact resume."""
        return [self._empty, self._at_margin]

    def restore(self, state: list) -> None:
        """Take back what :meth:`state` gave."""
        self._empty, self._at_margin = state

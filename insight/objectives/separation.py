"""Guard of triplet training against steps without triplets and a collapsed network."""

from __future__ import annotations

from ..errors import InsightError

EMPTY_STEPS = 100  # consecutive steps without triplets after which the run is stopped
COLLAPSED_STEPS = 100  # consecutive steps with the loss of a collapsed network after which the run is stopped
NEAR = 0.01  # relative tolerance of the comparison of the loss with that of a collapsed network


class SeparationGuard:
    """Count consecutive steps without triplets, and those with the loss of a collapsed network.

    Parameters
    ----------
    margin : float
        Loss if all distances are equal: alpha, or ln 2 with a soft margin.
    remedy : str
        For error messages: how to find more triplets.
    """

    def __init__(self, margin: float, remedy: str):
        self.margin = margin
        self.remedy = remedy
        self._empty = self._at_margin = 0

    def saw(self, step: int, triplets: int, loss: float) -> None:
        """Count a step.

        Parameters
        ----------
        step : int
            0-based.
        triplets : int
            Number of triplets of the batch.
        loss : float

        Raises
        ------
        InsightError
            The number of consecutive steps has reached :data:`EMPTY_STEPS` or :data:`COLLAPSED_STEPS`.
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
        """JSON-serialisable counts, for an exact resume."""
        return [self._empty, self._at_margin]

    def restore(self, state: list) -> None:
        """Restore the result of :meth:`state`."""
        self._empty, self._at_margin = state

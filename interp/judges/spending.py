"""What was spent on a judge, and the cap on it that is never passed."""

import asyncio
from dataclasses import dataclass

from interp.judges.answers import CapReached
from interp.judges.prices import Price
from interp.judges.replies import Charge


@dataclass(frozen=True)
class Reservation:
    """Money set aside for one call: the most that it can cost, in USD."""

    most: float


class Spending:
    """Money set aside for calls in flight, and spent by those that were answered. One event loop at a time.

    A call whose answer never came, or came without its tokens, may have been charged: it counts against the cap with
    the most that it can have cost, and not at all as cost.

    Args:
        price: None where it is unknown; then nothing is counted.
        cap: USD, of this run; None for no cap.
    """

    def __init__(self, price: Price | None, cap: float | None = None) -> None:
        self.price, self.cap = price, cap
        self.spent, self.doubtful = 0.0, 0.0
        self.begin()

    def begin(self) -> None:
        """Forget the calls of an event loop that has ended; what was spent stays."""
        self.reserved, self._open = 0.0, 0
        self._settled = asyncio.Event()

    async def reserve(self, input_tokens: float, output_tokens: float) -> Reservation:
        """Set aside what a call costs at most; waits for calls in flight that may turn out cheaper.

        Raises:
            CapReached: with nothing in flight, this call could still pass the cap.
        """
        most = self.price.cost(input_tokens, output_tokens) if self.price else 0.0
        while self.cap is not None and self.spent + self.doubtful + self.reserved + most > self.cap:
            if self._open == 0:
                raise CapReached(self._cap_message(most))
            self._settled.clear()
            await self._settled.wait()
        self.reserved += most
        self._open += 1
        return Reservation(most)

    def settle(
        self, reservation: Reservation, charge: Charge, input_tokens: int = 0, output_tokens: int = 0
    ) -> float | None:
        """What a call cost in USD, its money no longer set aside; None where the price is unknown."""
        self._release(reservation)
        if charge == "unknown":
            self.doubtful += reservation.most
        return self.charge(charge, input_tokens, output_tokens)

    def charge(self, charge: Charge, input_tokens: int, output_tokens: int) -> float | None:
        """Count what a call cost, in USD; None where the price is unknown."""
        if self.price is None:
            return None
        cost = self.price.cost(input_tokens, output_tokens) if charge == "yes" else 0.0
        self.spent += cost
        return cost

    def _release(self, reservation: Reservation) -> None:
        self._open -= 1
        self.reserved = self.reserved - reservation.most if self._open else 0.0
        self._settled.set()

    def _cap_message(self, most: float) -> str:
        doubtful = f" and ${self.doubtful:.4f} for calls whose cost is not known" if self.doubtful else ""
        return (
            f"the spending cap of ${self.cap:g} could be passed by the next call (up to ${most:.4f}): "
            f"${self.spent:.4f} spent{doubtful}; raise --spend-at-most to judge the rest"
        )

"""What the decode loops of this machine make and take, as a frame of the stream."""

import json
from dataclasses import asdict

from workshop_utils.monitor.sample import STREAM_VERSION
from workshop_utils.monitor.token_energy import TokenRate
from workshop_utils.monitor.token_rates import TokenRates


def frame_of(rate: TokenRate | None) -> str:
    """Return the frame; while nothing decodes its field is null."""
    tokens = None if rate is None else asdict(rate)
    return json.dumps({"version": STREAM_VERSION, "kind": "tokens", "tokens": tokens}, allow_nan=False)


NO_TOKENS = frame_of(None)


class Decoding:
    """Reads what the loops report."""

    subject, nothing, is_of_now = "the tokens of decode loops", NO_TOKENS, True

    def __init__(self, rates: TokenRates) -> None:
        self._rates = rates

    def read(self) -> str:
        """Return the frame of the last seconds."""
        return frame_of(self._rates.read())

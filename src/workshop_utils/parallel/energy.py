"""What a rank's GPU uses while it works, as the driver counts it."""

from workshop_utils.hardware.nvml import Nvml


class EnergyMeter:
    """Starts when it is made. The driver counts the whole GPU, with whatever else runs on it."""

    def __init__(self, device: str) -> None:
        self._uuid: str | None = None
        if device != "cpu":
            import torch

            self._nvml = Nvml(rates=False)
            self._nvml.read()
            self._uuid = str(torch.cuda.get_device_properties(device).uuid)
        self._start = self._now()

    def joules(self) -> float | None:
        """Return the energy since the start; None on a CPU and where the driver does not count it."""
        now = self._now()
        return None if now is None or self._start is None else now - self._start

    def _now(self) -> float | None:
        return None if self._uuid is None else self._nvml.energy_joules(self._uuid)

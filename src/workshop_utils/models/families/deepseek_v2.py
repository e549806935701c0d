"""DeepSeek-V2: as V3, with other defaults (``DeepseekV2Config``)."""

from workshop_utils.models.architecture import Architecture
from workshop_utils.models.config import Config
from workshop_utils.models.families import deepseek_v3


def read(config: Config) -> Architecture:
    """Return the architecture of a DeepSeek-V2 or V2-Lite config (V2-Lite projects queries in one step)."""
    return deepseek_v3.read_with(config, first_dense=0, shared=2)

"""How many ways a run is split: data × pipeline × tensor parallel, and where each rank stands in it."""

from dataclasses import dataclass

from workshop_utils.errors import WorkshopError
from workshop_utils.memory.layout_check import check_layout
from workshop_utils.models.architecture import Architecture


@dataclass(frozen=True, slots=True)
class Layout:
    """``data`` replicas, each of ``pipeline`` stages, each of ``tensor`` ranks.

    Ranks count through the tensor ranks first, which speak most and so should be closest, then through the
    stages, then through the replicas.
    """

    data: int = 1
    pipeline: int = 1
    tensor: int = 1

    def __post_init__(self) -> None:
        for name in ("data", "pipeline", "tensor"):
            size = getattr(self, name)
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                raise WorkshopError(
                    f"{name} parallel size {size} is no whole number from 1 on; choose 1 for one."
                )

    @property
    def ranks(self) -> int:
        return self.data * self.pipeline * self.tensor

    def place(self, rank: int) -> "Place":
        """Return where a rank stands."""
        rest, tensor = divmod(rank, self.tensor)
        data, stage = divmod(rest, self.pipeline)
        return Place(rank, data, stage, tensor)

    def rank_of(self, data: int, stage: int, tensor: int) -> int:
        """Return the rank at a place."""
        return (data * self.pipeline + stage) * self.tensor + tensor

    def __str__(self) -> str:
        return f"DP {self.data} × PP {self.pipeline} × TP {self.tensor}"


@dataclass(frozen=True, slots=True)
class Place:
    """Replica, pipeline stage and tensor rank of one rank."""

    rank: int
    data: int
    stage: int
    tensor: int


def check(layout: Layout, architecture: Architecture, devices: int | None = None) -> None:
    """Raise WorkshopError, with the nearest layouts that can be, where a model or machine cannot have it."""
    check_layout(architecture, layout.tensor, layout.pipeline)
    if devices is not None and layout.ranks > devices:
        raise WorkshopError(
            f"{layout} needs {layout.ranks} GPUs and {devices} are here; choose one of at most {devices}."
        )

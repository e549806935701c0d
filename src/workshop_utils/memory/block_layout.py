"""How a quantised matrix lies in memory: values of a few bits, and scales that groups of them share."""

from math import ceil
from typing import NamedTuple

# A block of values is scaled by a float32, where double quantisation shrinks the scales themselves.
OUTER_SCALE_BYTES = 4


class BlockLayout(NamedTuple):
    """``bits`` for each value and ``scale_bits`` (scale, zero point) for each tile of values.

    A matrix has ``rows`` outputs and ``columns`` inputs. A tile covers ``tile_rows`` × ``tile_columns``, None
    for the whole side. ``flat``: tiles run through the matrix as one long row. ``padded``: a tile is stored
    whole, with values for the columns that it has too many. ``column_bytes``: for each input, such as GPTQ's
    ``g_idx``. ``matrix_bytes``: for each matrix, such as code tables. ``scales_per_scale``: so many
    scales share one in float32 (double quantisation).
    """

    bits: int
    scale_bits: int = 0
    tile_rows: int | None = 1
    tile_columns: int | None = None
    flat: bool = False
    padded: bool = False
    column_bytes: int = 0
    matrix_bytes: int = 0
    scales_per_scale: int | None = None
    name: str = ""

    @property
    def bits_per_weight(self) -> float:
        """Bits of a weight with its share of scales; a scale of a whole row or matrix is left out."""
        if self.tile_rows is None or self.tile_columns is None:
            return self.bits
        outer = OUTER_SCALE_BYTES * 8 / self.scales_per_scale if self.scales_per_scale else 0
        return self.bits + (self.scale_bits + outer) / (self.tile_rows * self.tile_columns)

    def value_bytes(self, rows: int, columns: int) -> int:
        """Return the bytes of the values of one matrix, without scales."""
        if self.padded and self.tile_columns:
            columns = ceil(columns / self.tile_columns) * self.tile_columns
        return ceil(rows * columns * self.bits / 8)

    def scale_bytes(self, rows: int, columns: int) -> int:
        """Return the bytes of everything else of one matrix: scales, zero points, tables."""
        inputs = columns
        if self.flat:
            rows, columns = 1, rows * columns
        down = ceil(rows / self.tile_rows) if self.tile_rows else 1
        across = ceil(columns / self.tile_columns) if self.tile_columns else 1
        scales = down * across
        outer = ceil(scales / self.scales_per_scale) * OUTER_SCALE_BYTES if self.scales_per_scale else 0
        return ceil(scales * self.scale_bits / 8) + outer + self.column_bytes * inputs + self.matrix_bytes

"""The exercises of notebook 07: which layers a tight map keeps, and what the others cost."""

from functools import cache

from workshop_utils.lessons.number_checks import NumberExercise, Slip
from workshop_utils.models.find import find_architecture
from workshop_utils.models.parameters import count_parameters, layer_pieces
from workshop_utils.parallel.big_model.devices import HOST, Key, imagined_devices
from workshop_utils.parallel.big_model.maps import accelerate_map
from workshop_utils.parallel.big_model.placement import Placement
from workshop_utils.units import GB, GIB

MODEL, GPU, MAX_GB, HOST_GB, LINK_GB_PER_S = "llama-3.1-70b", "1 x H100-80GB", 70, 200, 25
BYTES, BITS = 2, 8  # of a bfloat16 value, of a byte
MILLISECONDS = 1000


@cache
def _map() -> Placement:
    limits: dict[Key, int] = {0: MAX_GB * GB, HOST: HOST_GB * GB}
    return accelerate_map(MODEL, imagined_devices(GPU, host_gib=HOST_GB), max_memory=limits)


def layer_values() -> int:
    """Return the parameters of one decoder layer."""
    shape = find_architecture(MODEL)
    return sum(piece.matrices + piece.others for piece in layer_pieces(shape.layers[0], shape.hidden_size))


def head_values() -> int:
    """Return the parameters of the head; the embedding has as many."""
    shape = find_architecture(MODEL)
    return shape.vocabulary_size * shape.hidden_size


def layers_by_hand(
    *, embeddings: int = 1, kept: int = 1, value_bytes: int = BYTES, room: float = MAX_GB * GB
) -> int:
    """Count the layers on the GPU, as a reader would; the options are the mistakes a reader makes.

    ``embeddings``: how often the embedding is taken off; ``kept``: how often room for the largest part is.
    """
    used = value_bytes * head_values() * (embeddings + kept)
    return int((room - used) // (value_bytes * layer_values()))


LAYERS_KEPT = NumberExercise(
    key="layers_kept",
    unit="layers",
    engine=lambda: _map().layers.count(0),
    solution=layers_by_hand,
    slips=(
        Slip(
            "kept no room for the largest part",
            lambda: layers_by_hand(kept=0),
            "One too many: the first GPU keeps room for the largest part still to come, the head, "
            "because what is offloaded comes there for its turn.",
        ),
        Slip(
            "forgot the embedding, too",
            lambda: layers_by_hand(embeddings=0, kept=0),
            "This fills all 70 GB with layers. The embedding lies there, too, and room for the head is kept.",
        ),
        Slip(
            "counted the embedding twice",
            lambda: layers_by_hand(embeddings=2),
            "This takes 2.1 GB off three times: the embedding lies there once, and the head needs room.",
        ),
        Slip(
            "GiB for GB",
            lambda: layers_by_hand(room=MAX_GB * GIB),
            'This takes 70 GiB. Accelerate reads "70GB" as 70 × 10⁹ bytes, and "70GiB" as 70 × 2³⁰.',
        ),
        Slip(
            "four bytes a value",
            lambda: layers_by_hand(value_bytes=2 * BYTES),
            "This counts 4 bytes a value, as in float32. bfloat16 has 2.",
        ),
        Slip(
            "all layers",
            lambda: len(find_architecture(MODEL).layers),
            "These are all layers of the model. 70 GB do not hold 141 GB.",
        ),
    ),
    hint="(70 GB − embedding − room for the largest part that is still to come) / bytes of a layer, rounded "
    "down.",
    explanation="The largest part still to come is the head, 2.1 GB, not a layer of 1.7 GB.",
)


def seconds_by_hand(*, layers: int | None = None, heads: int = 1, factor: float = 1.0) -> float:
    """Count the seconds of copies for a token; the options are the mistakes a reader makes."""
    away = len(find_architecture(MODEL).layers) - layers_by_hand() if layers is None else layers
    return factor * BYTES * (away * layer_values() + heads * head_values()) / (LINK_GB_PER_S * GB)


COPY_SECONDS = NumberExercise(
    key="copy_seconds",
    unit="s",
    engine=lambda: _map().offloaded_bytes / (LINK_GB_PER_S * GB),
    solution=seconds_by_hand,
    slips=(
        Slip(
            "the whole model over PCIe",
            lambda: BYTES * count_parameters(find_architecture(MODEL)).total / (LINK_GB_PER_S * GB),
            "This copies the whole model. What lies on the GPU stays there: only the offloaded part comes.",
        ),
        Slip(
            "the part that stays",
            lambda: seconds_by_hand(layers=layers_by_hand()),
            "This copies the layers that lie on the GPU. The others have to come.",
        ),
        Slip(
            "forgot the head",
            lambda: seconds_by_hand(heads=0),
            "Nearly: the head is offloaded, too, and every token needs it.",
        ),
        Slip(
            "bits for bytes",
            lambda: seconds_by_hand(factor=BITS),
            "Eight times too much: 25 GB/s are bytes, and bfloat16 has 2 bytes a value.",
        ),
        Slip(
            "there and back",
            lambda: seconds_by_hand(factor=2),
            "Twice too much. Weights are not copied back, the copy is dropped; and bfloat16 has 2 bytes.",
        ),
        Slip(
            "milliseconds for seconds",
            lambda: seconds_by_hand(factor=MILLISECONDS),
            "Right in milliseconds. Write seconds.",
        ),
    ),
    hint="Bytes that do not lie on the GPU (the other layers and the head; the norm is little), over "
    "25 × 10⁹ bytes a second.",
    explanation="An H100 reads its own memory at 3,350 GB/s: all 141 GB would take it 0.04 s.",
)

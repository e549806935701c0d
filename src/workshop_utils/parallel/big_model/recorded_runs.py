"""Recorded runs of ``workshop bench accelerate``, predicted anew: what the engine says of them today.

A recording keeps what was expected when it was made. The map is made again for devices of the recorded type,
so that a change of the maps, the memory engine or the constants of time shows beside what was measured.
"""

from dataclasses import fields, replace

from workshop_utils.measure.measurement import Measurement
from workshop_utils.memory.process import process_term
from workshop_utils.parallel.bench_case import BenchCase
from workshop_utils.parallel.big_model.bench_accelerate_case import AccelerateCase, place
from workshop_utils.parallel.big_model.bench_accelerate_result import Prediction, predict
from workshop_utils.parallel.big_model.devices import DeviceSet, imagined_devices
from workshop_utils.parallel.big_model.speed import ExpectedTpot, new_lengths

# Enough for all that these runs keep on the host, and for the files of those on the disk.
HOST_GIB = 200.0


def work_of(run: Measurement) -> BenchCase:
    """Return the model and the text of a recorded run."""
    names = (field.name for field in fields(BenchCase))
    given = {name: run.settings[name] for name in names}
    return BenchCase(**{**given, "predicted_bytes": (), "without": ()})


def devices_of(run: Measurement) -> DeviceSet:
    """Return devices of the recorded type, with what the run was allowed to take of each (``--cap-gib``)."""
    devices = imagined_devices(run.hardware, host_gib=HOST_GIB)
    limits = run.settings["limits_bytes"]
    if not limits:
        return devices
    # The recorded limit is what is left for the model once the process has its CUDA context.
    kept = [(gpu, limits[str(gpu.key)]) for gpu in devices.gpus if str(gpu.key) in limits]
    free = {gpu.key: limit + process_term(gpu.gpu).bytes for gpu, limit in kept}
    gpus = tuple(replace(gpu, total_bytes=free[gpu.key], free_bytes=free[gpu.key]) for gpu, _ in kept)
    return replace(devices, gpus=gpus)


def predict_again(run: Measurement) -> Prediction:
    """Return peaks and time that are predicted now; a lone run in 16 bits met its context lengths first."""
    work = work_of(run)
    given, placement = place(run.settings["placement"], devices_of(run), work)
    case = AccelerateCase(run.settings["placement"], dict(placement.modules), work)
    predicted = predict(case, given, placement)
    first = new_lengths(placement, given, work.dtype)
    if work.repeats > 1 or not first.ms:
        return predicted
    return replace(predicted, tpot=ExpectedTpot((*predicted.tpot.parts, first)))

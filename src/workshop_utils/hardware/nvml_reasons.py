"""NVML's error codes in a reader's words: what is wrong, the likely cause, the next step.

Codes: ``nvmlReturn_t`` in https://docs.nvidia.com/deploy/nvml-api/group__nvmlDeviceEnumvs.html; written
here as numbers so that the sentences exist where ``pynvml`` does not.
"""

UNINITIALIZED = 1
NO_PERMISSION = 4
DRIVER_NOT_LOADED = 9
LIBRARY_NOT_FOUND = 12
FUNCTION_NOT_FOUND = 13
GPU_IS_LOST = 15
RESET_REQUIRED = 16
LIB_RM_VERSION_MISMATCH = 18
UNKNOWN = 999
# No GPU answers any more after these: the driver was unloaded or replaced while we ran.
DRIVER_GONE = frozenset({DRIVER_NOT_LOADED, LIB_RM_VERSION_MISMATCH})
# After these a handle is of no more use until NVML is initialised again.
ENDING = DRIVER_GONE | {GPU_IS_LOST, RESET_REQUIRED, LIBRARY_NOT_FOUND, UNKNOWN}

ASK_FOR_A_GPU = "ask for a GPU in your Open OnDemand form or Slurm request"
NO_DRIVER = (
    "This machine has no NVIDIA driver: normal on a laptop or a login node; "
    f"to see GPUs on a cluster, {ASK_FOR_A_GPU}."
)
NO_GPU = (
    "The NVIDIA driver is here but shows no GPU to this session: the job probably asked for none; "
    f"{ASK_FOR_A_GPU}."
)
NO_BINDING = (
    "The Python package nvidia-ml-py is not installed where JupyterLab runs, so GPUs cannot be read; "
    "install it there and restart the server."
)
RESTARTING = "NVML was shut down by another part of this process; it is being started again."

_INITIALISATION = {
    LIBRARY_NOT_FOUND: NO_DRIVER,
    DRIVER_NOT_LOADED: (
        "The NVIDIA library is installed but its driver is not loaded: normal on a login node with GPU "
        f"software; {ASK_FOR_A_GPU}, and on a GPU machine tell its staff."
    ),
    NO_PERMISSION: (
        f"The NVIDIA driver refuses this user: the job probably asked for no GPU; {ASK_FOR_A_GPU}."
    ),
    LIB_RM_VERSION_MISMATCH: (
        "The NVIDIA driver and its library are of different versions, so the driver was probably updated "
        "while the machine ran: it needs a reboot; tell its staff, or start your session on another machine."
    ),
}


def of_initialisation(code: int, words: str) -> str:
    """Say why NVML does not start; ``words`` are the driver's own, for codes without a sentence."""
    return _INITIALISATION.get(
        code,
        f"The NVIDIA driver does not answer (“{words}”, NVML error {code}): run nvidia-smi in a terminal; "
        "if that fails as well, tell the machine's staff.",
    )


def of_device(code: int, index: int, name: str | None) -> tuple[str, str]:
    """Return the status (``lost`` or ``unavailable``) and a sentence for one GPU without figures."""
    which = f"GPU {index} ({name})" if name else f"GPU {index}"
    if code == GPU_IS_LOST:
        return "lost", (
            f"{which} has fallen off the bus: a hardware or driver fault; what runs on it is lost, restart "
            "the session on another machine and tell the staff."
        )
    if code == RESET_REQUIRED:
        return "lost", f"{which} needs a reset before it can work again: tell the machine's staff."
    if code in DRIVER_GONE:
        return "unavailable", _INITIALISATION[code]
    if code == NO_PERMISSION:
        return "unavailable", f"{which} is not open to this session: it belongs to another job."
    return "unavailable", f"{which} does not answer (NVML error {code}): run nvidia-smi, then tell the staff."

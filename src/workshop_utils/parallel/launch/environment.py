"""What the processes of a run find in their environment."""

import os
import uuid

from workshop_utils.parallel.launch.run_folder import RUN_FOLDER, RUN_ID, RUN_LAUNCHER, RunFolder


def run_environment(folder: RunFolder, ranks: int, device: str) -> dict[str, str]:
    """Return the environment of torchrun and the ranks: the reader's, with what a run needs.

    Nothing is asked of a hub; output comes at once; the ranks share the cores; gloo and NCCL talk through the
    loopback interface only, which is all that one node needs; on the CPU no rank sees a GPU.
    """
    loopback = "lo" if os.uname().sysname == "Linux" else "lo0"
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {}
    return {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": str(max(1, cores_here() // ranks)),
        "GLOO_SOCKET_IFNAME": loopback,
        "NCCL_SOCKET_IFNAME": loopback,
        # torch tells every stage that sends and receives are done in order: what a pipeline wants.
        "TORCH_NCCL_SHOW_EAGER_INIT_P2P_SERIALIZATION_WARNING": "false",
        RUN_ID: uuid.uuid4().hex,
        RUN_FOLDER: str(folder.path),
        RUN_LAUNCHER: str(os.getpid()),
        **hidden,
    }


def cores_here() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

"""Build the stub ``libnvidia-ml.so.1`` and start programs over it, so that the real nvidia-ml-py finds GPUs.

    folder = build_stub(tmp_path)                      # compiles once, about 0.2 s
    control = tmp_path / "control"
    set_faults(control, "gpus 2", "utilization 37")    # the lines that nvml_stub.c explains
    subprocess.run([...], env=os.environ | stub_environment(folder, control))
    set_faults(control, "gpus 2", "lost 1")            # takes effect at the program's next NVML call

Without a control file the stub has two healthy GPUs whose figures move. ``no_driver_environment`` is the
opposite: a program that finds no library even on a machine that has a driver.
"""

import os
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("nvml_stub.c")
LIBRARY = "libnvidia-ml.so.1"


def build_stub(folder: Path) -> Path:
    """Compile the stub into ``folder`` and return it. FileNotFoundError without ``cc``."""
    library = folder / LIBRARY
    command = ["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", f"-Wl,-soname,{LIBRARY}"]
    subprocess.run([*command, "-o", str(library), str(SOURCE), "-lm"], check=True)
    return folder


def stub_environment(folder: Path, control: Path) -> dict[str, str]:
    """Return the variables that put the stub first and name its control file."""
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("LD_LIBRARY_PATH", "")]))
    return {"LD_LIBRARY_PATH": path, "NVML_STUB_CONTROL": str(control)}


def no_driver_environment(folder: Path) -> dict[str, str]:
    """Return the variables with which no NVML library can be loaded: an empty file stands in its place."""
    (folder / LIBRARY).touch()
    return {"LD_LIBRARY_PATH": str(folder)}


def set_faults(control: Path, *lines: str) -> None:
    """Write the control file in one step, so that no NVML call reads half of it."""
    draft = control.with_suffix(".new")
    draft.write_text("\n".join(lines) + "\n", encoding="utf-8")
    os.replace(draft, control)

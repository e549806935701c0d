"""``make install PREFIX=…``: one read-only install for a whole class, the small model inside."""

import os
import stat
import subprocess
import sys
from pathlib import Path

from workshop_utils.bootstrap_environment import Environment, build, check_surroundings, under_construction
from workshop_utils.bootstrap_place import CHECKOUT
from workshop_utils.bootstrap_torch import DEFAULT, check_choice
from workshop_utils.errors import WorkshopError

READ = stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH
PASS = stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
READABLE = "choose a PREFIX that the class may read"


def install_shared(prefix: Path, torch: str) -> None:
    """Install environment and model below ``prefix`` so that every user may read it and none needs to write.

    Raises ``WorkshopError`` when other users could not reach the prefix or the Python it rests on.
    """
    # Before the first folder is made: under a private umask the class could not enter it.
    os.umask(0o022)
    torch = torch or DEFAULT
    check_choice(torch)
    check_reachable(Path(sys.executable).resolve(), "name a Python that all may read with PYTHON=")
    check_reachable(prefix, READABLE)
    environment = Environment(prefix)
    check_surroundings(environment, torch)
    with under_construction(environment, keep=False):
        # Already now: whoever may write here could put a program of their own in the place of one of ours.
        own_alone(prefix)
        build(environment, torch, [str(CHECKOUT)])
        prepare_model(environment)
        compile_all(environment)
        open_to_all(prefix)
        check_reachable(environment.command("workshop"), READABLE)
        environment.write_stamp({"shared": True, "torch": torch})
    print(f"The class starts with: {environment.command('workshop')} lab", file=sys.stderr)


def check_reachable(path: Path, next_step: str) -> None:
    """Raise ``WorkshopError`` when a folder above ``path`` lets nobody else through."""
    closed = [
        folder for folder in path.parents if folder.is_dir() and not folder.stat().st_mode & stat.S_IXOTH
    ]
    groups = [folder for folder in closed if not folder.stat().st_mode & stat.S_IXGRP]
    if groups:
        raise WorkshopError(f"nobody else can reach {path}, because {groups[0]} is private; {next_step}.")


def own_alone(prefix: Path) -> None:
    """Let nobody but the owner write in the prefix; ``WorkshopError`` where that is somebody else."""
    try:
        prefix.chmod(stat.S_IMODE(prefix.stat().st_mode) & ~OTHERS_WRITE)
    except PermissionError as error:
        raise WorkshopError(
            f"{prefix} belongs to somebody else, who could change what the class runs; name a new folder."
        ) from error


def prepare_model(environment: Environment) -> None:
    """Put the small model where every user of the environment finds it."""
    done = subprocess.run([str(environment.command("workshop")), "model", "prepare", "--shared"], check=False)
    if done.returncode:
        raise WorkshopError("the small model could not be prepared (said above), so nothing was installed.")


def compile_all(environment: Environment) -> None:
    """Write every .pyc now: a reader may not, and would compile everything again at each start."""
    python = str(environment.command("python"))
    # Some packages carry files for other Pythons, which do not compile; that is no failure.
    subprocess.run([python, "-m", "compileall", "-q", "-q", str(environment.folder / "lib")], check=False)


def open_to_all(prefix: Path) -> None:
    """Let group and world read everything, enter every folder and write nothing.

    A folder that inherits its group (setgid) keeps that group: only modes change.
    """
    for folder, _, files in os.walk(prefix):
        os.chmod(folder, (stat.S_IMODE(os.stat(folder).st_mode) | READ | PASS) & ~OTHERS_WRITE)
        for name in files:
            path = Path(folder, name)
            if not path.is_symlink():
                mode = stat.S_IMODE(path.stat().st_mode)
                path.chmod((mode | READ | (PASS if mode & stat.S_IXUSR else 0)) & ~OTHERS_WRITE)

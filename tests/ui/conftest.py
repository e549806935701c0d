import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from nvml_stub.build import build_stub, no_driver_environment, set_faults, stub_environment
from playwright.sync_api import Browser, sync_playwright
from ui.browser import CHROMIUM, Watched, launch, watched_page
from ui.lab import Lab

OUTPUT = Path(__file__).with_name("output")


def need(program: str, package: str) -> None:
    """Skip, with the reason, where a program is missing; ``tests/plugins`` makes that a failure in CI."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is missing: install Debian's package {package} to run the browser tests.")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    need(CHROMIUM, "chromium")
    with sync_playwright() as playwright, launch(playwright) as browser:
        yield browser


@pytest.fixture
def watched(browser: Browser) -> Iterator[Watched]:
    """A page that may not ask anything of another machine, whatever the test does."""
    with watched_page(browser) as watched:
        yield watched
        assert watched.outside_requests() == []


@pytest.fixture(scope="session")
def output() -> Path:
    """Where screenshots are kept for a person to look at."""
    OUTPUT.mkdir(exist_ok=True)
    return OUTPUT


class Stub:
    """The stub driver of a server: ``set`` switches its faults while it runs."""

    def __init__(self, folder: Path) -> None:
        need("cc", "gcc")
        self._control = folder / "control"
        self.environment = stub_environment(build_stub(folder), self._control)
        self.set("gpus 2")

    def set(self, *faults: str) -> None:
        set_faults(self._control, *faults)


@pytest.fixture(scope="session")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Stub:
    return Stub(tmp_path_factory.mktemp("stub"))


@pytest.fixture(scope="session")
def shared_lab(stub: Stub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab(tmp_path_factory.mktemp("lab"), stub.environment) as lab:
        yield lab


@pytest.fixture
def gpu_lab(shared_lab: Lab, stub: Stub) -> Lab:
    """A Lab on a machine with two healthy GPUs; tests share it and may switch faults and settings."""
    stub.set("gpus 2")
    shared_lab.set_panel_settings()
    return shared_lab


@pytest.fixture
def start_lab(stub: Stub, tmp_path: Path) -> Iterator[Callable[..., Lab]]:
    """Start a Lab of the test's own, with the stub driver or with none."""
    with ExitStack() as stack:

        def start(*options: str, driver: bool = True) -> Lab:
            home = tmp_path / "home"
            home.mkdir()
            environment = stub.environment if driver else no_driver_environment(home)
            return stack.enter_context(Lab(home, environment, options))

        yield start

"""One Orthanc with the router for all tests that only need a healthy one."""

from collections.abc import Iterator

import pytest

from tests.router_process import RouterProcess


@pytest.fixture(scope="session")
def router(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RouterProcess]:
    with RouterProcess(tmp_path_factory.mktemp("router")) as process:
        process.wait_state()
        yield process

"""For all tests."""

import pytest


@pytest.fixture(autouse=True, scope="session")
def cache_of_its_own(tmp_path_factory):
    """Machine code of tests goes to no user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHAINRULE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def eight_processors():
    """As many threads as a test asks for, whatever machine it runs on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("chainrule.engines.compiled.crew.processors", lambda: 8)
        yield

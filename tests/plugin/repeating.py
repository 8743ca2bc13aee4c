"""Plugins that repeat tests, as pytest-repeat and flake-finder do it, and how a suite has them."""

from __future__ import annotations

import pytest

# What is installed is no part of the project: these are outside of its rootdir.
PLUGINS = {
    "like_pytest_repeat": """
import pytest

@pytest.fixture
def __pytest_repeat_step_number(request):
    return request.param

@pytest.hookimpl(trylast=True)
def pytest_generate_tests(metafunc):
    metafunc.fixturenames.append("__pytest_repeat_step_number")
    metafunc.parametrize(
        "__pytest_repeat_step_number",
        range(2),
        indirect=True,
        ids=lambda number: f"{number + 1}-2",
        scope="function",
    )
""",
    "like_flakefinder": """
import pytest

class FlakeFinder:
    @pytest.hookimpl(tryfirst=True)
    def pytest_generate_tests(self, metafunc):
        name = f"__flakefinder_{metafunc.function.__name__}"
        metafunc.fixturenames.append(name)
        metafunc.parametrize(argnames=name, argvalues=list(range(2)))

def pytest_configure(config):
    config.pluginmanager.register(FlakeFinder())
""",
    "by_an_autouse_fixture": """
import pytest

@pytest.fixture(autouse=True, params=["once", "twice"])
def again(request):
    return request.param
""",
    "offers_a_fixture": """
import pytest

@pytest.fixture(params=["asyncio", "trio"])
def backend(request):
    return request.param
""",
}


def install(suite: pytest.Pytester, *names: str, conftest: str = "") -> None:
    """Put plugins where a suite finds them, outside of its rootdir. conftest: the suite's own."""
    installed = suite.path.with_name(f"{suite.path.name}_installed")
    installed.mkdir(exist_ok=True)
    for name in names:
        (installed / f"{name}.py").write_text(PLUGINS[name])
    path = f"import sys\nsys.path.insert(0, {str(installed)!r})\n"
    suite.makeconftest(f"{path}pytest_plugins = {list(names)!r}\n{conftest}")

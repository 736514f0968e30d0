"""The environment in which a process loads its settings."""

from pathlib import Path

import pytest

from service_kit.process.errors import BadSettings
from service_kit.process.load import load
from service_kit.process.settings import ServiceSettings
from tests.support.refusals import refusal


class Environment:
    """Environment variables and a working folder, until the test ends."""

    def __init__(self, patch: pytest.MonkeyPatch, folder: Path, **variables: str) -> None:
        self._patch = patch
        self.folder = folder
        patch.chdir(folder)
        self.set(**variables)

    def set(self, **variables: str) -> None:
        for name, value in variables.items():
            self._patch.setenv(name, value)

    def unset(self, *names: str) -> None:
        for name in names:
            self._patch.delenv(name, raising=False)

    def refusal(self, settings: type[ServiceSettings], **variables: str) -> str:
        """The message that stops the start, with these variables in addition for once."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            return str(refusal(BadSettings, load, settings))

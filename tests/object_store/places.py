"""A store for a test, and how it is reached from each side."""

from dataclasses import dataclass

import yaml

from resultsfw_backends.object_store import Config
from resultsfw_transports.store import Store


@dataclass
class Place:
    """A store, and what its users must be given."""

    url: str
    options: dict[str, str]
    env: dict[str, str]

    @property
    def config(self):
        return {"url": self.url, "options": self.options, "secret": "store" if self.env else ""}

    @property
    def flags(self):
        return {"results-from": "object-store", "config.object-store": yaml.safe_dump(self.config)}

    def store(self, patience=5.0):
        return Store(self.url, self.options, patience=patience, make=True)

    def configured(self, **more):
        return Config.model_validate({**self.config, **more})

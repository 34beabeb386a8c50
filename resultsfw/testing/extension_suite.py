"""Combine all parts of the suite for extensions in one class, `ExtensionSuite`."""

from resultsfw.testing.extension_hooks import HookCases
from resultsfw.testing.extension_instances import InstanceCases
from resultsfw.testing.extension_verification import VerificationCases

__all__ = ["ExtensionSuite"]


class ExtensionSuite(HookCases, VerificationCases, InstanceCases):
    """Test that an extension keeps the contract. Subclass it and set `extension`.

    No pod runs: the extension is put around a backend that returns awkward values, fails, and lets runs meet.

    Attributes:
        extension: The extension's installed name; or a class, a module or an object without an entry point.
        config: Its options, as ``config.NAME`` contains them. With them, it must let a plain run pass.
        seconds: How long one call of a hook may take. Only an extension that blocks reaches it.

    A fixture ``extension_config`` of scope "class" or wider returns the options instead, if they are known
    only when tests run.
    """

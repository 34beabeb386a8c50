"""Names of the project's images, and the registry that an operator keeps them in."""

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from resultsfw import ResultsManager, images
from resultsfw.controller.plugin_images import images_of_plugins, warn_of_images
from resultsfw.errors import InputError


def core_of(*names, **config):
    flags = {f"config.{name.replace('_', '-')}": text for name, text in config.items()}
    return ResultsManager.from_flags(
        {"allowed-results-from": ",".join(names), "results-from": names[0], **flags}
    )


@given(st.text(max_size=80), st.text(max_size=80))
def test_only_names_of_the_project_get_the_registry(image, registry):
    assert images.located(image, registry) == image
    assert images.has_registry(image)
    for name in images.ALL:
        moved = images.located(name, "r.example/team/")
        assert moved == name.replace(images.NO_REGISTRY, "r.example/team")
        assert images.located(moved, registry) == moved


@given(st.text(max_size=300))
def test_a_registry_is_taken_or_refused(text):
    with contextlib.suppress(InputError):
        assert images.check_registry(text) == text.rstrip("/")


def test_every_backend_takes_its_image_from_the_registry_of_the_process(monkeypatch):
    names = ("sidecar-logs", "config-map", "self-update", "custom-resource")
    without = images_of_plugins(core_of(*names))
    assert set(without.values()) == {images.SIDECAR, images.SIDECAR_NET}
    assert "no registry is set for sidecar-net:0.1.0, sidecar:0.1.0:" in warn_of_images(core_of(*names))[0]
    monkeypatch.setattr("os.environ", {})
    images.use_registry("")
    assert images_of_plugins(core_of(*names)) == without
    images.use_registry("r.example")
    with_registry = images_of_plugins(core_of(*names))
    assert set(with_registry.values()) == {"r.example/sidecar:0.1.0", "r.example/sidecar-net:0.1.0"}
    assert warn_of_images(core_of(*names)) == ()


def test_an_image_of_the_operators_own_stays():
    core = core_of("sidecar-logs", sidecar_logs="image: mine/sidecar:1")
    assert images_of_plugins(core, "r.example") == {"backend sidecar-logs": "mine/sidecar:1"}
    assert warn_of_images(core) == ()


def test_the_image_of_an_extension_is_taken_from_the_registry_too():
    options = {"extensions": "signed", "config.signed": "trust-domain: example.org"}
    core = ResultsManager.from_flags(options)
    assert images_of_plugins(core) == {"extension signed": images.SIDECAR_SIGNED}
    assert images_of_plugins(core, "r.example") == {"extension signed": "r.example/sidecar-signed:0.1.0"}
    core.close(0)

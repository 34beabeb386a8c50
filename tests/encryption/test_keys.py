"""The operator's keys: a folder of them, rotated, and providers of other distributions."""

import pytest
from operatorkeys import add_key, private_pem

from resultsfw import keys as keys_module
from resultsfw.errors import BackendError, CorruptError, ForbiddenError
from resultsfw.keys import SealingKey, open_keys
from resultsfw.plugins import InstalledPlugin
from resultsfw_transports.encryption import Encryptor, data_key_of, parse


def provider(folder):
    return open_keys("secret-file", {"folder": str(folder)})


def sealed_by(folder, owner="ns/uid"):
    key = provider(folder).sealing_key()
    _, text = Encryptor(key.id, key.public_key, owner).value()
    return parse(text)[:2]


def test_the_last_key_by_name_seals_and_all_unseal(tmp_path):
    add_key(tmp_path, "2026-05")
    earlier = sealed_by(tmp_path)
    add_key(tmp_path, "2026-11")
    (tmp_path / "..data").mkdir()  # as a mounted Secret has
    (tmp_path / "readme.txt").touch()
    later = sealed_by(tmp_path)
    assert [key_id.partition(":")[0] for key_id, _ in (earlier, later)] == ["2026-05", "2026-11"]
    for key_id, sealed in (earlier, later):
        assert len(data_key_of(provider(tmp_path).unseal(key_id, sealed), "ns/uid")) == 32


def test_a_key_that_was_removed_is_named(tmp_path):
    add_key(tmp_path, "2026-05")
    key_id, sealed = sealed_by(tmp_path)
    (tmp_path / "2026-05.pem").rename(tmp_path / "2026-06.pem")
    with pytest.raises(ForbiddenError, match='no key "2026-05" in'):
        provider(tmp_path).unseal(key_id, sealed)


def test_another_key_of_the_same_name_is_named(tmp_path):
    add_key(tmp_path, "2026-05")
    key_id, sealed = sealed_by(tmp_path)
    add_key(tmp_path, "2026-05", of="2026-11")
    with pytest.raises(ForbiddenError, match=f'encrypted for key "{key_id}", and .*another one'):
        provider(tmp_path).unseal(key_id, sealed)
    with pytest.raises(CorruptError, match="not sealed with key"):
        provider(tmp_path).unseal(provider(tmp_path).sealing_key().id, sealed)


@pytest.mark.parametrize(
    "key_id", ["", "../2026-05:0", "/etc/passwd", "a b", "2026-05", "2026-05:0", "x" * 3000]
)
def test_no_text_of_a_status_leads_to_another_file(tmp_path, key_id):
    add_key(tmp_path, "2026-05")
    with pytest.raises(ForbiddenError) as caught:
        provider(tmp_path).unseal(key_id, b"sealed")
    assert len(caught.value.message) < 1000


@pytest.mark.parametrize("content", [b"", b"secret-text", private_pem("2026-05")[:300]])
def test_what_is_no_key_is_refused_without_its_content(tmp_path, content):
    (tmp_path / "a.pem").write_bytes(content)
    with pytest.raises(ForbiddenError, match="no unencrypted private RSA key") as caught:
        provider(tmp_path).sealing_key()
    assert "secret-text" not in caught.value.message


def test_a_folder_without_keys_or_that_is_missing_is_named(tmp_path):
    with pytest.raises(ForbiddenError, match=f"{tmp_path} has no file NAME.pem"):
        provider(tmp_path).sealing_key()
    with pytest.raises(ForbiddenError, match="No such file"):
        provider(tmp_path / "missing").sealing_key()


@pytest.mark.parametrize("key_id", ["", "a.b", "a/b", "x" * 201])
def test_the_id_of_a_sealing_key_can_stand_in_a_reference(key_id):
    with pytest.raises(ValueError, match="id of a sealing key"):
        SealingKey(id=key_id, public_key="")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("other", {}, "no installed distribution has a key provider"),
        ("secret-file", {"folder": "keys"}, "absolute path"),
        ("secret-file", {"no-such": 1}, "no-such"),
    ],
)
def test_a_provider_or_an_option_that_does_not_exist_is_named(name, options, message):
    with pytest.raises(BackendError, match=message):
        open_keys(name, options)


class Service:
    """As a distribution for a key management service would bring it."""

    def sealing_key(self):
        return SealingKey(id="kms", public_key="")

    def unseal(self, key_id, sealed):
        return key_id.encode() + sealed


class Unfinished:
    def sealing_key(self):
        raise NotImplementedError


def test_a_provider_of_another_distribution_is_found_by_its_entry_point(monkeypatch):
    monkeypatch.setattr(
        keys_module,
        "find_claims",
        lambda _group, name: ([InstalledPlugin(name, "kms:It", "kms", "1")], {name}),
    )
    monkeypatch.setattr(keys_module, "import_plugin", lambda *_: Service)
    assert open_keys("kms", {}).unseal("a", b"b") == b"ab"
    monkeypatch.setattr(keys_module, "import_plugin", lambda *_: Unfinished)
    with pytest.raises(BackendError, match=r"kms 1, kms:It.*has no method unseal"):
        open_keys("kms", {})

"""HTTPS with a certificate of one's own: what the server says of it, who is let in, and what is said to who is not."""

from __future__ import annotations

import argparse
import asyncio
import datetime
import ssl
from pathlib import Path

import pytest
from signaling_rig import Caller, listening_server
from tls_rig import DAY, Files, make_certificates

from p2pclient.cli.doctor_server import check_server
from p2pclient.common.errors import ConfigurationError, SignalingError
from p2pclient.common.join_code import decode_join_code, encode_join_code, read_join_code
from p2pclient.common.lobby_messages import Join, Waiting
from p2pclient.discovery.finder import Finder
from p2pclient.discovery.findings import Wanted
from p2pclient.runtime.signaling_client import SignalingClient
from p2pclient.settings.place import server_urls_of
from p2pclient.settings.tandem_file import TandemFile, parse_tandem_file
from p2pclient.settings.trust import trust, trust_of
from signaling.addresses import server_urls
from signaling.announce import Announcement
from signaling.certificate import Certificate, read_certificate

NOW = datetime.datetime.now(datetime.UTC)


def certificate(files: Files) -> Certificate:
    return read_certificate(files.cert, files.key)


async def refusal_at(url: str, trusted: ssl.SSLContext | None) -> SignalingError:
    """Return why a client cannot connect."""
    client = SignalingClient(trust=trusted)
    try:
        with pytest.raises(SignalingError) as caught:
            await client.connect(url)
    finally:
        await client.close()
    return caught.value


async def test_client_joins_over_https_with_the_labs_own_authority(tmp_path: Path) -> None:
    files = make_certificates(tmp_path, "127.0.0.1")
    options = {"announcement": Announcement("Lab", on_lan=False), "certificate": certificate(files)}
    async with listening_server(data=tmp_path / "data", **options) as listening:
        (url,) = listening.urls
        assert url == f"https://127.0.0.1:{listening.port}"
        assert listening.console_urls == (f"{url}/console",)
        assert [server_urls_of(code) for code in listening.codes] == [(url,)]
        for file in (files.ca, files.cert):  # the authority's, or the server's own
            caller = Caller()
            caller.client = SignalingClient(wakeup=caller.client.wakeup, trust=trust(file))
            try:
                await caller.client.connect(url)
                await caller.client.join(Join())
                await caller.next(Waiting)
            finally:
                await caller.client.close()
        async with Finder(Wanted(urls=(url,), on_lan=False), trust=trust(files.ca)) as finder:
            async with asyncio.timeout(20):
                while finder.choose().found is None:  # noqa: ASYNC110 - it is looked at from outside only
                    await asyncio.sleep(0.05)
        findings = await check_server([url], trust(files.ca))
        assert [each.text for each in findings if each.level.value == "problem"] == []
        assert findings[-1].topic == "WebSocket"


async def test_each_reason_for_mistrust_has_a_sentence_of_its_own(tmp_path: Path) -> None:
    good = make_certificates(tmp_path / "good", "127.0.0.1")
    cases = {
        "tls-unknown": (make_certificates(tmp_path / "a", "127.0.0.1"), good.ca, "--ca FILE"),
        "tls-name": (files := make_certificates(tmp_path / "b", "lab-server"), files.ca, "is not for the name in"),
        "tls-expired": (files := make_certificates(tmp_path / "c", "127.0.0.1", ends=-DAY / 2), files.ca, "expired"),
        "tls-not-yet": (files := make_certificates(tmp_path / "d", "127.0.0.1", starts=DAY), files.ca, "clock"),
    }
    for code, (files, authority, words) in cases.items():
        async with listening_server(certificate=certificate(files)) as listening:
            url = f"https://127.0.0.1:{listening.port}"
            error = await refusal_at(url, trust(authority))
            assert error.code == code
            assert words in str(error)
            assert url in str(error)
            (problem,) = [each for each in await check_server([url], trust(authority)) if each.level.value == "problem"]
            assert problem.topic == "https"


async def test_system_alone_does_not_know_the_labs_authority_and_the_search_says_so(tmp_path: Path) -> None:
    async with listening_server(certificate=certificate(make_certificates(tmp_path, "127.0.0.1"))) as listening:
        url = f"https://127.0.0.1:{listening.port}"
        assert (await refusal_at(url, None)).code == "tls-unknown"
        async with Finder(Wanted(urls=(url,), on_lan=False)) as finder:
            async with asyncio.timeout(20):
                while "certificate" not in finder.notes:  # noqa: ASYNC110 - it is looked at from outside only
                    await asyncio.sleep(0.05)
        assert "does not know who signed" in finder.notes["certificate"]


async def test_http_and_https_are_told_apart(tmp_path: Path) -> None:
    async with listening_server(certificate=certificate(make_certificates(tmp_path, "127.0.0.1"))) as secure:
        error = await refusal_at(f"http://127.0.0.1:{secure.port}", None)
        assert error.code == "needs-https"
        assert "https:// instead of http://" in str(error)
    async with listening_server() as plain:
        error = await refusal_at(f"https://127.0.0.1:{plain.port}", None)
        assert error.code == "not-https"
        assert "http:// instead" in str(error)


# -- the server's files -----------------------------------------------------------------------------------------------


def test_what_is_wrong_with_the_files_is_said_before_anybody_comes(tmp_path: Path) -> None:
    files, other = make_certificates(tmp_path / "a", "lab"), make_certificates(tmp_path / "b", "lab")
    with pytest.raises(ConfigurationError, match=r"--tls-key .* the key of the certificate"):
        read_certificate(files.cert, other.key)
    with pytest.raises(ConfigurationError, match=r"--tls-cert .* can be read"):
        read_certificate(tmp_path / "nothing", files.key)
    with pytest.raises(ConfigurationError, match=r"--tls-cert .* in PEM form"):
        read_certificate(files.key, files.key)
    with pytest.raises(ConfigurationError, match=r"--tls-key .* private key"):
        read_certificate(files.cert, files.cert)


def test_key_with_a_password_is_refused_instead_of_asked_for(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization

    files = make_certificates(tmp_path, "lab")
    key = serialization.load_pem_private_key(files.key.read_bytes(), None)
    locked = serialization.BestAvailableEncryption(b"secret")
    files.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked))
    with pytest.raises(ConfigurationError, match="without a password"):
        certificate(files)


def test_certificate_that_would_keep_everybody_away_is_warned_of(tmp_path: Path) -> None:
    good = certificate(make_certificates(tmp_path / "a", "lab", "192.168.1.20", "*.example.org"))
    assert good.names == ("lab", "192.168.1.20")
    assert good.troubles(NOW) == []
    assert "expires on" in good.troubles(NOW + 20 * DAY)[0]
    assert "nobody can join" in good.troubles(NOW + 31 * DAY)[0]
    assert "clock" in good.troubles(NOW - 2 * DAY)[0]
    (nameless,) = certificate(make_certificates(tmp_path / "b")).troubles(NOW)
    assert "names no computer" in nameless


# -- addresses --------------------------------------------------------------------------------------------------------


def test_addresses_that_are_told_are_those_of_the_certificate() -> None:
    names = ("lab-server", "127.0.0.1", "10.9.9.9")
    assert server_urls("", 8765, secure=True, names=names) == ["https://127.0.0.1:8765", "https://lab-server:8765"]
    assert server_urls("10.0.0.1", 1, secure=True) == ["https://10.0.0.1:1"]
    assert server_urls("10.0.0.1", 1) == ["http://10.0.0.1:1"]


def test_join_code_says_whether_https_is_meant() -> None:
    code = encode_join_code("192.168.1.20", 8765, secure=True)
    assert len(code.replace("-", "")) == 13
    assert read_join_code(code) == ("192.168.1.20", 8765, True)
    assert decode_join_code(code) == ("192.168.1.20", 8765)
    assert read_join_code(encode_join_code("192.168.1.20", 8765)) == ("192.168.1.20", 8765, False)
    assert server_urls_of(code) == ("https://192.168.1.20:8765",)
    with pytest.raises(ConfigurationError, match="IPv4"):
        encode_join_code("fd00::1", 8765, secure=True)


def test_file_of_the_authority_is_named_on_the_command_line_or_in_the_labs_file(tmp_path: Path) -> None:
    files = make_certificates(tmp_path, "lab")
    said = parse_tandem_file(b'ca = "ca.pem"', tmp_path / "tandem.toml")
    plain = argparse.Namespace(ca=None, pinned=None)
    (known,) = trust_of(plain, said).get_ca_certs()  # type: ignore[union-attr]
    assert known["subject"] == ((("commonName", "Lab CA"),),)
    assert trust_of(plain, TandemFile()) is None
    assert trust_of(argparse.Namespace(ca=files.ca, pinned=None), TandemFile()) is not None
    for wrong in (tmp_path / "nothing", files.key):
        with pytest.raises(ConfigurationError, match="--ca"):
            trust_of(argparse.Namespace(ca=wrong, pinned=None), TandemFile())


def test_only_what_is_named_is_believed(tmp_path: Path) -> None:
    assert len(trust(make_certificates(tmp_path, "lab").ca).get_ca_certs()) == 1

"""Why a server's certificate is not believed, as a code and a sentence that says what to do. Pure."""

from __future__ import annotations

_EXPIRED, _NOT_YET = 10, 9
_NAME = (62, 64)
_UNKNOWN = (2, 7, 18, 19, 20, 21, 27)
"""Numbers of X509_V_ERR_..., in x509_vfy.h of OpenSSL. 7: an authority of the same name, but with another key."""

SENTENCES = {
    "tls-expired": "The certificate of the server at {url} has expired. The researcher needs a new one for it. Is this "
    "computer's date right?",
    "tls-not-yet": "The certificate of the server at {url} is not good yet. Set this computer's clock, or the clock of "
    "the computer on which the certificate was made.",
    "tls-name": "The certificate of the server is not for the name in {url}. Join by a name or address that the "
    "certificate is for (the server prints them), or make one that names this, too.",
    "tls-unknown": "This computer does not know who signed the certificate of the server at {url}. If it is the "
    'researcher\'s own, name its file: --ca FILE, or a line ca = "FILE" in tandem.toml.',
    "tls-invalid": "The certificate of the server at {url} is not valid.",
    "not-https": "What answers at {url} does not speak https. Was the server started without a certificate? Then join "
    "with http:// instead.",
    "needs-https": "The server at {url} is reached by https only. Join with https:// instead of http://.",
}


def code_of(verify_code: int) -> str:
    """Return the code for OpenSSL's number."""
    if verify_code in _NAME:
        return "tls-name"
    if verify_code in _UNKNOWN:
        return "tls-unknown"
    return {_EXPIRED: "tls-expired", _NOT_YET: "tls-not-yet"}.get(verify_code, "tls-invalid")


def sentence(code: str, url: str) -> str:
    """Return the sentence for people."""
    return SENTENCES[code].format(url=url)

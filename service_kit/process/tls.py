"""TLS to a server, from the files that its address names, and what can be wrong with it in words.

Guarantees: a server's certificate is verified, with its name, unless the address says otherwise. A
sentence names the parameter of the address to correct, and never repeats a file's content.

Not here: certificates of our own servers, which a proxy in front has.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SYSTEM: Final = "system"
"""Instead of a file: the authorities that the machine trusts."""

_EXPIRED, _NOT_YET_VALID, _OTHER_NAME, _OTHER_ADDRESS = 10, 9, 62, 64
_UNKNOWN_AUTHORITY: Final = {2, 7, 18, 19, 20, 21}
"""OpenSSL's codes (``X509_V_ERR_…``); 7 is of an authority that has the same name."""

_NO_TLS: Final = {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNEXPECTED_EOF_WHILE_READING"}
"""What a server that does not speak TLS leads to."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """What the parameters of an address are called, and the setting that has it."""

    authority: str
    certificate: str
    key: str
    setting: str


def client_context(
    given: Mapping[str, str],
    names: Parameters,
    *,
    verifies: bool = True,
    checks_name: bool = True,
    key_password: str = "",
) -> ssl.SSLContext:
    """Make a client's context from the files that an address names.

    Parameters:
        given: the address's parameters; without an authority, those of the machine count.
        names: of the parameters.
        verifies: whether the server's certificate has to come from an authority.
        checks_name: whether it has to be for the host's name.
        key_password: opens the key's file.

    Raises:
        ValueError: a file cannot be used; the message names the parameter.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = verifies and checks_name
    context.verify_mode = ssl.CERT_REQUIRED if verifies else ssl.CERT_NONE
    authority = given.get(names.authority, SYSTEM)
    if verifies and authority == SYSTEM:
        context.load_default_certs()
    elif authority != SYSTEM:
        _load_authority(context, authority, names)
    _load_certificate(context, given, names, key_password)
    return context


def why_refused(error: BaseException, names: Parameters, host: str) -> str | None:
    """Say why TLS with ``host`` failed, and what to do; None if it is not why ``error`` arose."""
    fault = _fault(error)
    if isinstance(fault, ssl.SSLCertVerificationError):
        return _why_not_verified(fault, names, host)
    reason = "" if fault is None else (fault.reason or "")
    if fault is None:
        return None
    if reason in _NO_TLS:
        return f"what listens there does not speak TLS; correct the address in {names.setting}"
    if "CERTIFICATE_REQUIRED" in reason or "HANDSHAKE_FAILURE" in reason:
        return (
            f"it demands a client's certificate ({names.certificate}=… and {names.key}=… in"
            f" {names.setting})"
        )
    if "ALERT" in reason:
        return (
            f"it does not accept our certificate ({reason}); name another one"
            f" ({names.certificate}=… in {names.setting})"
        )
    return reason or type(fault).__name__


def _why_not_verified(fault: ssl.SSLCertVerificationError, names: Parameters, host: str) -> str:
    if fault.verify_code == _EXPIRED:
        return "its certificate has expired; renew it there"
    if fault.verify_code == _NOT_YET_VALID:
        return "its certificate is not valid yet; compare both clocks"
    if fault.verify_code in (_OTHER_NAME, _OTHER_ADDRESS):
        return (
            f"its certificate is not for the name {host}; write a name that it is for in"
            f" {names.setting}"
        )
    if fault.verify_code in _UNKNOWN_AUTHORITY:
        return (
            "its certificate is not from an authority that we trust; name the authority's file"
            f" ({names.authority}=… in {names.setting})"
        )
    return f"its certificate is refused ({fault.verify_message})"


def _fault(error: BaseException | None) -> ssl.SSLError | None:
    """The error of TLS behind ``error``."""
    for _ in range(8):  # a chain is short, and could be a ring
        if error is None or isinstance(error, ssl.SSLError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _load_authority(context: ssl.SSLContext, file: str, names: Parameters) -> None:
    try:
        context.load_verify_locations(cafile=file)
    except ssl.SSLError:
        raise ValueError(f"{names.authority} names a file without a certificate (PEM)") from None
    except OSError as error:
        raise ValueError(_unreadable(names.authority, error)) from None


def _load_certificate(
    context: ssl.SSLContext, given: Mapping[str, str], names: Parameters, password: str
) -> None:
    certificate, key = given.get(names.certificate), given.get(names.key)
    if certificate is None:
        if key is not None:
            raise ValueError(
                f"{names.key} needs {names.certificate}: a client's key is of no use without its"
                " certificate"
            )
        return
    for name, file in ((names.certificate, certificate), (names.key, key)):
        if file is not None:
            _require_readable(name, file)
    try:
        # Without a password OpenSSL would ask for one at the terminal.
        context.load_cert_chain(certificate, key, password=lambda: password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ValueError(f"{names.key} is not the key of {names.certificate}") from None
        if key is None:
            raise ValueError(
                f"{names.certificate} needs {names.key}, unless its file has the key as well"
            ) from None
        raise ValueError(
            f"{names.certificate} and {names.key} are no certificate and key (PEM) that can be"
            " read; a key must not need a password"
        ) from None


def _require_readable(name: str, file: str) -> None:
    try:
        with Path(file).open("rb"):
            pass
    except (OSError, ValueError) as error:
        raise ValueError(_unreadable(name, error)) from None


def _unreadable(name: str, error: Exception) -> str:
    why = error.strerror if isinstance(error, OSError) else "no path"
    return f"{name} names a file that cannot be read ({why})"

"""ed25519 signatures of releases: the workstation signs, the board's own release verifies.

`python -m fer_edge.devices.signing verify FILE SIGNATURE KEY` is how the board's agent asks, which has no such library.
"""

import base64
import binascii
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from fer_edge.devices.errors import FerEdgeError, OutputError, needs_extra
from fer_edge.devices.files import replacing_file

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_NO_LIBRARY = 3


class SigningError(FerEdgeError):
    """A key that cannot be read, or a signature that does not hold."""


def create_key(path: Path) -> str:
    """Write a new private key (PEM, mode 0600); gives its public half as PEM.

    Raises:
        OutputError: something is there already, or the folder cannot be written.
        SigningError: cryptography is not installed.
    """
    _require_library()
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if os.path.lexists(path):
        raise OutputError(f"{path} exists already, and a key that boards know is not to be lost; choose another name")
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    with replacing_file(path) as temporary:
        temporary.touch(mode=0o600)
        temporary.write_bytes(pem)
    return _public_pem(key)


def public_pem(path: Path) -> str:
    """The public half of a private key, as PEM.

    Raises:
        SigningError: it is no ed25519 private key in PEM, or needs a password.
    """
    return _public_pem(_private_key(path))


def sign(content: bytes, path: Path) -> str:
    """The signature of `content` by the private key at `path`: raw ed25519, in base64.

    Raises:
        SigningError: it is no ed25519 private key in PEM, or needs a password.
    """
    return base64.b64encode(_private_key(path).sign(content)).decode() + "\n"


def verify(content: bytes, signature: str, public: bytes) -> None:
    """See that `signature` (base64) is that of `content` by the key whose public half is `public` (PEM).

    Raises:
        SigningError: it is not.
    """
    _require_library()
    from cryptography.exceptions import InvalidSignature

    key = _public_key(public)
    try:
        key.verify(base64.b64decode(signature.strip(), validate=True), content)
    except (InvalidSignature, binascii.Error, ValueError) as error:
        raise SigningError(
            "the signature does not hold: release.json was altered, or signed with another key than the one that this "
            "board was first deployed with"
        ) from error


def _require_library() -> None:
    try:
        import cryptography  # noqa: F401
    except ModuleNotFoundError as error:
        raise SigningError(needs_extra("cryptography", "deploy")) from error


def _private_key(path: Path) -> "Ed25519PrivateKey":
    _require_library()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise SigningError(f"cannot read the key {path}: {error.strerror}") from error
    except TypeError as error:
        raise SigningError(f"{path} asks for a password; signing takes a key without one, of mode 0600") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SigningError(f"{path} is no private key in PEM; expected ed25519") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise SigningError(f"{path} is another kind of key; expected ed25519")
    return key


def _public_key(pem: bytes) -> "Ed25519PublicKey":
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SigningError("the key is no public key in PEM; expected ed25519") from error
    if not isinstance(key, Ed25519PublicKey):
        raise SigningError("the key is another kind of key; expected ed25519")
    return key


def _public_pem(key: "Ed25519PrivateKey") -> str:
    from cryptography.hazmat.primitives import serialization

    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def main(arguments: list[str]) -> int:
    """`verify FILE SIGNATURE KEY`: exit code 0 when it holds, 1 when not, 3 without the library."""
    if len(arguments) != 4 or arguments[0] != "verify":
        print("expected: verify FILE SIGNATURE KEY", file=sys.stderr)
        return 2
    content, signature, key = (Path(word) for word in arguments[1:])
    try:
        _require_library()
    except SigningError as error:
        print(error, file=sys.stderr)
        return _NO_LIBRARY
    try:
        verify(content.read_bytes(), signature.read_text(encoding="ascii"), key.read_bytes())
    except SigningError as error:
        print(error, file=sys.stderr)
        return 1
    except (OSError, UnicodeDecodeError) as error:
        print(f"the signature cannot be checked: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

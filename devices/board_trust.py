"""Whose releases this board takes: those signed with the key of its first signed deployment, once there was one."""

import shutil
from pathlib import Path

from fer_edge.devices.board_layout import KEY, MANIFEST, SIGNATURE, Layout
from fer_edge.devices.board_payload import Payload, TamperedError
from fer_edge.devices.board_process import last_words, run
from fer_edge.devices.errors import BoardError

WORK = ".trust"
"""A folder of root's alone in which a signature is checked."""
_LIMIT_S = 120.0
_NO_LIBRARY = 3
"""signing.py's exit code where cryptography is not installed."""


def check_trust(layout: Layout, payload: Payload) -> bool:
    """Check the signature with the board's key, by the release that runs; whether there is such a key.

    Raises:
        TamperedError: the payload is unsigned, or signed with another key.
        BoardError: there is nothing on this board that can check it.
    """
    if payload.signature is not None and payload.key is None:
        raise TamperedError("the payload has a signature and no key.pub; make it again with --sign")
    if payload.signature is None and payload.key is not None:
        raise TamperedError("the payload has a key.pub and no signature; make it again with --sign")
    if not layout.trusted_key.is_file():
        return False
    if payload.signature is None:
        raise TamperedError(
            "the payload is not signed, and this board takes only what is signed with the key that it was first "
            "deployed with; deploy with --sign KEY"
        )
    trusted = [name for name in (layout.current_id(), *layout.installed()) if name is not None]
    if not trusted:
        raise BoardError(
            f"{layout.trusted_key} asks for signed releases, and no release is left that could check one; take the "
            "board back to nothing with remove, and deploy again"
        )
    _verify(layout, layout.release(trusted[0]) / "venv", payload, layout.trusted_key.read_bytes())
    return True


def check_first_signature(layout: Layout, payload: Payload, environment: Path) -> bool:
    """Check the first signed deployment against the key that it brings; whether it is signed.

    Args:
        layout: of the board.
        payload: with a signature or without.
        environment: the new release's venv, which holds `cryptography` when the payload is signed.

    Raises:
        TamperedError: the signature does not hold.
        BoardError: the new release cannot check it.
    """
    if payload.signature is None or payload.key is None:
        return False
    _verify(layout, environment, payload, payload.key)
    return True


def _verify(layout: Layout, environment: Path, payload: Payload, key: bytes) -> None:
    assert payload.signature is not None
    folder = layout.root / WORK
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    try:
        files = [folder / name for name in (MANIFEST, SIGNATURE, KEY)]
        for path, content in zip(files, (payload.content, payload.signature, key), strict=True):
            path.write_bytes(content)
        python = environment / "bin/python"
        done = run([python, "-P", "-m", "fer_edge.devices.signing", "verify", *files], timeout_s=_LIMIT_S)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if done.returncode == _NO_LIBRARY:
        raise BoardError(f"the release at {environment.parent} cannot check signatures: {last_words(done)}")
    if done.returncode:
        raise TamperedError(last_words(done))

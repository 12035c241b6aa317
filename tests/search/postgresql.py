"""A PostgreSQL server on loopback, for tests."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

PASSWORD = "of/the@test"
"""With characters that a URL escapes."""


def binaries() -> Path | None:
    """The folder of the newest server's programs; None where none is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    initdb = shutil.which("initdb")
    return Path(initdb).parent if initdb else None


def _as_another_user(folder: Path) -> list[str]:
    """The words before a command: the server's programs refuse to run as root."""
    if os.geteuid() != 0:
        return []
    user = pwd.getpwnam("nobody")
    os.chown(folder, user.pw_uid, user.pw_gid)
    ids = (f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups")
    return ["setpriv", *ids]


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


@contextlib.contextmanager
def server() -> Iterator[str]:
    """Starts a server; yields its address without the scheme."""
    folder = Path(tempfile.mkdtemp(prefix="da_jax_postgresql_"))
    prefix, programs = _as_another_user(folder), binaries()
    assert programs is not None

    def run(name: str, *arguments: str) -> None:
        subprocess.run(
            [*prefix, str(programs / name), *arguments],
            check=True,
            cwd=folder,
            stdout=subprocess.DEVNULL,
        )

    (folder / "password").write_text(PASSWORD)
    (folder / "password").chmod(0o644)
    data, port = str(folder / "data"), _free_port()
    try:
        access = ("-U", "searcher", "-A", "scram-sha-256")
        run("initdb", "-D", data, *access, f"--pwfile={folder}/password", "-N")
        options = (
            f"-p {port} -c listen_addresses=127.0.0.1 -c fsync=off"
            f" -c unix_socket_directories={folder}"
        )
        log = str(folder / "log")
        run("pg_ctl", "-D", data, "-o", options, "-l", log, "-w", "start")
        yield f"searcher:of%2Fthe%40test@127.0.0.1:{port}/postgres"
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            run("pg_ctl", "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder)

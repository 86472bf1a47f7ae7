"""A PostgreSQL server for a test."""

import os
import pathlib
import pwd
import shutil
import subprocess
import tempfile


def programs():
    """The folder of the server's programs; None if it is not installed."""
    found = shutil.which("pg_ctl")
    if found:
        return pathlib.Path(found).resolve().parent
    # Debian has them outside of the path, a folder for each version.
    return max(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), default=None)


class Postgres:
    """Runs within a `with`, in a temporary folder; its socket there is the only way in.

    Attributes:
        url: of its database.
    """

    def __enter__(self):
        self._folder = tempfile.TemporaryDirectory()
        folder = self._folder.name
        self._as = {}
        if os.geteuid() == 0:
            # The server refuses to run as root.
            nobody = pwd.getpwnam("nobody")
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
            self._as = {"user": nobody.pw_uid, "group": nobody.pw_gid}
            self._as["extra_groups"] = []
        self.url = f"postgresql+psycopg://postgres@/postgres?host={folder}"
        self._run("initdb", "--auth=trust", "--username=postgres", "--no-sync")
        self.start()
        return self

    def start(self):
        options = f"-F -c listen_addresses='' -k {self._folder.name}"
        log = f"--log={self._folder.name}/log"
        self._run("pg_ctl", "start", "--wait", log, f"--options={options}")

    def stop(self):
        """At once, as if it had crashed."""
        self._run("pg_ctl", "stop", "--wait", "--mode=immediate")

    def _run(self, program, *arguments):
        folder = self._folder.name
        subprocess.run(
            [programs() / program, f"--pgdata={folder}/data", *arguments],
            check=True,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            **self._as,
        )

    def __exit__(self, *error):
        if pathlib.Path(self._folder.name, "data", "postmaster.pid").exists():
            self.stop()
        self._folder.cleanup()

"""The stores of a search on several hosts: PostgreSQL, MLflow's server on it, and a bucket."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.cluster.hosts import BUCKET_PORT, SERVICES, Hosts
from tests.platform.mlflow_server import MlflowServer
from tests.platform.postgres import Server as PostgresServer
from tests.platform.postgres import running_server
from tests.s3_server import arguments


class Bucket:
    """A folder that is served as buckets of S3's protocol, by rclone."""

    def __init__(self, folder: Path, enter: Sequence[str]) -> None:
        self.folder, self._enter = folder, enter
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Serve it."""
        words = arguments(self.folder, f"{SERVICES}:{BUCKET_PORT}")
        with open(self.folder.parent / "bucket.log", "ab") as log:
            self._process = subprocess.Popen([*self._enter, *words], stdout=log, stderr=log)

    def kill(self) -> None:
        """End it as a power cut does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)
            self._process = None


class Services:
    """PostgreSQL, MLflow's server on a database of it, and a bucket."""

    def __init__(self, hosts: Hosts, postgres: PostgresServer, folder: Path) -> None:
        self.postgres = postgres
        self.mlflow = MlflowServer(folder, postgres.new_database("mlflow"), SERVICES, hosts.beside)
        self.bucket = Bucket(folder / "buckets", hosts.beside)


@contextmanager
def running_services(hosts: Hosts, folder: Path) -> Iterator[Services]:
    """All of them, for as long as the context lasts."""
    (folder / "buckets/bucket").mkdir(parents=True)
    with ExitStack() as stack:
        postgres = stack.enter_context(running_server(SERVICES, hosts.beside))
        services = Services(hosts, postgres, folder)
        services.mlflow.start()
        stack.callback(services.mlflow.kill)
        services.bucket.start()
        stack.callback(services.bucket.kill)
        yield services

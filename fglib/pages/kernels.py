"""Executing notebooks in kernels that are forked from one warm process."""

import asyncio
import multiprocessing
import os
import threading
from pathlib import Path

from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from fglib.errors import FglibError

TIMEOUT = 300  # seconds for a cell: chapters show what is recorded, so one that takes longer is a mistake
FORK = "forkserver" in multiprocessing.get_all_start_methods()  # Windows cannot: kernels start as usual there
CONTEXT = multiprocessing.get_context("forkserver" if FORK else "spawn")


class ForkedKernel(CONTEXT.Process):
    """A kernel's process, with what jupyter_client uses of `subprocess.Popen`."""

    stdin = stdout = stderr = None

    def __init__(self, connection_file: str, folder: str):
        super().__init__()
        self.connection_file, self.folder = connection_file, folder

    def run(self) -> None:
        """Be a kernel until it is shut down, or until the process that started it is gone."""
        from ipykernel.kernelapp import IPKernelApp

        os.setsid()  # Ctrl-C in the terminal is for the build, which then ends its kernels
        os.chdir(self.folder)
        threading.Thread(target=_end_with_parent, daemon=True).start()
        IPKernelApp.launch_instance(["-f", self.connection_file, "--log-level=CRITICAL"])  # no greeting

    def poll(self) -> int | None:
        """The exit code; None while the process runs."""
        return self.exitcode

    def wait(self) -> int:
        """The exit code, once there is one."""
        self.join()
        return self.exitcode

    def send_signal(self, number: int) -> None:
        """Send the process a signal."""
        os.kill(self.pid, number)


class ForkedKernelManager(AsyncKernelManager):
    """Starts kernels by forking."""

    async def _async_launch_kernel(self, kernel_cmd: list[str], **how) -> None:
        warm_up()
        self.provisioner.process = ForkedKernel(self.connection_file, how["cwd"])
        self.provisioner.process.start()
        self._reconcile_connection_info(self.provisioner.connection_info)


def warm_up() -> None:
    """Start the process that kernels are forked from, which imports for seconds; without effect where it runs."""
    from multiprocessing import forkserver

    CONTEXT.set_forkserver_preload(["fglib.pages.warm"])
    forkserver.ensure_running()


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


def execute(notebook: NotebookNode, name: str, folder: Path) -> NotebookNode:
    """Execute a notebook in place, its cells in `folder`; FglibError with the traceback of one that fails."""
    manager = {"kernel_manager_class": ForkedKernelManager} if FORK else {}
    client = NotebookClient(
        notebook, timeout=TIMEOUT, record_timing=False, resources={"metadata": {"path": str(folder)}}, **manager
    )
    try:
        return asyncio.run(client.async_execute())
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as e:
        raise FglibError(f"{name} stopped: {e}") from e


def end_all() -> None:
    """End every forked kernel, so that whoever waits for one goes on."""
    for child in multiprocessing.active_children():
        child.kill()

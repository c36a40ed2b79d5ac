"""Carries out many runs on a Ray cluster that is already there.

A run is a Ray task that starts the same process as on one machine (see `worker`) and passes its progress on. The
process of its own costs a second and keeps runs comparable: threads are set before torch loads, peak memory is that of
one run, a crash ends this run only and is reported as on one machine, and Ctrl-C saves. The process ends with the task:
when nobody reads its progress any more, it saves and stops.

Ray starts a task again elsewhere when its node is lost (never for an exception: a method's failure is a record). The
run then goes on from its checkpoint, which is why results must lie on storage that all nodes share. That storage must
support flock across hosts (NFSv4 and Lustre with `-o flock` do): the lock of a lost node is released when the storage
gives up its client, for which the run's next process waits.
"""

from __future__ import annotations

import os
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from importlib.metadata import version
from typing import Any

from supertau.benchmarks.config import RunConfig
from supertau.benchmarks.execution.outcome import Outcome, job_of, outcome_of
from supertau.benchmarks.execution.ray_node import ATTEMPTS, Board, Site, carry_out
from supertau.benchmarks.files import require_writable
from supertau.benchmarks.record import Phase
from supertau.benchmarks.runs.events import Event, Listener
from supertau.benchmarks.runs.plan import identify
from supertau.benchmarks.runs.settings import Settings
from supertau.search_spaces.cache import VARIABLE
from supertau.search_spaces.errors import SupertauError

PATIENCE_SECONDS = 120.0
"""How long to wait for another node when the last suitable one is lost."""
ANSWER_SECONDS = 120.0
"""How long a node may take for its first answer; it starts Python meanwhile."""
CONNECT_SECONDS = 10.0
POLL_SECONDS = 0.2


def run_all_on_ray(
    configs: Sequence[RunConfig], settings: Settings, listener: Listener, *, address: str = "auto", gpus: float = 0.0
) -> list[Outcome]:
    """Carry out runs on a Ray cluster and return how each ended, in the order given.

    Each run asks for `settings.threads` CPUs (default 1) and `gpus` GPUs; Ray lets as many go side by side as the
    cluster has room for. Ctrl-C asks the runs to save and stop, runs not yet begun are not begun. Raises SupertauError
    when the cluster cannot be reached, has no suitable node, or a node does not share the results folder.
    """
    ray = _import_ray()
    asked = {"CPU": float(settings.threads or 1), "GPU": gpus}
    settings = replace(
        settings,
        results=settings.results.absolute(), threads=settings.threads or 1, device=_device(settings.device, gpus),
    )  # fmt: skip
    require_writable(settings.results, 0)
    with _connected(ray, address), tempfile.NamedTemporaryFile(dir=settings.results, prefix=".ray-") as token:
        site = Site(token.name, os.getcwd(), version("supertau"), os.environ.get(VARIABLE))
        _require_shared(ray, _suitable(ray, asked), site)
        return _Runs(ray, configs, settings, site, asked).gather(listener)


class _Runs:
    """The tasks that are still to end, and how the others did."""

    def __init__(
        self, ray: Any, configs: Sequence[RunConfig], settings: Settings, site: Site, asked: dict[str, float]
    ) -> None:
        self.ray, self.asked = ray, asked
        # On the node of the command, which is lost only together with it.
        here = _only_on(ray, ray.get_runtime_context().get_node_id())
        self.board = ray.remote(num_cpus=0, scheduling_strategy=here)(Board).remote()
        task = ray.remote(num_cpus=asked["CPU"], num_gpus=asked["GPU"], max_retries=ATTEMPTS - 1)(carry_out)
        self.run_ids = [identify(config).run_id for config in configs]
        self.pending = {
            task.remote(self.board, run_id, job_of(config, settings), site): place
            for place, (config, run_id) in enumerate(zip(configs, self.run_ids, strict=True))
        }
        self.configs, self.settings = configs, settings
        self.outcomes = [Outcome(config, None, Phase.INTERRUPTED, "not begun") for config in configs]
        self.stopping = False

    def gather(self, listener: Listener) -> list[Outcome]:
        """Pass on events until all runs have ended."""
        try:
            self._wait(listener)
        except KeyboardInterrupt:
            self.stopping = True
            begun = self.ray.get(self.board.ask_to_stop.remote())
            for task, place in self.pending.items():
                if self.run_ids[place] not in begun:
                    self.ray.cancel(task)
            self._wait(listener)
        return self.outcomes

    def _wait(self, listener: Listener) -> None:
        seen = time.monotonic()
        while self.pending:
            ended, _ = self.ray.wait(list(self.pending), num_returns=len(self.pending), timeout=POLL_SECONDS)
            for event in self.ray.get(self.board.take.remote()):  # a run ends after its events have arrived
                listener(event)
            for task in ended:
                self.outcomes[self.pending[task]] = self._outcome(task, listener)
                del self.pending[task]
            if any(_fits(node, self.asked) for node in self.ray.nodes()):
                seen = time.monotonic()
            elif time.monotonic() - seen > PATIENCE_SECONDS:
                _suitable(self.ray, self.asked)

    def _outcome(self, task: Any, listener: Listener) -> Outcome:
        place, errors = self.pending[task], self.ray.exceptions
        config = self.configs[place]
        try:
            ended = self.ray.get(task)
        except errors.TaskCancelledError:
            ended = None
        except errors.RayError as error:
            if self.stopping:
                return Outcome(config, None, Phase.INTERRUPTED)
            message = f"Ray gave the run up ({_line(error)}); run again to go on."
            listener(Event(self.run_ids[place], Phase.ERROR, text=message))
            return Outcome(config, None, Phase.ERROR, message)
        if ended is None:
            return Outcome(config, None, Phase.INTERRUPTED, "not begun")
        return outcome_of(config, self.settings, ended, listener, stopping=self.stopping)


def _import_ray() -> Any:
    try:
        import ray
        import ray.util.scheduling_strategies
    except ImportError as error:
        raise SupertauError("--executor ray needs the package ray: pip install 'supertau[ray]'") from error
    return ray


def _device(device: str, gpus: float) -> str:
    """Return the device of a run: 'auto' is what was asked of Ray, not what the node happens to have."""
    if gpus > 1 and gpus % 1:
        raise SupertauError(f"--gpus {gpus:g}: expected a whole number, or a part of one GPU such as 0.5.")
    if device.startswith("cuda") and not gpus:
        raise SupertauError(f"--device {device} with --executor ray needs --gpus, e.g. --gpus 1.")
    return ("cuda" if gpus else "cpu") if device == "auto" else device


@contextmanager
def _connected(ray: Any, address: str) -> Iterator[None]:
    """Connect to a running cluster while the block runs; raise SupertauError when there is none, or it is lost.

    Standard output is shut meanwhile: it is for results, and Ray prints there what its daemons say, pages when a node
    is lost. Ray's logs keep it.
    """
    if address.startswith("ray://"):
        raise SupertauError(
            f"--ray-address {address}: a Ray client need not see the results folder. Run supertau on a node of the "
            "cluster, with --ray-address auto or HOST:PORT."
        )
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        try:
            if address != "auto":  # Ray itself tries for minutes
                host, _, port = address.rpartition(":")
                socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        except (OSError, ValueError, OverflowError, RuntimeError) as error:
            raise SupertauError(
                f"no Ray cluster at '{address}' ({_line(error)}). Start one with `ray start --head`, or name it with "
                "--ray-address HOST:PORT."
            ) from error
        try:
            yield
        except ray.exceptions.RayError as error:
            raise SupertauError(f"lost the Ray cluster ({_line(error)}); the same command again goes on.") from error
        finally:
            ray.shutdown()


def _only_on(ray: Any, node: str) -> Any:
    return ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node, soft=False)


def _fits(node: dict[str, Any], asked: dict[str, float]) -> bool:
    return bool(node["Alive"]) and all(node["Resources"].get(name, 0) >= n for name, n in asked.items())


def _suitable(ray: Any, asked: dict[str, float]) -> list[dict[str, Any]]:
    """Return the nodes that have room for a run when they are idle; raise SupertauError when none has."""
    nodes = [node for node in ray.nodes() if node["Alive"]]
    suitable = [node for node in nodes if _fits(node, asked)]
    if not suitable:
        have = "; ".join(
            f"{node['NodeManagerAddress']} has {node['Resources'].get('CPU', 0):g} CPUs and "
            f"{node['Resources'].get('GPU', 0):g} GPUs" for node in nodes
        )  # fmt: skip
        raise SupertauError(
            f"no node of the Ray cluster has the {asked['CPU']:g} CPUs (--threads) and {asked['GPU']:g} GPUs (--gpus) "
            f"that each run asks for: {have}. Ask for less, or add a node; the same command again goes on."
        )
    return suitable


def _require_shared(ray: Any, nodes: list[dict[str, Any]], site: Site) -> None:
    """Raise SupertauError naming the first node that cannot carry out runs."""
    look = ray.remote(num_cpus=0)(Site.complaint)
    answers = [look.options(scheduling_strategy=_only_on(ray, node["NodeID"])).remote(site) for node in nodes]
    for node, answer in zip(nodes, answers, strict=True):
        try:
            complaint = ray.get(answer, timeout=ANSWER_SECONDS)
        except ray.exceptions.RayError as error:
            complaint = (
                f"cannot carry out runs ({_line(error)}). Is supertau {site.version} installed there, in the Python "
                "that Ray was started with?"
            )
        if complaint:
            raise SupertauError(f"{node['NodeManagerAddress']} (node {node['NodeID'][:8]}) {complaint}")


def _line(error: BaseException) -> str:
    """Return the last line of an error: of one that comes from afar the others are its traceback."""
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__

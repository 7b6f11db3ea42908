"""The metrics of a service in the text format of Prometheus, made of its counts when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from math import isinf

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from etagere.core.lifecycle import State
from etagere.core.representation import Kind
from etagere.core.tally import Held, Overview, Tally, Waiting

MEDIA_TYPE = CONTENT_TYPE_PLAIN_0_0_4.encode("ascii")
KINDS = ("node", "worker", "collector")
"""What the processes are that share a store."""
_STATES = (State.queued, State.running)


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the numbers come from; those that are no counts are looked up each time.

    `models` are the keys of those that are served, `queues` theirs: they are there from the beginning, at 0.
    """

    version: str
    models: Collection[str]
    queues: Collection[str]
    tally: Tally
    pending: Callable[[], Overview]
    held: Callable[[], Held]
    waiting: Callable[[], int]
    nondeterministic: Mapping[str, int]
    now: Callable[[], float]


class Metrics(Collector):
    """What is known of a service, and what `others` tell, in a registry of its own."""

    def __init__(self, sources: Sources, *others: Collector) -> None:
        self._sources = sources
        self._registry = CollectorRegistry()
        for one in (self, *others):
            self._registry.register(one)
        ProcessCollector(registry=self._registry)

    def render(self) -> bytes:
        """The metrics as they are now, as `MEDIA_TYPE`."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """The families of metrics."""
        yield InfoMetricFamily("etagere_build", "The version that runs.", {"version": self._sources.version})
        yield self._requests()
        yield from self._pending()
        yield from self._runs()
        yield from self._cache()
        yield GaugeMetricFamily(
            "etagere_waiting_clients", "Requests that wait, and open event streams.", self._sources.waiting()
        )

    def _requests(self) -> Metric:
        family = CounterMetricFamily("etagere_requests", "Requests by the kind of their answer.", labels=["answer"])
        for answer, number in self._sources.tally.answers.items():
            family.add_metric([answer], number)
        return family

    def _pending(self) -> Iterator[Metric]:
        pending = self._sources.pending()
        runs = GaugeMetricFamily("etagere_runs", "Pending runs by their state.", labels=["model", "state"])
        for model in sorted({*self._sources.models, *(model for model, _ in pending.runs)}):
            for state in _STATES:
                runs.add_metric([model, state], pending.runs.get((model, state), 0))
        depth = GaugeMetricFamily("etagere_queue_runs", "Runs that wait in a queue.", labels=["queue"])
        text = "How long ago the oldest waiting run that is still wanted was accepted."
        age = GaugeMetricFamily("etagere_queue_oldest_age_seconds", text, labels=["queue"])
        now = self._sources.now()
        for queue in sorted({*self._sources.queues, *pending.queues}):
            waiting = pending.queues.get(queue, Waiting(0, None))
            depth.add_metric([queue], waiting.runs)
            age.add_metric([queue], 0.0 if waiting.since is None else max(0.0, now - waiting.since))
        yield from (runs, depth, age)

    def _runs(self) -> Iterator[Metric]:
        tally, models = self._sources.tally, self._sources.models
        ended = CounterMetricFamily("etagere_runs_ended", "Runs by their outcome.", labels=["model", "outcome"])
        for model in sorted({*models, *(model for model, _ in tally.ended)}):
            for kind in Kind:
                ended.add_metric([model, kind], tally.ended[model, kind])
        yield ended
        times = HistogramMetricFamily("etagere_run_duration_seconds", "How long runs took.", labels=["model"])
        for model, taken in sorted(tally.times.items()):
            times.add_metric([model], [(_bound(le), n) for le, n in taken.cumulated()], taken.seconds)
        yield times
        text = "Seconds of computation in results that were given without a run of their own."
        saved = {model: found.seconds for model, found in tally.saved.items()}
        yield self._by_model("etagere_saved_seconds", text, saved)
        text = "Results that were computed again, with other bytes."
        yield self._by_model("etagere_nondeterministic_results", text, self._sources.nondeterministic)

    def _by_model(self, name: str, text: str, values: Mapping[str, float]) -> Metric:
        family = CounterMetricFamily(name, text, labels=["model"])
        for model in sorted({*self._sources.models, *values}):
            family.add_metric([model], values.get(model, 0))
        return family

    def _cache(self) -> Iterator[Metric]:
        held = self._sources.held()
        yield GaugeMetricFamily("etagere_cache_bytes", "What the stored results take.", held.size)
        yield GaugeMetricFamily("etagere_cache_representations", "Stored results, with variants.", held.representations)
        text = "Resources of which something is known, stored or not; one with a long URI counts as several."
        yield GaugeMetricFamily("etagere_cache_ghosts", text, held.ghosts)
        yield CounterMetricFamily("etagere_cache_evicted", "Stored results that had to go.", held.evicted)


class Neighbours(Collector):
    """What a node knows of the processes that it shares a store with.

    `processes` are those that were heard of, by their kind; `places` says how many runs can go on at once among them,
    and `unconfirmed` for how many seconds the store has not confirmed what is pending.
    """

    def __init__(
        self, processes: Callable[[], Mapping[str, int]], places: Callable[[], int], unconfirmed: Callable[[], float]
    ) -> None:
        self._processes = processes
        self._places = places
        self._unconfirmed = unconfirmed

    def collect(self) -> Iterator[Metric]:
        """The families of metrics."""
        known = self._processes()
        text = "Processes that share the store, by what they are."
        heard = GaugeMetricFamily("etagere_processes", text, labels=["kind"])
        for kind in sorted({*KINDS, *known}):
            heard.add_metric([kind], known.get(kind, 0))
        yield heard
        yield GaugeMetricFamily("etagere_places", "Runs that can go on at once among all workers.", self._places())
        text = "For how long the store has not confirmed what is pending."
        yield GaugeMetricFamily("etagere_store_unconfirmed_seconds", text, self._unconfirmed())


def _bound(le: float) -> str:
    return "+Inf" if isinf(le) else str(le)

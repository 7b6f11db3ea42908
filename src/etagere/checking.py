"""What `etagere check` looks for: each example is run twice under conditions that must not matter.

The first run has the environment that a service would give it. The second comes from another warm process, with
another hash seed, another number of threads, another directory, and some seconds later.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from etagere import contents
from etagere.config import Settings
from etagere.core.comparing import Disagreement, Explain, Unreadable, in_bytes, in_columns, in_csv, in_json
from etagere.core.representation import Kind, Outcome
from etagere.core.signatures import contradiction
from etagere.core.units import undescribed, without_unit
from etagere.encoding import is_json
from etagere.errors import LostProcess, Problem
from etagere.formats.columns import NotTabular
from etagere.formats.converter import Converter
from etagere.model import Model, Registry
from etagere.ports import Clock
from etagere.results import Returned
from etagere.supervisor import program
from etagere.supervisor.attempt import Crashed, Order, Report
from etagere.supervisor.environment import for_models
from etagere.supervisor.supervisor import Supervisor

APART_S = 2.0
"""Between a first run and its second; the times of files in a zip have this resolution."""
LARGEST_READ = 64 * 1024 * 1024
"""Results of more bytes are compared as bytes, whatever their format."""

_OTHER_THREADS = 2
_OTHER_SEED = 1
_LONGEST_SUBJECT = 100
_LONGEST_OUTPUT = 2000
_CAUSES = (
    "The second run had another hash seed, number of threads, directory and process, and a later time: look for sets,"
    " sums in parallel, dates, random numbers without a seed, names of files, and addresses in texts."
)
_ADVICE: Mapping[Kind, str] = {
    Kind.timeout: "Give an example that takes less time, or raise the model's time_limit.",
    Kind.memory: "Give an example that takes less memory, or raise the model's memory_limit.",
}
_SUCCESS = (Kind.succeeded, Kind.refused)


class Verdict(StrEnum):
    """How bad it is."""

    ok = "ok"
    warning = "warning"
    failed = "failed"


class Finding(NamedTuple):
    """What was found of a model, or of one of its examples; `advice` are lines that say more, or what to do."""

    subject: str
    verdict: Verdict
    said: str
    advice: tuple[str, ...] = ()

    def __str__(self) -> str:
        # What a model says of itself may have lines of its own.
        said = " ".join(self.said.splitlines())
        lines = [line for text in self.advice for line in text.splitlines()]
        return "\n    ".join([f"{self.subject}: {self.verdict}: {said}", *lines]) + "\n"


Tell = Callable[[Finding], object]


@dataclass(frozen=True, slots=True)
class _Case:
    """An example, and the order to run it."""

    model: Model
    subject: str
    order: Order

    def found(self, verdict: Verdict, said: str, *advice: str) -> Finding:
        return Finding(self.subject, verdict, said, advice)


class Checker:
    """Checks models of a registry; works in `directory`. `tell` is told what is found, `report` how far a run is."""

    def __init__(
        self, registry: Registry, directory: Path, settings: Settings, clock: Clock, *, tell: Tell, report: Report
    ) -> None:
        self._program = program.describe(registry)
        self._directory = directory
        self._settings = settings
        self._clock = clock
        self._tell = tell
        self._report = report

    async def check(self, models: Sequence[Model]) -> None:
        """Tell of every model what its declaration lacks, and of each of its examples how it ran.

        Raises:
            ImportFailed: the models do not import; carries the traceback.
        """
        for model in models:
            for finding in of_declaration(model):
                self._tell(finding)
        cases = [case for model in models for case in _cases(model)]
        async with self._supervisor("first", for_models(os.environ)) as supervisor:
            self._tell_of_threads(supervisor.threads)
            firsts = [await self._run(supervisor, case.order) for case in cases]
        if not cases:
            return
        async with self._supervisor("second", for_models(os.environ, _OTHER_THREADS, _OTHER_SEED)) as supervisor:
            for case, first in zip(cases, firsts, strict=True):
                self._tell(await self._second(supervisor, case, first))

    def _tell_of_threads(self, threads: Sequence[str]) -> None:
        if threads:
            said = f"importing them and their setup leave threads: {', '.join(threads)}"
            advice = (
                "A fork of such a process can hang, so each run starts a new interpreter, which takes longer."
                " Import the library that starts them inside the function."
            )
            self._tell(Finding("all models", Verdict.warning, said, (advice,)))

    @asynccontextmanager
    async def _supervisor(self, name: str, environment: Mapping[str, str]) -> AsyncIterator[Supervisor]:
        supervisor = Supervisor(
            self._program,
            self._directory / name,
            max_result=self._settings.max_result,
            max_run_dir=self._settings.max_run_dir,
            max_processes=self._settings.max_processes,
            clock=self._clock,
            environment=environment,
        )
        try:
            await supervisor.start()
            yield supervisor
        finally:
            await supervisor.close()

    async def _run(self, supervisor: Supervisor, order: Order) -> Outcome:
        """The outcome of one attempt; a crash is one here, since what crashes once is not worth publishing."""
        started = self._clock.now()
        try:
            async with supervisor.run(order, self._report) as outcome:
                pass
        except Crashed as crash:
            detail, output = f"it crashed: {crash.detail}", crash.output
        except LostProcess as lost:
            detail, output = f"it was lost: {lost}", ""
        else:
            return outcome
        now = self._clock.now()
        return Outcome(order.resource, order.attempt, Kind.poison, started, now, detail=detail, output=output)

    async def _second(self, supervisor: Supervisor, case: _Case, first: Outcome) -> Finding:
        if first.kind not in _SUCCESS:
            return _failed(case, first, "")
        await asyncio.sleep(first.finished + APART_S - self._clock.now())
        second = await self._run(supervisor, case.order)
        if second.kind not in _SUCCESS:
            return _failed(case, second, "only the second run did not succeed: ")
        if first.kind is Kind.refused or second.kind is Kind.refused:
            return _refused(case, first, second)
        assert first.path is not None
        assert second.path is not None
        return await self._compared(case, first.path, second.path)

    async def _compared(self, case: _Case, first: Path, second: Path) -> Finding:
        ours, theirs = (contents.read(path, self._settings.max_result) for path in (first, second))
        small = max(ours.size, theirs.size) <= LARGEST_READ
        if ours.digest != theirs.digest:
            found = await _difference(case.model, first, second) if small else _in_files(first, second, in_bytes)
            said = f"the two runs gave other bytes, first at {found.place}: {found.first}, then {found.second}"
            return case.found(Verdict.failed, said, _CAUSES)
        if small and (wrong := _contradicted(case.model, first)):
            said = f"the result is declared as {case.model.media_type}, and {wrong}"
            return case.found(Verdict.failed, said, "Declare as media_type what it is.")
        return case.found(Verdict.ok, f"{ours.size} bytes, the same twice")


def of_declaration(model: Model) -> Iterator[Finding]:
    """What the declaration of a model lacks."""

    def lack(said: str, advice: str) -> Finding:
        return Finding(model.key, Verdict.warning, said, (advice,))

    schema = model.parameters.json_schema()
    properties = schema["properties"]
    if not model.doc:
        yield lack("it has no docstring", "Say what it computes, and in which units its results are.")
    if names := undescribed(model.doc, properties):
        advice = 'Write them as Annotated[float, Field(description="Length of the rod (m).")].'
        yield lack(f"parameters without a description: {', '.join(names)}", advice)
    if names := without_unit(model.doc, properties):
        advice = 'Name it in the description, as in "Length of the rod (m)."; there is "(dimensionless)" too.'
        yield lack(f"parameters without a unit: {', '.join(names)}", advice)
    if not model.options.examples:
        needed = ", ".join(f'"{name}": …' for name in schema["required"])
        advice = f"Declare some that take little time: examples=[{{{needed}}}]."
        yield lack("it has no examples, so it cannot be run", advice)


def _cases(model: Model) -> Iterator[_Case]:
    for number, example in enumerate(model.options.examples, 1):
        named = ", ".join(f"{name}={value!r}" for name, value in example.items())
        subject = f"{model.key} {named}".strip()
        shown = subject if len(subject) <= _LONGEST_SUBJECT else subject[: _LONGEST_SUBJECT - 1] + "…"
        # The number keeps two examples of one resource apart.
        yield _Case(model, shown, Order.of(model, model.parameters.parse_values(example), number))


def _failed(case: _Case, outcome: Outcome, when: str) -> Finding:
    printed = outcome.traceback or outcome.output[-_LONGEST_OUTPUT:]
    advice = [text for text in (printed, _ADVICE.get(outcome.kind)) if text]
    return case.found(Verdict.failed, when + outcome.detail, *advice)


def _refused(case: _Case, first: Outcome, second: Outcome) -> Finding:
    if (first.kind, first.detail) == (second.kind, second.detail):
        advice = "An example is to show what can be computed."
        return case.found(Verdict.warning, f"it is refused: {first.detail}", advice)
    words = [f"refused: {run.detail}" if run.kind is Kind.refused else "a result" for run in (first, second)]
    return case.found(Verdict.failed, f"the two runs ended otherwise: {words[0]}, then {words[1]}", _CAUSES)


async def _difference(model: Model, first: Path, second: Path) -> Disagreement:
    if model.returned is Returned.table and (found := await _in_tables(first, second)):
        return found
    if is_json(model.media_type):
        return _in_files(first, second, in_json)
    return _in_files(first, second, in_csv if model.format == "csv" else in_bytes)


async def _in_tables(first: Path, second: Path) -> Disagreement | None:
    """Where two tables differ; None where they cannot be read, or have the same values and other types."""
    converter = Converter()
    ours, theirs = (path.with_name("columns.json") for path in (first, second))
    try:
        await converter.convert("arrow", first, "json", ours)
        await converter.convert("arrow", second, "json", theirs)
        return _in_files(ours, theirs, in_columns)
    except (NotTabular, Problem, Unreadable):
        return None


def _in_files(first: Path, second: Path, explain: Explain) -> Disagreement:
    return explain(first.read_bytes(), second.read_bytes())


def _contradicted(model: Model, result: Path) -> str | None:
    """What speaks against a declared media type; what Etagere writes itself is what it is."""
    if model.options.media_type is None:
        return None
    return contradiction(result.read_bytes(), model.media_type, json=is_json(model.media_type))

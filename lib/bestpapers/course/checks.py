"""Frame for exercise checkers: named properties that a reader's function must have.

A checker is built beside the wing's library and called in the exercise's cell:

    check_low_pass = Checker("2.3")

    @check_low_pass.property("s goes on the diagonal only")
    def _(answer):
        cov = torch.tensor([[4.0, 1.0], [1.0, 2.0]])
        out, gain = answer(cov, 0.3)
        close(out, cov + 0.3 * torch.eye(2), hint="which entries of the covariance does a round filter widen?")

    check_low_pass(low_pass)     # prints: exercise 2.3: all 3 properties hold

When a property does not hold, the checker raises CheckFailed, which names the property, the input, what was expected and
what was found. Its last line says how to call the function with that very input: the checker keeps it, as `failing` and
`failing_kw`. An exception inside the reader's function is shown in full above that. A stub that still raises
NotImplementedError gives one line that says so. `verify` is the test of a checker itself.
"""

from __future__ import annotations

import contextlib
import copy
import dis
import inspect
import reprlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Function = Callable[..., Any]


Inputs = tuple[tuple[Any, ...], dict[str, Any]]  # what a function was called with: positional, by name


class CheckFailed(AssertionError):
    """A property of an exercise does not hold; the message says which, for which input, and what was found.

    inputs  what the function was called with last, positional and by name; None if it was not called
    """

    inputs: Inputs | None

    def __init__(self, message: str, inputs: Inputs | None = None) -> None:
        super().__init__(message)
        self.inputs = inputs


class _Mismatch(Exception):
    """What a property expected and what it found; the checker adds the property's name and the input."""

    def __init__(self, expected: str, found: str, hint: str) -> None:
        super().__init__(f"expected {expected}, found {found}")
        self.expected, self.found, self.hint = expected, found, hint


class _AnswerRaised(Exception):
    """The reader's function raised; the exception is the cause."""


@dataclass(frozen=True)
class Outcome:
    """What a checker found: the state, the property that does not hold and the input that shows it (if one), and the words
    for the reader."""

    state: Literal["holds", "not started", "failed"]
    message: str
    property: str | None = None
    cause: BaseException | None = None
    inputs: Inputs | None = None


class _Answer:
    """The reader's function, given copies of its inputs and watched."""

    def __init__(self, function: Function) -> None:
        self.function = function
        self.inputs: Inputs | None = None
        self.output: Any = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.inputs, self.output = (args, kwargs), None
        try:
            self.output = self.function(*_own_copy(args), **_own_copy(kwargs))
        except Exception as error:
            raise _AnswerRaised from error
        return self.output

    def describe_inputs(self) -> str:
        if self.inputs is None:
            return "none yet"
        args, kwargs = self.inputs
        try:
            named = inspect.signature(self.function).bind(*args, **kwargs).arguments
        except (TypeError, ValueError):  # the answer takes other arguments: the error itself says so
            named = {f"argument {i + 1}": value for i, value in enumerate(args)} | kwargs
        return ", ".join(f"{name} = {describe(value)}" for name, value in named.items()) or "no arguments"


class Checker:
    """The checker of one exercise: call it with the reader's function.

    exercise  the number that the notebook prints, for example "2.3"
    """

    def __init__(self, exercise: str) -> None:
        self.exercise = exercise
        self._properties: dict[str, Callable[[Function], None]] = {}
        self._failing: Inputs = (), {}
        self._name = "check"  # by which a reader's notebook knows this checker

    @property
    def properties(self) -> tuple[str, ...]:
        """The names of the properties, in the order in which they are tried."""
        return tuple(self._properties)

    @property
    def failing(self) -> tuple[Any, ...]:
        """The input on which the last answer failed, copied: `function(*check.failing)` sees what the checker saw."""
        copied: tuple[Any, ...] = _own_copy(self._failing[0])
        return copied

    @property
    def failing_kw(self) -> dict[str, Any]:
        """What of it was given by name: `function(*check.failing, **check.failing_kw)`; mostly nothing."""
        copied: dict[str, Any] = _own_copy(self._failing[1])
        return copied

    def property(self, name: str) -> Callable[[Callable[[Function], None]], Callable[[Function], None]]:
        """Register the decorated function as the property `name`, a short sentence that is true of a right answer.

        It receives the reader's function, calls it as often as it likes, and compares by `close` and `true`. What it hands
        over is copied for each call, so the reader's function can change its inputs without harm.
        """
        if name in self._properties:
            raise ValueError(f"exercise {self.exercise}: there is already a property {name!r}")

        def register(test: Callable[[Function], None]) -> Callable[[Function], None]:
            self._properties[name] = test
            package, _, module = getattr(test, "__module__", "").rpartition(".")
            if package.endswith(".exercises"):
                self._name = f"exercises.{module}.check"
            return test

        return register

    def __call__(self, answer: Function) -> None:
        """Print one line if every property holds or the stub is untouched.

        Raises:
            CheckFailed: a property does not hold.
        """
        outcome = self.run(answer)
        if outcome.state == "failed":
            raise CheckFailed(outcome.message, outcome.inputs) from outcome.cause
        print(outcome.message)

    def grade(self, answer: Function) -> None:
        """The call for a cell that is marked by whether it raises, as nbgrader's are: an untouched stub raises, too.

        nbgrader also gives no points to a cell that wrote to stderr. So a warning or a progress bar goes to stdout.

        Raises:
            CheckFailed: a property does not hold, or the stub is untouched.
        """
        with contextlib.redirect_stderr(sys.stdout):
            outcome = self.run(answer)
        if outcome.state != "holds":
            raise CheckFailed(outcome.message, outcome.inputs) from outcome.cause
        print(outcome.message)

    def run(self, answer: Function) -> Outcome:
        """Try the properties in order, up to the first that does not hold, and return what was found."""
        if not callable(answer):
            raise TypeError(
                f"exercise {self.exercise}: give the function itself, without calling it; got {describe(answer)}"
            )
        if not self._properties:
            raise ValueError(f"exercise {self.exercise}: the checker has no properties")
        total, self._failing = len(self._properties), ((), {})
        for number, (name, test) in enumerate(self._properties.items(), start=1):
            watched = _Answer(answer)
            try:
                test(watched)
                continue
            except _Mismatch as mismatch:
                expected, found, hint, cause = mismatch.expected, mismatch.found, mismatch.hint, None
            except _AnswerRaised as raised:
                cause = raised.__cause__
                if _is_stub(cause):
                    return Outcome("not started", self._not_started(answer))
                expected, found = "a result", f"{type(cause).__name__}: {cause}"
                hint = "the traceback above ends at the line that raised"
            except (
                Exception
            ) as error:  # the property could not use what the answer returned, say None or one value of two
                expected, found, cause = (
                    "a result of the form that the exercise asks for",
                    describe(watched.output),
                    error,
                )
                hint = f"using it raised {type(error).__name__}: {error}"
            lines = [
                f"exercise {self.exercise}: property {number} of {total} does not hold: {name}",
                f"  input     {watched.describe_inputs()}",
                f"  expected  {expected}",
                f"  found     {found}",
            ]
            lines += [f"  hint      {hint}"] * bool(hint)
            if watched.inputs is not None:
                self._failing = watched.inputs
                lines.append(f"  try again {self._call(answer)}")
            return Outcome("failed", "\n".join(lines), name, cause, watched.inputs)
        return Outcome("holds", f"exercise {self.exercise}: all {total} properties hold")

    def _call(self, answer: Function) -> str:
        """The call of the reader's function with the input that failed, to be pasted into a cell."""
        name = getattr(answer, "__name__", "")
        by_name = f", **{self._name}.failing_kw" if self._failing[1] else ""
        return f"{name if name.isidentifier() else 'your_function'}(*{self._name}.failing{by_name})"

    def _not_started(self, answer: Function) -> str:
        name = getattr(answer, "__name__", "your function")
        return (
            f"exercise {self.exercise}: not started yet; replace the `raise NotImplementedError` line\n"
            f"of {name}, then run this cell again"
        )


def close(found: Any, expected: Any, *, rtol: float = 1e-5, atol: float = 1e-8, hint: str = "") -> None:
    """Require numbers, arrays or tensors of the same shape and of equal values: |found - expected| <= atol + rtol |expected|.

    NaN equals only NaN. Types of numbers may differ: what counts is the value.
    """
    want = _numbers(expected)
    got = _numbers(found)
    if want is None:
        raise TypeError(f"the property compares with {describe(expected)}, which holds no numbers")
    if got is None:
        raise _Mismatch(describe(expected), describe(found), hint or "does the function return its result?")
    if got.shape != want.shape:
        raise _Mismatch(f"shape {list(want.shape)}", f"shape {list(got.shape)}", hint)
    wrong = ~np.isclose(got, want, rtol=rtol, atol=atol, equal_nan=True)
    if not wrong.any():
        return
    if got.size <= _FEW:
        raise _Mismatch(describe(expected), describe(found), hint)
    first = tuple(int(i) for i in np.argwhere(wrong)[0])
    raise _Mismatch(
        f"{_number(want[first])} at index {list(first)}",
        f"{_number(got[first])} there; {int(wrong.sum())} of {got.size} entries differ",
        hint,
    )


def true(condition: Any, expected: str, found: Any, *, hint: str = "") -> None:
    """Require a condition. `expected` says it in words, `found` is what the reader's function gave instead."""
    if not bool(condition):
        raise _Mismatch(expected, found if isinstance(found, str) else describe(found), hint)


def verify(
    checker: Checker,
    solution: Function,
    wrong: Mapping[str, tuple[Function, str]],
    stub: Function | None = None,
) -> None:
    """Test a checker: it passes the solution, tells every named mistake by the right property, and knows an untouched stub.

    wrong  the mistake in words -> (a function that makes it, the property that must not hold for it); there must be at
           least one mistake for every property, since a property that nothing can break proves nothing
    stub   the function as the notebook gives it to the reader; by default one that raises NotImplementedError

    Raises:
        AssertionError: names what the checker got wrong.
    """
    outcome = checker.run(solution)
    assert outcome.state == "holds", f"the solution is refused:\n{outcome.message}"
    outcome = checker.run(stub or _stub)
    assert outcome.state == "not started", f"the untouched stub is not reported as such:\n{outcome.message}"
    for mistake, (answer, name) in wrong.items():
        outcome = checker.run(answer)
        assert outcome.state == "failed", f"the mistake {mistake!r} is not noticed: {outcome.message}"
        assert outcome.property == name, f"the mistake {mistake!r} should break {name!r}:\n{outcome.message}"
    unbroken = [name for name in checker.properties if name not in {name for _, name in wrong.values()}]
    assert not unbroken, f"no wrong answer breaks {', '.join(map(repr, unbroken))}"


def _stub(*args: Any, **kwargs: Any) -> Any:
    raise NotImplementedError


def _is_stub(error: BaseException | None) -> bool:
    """True for `raise NotImplementedError` in Python code; torch raises the same type for ops it does not have."""
    if not isinstance(error, NotImplementedError) or error.__traceback__ is None:
        return False
    last: TracebackType = error.__traceback__
    while last.tb_next:
        last = last.tb_next
    return last.tb_frame.f_code.co_code[last.tb_lasti] == dis.opmap["RAISE_VARARGS"]


def _own_copy(value: Any) -> Any:
    if hasattr(
        value, "clone"
    ):  # a torch tensor; clone, unlike deepcopy, keeps its graph for properties about gradients
        return value.clone()
    if type(value) in (list, tuple):
        return type(value)(_own_copy(item) for item in value)
    if type(value) is dict:
        return {key: _own_copy(item) for key, item in value.items()}
    return value if callable(value) else copy.deepcopy(value)


# ------------------------------------------------------------------------------------------------------------- in words

_FEW = 16  # an array up to this size is shown whole


def describe(value: Any) -> str:
    """Say in one line what a value is: numbers are rounded to 6 digits, large arrays given by shape, type and range."""
    if isinstance(value, (bool, str, type(None))):
        return reprlib.repr(value)
    if isinstance(value, (int, float, complex)):
        return _number(value)
    if isinstance(value, (list, tuple)) and len(value) <= _FEW:
        inside = ", ".join(describe(item) for item in value)
        return f"({inside})" if isinstance(value, tuple) else f"[{inside}]"
    if not hasattr(value, "shape") or (numbers := _numbers(value)) is None:
        return reprlib.repr(value)
    kind = f"{type(value).__name__} {list(numbers.shape)} {str(value.dtype).removeprefix('torch.')}"
    if numbers.size <= _FEW:
        return f"{_nested(numbers)} ({kind})"
    return f"{kind}, from {_number(numbers.min())} to {_number(numbers.max())}"


def _numbers(value: Any) -> NDArray[Any] | None:
    """Return the value as float64 or complex128, or None if it is not numbers."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().resolve_conj().resolve_neg()
        value = value.double().numpy() if not value.is_complex() else value.numpy()
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):  # ragged
        return None
    if array.dtype.kind not in "buifc":
        return None
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


def _number(value: Any) -> str:
    return f"{value:.6g}"


def _nested(numbers: NDArray[Any]) -> str:
    if numbers.ndim == 0:
        return _number(numbers.item())
    return f"[{', '.join(_nested(row) for row in numbers)}]"

import sys

import nbformat
import numpy as np
import pytest
import torch
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from bestpapers.course.checks import Checker, CheckFailed, close, describe, true, verify


def low_pass(cov, s):
    out = cov + s * torch.eye(2)
    return out, (torch.det(cov) / torch.det(out)).sqrt()


@pytest.fixture
def checker():
    check = Checker("2.3")
    cov = torch.tensor([[4.0, 1.0], [1.0, 2.0]])  # shared by all properties on purpose

    @check.property("the shape is kept")
    def _(answer):
        out, _gain = answer(cov, 0.3)
        true(out.shape == cov.shape, "shape [2, 2]", f"shape {list(out.shape)}")

    @check.property("s goes on the diagonal only")
    def _(answer):
        out, _gain = answer(cov, 0.3)
        close(out, cov + 0.3 * torch.eye(2), hint="which entries does a round filter widen?")

    @check.property("the light is kept")
    def _(answer):
        _out, gain = answer(cov, s=0.3)
        close(gain, low_pass(cov, 0.3)[1])

    return check


def stub(cov, s):
    raise NotImplementedError  # exercise 2.3


WRONG = {
    "makes a list": (lambda cov, s: (cov.flatten(), torch.ones(())), "the shape is kept"),
    "adds s everywhere": (lambda cov, s: (cov + s, low_pass(cov, s)[1]), "s goes on the diagonal only"),
    "forgets the gain": (lambda cov, s: (low_pass(cov, s)[0], torch.ones(())), "the light is kept"),
    "inverts the gain": (lambda cov, s: (low_pass(cov, s)[0], 1 / low_pass(cov, s)[1]), "the light is kept"),
}


def test_a_right_answer_gets_one_line(checker, capsys):
    assert checker(low_pass) is None
    assert capsys.readouterr().out == "exercise 2.3: all 3 properties hold\n"


def test_an_untouched_stub_is_no_error(checker, capsys):
    checker(stub)
    assert capsys.readouterr().out == (
        "exercise 2.3: not started yet; replace the `raise NotImplementedError` line\n"
        "of stub, then run this cell again\n"
    )


def test_a_marked_cell_raises_unless_every_property_holds_and_keeps_stderr_clean(checker, capsys):
    def loud(*arguments, **named):
        print("a progress bar", file=sys.stderr)
        return low_pass(*arguments, **named)

    checker.grade(loud)
    said = capsys.readouterr()
    assert (said.out, said.err) == ("a progress bar\n" * 3 + "exercise 2.3: all 3 properties hold\n", "")
    with pytest.raises(CheckFailed, match=r"exercise 2\.3: not started yet"):
        checker.grade(stub)
    with pytest.raises(CheckFailed, match="property 1 of 3 does not hold"):
        checker.grade(lambda cov, s: (cov.flatten(), 1.0))


def test_a_failure_names_property_input_expected_found_hint(checker):
    def answer(cov, s):
        return cov + s, low_pass(cov, s)[1]

    with pytest.raises(CheckFailed) as caught:
        checker(answer)
    assert str(caught.value).splitlines() == [
        "exercise 2.3: property 2 of 3 does not hold: s goes on the diagonal only",
        "  input     cov = [[4, 1], [1, 2]] (Tensor [2, 2] float32), s = 0.3",
        "  expected  [[4.3, 1], [1, 2.3]] (Tensor [2, 2] float32)",
        "  found     [[4.3, 1.3], [1.3, 2.3]] (Tensor [2, 2] float32)",
        "  hint      which entries does a round filter widen?",
        "  try again answer(*check.failing)",
    ]


def test_the_input_that_failed_is_handed_out(checker):
    def spoils(cov, s):
        cov += s  # its own copy only
        return cov, low_pass(cov, s)[1]

    with pytest.raises(CheckFailed) as caught:
        checker(spoils)
    for (cov, s), named in (caught.value.inputs, (checker.failing, checker.failing_kw)):
        assert (cov.tolist(), s, named) == ([[4.0, 1.0], [1.0, 2.0]], 0.3, {})
    spoils(*checker.failing)
    assert checker.failing[0].tolist() == [[4.0, 1.0], [1.0, 2.0]]

    outcome = checker.run(lambda cov, s: (low_pass(cov, s)[0], 1.0))  # called with s by name
    assert outcome.message.endswith("\n  try again your_function(*check.failing, **check.failing_kw)")
    assert len(checker.failing) == 1
    assert checker.failing_kw == {"s": 0.3}

    checker(low_pass)
    assert (checker.failing, checker.failing_kw) == ((), {})


def test_a_property_that_never_calls_the_answer_hands_out_nothing():
    check = Checker("2.4")

    @check.property("it has a name")
    def _(answer):
        true(False, "a name", "none")

    outcome = check.run(low_pass)
    assert outcome.inputs is None
    assert "try again" not in outcome.message
    assert check.failing == ()


def test_the_call_names_the_checker_as_a_notebook_does():
    check = Checker("5.1")

    def doubles(answer):
        close(answer(3.0), 6.0)

    doubles.__module__ = "bestpapers.dynamics.exercises.twice"
    check.property("it doubles")(doubles)
    assert check.run(abs).message.endswith("  try again abs(*exercises.twice.check.failing)")


def test_the_readers_exception_is_kept_with_the_input(checker):
    def answer(cov, s):
        return cov[7], s

    with pytest.raises(
        CheckFailed, match=r"(?s)property 1 of 3.*cov = \[\[4, 1\].*found +IndexError: .*traceback"
    ) as caught:
        checker(answer)
    assert isinstance(caught.value.__cause__, IndexError)
    assert caught.value.__cause__.__traceback__.tb_next.tb_frame.f_code.co_name == "answer"


def test_an_op_that_torch_does_not_have_is_not_a_stub(checker):
    def answer(cov, s):
        return torch.empty(2, device="meta").cpu(), s

    def helper(cov, s):
        return stub(cov, s)

    outcome = checker.run(answer)
    assert (outcome.state, type(outcome.cause)) == ("failed", NotImplementedError)
    assert checker.run(helper).state == "not started"


@pytest.mark.parametrize("result", [None, 3.0, torch.ones(3)])
def test_a_result_of_another_form_is_explained(checker, result):
    outcome = checker.run(lambda cov, s: result)
    assert outcome.property == "the shape is kept"
    assert f"found     {describe(result)}" in outcome.message
    assert "using it raised" in outcome.message


def test_an_answer_with_other_arguments_is_explained(checker):
    outcome = checker.run(lambda cov: cov)
    assert "TypeError" in outcome.message
    assert "argument 2 = 0.3" in outcome.message


def test_ctrl_c_is_not_taken_for_a_wrong_answer(checker):
    def answer(cov, s):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        checker(answer)


def test_a_value_instead_of_the_function_is_refused(checker):
    with pytest.raises(TypeError, match="give the function itself, without calling it; got 3"):
        checker(3)


def test_the_reader_cannot_change_shared_inputs(checker):
    def in_place(cov, s):
        right = low_pass(cov, s)
        cov.zero_()
        return right

    checker(in_place)
    checker(low_pass)


def test_copies_reach_into_containers_and_keep_gradients():
    given = {"a": [np.zeros(2), (torch.zeros(2),)]}
    leaf = torch.ones(2, requires_grad=True)
    check = Checker("1.1")

    @check.property("all is changed")
    def _(answer):
        close(torch.autograd.grad(answer(given, leaf).sum(), leaf)[0], [3.0, 3.0])

    def vandal(given, leaf):
        given["a"][0][:] = 1
        given["a"][1][0][:] = 1
        given["b"] = 2
        return leaf.mul_(3)

    check(vandal)
    assert list(given) == ["a"]
    assert not given["a"][0].any()
    assert not given["a"][1][0].any()
    assert leaf.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (1, 1.0 + 1e-7),
        (np.float32(0.1), 0.1),
        (torch.tensor([True, False]), [1, 0]),
        (torch.tensor([1 + 2j]), np.array([1 + 2j])),
        (torch.ones(2, dtype=torch.bfloat16), np.ones(2)),
        (float("nan"), np.nan),
        ([[1, 2]], torch.tensor([[1, 2]])),
    ],
)
def test_equal_values_are_close_whatever_holds_them(found, expected):
    close(found, expected)


@pytest.mark.parametrize(
    ("found", "expected", "words"),
    [
        (1.0, 1.1, "expected 1.1, found 1"),
        (np.nan, 1.0, "found nan"),
        (np.ones((2, 1)), np.ones(2), r"expected shape \[2\], found shape \[2, 1\]"),
        (None, 1.0, "found None"),
        ("1", 1.0, "found '1'"),
        ([[1], [1, 2]], 1.0, r"found \[\[1\], \[1, 2\]\]"),
        (np.r_[np.ones(20), 2, 3], np.ones(22), r"expected 1 at index \[20\], found 2 there; 2 of 22 entries differ"),
    ],
)
def test_other_values_are_told_apart(found, expected, words):
    with pytest.raises(Exception, match=words) as caught:
        close(found, expected)
    assert type(caught.value).__name__ == "_Mismatch"


def test_large_inputs_are_given_by_shape_and_range():
    assert describe(torch.linspace(-1, 2, 30).reshape(5, 6)) == "Tensor [5, 6] float32, from -1 to 2"
    assert describe([1, 2.5, "x"]) == "[1, 2.5, 'x']"
    assert len(describe("x" * 10_000)) < 100
    assert len(describe(list(range(10_000)))) < 100


def test_verify_accepts_a_good_checker(checker):
    verify(checker, low_pass, WRONG, stub)


@pytest.mark.parametrize(
    ("solution", "wrong", "given", "message"),
    [
        (WRONG["inverts the gain"][0], WRONG, stub, "the solution is refused"),
        (low_pass, WRONG, low_pass, "the untouched stub is not reported as such"),
        (low_pass, WRONG | {"none": (low_pass, "the light is kept")}, stub, "the mistake 'none' is not noticed"),
        (
            low_pass,
            WRONG | {"x": (WRONG["makes a list"][0], "the light is kept")},
            stub,
            "'x' should break 'the light is",
        ),
        (low_pass, {"makes a list": WRONG["makes a list"]}, stub, "no wrong answer breaks 's goes on the"),
    ],
)
def test_verify_refuses_a_bad_checker(checker, solution, wrong, given, message):
    with pytest.raises(AssertionError, match=message):
        verify(checker, solution, wrong, given)


def test_a_checker_needs_properties_of_different_names(checker):
    with pytest.raises(ValueError, match=r"2\.3: there is already a property 'the light is kept'"):
        checker.property("the light is kept")
    with pytest.raises(ValueError, match="has no properties"):
        Checker("9").run(low_pass)


def test_in_a_notebook_the_reader_sees_their_own_line():
    source = """
from bestpapers.course.checks import Checker, close
check = Checker("1.2")
@check.property("it doubles")
def _(answer):
    close(answer(2.0), 4.0)
"""
    stub_cell = "def double(x):\n    raise NotImplementedError\ncheck(double)"
    broken = "def double(x):\n    return x.no_such_thing\ncheck(double)"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in (source, stub_cell, broken)])
    with pytest.raises(CellExecutionError):
        NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    assert "not started yet" in notebook.cells[1].outputs[0]["text"]
    error = notebook.cells[2].outputs[0]
    assert error["ename"] == "CheckFailed"
    assert "found     AttributeError" in error["evalue"]
    assert "no_such_thing" in "\n".join(error["traceback"])

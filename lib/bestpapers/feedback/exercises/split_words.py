r"""Which word does the label mean?

The released data set has the labels of a prompt's words as one text: `1 1 0 1`, with 1 for a word that the picture
honours and 0 for a *misaligned* one. The words themselves are not there. They follow from the prompt by a rule: split it
at every

    , . ? ! " : ;    and at every space

and at nothing else; drop what is empty. Write it. Where the numbers of words and of labels differ, raise a `ValueError`: to
go on with what fits gives labels to the wrong words.
"""

import re

from ...course.checks import Checker, true

LEVEL, MINUTES, DIFFICULTY = "core", 10, 1
HINT = r"""
`re.split('[,.?!":; ]', prompt)` cuts at each of these characters, and leaves an empty string between two of them.
"""
NOTE = r"""
A hyphen does not cut, an apostrophe does not, and neither does a bracket: "(old" is a word. Libraries that split at `\W+` or
at white space are right for most prompts, which is what makes them dangerous. Prompts that people type into generators are
full of commas without a space behind them.

Beside such prompts stands the direction: 0 marks the fault here, and 1 does in most code, this wing's included.
"""


def split_words(prompt: str, labels: str) -> list[tuple[str, bool]]:
    """The words of a prompt, each with its label.

    prompt: any text; labels: "1" or "0" for each word, with spaces between
    -> (word, is it misaligned?) in order. ValueError if the numbers differ
    """
    words = [word for word in re.split('[,.?!":; ]', prompt) if word]
    given = labels.split()
    if len(words) != len(given):
        raise ValueError(f"{len(given)} labels for {len(words)} words of {prompt!r}")
    return [(word, label == "0") for word, label in zip(words, given)]


check = Checker("5.3")


def _compare(answer, prompt: str, want: list[str], hint: str = "") -> None:
    try:
        found = [word for word, _ in answer(prompt, " ".join("1" * len(want)))]
    except Exception as error:  # a rule that cuts elsewhere finds another number of words: say which words there are
        if isinstance(error.__cause__, ValueError):
            true(False, f"the words {want}", f"ValueError: {error.__cause__}", hint=hint)
        raise
    true(found == want, f"the words {want}", f"{found}", hint=hint)


@check.property("a plain prompt: each word with its label, and 0 means misaligned")
def _(answer):
    found = [tuple(pair) for pair in answer("a cat on a mat", "1 0 1 1 1")]
    want = [("a", False), ("cat", True), ("on", False), ("a", False), ("mat", False)]
    true(found == want, f"{want}", f"{found}")


@check.property("two of what separates, one after the other, leave no empty word")
def _(answer):
    _compare(answer, "a  cat, a dog.", ["a", "cat", "a", "dog"])
    _compare(answer, '"wait"...what?!', ["wait", "what"], "a full stop separates also where no space follows")


@check.property("hyphens, apostrophes and brackets stay in the word")
def _(answer):
    prompt = 'A red-haired man\'s dog: "sit"!  (old photo)'
    _compare(answer, prompt, ["A", "red-haired", "man's", "dog", "sit", "(old", "photo)"])


@check.property("a line break, a slash, an underscore do not separate either")
def _(answer):
    _compare(answer, "black/white cat\nby_me", ["black/white", "cat\nby_me"], "of white space, only the space does")


@check.property("a prompt without words has no labels")
def _(answer):
    true(list(answer(" ,. ", "")) == [], "[]", answer(" ,. ", ""))


@check.property("too few labels, and too many, are refused")
def _(answer):
    for labels in ("1 1", "1 1 0 1"):
        try:
            found = answer.function("a red cat", labels)
        except ValueError:
            continue
        true(False, "a ValueError", f"{found} for the labels {labels!r}")

"""Solutions of exercises and the mistakes that their checkers must tell: what tests of exercises share."""

from bestpapers.course.checks import verify


def by_name(modules):
    """{name: module} of a wing's exercises, in their order."""
    return {module.__name__.rsplit(".", 1)[1]: module for module in modules}


def assert_checker_tells(module, name, wrong):
    """The solution passes, the stub does not, and each mistake {words: (function, how many properties hold)} is named."""
    names = module.check.properties
    verify(module.check, getattr(module, name), {m: (f, names[held]) for m, (f, held) in wrong.items()})


def assert_all_have_mistakes(wrong, modules):
    assert list(wrong) == list(modules)
    assert min(len(mistakes) for mistakes in wrong.values()) >= 4

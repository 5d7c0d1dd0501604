"""The search looks at text, not at code: code cells and printed lines are neither in the index nor in a result's summary."""

from docutils import nodes


def setup(app):
    app.connect("builder-inited", index_text)
    app.connect("html-page-context", summaries)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def index_text(app):
    if app.builder.name != "html":
        return
    index_page = app.builder.index_page
    app.builder.index_page = lambda name, doctree, title: index_page(name, text_only(doctree), title)


def text_only(doctree):
    """A copy without blocks of code and without what cells print."""
    copy = doctree.deepcopy()
    for node in list(copy.findall(lambda n: isinstance(n, nodes.literal_block | nodes.raw | nodes.math_block))):
        node.parent.remove(node)
    return copy


def summaries(app, pagename, templatename, context, doctree):
    """results.js stands behind searchtools.js, whose summaries it mends."""
    if pagename == "search":
        app.add_js_file("results.js", priority=900, loading_method="defer")

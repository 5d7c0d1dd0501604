"""Clean scripts on every page: each inline script once, and none of sphinx-thebe.

Under Sphinx 7 two of the theme's extensions add the same inline script twice to a page, which a browser reports as an
error. sphinx-thebe, which Jupyter Book always loads, would fetch a kernel from another host; this book does not use it.
"""


def setup(app):
    app.connect("html-page-context", keep_once, priority=999)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def keep_once(app, pagename, templatename, context, doctree):
    seen, kept = set(), []
    for script in context.get("script_files", []):
        body = getattr(script, "attributes", {}).get("body") or ""
        if "thebe" in str(getattr(script, "filename", script)) or "thebe" in body:
            continue
        if body and body in seen:
            continue
        seen.add(body)
        kept.append(script)
    context["script_files"] = kept
    context["css_files"] = [c for c in context.get("css_files", []) if "thebe" not in str(getattr(c, "filename", c))]

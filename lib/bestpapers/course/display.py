"""Show one output in several forms (picture, HTML, words) in a notebook; print the words everywhere else."""

from __future__ import annotations

from typing import Any


def show_bundle(bundle: dict[str, Any], metadata: dict[str, Any] | None = None) -> None:
    """Display a bundle of MIME types as one output.

    bundle    MIME type -> data; must hold "text/plain", which readers without pictures get: screen readers, print, diffs
    metadata  MIME type -> dict, stored beside the output
    """
    if not bundle.get("text/plain", "").strip():
        raise ValueError("an output needs text/plain: say in words what it shows")
    from IPython.core.interactiveshell import InteractiveShell

    if InteractiveShell.initialized():
        from IPython.display import display

        display(bundle, raw=True, metadata=metadata or {})
    else:
        print(bundle["text/plain"])


def required_text(value: object, what: str, why: str) -> str:
    """Return `value` stripped; raise ValueError("<what> is missing: <why>") if it is not a text or is empty."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{what} is missing: {why}")
    return value.strip()

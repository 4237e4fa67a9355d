"""Configuration of the documentation: Sphinx, numpydoc and MyST-NB."""

from __future__ import annotations

import logging
import os

import torchsample

# The cells are executed in processes of their own, which inherit this. They are small: more threads would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

project = "torchsample"
author = "the torchsample developers"
copyright = f"2026, {author}"
version = release = torchsample.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc"]
exclude_patterns = ["_build", "_templates", "jupyter_execute"]
templates_path = ["_templates"]
nitpicky = True
default_role = "py:obj"

# Pages: MyST Markdown whose cells are executed at every build; what goes wrong in one fails the build.
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 120
nb_merge_streams = True
nb_output_stderr = "warn"
nb_render_markdown_format = "myst"
nb_code_prompt_show = "Show the code of this"
nb_code_prompt_hide = "Hide the code of this"

# Reference: every public object under its public name, types as the docstrings state them.
autosummary_generate = True
autosummary_context = {
    "nobatch": [
        f"{module.__name__}.{name}"
        for module in (torchsample, torchsample.coord)
        for name in module.__all__
        if hasattr(getattr(module, name), "nobatch")
    ],
}
# Names that differ in case only need files that differ in more, for file systems that ignore case.
autosummary_filename_map = {
    f"torchsample.encoding.{name}": f"torchsample.encoding.{name}-module" for name in ("Gamma", "Identity", "NearestPixel")
}
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
maximum_signature_line_length = 80

html_theme = "furo"
html_title = f"torchsample {release}"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_show_sphinx = False
html_copy_source = False


def _resolve_short_name(app, env, node, contnode):
    """Link `sample`, `coord.rand` and `ts.coord.rand` alike; what is not of this package stays plain text."""
    target = node.get("reftarget", "")
    if node.get("refdomain") != "py":
        return None
    if target.split(".")[0] in {"abc", "nn", "torch"}:
        return contnode
    domain = env.get_domain("py")
    short = target.removeprefix("ts.")
    for prefix in ("torchsample.", "torchsample.coord.", "torchsample.encoding.", "torchsample.models.", "torchsample.interpolation."):
        if prefix + short in domain.objects:
            refdoc = node.get("refdoc", env.docname)
            return domain.resolve_xref(env, refdoc, app.builder, "obj", prefix + short, node, contnode)
    return None


def setup(app):
    logging.getLogger("traitlets").setLevel(logging.ERROR)
    app.connect("missing-reference", _resolve_short_name)

from one_liner import __version__

project = "one_liner"
author = "one_liner contributors"
copyright = "one_liner contributors"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
# The reference describes the code; what a link points at is checked by the strict build.
nitpicky = False

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# Docstrings write names as `name`, as Markdown does.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
# The fields of a dataclass are described once, in the docstring of their class.
napoleon_use_ivar = True

html_theme = "furo"
html_title = "one_liner"


def setup(app):
    # Napoleon takes what stands before a colon in a property's docstring for its type; ours are sentences.
    def keep_sentence(app, what, name, obj, options, lines):
        if what == "property":
            lines[:0] = ["..", ""]

    app.connect("autodoc-process-docstring", keep_sentence, priority=400)

"""How Sphinx builds these pages; every one also reads well as plain Markdown."""

import tenantcollect

project = "tenantcollect"
author = "the tenantcollect authors"
copyright = "the tenantcollect authors"
version = release = tenantcollect.__version__

extensions = ["myst_parser"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "tenantcollect"
myst_heading_anchors = 3
nitpicky = True

"""How Sphinx builds the site: ``make docs``."""

from mmblocks.version import __version__

project = 'mmblocks'
release = version = __version__
extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon', 'sphinx.ext.viewcode']
html_theme = 'furo'
html_title = f'mmblocks {release}'
# Pages are found by their place in the table of contents; headings of all depths can be linked to.
myst_heading_anchors = 3
autodoc_typehints = 'description'
autodoc_typehints_description_target = 'documented'
autodoc_member_order = 'bysource'
autodoc_preserve_defaults = True
# What an attribute is stands in the docstring of its class.
napoleon_use_ivar = True

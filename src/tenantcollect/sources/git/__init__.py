"""The data source ``git``: branches, tags, commits and contributors of a local git clone.

An ordinary plugin: it is found through its entry points and imports nothing but the public face, so it can be
read as an example of a collector package. :mod:`.source` is the data source itself; its scripts are
:mod:`.repository` (a snapshot), :mod:`.commit` (windows) and :mod:`.contributor` (derived).
"""

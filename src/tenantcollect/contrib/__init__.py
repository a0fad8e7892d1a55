"""Parts that need a library of their own (floor: contrib).

Nothing below imports them: a host hands one over as an object, or names it as an extension.
"""

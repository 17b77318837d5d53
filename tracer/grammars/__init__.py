"""How a forecast is written as text, one grammar per file.

Other rooms use ``grammar.grammar(name)``, which gives a ``reading.Grammar``. ``pointing`` and ``literal`` also serve
those who write a prompt, or read another project's answers. ``conventions`` reads how model families write an action.
"""

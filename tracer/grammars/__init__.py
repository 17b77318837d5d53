"""How a forecast is written as text, one grammar per file.

Other rooms use ``grammar.grammar(name)``.
"""

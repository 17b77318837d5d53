"""How a forecast is written as text: one grammar a module, found by its name with ``grammar.grammar``."""

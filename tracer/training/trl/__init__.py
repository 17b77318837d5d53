"""Everything that touches TRL's or transformers' private parts: sampling and scoring in groups, exact resumption, vLLM.

Only tracer.training uses this room. tests/unit/test_upstream.py notices when a part that is relied on has changed.
"""

"""Everything that touches TRL's or transformers' private parts: sampling and scoring in groups, exact resumption, vLLM.

Used by tracer.training, and by the speed comparison in tracer.experiments. tests/unit/test_upstream.py notices when a
part of TRL or transformers that is relied on has changed.
"""

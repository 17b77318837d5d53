"""The benchmarks' names, for whoever needs no more than them."""

BENCHMARKS = (
    "android_control",
    "gui_odyssey",
    "mind2web",
    "gaia",
    "gta",
    "android_world",
    "osworld",
    "miniwob",
    "bfcl",
    "agentdojo",
)

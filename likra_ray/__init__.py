"""likra_ray: how many negative examples, of which kind, before a language model's accuracy jumps?"""

__version__ = "0.1.0"

"""Gradient methods that nodebench implements itself, one per file.

``checkpoint`` recomputes segments of any differentiable solve. The other methods solve without a graph and compute the
gradient in the backward pass of one autograd function (``function.py``).
"""

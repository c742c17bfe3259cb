"""Ways to differentiate a solve that are not a library's own, one file each.

``checkpoint`` takes segments of any differentiable solve again. The others solve without a graph and compute the
gradient themselves, in the backward pass of one autograd function (``function.py``).
"""

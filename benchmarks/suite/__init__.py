"""The asv suite: benchmarks that detect regressions of nodebench and of the libraries it uses."""

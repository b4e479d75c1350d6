"""Parts of the gateway's benchmarks: processes and what they use, load, and the pass-through to compare with."""

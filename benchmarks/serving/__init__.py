"""Parts of the gateway's benchmarks: processes and their resources, load, and the pass-through to compare with."""

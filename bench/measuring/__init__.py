"""What the benchmarks share: processes, runs, watches, cases, records, and the page made of them."""

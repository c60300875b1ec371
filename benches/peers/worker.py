"""What the workers of other engines share: a workload served over stdin/stdout.

Prints `ready`, then answers `go` with the milliseconds of one call and `mem` with the peak in MiB.
"""
import resource
import sys
import time


def serve(run):
    print("ready", flush=True)
    for line in sys.stdin:
        if line.strip() == "go":
            start = time.perf_counter()
            run()
            print((time.perf_counter() - start) * 1e3, flush=True)
        elif line.strip() == "mem":
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, flush=True)

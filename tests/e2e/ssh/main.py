"""main.py PART [TEST...]: runs that part of the tests of roost-ssh, all of it or those named. Started by t_ssh.sh in namespaces of its own."""

import importlib
import sys
import time
import traceback


def run(name, test):
    begin = time.monotonic()
    try:
        test()
    except Exception as e:  # the next test tells more
        frames = traceback.extract_tb(e.__traceback__)[1:]
        where = " ".join(f"{f.filename.rsplit('/', 1)[-1]}:{f.lineno}" for f in frames)
        print(f"FAILED {name}: {where}: {type(e).__name__}: {str(e)[:1500]}", flush=True)
        return False
    print(f"ok     {name} ({time.monotonic() - begin:.1f} s)", flush=True)
    return True


def main():
    part, *wanted = sys.argv[1:]
    tests = [(k[5:], v) for k, v in vars(importlib.import_module("test_" + part)).items() if k.startswith("test_")]
    tests = [(name, test) for name, test in tests if not wanted or name in wanted]
    passed = sum(run(name, test) for name, test in tests)
    print(f"ssh: {part}: {passed} of {len(tests)} passed")
    return 0 if passed == len(tests) else 1


sys.exit(main())

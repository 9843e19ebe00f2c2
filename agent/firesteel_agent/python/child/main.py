"""Starts an interpreter: `python main.py CONTROL COMPLETION CANCELLED MAX_OUTPUT MAX_FRAME RICH`.

The first three are descriptors, the next two bytes, the last one 1 where values show more than text, or 0.
It takes the descriptors in hand, imports PySpark while the agent makes the SparkContext, attaches, and serves
statements. Calls attach, channel, completion, descriptors and repl.
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    # User code must import its own modules, not ours: only what is imported here comes from our directory.
    sys.path[0] = str(Path(__file__).resolve().parents[3])
    from firesteel_agent.python.child import serve

    sys.path.pop(0)
    serve.serve(*(int(argument) for argument in sys.argv[1:7]))

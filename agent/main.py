"""What spark-submit starts: `spark-submit ... main.py RUN_DIR`. It owns nothing and calls the supervisor."""

import sys

from firesteel_agent.supervisor import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

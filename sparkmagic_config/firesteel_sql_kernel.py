"""A kernel whose cells are Spark SQL: sparkmagic's for Python, with `%%sql` for a cell that has no magic.

`%%sql -o name`, `%%local`, `%%spark`, `%%configure` and the others are as in the PySpark kernel.
"""

from __future__ import annotations

from sparkmagic.kernels.wrapperkernel.sparkkernelbase import SparkKernelBase
from sparkmagic.kernels.wrapperkernel.usercodeparser import UserCodeParser
from sparkmagic.utils.constants import LANG_PYTHON


class SqlParser(UserCodeParser):
    """Says what a cell runs."""

    def get_code_to_run(self, code: str) -> str:
        """A cell that begins with a magic as everywhere, any other as `%%sql`."""
        if code.startswith("%") or not code.strip():
            return super().get_code_to_run(code)
        return f"%%sql\n{code}"


class SqlKernel(SparkKernelBase):
    """Its session is one of Python, where `-o` and `%%spark` cells run."""

    def __init__(self, **more):
        about = {
            "name": "sql",
            "mimetype": "text/x-sql",
            "codemirror_mode": "sql",
            "file_extension": ".sql",
            "pygments_lexer": "sql",
        }
        super().__init__("Spark SQL", "1.0", "sql", "1.0", about, LANG_PYTHON, SqlParser(), **more)


if __name__ == "__main__":
    from ipykernel.kernelapp import IPKernelApp

    IPKernelApp.launch_instance(kernel_class=SqlKernel)

"""Rich values with the libraries that make them, without the feature, and what is odd about cells.

The libraries are those of the environment that runs the tests; its Python is that of the drivers.
"""

import sysconfig

import pytest

LIBRARIES = f"import sys; sys.path.append({sysconfig.get_paths()['purelib']!r})"
TABLE = "application/vnd.livy.table.v1+json"


@pytest.fixture(scope="module")
def libraries(driver):
    """The shared driver, where NumPy, pandas, IPython and plotly can be imported."""
    assert driver.run(LIBRARIES).text == ""
    return driver


def data(driver, code):
    output = driver.run(code).output
    assert output["status"] == "ok", output
    return output["data"]


def test_pandas_frames_show_html(libraries):
    shown = data(libraries, "import pandas as pd\npdf = pd.DataFrame({'b': [1, 2], 'a': ['x', None]})\npdf")
    assert shown["text/plain"] == "   b     a\n0  1     x\n1  2  None"
    assert "<table" in shown["text/html"] and set(shown) == {"text/plain", "text/html"}
    assert set(data(libraries, "pdf.b")) == {"text/plain"}


@pytest.mark.parametrize(
    "code, value",
    [
        (
            "v = pd.DataFrame({'b': [1, 2], 'a': [1.5, float('nan')]})",
            [{"b": 1, "a": 1.5}, {"b": 2, "a": None}],
        ),
        ("v = pd.Series([1, 2])", [1, 2]),
        ("v = [pd.Timestamp('2024-01-02'), pd.NaT, pd.NA]", ["2024-01-02T00:00:00", None, None]),
        ("import numpy as np\nv = np.arange(4).reshape(2, 2)", [[0, 1], [2, 3]]),
        ("v = [np.int64(5), np.float32(0.5), np.bool_(True), np.str_('s')]", [5, 0.5, True, "s"]),
        ("v = [np.float64('nan'), np.datetime64('2024-01-02')]", [None, "2024-01-02"]),
        ("v = {np.int64(1): 'a', np.str_('k'): 'b'}", {"1": "a", "k": "b"}),
    ],
)
def test_json_of_numpy_and_pandas(libraries, code, value):
    assert data(libraries, f"import pandas as pd\n{code}\n%json v") == {"application/json": value}


@pytest.mark.parametrize(
    "code, types, rows",
    [
        (
            "v = pd.DataFrame({'b': [1, 2], 'a': ['x', None], 't': pd.to_datetime(['2024-01-02', None])})",
            [("b", "INT_TYPE"), ("a", "STRING_TYPE"), ("t", "TIMESTAMP_TYPE")],
            [[1, "x", "2024-01-02 00:00:00"], [2, None, None]],
        ),
        ("v = np.array([[1, 2], [3, 4]])", [("0", "INT_TYPE"), ("1", "INT_TYPE")], [[1, 2], [3, 4]]),
        (
            "v = [[np.int64(1), np.float64(2.5), np.bool_(False)]]",
            [("0", "INT_TYPE"), ("1", "DOUBLE_TYPE"), ("2", "BOOLEAN_TYPE")],
            [[1, 2.5, False]],
        ),
    ],
)
def test_tables_of_numpy_and_pandas(libraries, code, types, rows):
    table = data(libraries, f"import pandas as pd, numpy as np\n{code}\n%table v")[TABLE]
    assert [(header["name"], header["type"]) for header in table["headers"]] == types
    assert table["data"] == rows


def test_ipythons_display_is_ours(libraries):
    code = (
        "from IPython.display import display as shown, HTML, Markdown, Image, JSON\nshown(HTML('<b>x</b>'))"
    )
    assert data(libraries, code) == {
        "text/html": "<b>x</b>",
        "text/plain": "<IPython.core.display.HTML object>",
    }
    assert data(libraries, "Markdown('*m*')")["text/markdown"] == "*m*"
    assert data(libraries, "JSON({'a': 1})")["application/json"] == {"a": 1}
    image = data(libraries, "Image(data=b'\\x89PNG\\r\\n\\x1a\\n' + bytes(20), format='png')")
    assert image["image/png"].startswith("iVBORw0KGgo")
    assert (
        data(libraries, "import IPython.core.display_functions as f\nf.display is display")["text/plain"]
        == "True"
    )


def test_plotly_figures(libraries):
    shown = data(libraries, "import plotly.graph_objects as go\ngo.Figure(go.Bar(y=[1, 2]))")
    assert shown["text/plain"].startswith("Figure({")
    assert all(isinstance(value, (str, dict)) for value in shown.values())


def test_pandas_of_spark(libraries):
    table = data(
        libraries, "rows = spark.createDataFrame(pd.DataFrame({'n': [1, 2]})).collect()\n%table rows"
    )
    assert table[TABLE] == {"headers": [{"name": "n", "type": "INT_TYPE"}], "data": [[1], [2]]}


def test_switched_off(own_driver):
    driver = own_driver(rich=False)
    code = "class H:\n    def _repr_html_(self): return '<b>'\n    def __repr__(self): return 'H()'\n"
    assert data(driver, f"{code}H()") == {"text/plain": "H()"}
    assert data(driver, "display(H(), 'x')\nH()") == {"text/plain": "H()\n'x'\nH()"}
    assert data(driver, "display({'text/plain': 'p', 'text/html': 'h'}, raw=True)") == {
        "text/plain": "{'text/plain': 'p', 'text/html': 'h'}"
    }
    assert data(driver, "d = 1\n%json d") == {"application/json": 1}
    assert "text/html" not in data(driver, "spark")


def test_large_values_and_large_text_together(libraries):
    """Both at their limits: each is kept, and the frame holds them."""
    half = libraries.limit // 2
    code = (
        f"class L:\n    def _repr_html_(self): return 'h' * {half}\n"
        f"    def __repr__(self): return 'r' * {half}\nL()"
    )
    shown = data(libraries, code)
    assert shown == {"text/html": "h" * half, "text/plain": "r" * half}


def test_a_method_that_never_ends_is_cancelled(libraries):
    number = libraries.submit("class N:\n    def _repr_html_(self):\n        while True: pass\nN()")
    libraries.started(number)
    libraries.cancel(number)
    assert libraries.result(number).state == "cancelled"
    assert libraries.run("1 + 1").text == "2"


def test_a_value_is_replaced_within_the_limit(libraries):
    most = libraries.limit - 2
    code = (
        "class J:\n    def __init__(self, n): self.n = n\n    def __repr__(self): return 'J'\n"
        f"    def _repr_markdown_(self): return 'm' * self.n\ndisplay(J({most}), J({most}), J(3))"
    )
    assert data(libraries, code) == {"text/markdown": "mmm", "text/plain": "J\nJ\nJ"}

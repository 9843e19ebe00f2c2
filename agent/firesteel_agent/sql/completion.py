"""Candidates for the word before the cursor of a SQL cell: keywords, functions, tables and views, columns.

Asks the JVM's catalog, never starts a job. Blocks: on a worker only. Calls spark and text.
"""

import json
import re
import time
from typing import Callable, Collection, Dict, List, Optional, Pattern, Tuple

from py4j.protocol import Py4JError

from ..spark import Spark
from .text import Token, tokens

_WORDS = """
ALL ALTER ANALYZE AND ANTI ANY ARRAY AS ASC BEGIN BETWEEN BY CACHE CASE CAST CLUSTER COLUMN COLUMNS
CREATE CROSS CURRENT_DATE CURRENT_TIMESTAMP DATABASE DATABASES DATE DECIMAL DECLARE DEFAULT DELETE
DESC DESCRIBE DISTINCT DISTRIBUTE DROP ELSE END ESCAPE EXCEPT EXISTS EXPLAIN EXTENDED EXTRACT FALSE
FILTER FIRST FOLLOWING FOR FROM FULL FUNCTION FUNCTIONS GROUP GROUPING HAVING IF IN INNER INSERT INT
INTERSECT INTERVAL INTO IS JOIN LAST LATERAL LEFT LIKE LIMIT MAP MERGE NATURAL NOT NULL NULLS OFFSET
ON OR ORDER OUTER OVER OVERWRITE PARTITION PIVOT PRECEDING RANGE REFRESH RENAME REPLACE RESET RIGHT
RLIKE ROLLUP ROW ROWS SCHEMA SCHEMAS SELECT SEMI SET SETS SHOW SORT STRING STRUCT TABLE TABLES
TABLESAMPLE TEMPORARY THEN TIMESTAMP TO TRUE TRUNCATE UNBOUNDED UNCACHE UNION UPDATE USE USING
VALUES VIEW VIEWS WHEN WHERE WINDOW WITH
"""
KEYWORDS = _WORDS.split()
"""What people write, not all that the grammar has."""

BEFORE_TABLES = {"FROM", "JOIN", "TABLE", "INTO", "UPDATE", "VIEW", "DESCRIBE", "DESC", "OVERWRITE", "CACHE"}
"""After these words a table comes."""

NO_TABLES = {"IF", "SELECT", "LATERAL", "VALUES", "WHERE", "EXTENDED", *BEFORE_TABLES}
"""What may stand in a table's place; other keywords, such as DEFAULT, are names there."""

MAX_CANDIDATES = 500
FRESH_SECONDS = 5.0
"""How long what the catalog said is believed: one types faster than tables change."""

MAX_REMEMBERED = 100
"""Answers of the catalog that are kept."""

_PATH = re.compile(r"((?:(?:\w+|`[^`]*`)\.)*)(\w*)\Z")
_TABLE = re.compile(r"\[([^\[\],]*),([^\[\],]*),(?:true|false)\]")
_ONE = re.compile(r"\[([^\[\],]+)\]")
_PLAIN = re.compile(r"[^\W\d]\w*\Z")


class Catalog:
    """What the session's catalog says, asked at most every FRESH_SECONDS; without Spark what it said last."""

    def __init__(self, spark: Optional[Spark], known: Optional[Dict[str, Tuple[float, List[str]]]] = None):
        self._spark = spark
        self._known = known if known is not None else {}

    def remembered(self) -> "Catalog":
        """The same for a thread that must not wait."""
        return Catalog(None, self._known)

    def functions(self) -> List[str]:
        """The functions whose names are words."""
        return self._remembered("SHOW FUNCTIONS", lambda spark: _shown(spark, "SHOW FUNCTIONS", _ONE))

    def databases(self) -> List[str]:
        """The databases of the current catalog."""
        return self._remembered("SHOW DATABASES", lambda spark: _shown(spark, "SHOW DATABASES", _ONE))

    def tables(self, database: str = "") -> List[str]:
        """Tables and views of a database, or of the current one with the temporary views."""
        command = "SHOW TABLES" + (f" IN {database}" if database else "")
        return self._remembered(command, lambda spark: _shown(spark, command, _TABLE))

    def columns(self, table: str) -> List[str]:
        """The columns of a table or view of the session's own catalog."""
        return self._remembered(f"columns of {table}", lambda spark: _columns(spark, table))

    def _remembered(self, key: str, ask: Callable[[Spark], List[str]]) -> List[str]:
        asked, found = self._known.get(key, (float("-inf"), []))
        if self._spark is not None and time.monotonic() - asked >= FRESH_SECONDS:
            if len(self._known) >= MAX_REMEMBERED:
                self._known.clear()
            try:
                found = ask(self._spark)
            except Py4JError:
                found = []  # There is no such thing.
            self._known[key] = (time.monotonic(), found)
        return found


def _shown(spark: Spark, command: str, row: Pattern) -> List[str]:
    """A command's rows are there at once, without a job; as one text they cross at once, too."""
    text = spark.session().sql(command).collectAsList().toString()
    last = row.groups
    return [match.group(last) for match in row.finditer(text) if _PLAIN.match(match.group(last))]


def _columns(spark: Spark, table: str) -> List[str]:
    """From what is stored of a table or view: to resolve a view's plan may read files."""
    state = spark.session().sessionState()
    named = state.sqlParser().parseTableIdentifier(table)
    schema = state.catalog().getTempViewOrPermanentTableMetadata(named).schema()
    return [field["name"] for field in json.loads(schema.json())["fields"]]


def candidates(code: str, cursor: int, catalog: Catalog) -> List[str]:
    """What the word before the cursor (in characters) may become: of a dotted name its last part."""
    before = code[: max(cursor, 0)]
    match = _PATH.search(before)
    assert match is not None  # It may be empty.
    path, word = match.groups()
    if not _is_code(before) or not (path or word):
        return []
    statement = _statement(code, len(before))
    tables, names = _tables(statement)
    if path:
        return _matching(_members(path.rstrip("."), tables, catalog), word)
    earlier = [token for token in statement if token.start < len(before) - len(word)]
    if earlier and earlier[-1].text.upper() in BEFORE_TABLES:
        return _matching([*names, *catalog.tables(), *catalog.databases()], word)
    columns = [column for table in set(tables.values()) for column in catalog.columns(table)]
    keywords = [key.lower() for key in KEYWORDS] if word.islower() else KEYWORDS
    return _matching([*columns, *tables, *keywords, *catalog.functions(), *catalog.tables()], word)


def _is_code(before: str) -> bool:
    """Whether what is typed next is code, not the inside of a string or a comment."""
    last = None
    for last in tokens(before + " x"):  # noqa: B007
        pass
    return last is not None and last.text == "x" and last.start == len(before) + 1


def _statement(code: str, cursor: int) -> List[Token]:
    """The tokens of the statement that the cursor is in."""
    found: List[Token] = []
    for token in tokens(code):
        if token.kind == "end":
            if token.start >= cursor:
                break
            found = []
        else:
            found.append(token)
    return found


def _tables(statement: List[Token]) -> Tuple[Dict[str, str], List[str]]:
    """The tables that are named, by the names that stand for them, and the names that WITH defines."""
    tables: Dict[str, str] = {}
    defined: List[str] = []
    texts = [token.text.upper() for token in statement]
    at = 0
    while at < len(statement):
        if texts[at + 1 : at + 3] == ["AS", "("] and "WITH" in texts[:at]:
            defined.append(statement[at].text)
        if texts[at] not in BEFORE_TABLES:
            at += 1
            continue
        at += 1
        while at < len(statement) and _is_name(statement[at], NO_TABLES):
            parts = [statement[at].text]
            while texts[at + 1 : at + 2] == ["."] and at + 2 < len(statement):
                parts.append(statement[at + 2].text)
                at += 2
            at += 1
            tables[_bare(parts[-1])] = ".".join(parts)
            if texts[at : at + 1] == ["AS"]:
                at += 1
            if at < len(statement) and _is_name(statement[at], KEYWORDS):
                tables[_bare(statement[at].text)] = ".".join(parts)
                at += 1
            if texts[at : at + 1] != [","]:
                break
            at += 1
    return {name: table for name, table in tables.items() if table not in defined}, defined


def _is_name(token: Token, unless: Collection[str]) -> bool:
    if token.kind == "word":
        return token.text.upper() not in unless
    return token.kind == "quoted" and token.text.startswith("`")


def _bare(name: str) -> str:
    return name[1:-1].replace("``", "`") if name.startswith("`") else name


def _members(path: str, tables: Dict[str, str], catalog: Catalog) -> List[str]:
    """What may come after a dot: columns of a table or of what stands for it, or tables of a database."""
    by_lower = {name.lower(): table for name, table in tables.items()}
    table = by_lower.get(_bare(path).lower())
    columns = catalog.columns(table) if table is not None else []
    # A database that is being typed after FROM looks like a table.
    return columns or [*catalog.tables(path), *catalog.columns(path)]


def _matching(names: List[str], word: str) -> List[str]:
    """Each name once that begins with the word in any case, in the order given."""
    lower = word.lower()
    found = {name: None for name in names if name.lower().startswith(lower)}
    return list(found)[:MAX_CANDIDATES]

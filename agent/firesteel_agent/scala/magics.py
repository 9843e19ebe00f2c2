"""Livy's magics for Scala, `%json v` and `%table v`: the code that runs in the JVM, and how its answers read.

Pure text and functions; calls output. The code is compiled by the session's own REPL when a magic is first
used, since it has to know the values' classes; no jar of ours is needed. It answers `=JSON`, `#SIZE` for
more than the limit, or `!NAME` and a message in the next line.
"""

import re
from typing import NamedTuple, Optional

from ..output import Value

NAMES = {"json": "application/json", "table": "application/vnd.livy.table.v1+json"}
"""The magics and what they give."""

_WRAPPERS = re.compile(r"\$line\d+\.\$read(?:\$\$iw)*\$?")
"""What the REPL puts around a cell's classes."""

NOT_JSON = "Failed to convert value into a JSON value"


class Answer(NamedTuple):
    """A value; or its size, as it is too large; or an error's name, value and reason."""

    value: Optional[Value] = None
    seen: int = 0
    ename: str = ""
    evalue: str = ""
    reason: str = ""


def read(name: str, text: str) -> Answer:
    """What the code in the JVM answered."""
    mark, rest = text[:1], text[1:]
    if mark == "=":
        return Answer(value=(NAMES[name], rest.encode("utf-8", "replace")))
    if mark == "#":
        return Answer(seen=int(rest))
    ename, _line, reason = rest.partition("\n")
    reason = _WRAPPERS.sub("", reason)
    return Answer(ename=ename, evalue=reason if ename == "TypeError" else NOT_JSON, reason=reason)


SOURCE = r"""
package firesteel

import java.lang.{Iterable => JIterable}
import java.util.{Iterator => JIterator, Map => JMap}
import scala.collection.mutable.{ArrayBuffer, LinkedHashMap}

object Magics {
  final case class Num(text: String, kind: String)
  final case class Obj(fields: ArrayBuffer[(String, Any)])
  final case class Arr(items: ArrayBuffer[Any])
  final class TooLarge(val seen: Long) extends RuntimeException
  final class NotJson(message: String) extends RuntimeException(message)
  final class Differ(message: String) extends RuntimeException(message)

  private val MaxDepth = 100

  // A walk over a value: a tree of what JSON has, counting what it will take as text.
  private final class Walk(limit: Long) {
    private var size = 0L

    private def count(bytes: Long): Unit = { size += bytes; if (size > limit) throw new TooLarge(size) }
    private def text(s: String): String = { count(s.length + 3L); s }
    private def num(s: String, kind: String): Num = { count(s.length + 1L); Num(s, kind) }

    private def array(items: Iterator[Any], depth: Int): Arr = {
      val found = new ArrayBuffer[Any]
      count(2)
      items.foreach(item => found += tree(item, depth + 1))
      Arr(found)
    }

    private def obj(fields: Iterator[(Any, Any)], depth: Int): Obj = {
      val found = new LinkedHashMap[String, Any]
      count(2)
      fields.foreach { case (key, value) => found(text(name(key))) = tree(value, depth + 1) }
      Obj(new ArrayBuffer[(String, Any)] ++ found)
    }

    private def name(key: Any): String = key match {
      case Some(inner) => name(inner)
      case s: scala.Symbol => s.name
      case other => String.valueOf(other)
    }

    def tree(value: Any, depth: Int): Any = {
      if (depth > MaxDepth) throw new NotJson("the value is nested deeper than " + MaxDepth + " levels")
      value match {
        case null | None | () => count(5); null
        case Some(inner) => tree(inner, depth + 1)
        case Left(inner) => tree(inner, depth + 1)
        case Right(inner) => tree(inner, depth + 1)
        case b: java.lang.Boolean => count(6); b
        case s: CharSequence => text(s.toString)
        case c: java.lang.Character => text(c.toString)
        case s: scala.Symbol => text(s.name)
        case d: java.lang.Double => double(d, d.toString)
        case f: java.lang.Float => double(f.toDouble, f.toString)
        case _: java.lang.Byte | _: java.lang.Short | _: java.lang.Integer | _: java.lang.Long |
             _: java.math.BigInteger | _: BigInt => num(value.toString, "BIGINT_TYPE")
        case _: java.util.concurrent.atomic.AtomicInteger | _: java.util.concurrent.atomic.AtomicLong =>
          num(value.toString, "BIGINT_TYPE")
        case d: java.math.BigDecimal => num(d.toString, "DECIMAL_TYPE")
        case d: BigDecimal => num(d.bigDecimal.toString, "DECIMAL_TYPE")
        case d: java.sql.Date => text(d.toString)
        case d: java.sql.Time => text(d.toString)
        case d: java.util.Date => text(d.toInstant.toString)
        case _: java.time.temporal.TemporalAccessor | _: java.time.temporal.TemporalAmount |
             _: java.util.UUID | _: java.lang.Enum[_] | _: java.net.URI | _: java.net.URL |
             _: java.io.File | _: java.nio.file.Path | _: java.util.Locale | _: java.util.TimeZone =>
          text(value.toString)
        case e: scala.Enumeration#Value => text(e.toString)
        case o: java.util.Optional[_] => tree(if (o.isPresent) o.get else null, depth + 1)
        case r: org.apache.spark.sql.Row =>
          if (r.schema == null) array(r.toSeq.iterator, depth)
          else obj(r.schema.fieldNames.iterator.zip(r.toSeq.iterator), depth)
        case d: org.apache.spark.sql.Dataset[_] =>
          array(d.asInstanceOf[org.apache.spark.sql.Dataset[Any]].take(10).iterator, depth)
        case r: org.apache.spark.rdd.RDD[_] =>
          array(r.asInstanceOf[org.apache.spark.rdd.RDD[Any]].take(10).iterator, depth)
        case r: org.apache.spark.api.java.JavaRDDLike[_, _] => tree(r.rdd, depth + 1)
        case v: org.apache.spark.ml.linalg.Vector => array(v.toArray.iterator, depth)
        case m: scala.collection.Map[_, _] => obj(m.iterator, depth)
        case m: JMap[_, _] =>
          obj(entries(m.entrySet.iterator.asInstanceOf[JIterator[JMap.Entry[Any, Any]]]), depth)
        case a: Array[_] => array(a.iterator, depth)
        case i: scala.collection.Iterable[_] => array(i.iterator, depth)
        case i: Iterator[_] => array(i, depth)
        case i: JIterable[_] => array(walk(i.iterator.asInstanceOf[JIterator[Any]]), depth)
        case p: Product => product(p, depth)
        case other => throw new NotJson("a value of " + other.getClass.getName + " has no form in JSON")
      }
    }

    private def double(d: Double, s: String): Any =
      if (d.isNaN || d.isInfinite) { count(5); Num("null", "DOUBLE_TYPE") } else num(s, "DOUBLE_TYPE")

    private def walk(i: JIterator[Any]): Iterator[Any] = new Iterator[Any] {
      def hasNext: Boolean = i.hasNext
      def next(): Any = i.next()
    }

    private def entries(i: JIterator[JMap.Entry[Any, Any]]): Iterator[(Any, Any)] =
      walk(i.asInstanceOf[JIterator[Any]]).map { e =>
        val entry = e.asInstanceOf[JMap.Entry[Any, Any]]
        (entry.getKey, entry.getValue)
      }

    // The names of a case class: its first fields, as the compiler writes the parameters first.
    private def product(p: Product, depth: Int): Any = {
      val whole = p.getClass.getName
      val plain = p.productArity
      if (plain == 0) return text(p.toString)
      val names =
        if (whole.startsWith("scala.Tuple")) (1 to plain).map("_" + _).toList
        else p.getClass.getDeclaredFields.toList.filterNot { f =>
          java.lang.reflect.Modifier.isStatic(f.getModifiers) || f.isSynthetic || f.getName.startsWith("$")
        }.take(plain).map(f => scala.reflect.NameTransformer.decode(f.getName.trim))
      val given = if (names.size == plain) names else (1 to plain).map("_" + _).toList
      obj(given.iterator.zip(p.productIterator), depth)
    }
  }

  private def quote(s: String, out: StringBuilder): Unit = {
    out.append('"')
    var i = 0
    while (i < s.length) {
      val c = s.charAt(i)
      c match {
        case '"' => out.append("\\\"")
        case '\\' => out.append("\\\\")
        case _ if c < ' ' => out.append("\\u%04x".format(c.toInt))
        case _ if i + 1 < s.length && Character.isSurrogatePair(c, s.charAt(i + 1)) =>
          out.append(c).append(s.charAt(i + 1))
          i += 1
        case _ if Character.isSurrogate(c) => out.append(65533.toChar)
        case _ => out.append(c)
      }
      i += 1
    }
    out.append('"')
  }

  private def write(node: Any, out: StringBuilder): Unit = node match {
    case null => out.append("null")
    case b: java.lang.Boolean => out.append(b.toString)
    case s: String => quote(s, out)
    case Num(s, _) => out.append(s)
    case Arr(items) => list("[", items, "]", out)((item: Any) => write(item, out))
    case Obj(fields) =>
      list("{", fields, "}", out) { (field: (String, Any)) =>
        quote(field._1, out)
        out.append(':')
        write(field._2, out)
      }
  }

  private def list[T](open: String, items: scala.collection.Seq[T], close: String, out: StringBuilder)(
      one: T => Unit): Unit = {
    out.append(open)
    var first = true
    items.foreach { item =>
      if (!first) out.append(',')
      first = false
      one(item)
    }
    out.append(close)
  }

  private def kind(node: Any): String = node match {
    case null => "NULL_TYPE"
    case _: java.lang.Boolean => "BOOLEAN_TYPE"
    case _: String => "STRING_TYPE"
    case Num(_, k) => k
    case Arr(items) => same(items); "ARRAY_TYPE"
    case Obj(fields) => same(fields.map(_._2)); "MAP_TYPE"
  }

  private def same(items: scala.collection.Seq[Any]): Unit =
    if (items.map(kind).filter(_ != "NULL_TYPE").distinct.size > 1)
      throw new Differ("table rows have different types")

  private def table(node: Any, out: StringBuilder): Unit = {
    val rows: scala.collection.Seq[Any] = node match {
      case Arr(items) => items
      case other => ArrayBuffer[Any](other)
    }
    val kinds = new LinkedHashMap[String, String]
    val cells = rows.map { row =>
      val named: scala.collection.Seq[(String, Any)] = row match {
        case Arr(items) => items.zipWithIndex.map { case (item, index) => (index.toString, item) }
        case Obj(fields) => fields
        case other => ArrayBuffer[(String, Any)](("0", other))
      }
      named.foreach { case (name, cell) =>
        val mine = kind(cell)
        kinds.get(name) match {
          case None | Some("NULL_TYPE") => kinds(name) = mine
          case Some(known) if known != mine && mine != "NULL_TYPE" =>
            throw new Differ("table rows have different types")
          case _ =>
        }
      }
      named.toMap
    }
    out.append("{\"headers\":")
    list("[", kinds.toSeq, "]", out) { (header: (String, String)) =>
      out.append("{\"type\":\"").append(header._2).append("\",\"name\":")
      quote(header._1, out)
      out.append('}')
    }
    out.append(",\"data\":")
    list("[", cells, "]", out) { (row: Map[String, Any]) =>
      list("[", kinds.keys.toSeq, "]", out)((name: String) => write(row.getOrElse(name, null), out))
    }
    out.append('}')
  }

  private def answer(value: Any, limit: Int)(render: (Any, StringBuilder) => Unit): String =
    try {
      val out = new StringBuilder("=")
      render(new Walk(limit).tree(value, 0), out)
      if (out.length > limit.toLong + 1) "#" + (out.length - 1) else out.toString
    } catch {
      case e: TooLarge => "#" + e.seen
      case e: Differ => "!TypeError\n" + e.getMessage
      case e: InterruptedException => throw e
      case e: Throwable => "!ValueError\n" + (if (e.isInstanceOf[NotJson]) e.getMessage else e.toString)
    }

  def json(value: Any, limit: Int): String = answer(value, limit)(write(_, _))
  def table(value: Any, limit: Int): String = answer(value, limit)(table(_: Any, _: StringBuilder))
}
"""
"""`firesteel.Magics`, for Scala 2.12 and 2.13. A tree of at most the limit's size is made first: an endless
stream, or a cycle, is found while it is walked."""

// What the tests run with Livy's Java client 0.7.1: one command for each run, whose outcome is a line on stdout.
import java.io.File
import java.net.URI
import java.util.{Arrays, List => JavaList}
import java.util.concurrent.{ExecutionException, TimeUnit}

import org.apache.livy.{Job, JobContext, LivyClient, LivyClientBuilder}
import org.apache.spark.SparkFiles
import org.apache.spark.api.java.function.{Function => Map, Function2}
import org.apache.spark.sql.SparkSession

class Times(factor: Int) extends Map[Integer, Integer] {
  override def call(number: Integer): Integer = number * factor
}

class Plus extends Function2[Integer, Integer, Integer] {
  override def call(left: Integer, right: Integer): Integer = left + right
}

class Total(numbers: JavaList[Integer], factor: Int) extends Job[java.lang.Long] {
  override def call(context: JobContext): java.lang.Long =
    context.sc().parallelize(numbers, 2).map[Integer](new Times(factor)).reduce(new Plus).toLong
}

class Count extends Job[java.lang.Long] {
  override def call(context: JobContext): java.lang.Long = {
    val spark: SparkSession = context.sparkSession[SparkSession]()
    spark.range(7).count() + context.sqlctx().sql("select 1").count()
  }
}

class Share(value: String) extends Job[String] {
  override def call(context: JobContext): String = {
    context.setSharedObject("value", value)
    if (context.getLocalTmpDir.isDirectory) "shared" else "no directory"
  }
}

class Shared extends Job[String] {
  override def call(context: JobContext): String = context.getSharedObject[String]("value")
}

class Nothing0 extends Job[Void] {
  override def call(context: JobContext): Void = null
}

class Fails extends Job[Void] {
  override def call(context: JobContext): Void = throw new IllegalStateException("no such luck")
}

class Endless extends Job[Void] {
  override def call(context: JobContext): Void = {
    context.setSharedObject("value", "began")
    while (true) Thread.sleep(1000)
    null
  }
}

class FirstLine(name: String) extends Job[String] {
  override def call(context: JobContext): String = {
    val source = scala.io.Source.fromFile(SparkFiles.get(name))
    try source.getLines().next() finally source.close()
  }
}

object Client {
  private def client(uri: String, conf: Seq[(String, String)] = Nil): LivyClient = {
    val builder = new LivyClientBuilder(false).setURI(new URI(uri))
    conf.foreach { case (key, value) => builder.setConf(key, value) }
    builder.build()
  }

  private def run[T](client: LivyClient, name: String, job: Job[T]): Unit = {
    val outcome =
      try String.valueOf(client.submit(job).get(120, TimeUnit.SECONDS))
      catch { case failed: ExecutionException => "failed: " + failed.getCause.getMessage.split("\n")(0) }
    println(s"$name=$outcome")
  }

  private def await(client: LivyClient, wanted: String): Unit = {
    val deadline = System.nanoTime() + 60000000000L
    while (client.run(new Shared).get(60, TimeUnit.SECONDS) != wanted) {
      require(System.nanoTime() < deadline, s"the shared object is not $wanted")
    }
  }

  private def jobs(client: LivyClient): Unit = {
    run(client, "total", new Total(new java.util.ArrayList(Arrays.asList[Integer](1, 2, 3)), 7))
    run(client, "count", new Count)
    run(client, "share", new Share("kept"))
    run(client, "shared", new Shared)
    run(client, "nothing", new Nothing0)
    run(client, "fails", new Fails)
    println("run=" + client.run(new Shared).get(60, TimeUnit.SECONDS))
    val endless = client.submit(new Endless)
    while (endless.getState.toString != "STARTED") Thread.sleep(50)
    println("cancel=" + endless.cancel(true))
    while (endless.getState.toString != "CANCELLED") Thread.sleep(50)
    println("state=" + endless.getState)
    await(client, "began")
  }

  def main(arguments: Array[String]): Unit = {
    val command = arguments(0)
    val conf = arguments.drop(2).filter(_.contains("=")).map { pair =>
      val at = pair.indexOf('=')
      (pair.substring(0, at), pair.substring(at + 1))
    }
    val files = arguments.drop(2).filterNot(_.contains("="))
    val session = client(arguments(1), conf.toSeq)
    command match {
      case "create" => session.stop(false)
      case "jobs" =>
        jobs(session)
        session.stop(false)
      case "refused" =>
        try run(session, "refused", new Count)
        catch { case refused: RuntimeException => println("refused=" + refused.getMessage) }
        session.stop(false)
      case "upload" =>
        session.uploadJar(new File(files(0))).get(60, TimeUnit.SECONDS)
        session.uploadFile(new File(files(1))).get(60, TimeUnit.SECONDS)
        session.addFile(new URI(files(2))).get(60, TimeUnit.SECONDS)
        session.addJar(new URI(files(3))).get(60, TimeUnit.SECONDS)
        run(session, "uploaded", new FirstLine(new File(files(1)).getName))
        run(session, "added", new FirstLine(new File(files(2)).getName))
        session.stop(false)
      case "stop" => session.stop(true)
    }
    System.exit(0)
  }
}

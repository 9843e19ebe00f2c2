# `spark`, `sc` and `sqlContext`: SparkR on the driver's own SparkContext where SPARK_HOME has SparkR; where it has not,
# objects whose use gives one sentence. Calls SparkR.

spark <- new.env(parent = emptyenv())
spark$attached <- FALSE
spark$present <- FALSE
spark$sentence <- ""

NO_SPARKR <- paste(
  "SparkR is not in this SPARK_HOME (R/lib/SparkR is missing), so R can't use Spark here:",
  "use Python, Scala or SQL in this session."
)

# What users and sparkmagic call most; those that base R has are not among them.
SPARKR_NAMES <- c(
  "as.DataFrame", "cacheTable", "clearCache", "collect", "createDataFrame", "createOrReplaceTempView", "dapply", "gapply",
  "groupBy", "loadDF", "printSchema", "read.df", "read.jdbc", "read.json", "read.orc", "read.parquet", "read.text",
  "saveAsTable", "selectExpr", "showDF", "spark.lapply", "sparkR.conf", "sparkR.init", "sparkR.session",
  "sparkR.version", "sparkRSQL.init", "sql", "tableNames", "tables", "tableToDF", "take", "uncacheTable", "write.df",
  "write.json", "write.orc", "write.parquet"
)

# Where SparkR's library is, or an empty text.
sparkr_library <- function() {
  given <- Sys.getenv("SPARKR_PACKAGE_DIR", file.path(Sys.getenv("SPARK_HOME"), "R", "lib"))
  if (dir.exists(file.path(given, "SparkR"))) given else ""
}

# Names that say what is missing, in an environment on the search path: user code may have its own of the same names.
missing_spark <- function(names, sentence) {
  spark$present <- FALSE
  spark$sentence <- sentence
  refuse <- function(...) stop(sentence, call. = FALSE)
  for (name in SPARKR_NAMES) assign(name, refuse, envir = names)
  for (name in c("spark", "sc", "sqlContext")) {
    assign(name, structure(list(), class = "firesteel_no_sparkr"), envir = names)
  }
  # `print` and its like give the sentence, everything else is an error.
  tell <- function(x, ...) {
    cat(sentence, "\n", sep = "")
    invisible(x)
  }
  # Registered where user code does not see them.
  for (generic in c("$", "[[", "[", "$<-", "[[<-", "[<-", "as.list", "length", "Ops", "Math", "Summary")) {
    registerS3method(generic, "firesteel_no_sparkr", refuse, envir = baseenv())
  }
  for (generic in c("print", "format", "summary", "str")) {
    registerS3method(generic, "firesteel_no_sparkr", tell, envir = if (generic == "str") asNamespace("utils") else baseenv())
  }
}

# Attach SparkR to the backend that the agent has started in the driver's JVM.
attach_spark <- function(port, secret) {
  home <- sparkr_library()
  .libPaths(c(home, .libPaths()))
  Sys.setenv(EXISTING_SPARKR_BACKEND_PORT = port, SPARKR_BACKEND_AUTH_SECRET = secret, NOAWT = "1")
  on.exit(Sys.unsetenv(c("EXISTING_SPARKR_BACKEND_PORT", "SPARKR_BACKEND_AUTH_SECRET")))
  library("SparkR", character.only = TRUE, warn.conflicts = FALSE, quietly = TRUE)
  sparkr <- asNamespace("SparkR")
  session <- suppressMessages(sparkr$sparkR.session())
  context <- sparkr$callJStatic("org.apache.spark.sql.api.r.SQLUtils", "getJavaSparkContext", session)
  for (name in c("spark", "sqlContext")) assign(name, session, envir = globalenv())
  assign("sc", context, envir = globalenv())
  spark$attached <- TRUE
}

# Put a statement's Spark jobs into its group, which a cancel names; the UI shows the description.
set_job_group <- function(id, description) {
  if (spark$attached) {
    # Plain R runs without Spark.
    try(asNamespace("SparkR")$setJobGroup(paste0("firesteel-statement-", id), description, TRUE), silent = TRUE)
  }
}

# The sentence where the error only follows from what is missing: sparkmagic's code for `%%sql` and `-o` asks
# jsonlite for the rows first.
instead_of <- function(problem, code) {
  about_json <- inherits(problem, "packageNotFoundError") && identical(problem$package, "jsonlite")
  if (!spark$present && about_json && any(c("collect", "take", "sql") %in% all.names(code))) spark$sentence
}

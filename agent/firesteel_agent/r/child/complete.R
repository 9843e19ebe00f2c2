# Candidates for what is being typed, by R's own completion. Calls utils.

COMPLETION_SECONDS <- 2
MAX_CANDIDATES <- 1000L

# The candidates, each in place of the name before the cursor (in characters).
candidates <- function(code, cursor) {
  text <- rawToChar(code)
  Encoding(text) <- "UTF-8"
  before <- substr(text, 1L, cursor)
  line <- sub(".*\n", "", before)
  setTimeLimit(elapsed = COMPLETION_SECONDS, transient = TRUE)
  on.exit(setTimeLimit())
  internal <- asNamespace("utils")
  tryCatch(
    allowInterrupts({
      internal$.assignLinebuffer(line)
      internal$.assignEnd(nchar(line, "chars"))
      internal$.guessTokenFromLine()
      internal$.completeToken()
      # Of `a$b` and `a::b` the last part, as for other languages.
      found <- unique(sub("^.*(\\$|@|:::?)", "", internal$.retrieveCompletions()))
      utils::head(found[nzchar(found)], MAX_CANDIDATES)
    }),
    error = function(problem) character(),
    interrupt = function(problem) character()
  )
}

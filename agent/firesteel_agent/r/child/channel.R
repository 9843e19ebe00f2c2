# What the agent asks and what it is told, over two pipes. Calls nobody.
#
# The agent sends a line of HEADER_BYTES, filled with spaces: `TYPE ID SECRET CURSOR SIZE DESCRIPTION`, then SIZE bytes. It
# sends the next only after an answer: a line `TYPE ID SECRET STATUS SIZE`, then SIZE bytes.
#
# A pipe is open only while it is read or written, so user code that closes all connections closes none of ours. What it
# reads is asked for byte by byte exact, so nothing is lost in a buffer.

HEADER_BYTES <- 160L

# The next thing that the agent asks; NULL when it is gone.
receive <- function(path) {
  pipe <- file(path, "rb", raw = TRUE)
  on.exit(close(pipe))
  header <- readBin(pipe, "raw", HEADER_BYTES)
  if (length(header) < HEADER_BYTES) return(NULL)
  words <- strsplit(trimws(rawToChar(header)), " ", fixed = TRUE)[[1L]]
  # The description of a statement's jobs, the one field that has spaces.
  description <- paste(words[-(1:5)], collapse = " ")
  size <- as.numeric(words[5L])
  body <- readBin(pipe, "raw", size)
  if (length(body) < size) return(NULL)
  list(type = words[1L], id = words[2L], secret = words[3L], cursor = as.integer(words[4L]), body = body, description = description)
}

# Answer; `body` is text or raw bytes.
answer <- function(path, type, asked, status, body = raw()) {
  if (is.character(body)) body <- charToRaw(paste(enc2utf8(body), collapse = "\n"))
  head <- paste(type, asked$id, asked$secret, status, format(length(body), scientific = FALSE))
  pipe <- file(path, "wb", raw = TRUE)
  on.exit(close(pipe))
  writeBin(c(charToRaw(head), as.raw(10L), body), pipe)
}

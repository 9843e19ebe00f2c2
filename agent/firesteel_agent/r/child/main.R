# Starts an R interpreter: `main.R DIRECTORY READ WRITE PLOTS MAX_BYTES`; READ and WRITE are descriptors of pipes, PLOTS is
# a directory of its own, MAX_BYTES what a picture may have.
# It loads the other files of its directory into an environment of their own, and serves the agent.
#
# The line that serves is the last: user code that reads `stdin()` reads what follows it, which is nothing.

invisible(local({
  given <- commandArgs(trailingOnly = TRUE)
  own <- new.env(parent = baseenv())
  for (name in c("channel", "evaluate", "plots", "spark", "complete", "serve")) {
    sys.source(file.path(given[1L], paste0(name, ".R")), envir = own, keep.source = FALSE)
  }
  own$serve(paste0("/dev/fd/", given[2:3]), given[4L], as.numeric(given[5L]))
}))

# The interpreter's life: one thing after another that the agent asks, until it is gone. Calls all the others.

# How the session's R is: like a shell's, on a page 80 wide, without colours and questions.
settle <- function(plots_directory) {
  options(
    width = 80L, keep.source = TRUE, warn = 0L, crayon.enabled = FALSE, cli.num_colors = 1L, menu.graphics = FALSE,
    pager = file.path(R.home("bin"), "pager"), error = NULL
  )
  Sys.setenv(PAGER = "cat", NO_COLOR = "1")
  install_kept()
  install_plots(plots_directory)
  spark$present <- nzchar(sparkr_library())
  if (!spark$present) missing_spark(kept, NO_SPARKR)
}

serve <- function(pipes, plots_directory, max_bytes) {
  settle(plots_directory)
  process <- Sys.getpid()
  # An interrupt is heeded only where a statement is evaluated.
  suspendInterrupts({
    answer(pipes[2L], "hello", list(id = "0", secret = "-"), if (spark$present) "sparkr" else "plain", version_text())
    repeat {
      asked <- receive(pipes[1L])
      if (is.null(asked)) break
      if (asked$type == "run") {
        reply <- run(asked, max_bytes)
        # User code forked, and this is the copy.
        if (Sys.getpid() != process) tools::pskill(Sys.getpid(), 9L)
        answer(pipes[2L], "done", asked, reply$status, reply$body)
      } else if (asked$type == "complete") {
        answer(pipes[2L], "completion", asked, "ok", candidates(asked$body, asked$cursor))
      } else if (asked$type == "attach") {
        given <- strsplit(rawToChar(asked$body), "\n", fixed = TRUE)[[1L]]
        told <- tryCatch(
          {
            attach_spark(given[1L], given[2L])
            c("ok", "")
          },
          error = function(problem) {
            missing_spark(kept, paste("SparkR could not be attached:", conditionMessage(problem)))
            c("failed", conditionMessage(problem))
          }
        )
        answer(pipes[2L], "attached", asked, told[1L], told[2L])
      }
    }
  })
}

version_text <- function() paste(R.version$major, R.version$minor, sep = ".")

# Run a statement: `status` is ok with the last plot as body, error with its text, or too_large with the plot's size.
run <- function(asked, max_bytes) {
  # An interrupt that came too late for the statement before must not hit this one.
  tryCatch(allowInterrupts(Sys.sleep(0)), interrupt = function(late) NULL)
  set_job_group(asked$id, asked$description)
  failure <- evaluate(asked$body)
  drawn <- tryCatch(take_plots(max_bytes), error = function(problem) {
    message("The plots could not be taken: ", conditionMessage(problem))
    list(count = 0L, size = 0, page = raw())
  })
  flush(stdout())
  if (!is.null(failure)) return(list(status = "error", body = failure))
  if (drawn$count > 1L) cat("[", drawn$count, " plots were drawn; the last one is shown.]\n", sep = "")
  if (drawn$size > max_bytes) return(list(status = "too_large", body = format(drawn$size, scientific = FALSE)))
  list(status = "ok", body = drawn$page)
}

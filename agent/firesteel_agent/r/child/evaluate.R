# Runs a statement's code as R's own top level does: parsed whole, then expression by expression in the global
# environment, each value shown when it is visible. Calls spark (the sentence for what is missing).

# What R's top level keeps in its base environment, which is locked: on the search path, below user code's own names.
kept <- NULL

# Put `.Last.value` and a `traceback` that knows our errors onto the search path.
install_kept <- function() {
  kept <<- attach(NULL, name = "firesteel", warn.conflicts = FALSE)
  kept$traceback <- function(x = NULL, ...) base::traceback(if (is.null(x)) kept$.calls else x, ...)
  kept$.calls <- list()
}

# The call that user code is evaluated in; it is no part of what the user wrote, so messages are shown without it.
OUR_CALL <- quote(eval(firesteel_code, globalenv()))

# R itself keeps as many calls of an error.
MAX_CALLS <- 100L

# The error's text, or NULL when all went well. Interrupts reach only what is evaluated here.
evaluate <- function(code) {
  on.exit(end_sinks())
  expressions <- tryCatch(parse_code(code), error = function(problem) paste("Error:", conditionMessage(problem)))
  if (is.character(expressions)) return(expressions)
  for (index in seq_along(expressions)) {
    failure <- step(expressions[[index]])
    flush(stdout())
    show_warnings()
    if (!is.null(failure)) return(failure)
  }
  NULL
}

# A sink that a cell leaves open, because it failed before it came to its end, would swallow what all later ones show.
end_sinks <- function() {
  while (sink.number() > 0L) sink()
  if (sink.number(type = "message") != 2L) sink(type = "message")
}

# The code's expressions; functions keep their source.
parse_code <- function(code) {
  text <- rawToChar(code)
  Encoding(text) <- "UTF-8"
  lines <- strsplit(gsub("\r\n?", "\n", text), "\n", fixed = TRUE)[[1L]]
  parse(text = lines, keep.source = TRUE, srcfile = srcfilecopy("<text>", lines), encoding = "UTF-8")
}

# Evaluate and show one expression; what went wrong, or NULL.
step <- function(firesteel_code) {
  withRestarts(
    tryCatch(
      withCallingHandlers(
        {
          allowInterrupts({
            shown <- withVisible(eval(firesteel_code, globalenv()))
            remember(shown)
            if (shown$visible) show_value(shown)
          })
          NULL
        },
        warning = without_our_call,
        error = note_calls
      ),
      error = function(problem) describe(problem, firesteel_code),
      interrupt = function(problem) "Error: interrupted"
    ),
    abort = function(...) "Error: aborted"
  )
}

# `.Last.value`, as at R's own top level.
remember <- function(shown) kept$.Last.value <- shown$value

# `print` or, for S4, `show`, called where methods that the user has defined are found.
show_value <- function(shown) {
  frame <- new.env(parent = globalenv())
  frame$x <- shown$value
  if (isS4(frame$x)) {
    frame$show <- methods::show
    eval(quote(show(x)), frame)
  } else {
    frame$print <- base::print
    eval(quote(print(x)), frame)
  }
}

warned <- FALSE

# Show the warnings that R has put off, as its own top level does after each expression. Asked for them anywhere else, R
# begins with words that fit only below an error.
show_warnings <- function() {
  if (!warned) return()
  warned <<- FALSE
  told <- character()
  collector <- textConnection("told", "w", local = TRUE)
  before <- sink.number(type = "message")
  sink(collector, type = "message")
  .Internal(printDeferredWarnings())
  if (before == 2L) sink(type = "message") else sink(getConnection(before), type = "message")
  close(collector)
  if (length(told)) writeLines(c(sub("^In addition: ", "", told[1L]), told[-1L]), stderr())
}

# A warning of the code's top level has no call: R's own top level has none either.
without_our_call <- function(problem) {
  warned <<- TRUE
  if (identical(conditionCall(problem), OUR_CALL)) {
    problem["call"] <- list(NULL)
    warning(problem)
    tryInvokeRestart("muffleWarning")
  }
}

# What `traceback()` shows: the calls between the user's code and the error, innermost first.
note_calls <- function(problem) {
  calls <- sys.calls()
  ours <- vapply(calls, identical, NA, OUR_CALL)
  # Two frames are those of `eval` itself, the last two those of this handler.
  first <- max(which(ours), 0L) + 1L
  last <- length(calls) - 2L
  calls <- if (first <= last) rev(calls[first:last]) else list()
  calls <- calls[seq_len(min(length(calls), MAX_CALLS))]
  kept$.calls <- lapply(calls, function(call) deparse(call, nlines = 1L)[1L])
}

# An error's text is cut after this many characters.
MAX_TEXT <- 65536L

# The error in the words of R (and of Livy).
describe <- function(problem, code) {
  told <- tryCatch(
    {
      sentence <- instead_of(problem, code)
      if (!is.null(sentence)) {
        paste("Error:", sentence)
      } else {
        call <- conditionCall(problem)
        message <- paste(conditionMessage(problem), collapse = "\n")
        if (is.null(call) || identical(call, OUR_CALL)) {
          paste0("Error: ", message)
        } else {
          paste0("Error in ", deparse(call, nlines = 1L)[1L], ": ", message)
        }
      }
    },
    error = function(worse) "Error: the condition has no message that can be read."
  )
  if (nchar(told) > MAX_TEXT) told <- paste(substr(told, 1L, MAX_TEXT), "[...]")
  .Internal(seterrmessage(paste0(told, "\n")))
  told
}

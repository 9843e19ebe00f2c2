# A device for plots that opens only when something draws, and its pages as PNG. Calls grDevices.

plots <- new.env(parent = emptyenv())
plots$directory <- ""
plots$opened <- 0L

PLOT_INCHES <- c(7, 5)
PLOT_RESOLUTION <- 96

# Make this the device of user code that opens none itself.
install_plots <- function(directory) {
  dir.create(directory, showWarnings = FALSE, recursive = TRUE)
  plots$directory <- normalizePath(directory)
  options(device = open_plots, bitmapType = if (capabilities("cairo")) "cairo" else getOption("bitmapType"))
}

open_plots <- function(...) {
  plots$opened <- plots$opened + 1L
  # User code may have removed it.
  dir.create(plots$directory, showWarnings = FALSE, recursive = TRUE)
  name <- file.path(plots$directory, sprintf("%06d-%%06d.png", plots$opened))
  grDevices::png(name, PLOT_INCHES[1L], PLOT_INCHES[2L], units = "in", res = PLOT_RESOLUTION)
}

# Close our devices, not the user's own, and take the pages: how many there were, the last one's size, and its bytes
# when they are not too many.
take_plots <- function(max_bytes) {
  if (plots$opened == 0L) return(list(count = 0L, size = 0, page = raw()))
  plots$opened <- 0L
  current <- grDevices::dev.cur()
  for (number in grDevices::dev.list()) {
    path <- attr(.Devices[[number]], "filepath")
    if (is.character(path) && dirname(path) == plots$directory) grDevices::dev.off(number)
  }
  if (current %in% grDevices::dev.list()) grDevices::dev.set(current)
  pages <- sort(list.files(plots$directory, pattern = "^[0-9]{6}-[0-9]{6,}[.]png$", full.names = TRUE))
  last <- pages[length(pages)]
  size <- if (length(pages)) file.size(last) else 0
  page <- if (size > 0 && size <= max_bytes) readBin(last, "raw", size) else raw()
  unlink(pages)
  list(count = length(pages), size = size, page = page)
}

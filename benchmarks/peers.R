# The same linear mixed model in R, on standardised columns: seconds of a first and a second fit.
# Usage: Rscript peers.R METHOD DATA.csv CORES OUT.json
arguments <- commandArgs(trailingOnly = TRUE)
method <- arguments[1]
package <- c(lme4 = "lme4", rstanarm = "rstanarm", brms = "brms")[[method]]
if (!requireNamespace(package, quietly = TRUE) || !requireNamespace("jsonlite", quietly = TRUE)) {
  cat("absent\n"); quit(status = 3)
}
suppressPackageStartupMessages(library(package, character.only = TRUE))
data <- read.csv(arguments[2]); cores <- as.integer(arguments[3]); options(mc.cores = cores)
columns <- setdiff(names(data), c("y", "therapist"))
formula <- as.formula(paste("y ~ 0 +", paste(columns, collapse = " + "), "+ (1 + moderator | therapist)"))
fit <- switch(method,
  lme4 = function() lme4::lmer(formula, data),
  rstanarm = function() rstanarm::stan_lmer(formula, data, chains = 4, iter = 2000, refresh = 0, seed = 1),
  brms = function() brms::brm(formula, data, chains = 4, iter = 2000, refresh = 0, seed = 1, silent = 2)
)
first <- system.time(model <- fit())[["elapsed"]]
again <- if (method == "brms") {
  function() update(model, newdata = data, chains = 4, iter = 2000, refresh = 0, seed = 2, recompile = FALSE)
} else fit
second <- system.time(again())[["elapsed"]]
mean <- if (method == "brms") brms::fixef(model)[, 1] else lme4::fixef(model)
jsonlite::write_json(list(first = first, again = second, mean = unname(mean),
  version = as.character(packageVersion(package)), R = R.version.string), arguments[4], auto_unbox = TRUE, digits = 10)

//! Why a driver ended, in one sentence: from how it ended and what it wrote. The sentence names the fix where there is one.

use super::run_dir::Exit;

/// The longest excerpt of a log line that a sentence quotes, in characters.
const QUOTE: usize = 300;
/// Lines at the end of a log that tell why a driver that had been ready ended.
const LAST_WORDS: usize = 50;

/// The exit code with which Spark ends a JVM one of whose tasks found no memory.
const OUT_OF_MEMORY: i32 = 52;

/// How the JVM begins a line about an exception that nothing caught.
const UNCAUGHT: &str = "Exception in thread \"main\" ";

/// What Spark's application master throws when the Python program has exited with a failure, and what it wraps others into: more has been told
/// before.
const ONLY_AN_EXIT: [&str; 2] = ["SparkUserAppException", "Exception thrown in awaitResult"];

/// All that Spark's client of Kubernetes says of an answer that did not come; why is told by the exception that this one was caused by.
const SAYS_NOTHING: &str = "An error has occurred.";
/// How the JVM begins the line about such an exception, below the stack of the one it has caused.
const CAUSE: &str = "Caused by: ";

/// What a log line tells. The first rule that finds its words, in the order of this table, gives the sentence.
struct Rule {
    words: &'static str,
    sentence: fn(line: &str) -> String,
}

const RULES: &[Rule] = &[
    Rule {
        words: "JAVA_HOME is not set",
        sentence: |_| "Java was not found: install Java 17 or set JAVA_HOME for the server.".into(),
    },
    Rule {
        words: "java: command not found",
        sentence: |_| "Java was not found: install Java 17 or set JAVA_HOME for the server.".into(),
    },
    Rule {
        words: "/bin/java: No such file",
        sentence: |_| "Java was not found: JAVA_HOME names a directory without bin/java.".into(),
    },
    Rule {
        words: "UnsupportedClassVersionError",
        sentence: |line| {
            format!(
                "The Java that was found is too old for this Spark: {}",
                quote(line)
            )
        },
    },
    Rule {
        words: "Could not reserve enough space",
        sentence: |line| {
            format!(
                "There is not enough memory for the driver (driverMemory): {}",
                quote(line)
            )
        },
    },
    Rule {
        words: "Invalid maximum heap size",
        sentence: |line| format!("The driver's memory (driverMemory) can't be had: {}", quote(line)),
    },
    Rule {
        words: "insufficient memory for the Java Runtime",
        sentence: |_| "There is not enough memory on the host to start the driver's Java.".into(),
    },
    Rule {
        words: "java.lang.OutOfMemoryError",
        sentence: |line| {
            format!(
                "The driver ran out of memory (raise driverMemory): {}",
                quote(line)
            )
        },
    },
    Rule {
        words: "No module named",
        sentence: |line| {
            format!(
                "A Python module is missing in the driver's Python: {}",
                quote(line)
            )
        },
    },
    Rule {
        words: "can't open file",
        sentence: |line| format!("A Python file can't be opened: {}", quote(line)),
    },
    Rule {
        words: "java.net.BindException",
        sentence: |line| {
            format!(
                "A port or address of the driver is taken or not this host's: {}",
                quote(line)
            )
        },
    },
    Rule {
        words: "java.net.UnknownHostException",
        sentence: |line| format!("A host name can't be resolved: {}", quote(line)),
    },
    Rule {
        words: "All masters are unresponsive",
        sentence: |_| "The Spark master (spark.master) does not answer.".into(),
    },
    Rule {
        words: "java.io.FileNotFoundException",
        sentence: |line| format!("A file is missing: {}", quote(line)),
    },
    Rule {
        words: "NoSuchFileException",
        sentence: |line| format!("A file is missing: {}", quote(line)),
    },
    Rule {
        words: "java.lang.ClassNotFoundException",
        sentence: |line| format!("A class is missing (jars?): {}", quote(line)),
    },
    Rule {
        words: "java.lang.NumberFormatException",
        sentence: |line| format!("A conf value is wrong: {}", quote(line)),
    },
    Rule {
        words: "java.lang.IllegalArgumentException",
        sentence: |line| format!("A conf value is wrong: {}", quote(line)),
    },
    Rule {
        words: "Unrecognized option",
        sentence: |line| format!("Java does not know an option that it was given: {}", quote(line)),
    },
    Rule {
        words: "Cannot run program",
        sentence: |line| format!("The driver's Python can't be run: {}", quote(line)),
    },
    Rule {
        words: "No space left on device",
        sentence: |line| format!("A disk is full: {}", quote(line)),
    },
    // What the JVM says of an exception that nothing caught. Last, since the rules above know some of them better.
    Rule {
        words: UNCAUGHT,
        sentence: |line| format!("The driver ended with an exception: {}", quote(line)),
    },
];

/// The sentence for a driver that ended by itself. `lines` is its log; `was_ready` tells a failed start from a later end.
#[must_use]
pub fn diagnose(exit: Option<&Exit>, lines: &[String], was_ready: bool) -> String {
    let Some(exit) = exit else {
        return "The driver's keeper was killed, and the driver with it.".to_owned();
    };
    if let Some(sentence) = exit.limit.as_ref().or(exit.ticket.as_ref()) {
        return sentence.clone();
    }
    if let Some(error) = &exit.error {
        if error.contains("(os error 7)") {
            return "The arguments (args) are longer than a program's may be on this host: put them into a file and name that."
                .to_owned();
        }
        return format!(
            "spark-submit could not be run: {error}. Set spark.home or SPARK_HOME to a Spark that is installed."
        );
    }
    // Of a driver that has run for long, only the last words are about its end.
    let lines = if was_ready {
        &lines[lines.len().saturating_sub(LAST_WORDS)..]
    } else {
        lines
    };
    if let Some(sentence) = recognised(lines) {
        return sentence;
    }
    if exit.code == Some(OUT_OF_MEMORY) && was_ready {
        return "The driver ran out of memory (exit code 52): raise driverMemory, or compute less at once in one partition."
            .to_owned();
    }
    match (exit.code, exit.signal) {
        (_, Some(9)) => {
            "The driver was killed (signal 9): often the kernel does that when memory runs out.".to_owned()
        }
        (_, Some(signal)) => format!("The driver was ended by signal {signal}."),
        // The JVM's codes for a signal that it handled.
        (Some(137), _) => {
            "The driver was killed (exit code 137): often the kernel does that when memory runs out."
                .to_owned()
        }
        (Some(0), _) if !was_ready => {
            "spark-submit ended with exit code 0 before the driver was ready.".to_owned()
        }
        (code, _) => {
            let code = code.map_or_else(
                || "an unknown exit code".to_owned(),
                |code| format!("exit code {code}"),
            );
            match last_words(lines) {
                Some(line) => format!("The driver ended with {code}; its last words: {}", quote(line)),
                None => format!("The driver ended with {code} and without a word."),
            }
        }
    }
}

/// The sentence for a batch's application that ended by itself with anything but success.
#[must_use]
pub fn diagnose_application(exit: Option<&Exit>, lines: &[String]) -> String {
    let by_itself = exit.filter(|exit| exit.limit.is_none());
    let Some(code) = by_itself.and_then(|exit| exit.code).filter(|code| *code != 137) else {
        return diagnose(exit, lines, true);
    };
    match exception_in(lines) {
        Some(words) => format!("The application ended with exit code {code}: {words}"),
        None => diagnose(exit, lines, true),
    }
}

/// The last exception that an application's log tells, in its words.
#[must_use]
pub fn exception_in(lines: &[String]) -> Option<String> {
    let tells = |line: &String| is_exception(line) && !ONLY_AN_EXIT.iter().any(|words| line.contains(words));
    let at = lines.iter().rposition(tells)?;
    // Py4J has the JVM's exception in a line of its own, after a colon; R a long message.
    let next = lines.get(at + 1).map_or("", |line| line.trim());
    let line = lines[at].trim_end();
    let goes_on = next.starts_with(": ") || line.ends_with(':');
    let cause = |line: &&String| line.trim_start().starts_with(CAUSE);
    let more = match line.ends_with(SAYS_NOTHING) {
        true => lines[at..].iter().rfind(cause).map_or("", |line| line.trim()),
        false if goes_on => next,
        false => "",
    };
    let words = format!("{line} {more}");
    Some(quote(of_kubernetes(&words).unwrap_or(&words)))
}

/// What the API server of Kubernetes has said, out of what its client in Spark says around it.
fn of_kubernetes(words: &str) -> Option<&str> {
    let (client, said) = words.split_once(" Message: ")?;
    client.contains("KubernetesClientException").then_some(())?;
    let said = said.split(" Received status:").next().unwrap_or(said);
    let of_server = said.split_once("doesn't have permission. ");
    Some(of_server.map_or(said, |(_, of_server)| of_server))
}

/// The last line of a Python traceback, or the first of a Java exception that nothing caught.
fn is_exception(line: &str) -> bool {
    let line = line.strip_prefix(UNCAUGHT).unwrap_or(line);
    let name = line.split([':', ' ']).next().unwrap_or_default();
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_name = name.chars().all(|c| c.is_alphanumeric() || "._$".contains(c));
    let ends = ["Error", "Exception", "Interrupt", "Exit", "Warning", "Failure"];
    is_name && last.starts_with(char::is_uppercase) && ends.iter().any(|end| last.ends_with(end))
}

fn recognised(lines: &[String]) -> Option<String> {
    RULES.iter().find_map(|rule| {
        let line = lines.iter().find(|line| line.contains(rule.words))?;
        Some((rule.sentence)(line))
    })
}

/// The last line that is no heading and no frame of a stack trace.
fn last_words(lines: &[String]) -> Option<&str> {
    let says_something = |line: &&str| !line.is_empty() && !line.ends_with(':') && !line.starts_with("at ");
    lines.iter().rev().map(|line| line.trim()).find(says_something)
}

fn quote(line: &str) -> String {
    let line = line.trim();
    let words = line.strip_prefix(UNCAUGHT).unwrap_or(line);
    words
        .chars()
        .filter(|character| !character.is_control())
        .take(QUOTE)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exited(code: i32) -> Exit {
        Exit {
            code: Some(code),
            ..Exit::default()
        }
    }

    fn log(line: &str) -> Vec<String> {
        ["stdout: ", line, "\nstderr: "].map(str::to_owned).to_vec()
    }

    #[test]
    fn known_words_give_a_sentence_with_a_fix() {
        for (line, expected) in [
            (
                "/spark/bin/spark-class: line 71: /none/bin/java: No such file or directory",
                "JAVA_HOME",
            ),
            (
                "Could not reserve enough space for 9437184000000KB object heap",
                "driverMemory",
            ),
            ("ModuleNotFoundError: No module named 'pandas'", "'pandas'"),
            (
                "java.lang.NumberFormatException: Size must be specified as bytes (b)",
                "conf value",
            ),
            ("java.net.BindException: Address already in use", "port"),
            (
                "Exception in thread \"main\" org.apache.spark.SparkException: Driver cores must be a positive number",
                "exception: org.apache.spark.SparkException: Driver cores must",
            ),
        ] {
            let sentence = diagnose(Some(&exited(1)), &log(line), false);
            assert!(sentence.contains(expected), "{sentence}");
            assert_eq!(sentence.lines().count(), 1);
        }
    }

    #[test]
    fn an_applications_last_exception_is_quoted() {
        let lines = [
            "stderr: ",
            "Traceback (most recent call last):",
            "  File \"/jobs/bad.py\", line 1, in <module>",
            "pyspark.errors.exceptions.captured.AnalysisException: [TABLE_OR_VIEW_NOT_FOUND] no `x`",
            "26/11/21 06:46:39 INFO ShutdownHookManager: Shutdown hook called",
        ]
        .map(str::to_owned);
        assert_eq!(
            diagnose_application(Some(&exited(1)), &lines),
            "The application ended with exit code 1: pyspark.errors.exceptions.captured.AnalysisException: \
             [TABLE_OR_VIEW_NOT_FOUND] no `x`"
        );
        for (lines, words) in [
            (
                [
                    "py4j.protocol.Py4JJavaError: An error occurred while calling o7.x.",
                    ": java.io.IOException: no",
                ],
                "Py4JJavaError: An error occurred while calling o7.x. : java.io.IOException: no",
            ),
            (
                ["Error in load() : ", "  no such table"],
                "1: Error in load() : no such table",
            ),
            (["ValueError: no", "Execution halted"], "1: ValueError: no"),
        ] {
            let sentence = diagnose_application(Some(&exited(1)), &lines.map(str::to_owned));
            assert!(sentence.ends_with(words), "{sentence}");
        }
        let java = ["Exception in thread \"main\" java.lang.RuntimeException: no"].map(str::to_owned);
        assert!(diagnose_application(Some(&exited(1)), &java).ends_with("1: java.lang.RuntimeException: no"));
        assert!(diagnose_application(Some(&exited(3)), &log("bye")).contains("exit code 3"));
    }

    #[test]
    fn what_kubernetes_refuses_is_quoted_in_its_own_words() {
        let line = "Exception in thread \"main\" io.fabric8.kubernetes.client.KubernetesClientException: Failure executing: PATCH at: \
                    https://h:6443/api/v1/x. Message: Forbidden! User firesteel doesn't have permission. services \"s\" is forbidden: no. \
                    Received status: Status(apiVersion=v1)";
        assert_eq!(
            diagnose_application(Some(&exited(1)), &log(line)),
            "The application ended with exit code 1: services \"s\" is forbidden: no."
        );
        let quota = "io.fabric8.kubernetes.client.KubernetesClientException: Failure executing: POST at: https://h/x. Message: pods \"p\" is \
                     forbidden: exceeded quota: few. Received status: x";
        assert_eq!(
            exception_in(&log(quota)).as_deref(),
            Some("pods \"p\" is forbidden: exceeded quota: few.")
        );
    }

    #[test]
    fn an_exception_that_says_nothing_is_followed_by_its_cause() {
        let lines = [
            "Exception in thread \"main\" io.fabric8.kubernetes.client.KubernetesClientException: An error has occurred.",
            "\tat io.fabric8.kubernetes.client.X.y(X.java:1)",
            "Caused by: java.io.IOException: timeout",
            "\t... 8 more",
            "Caused by: java.net.SocketTimeoutException: timed out",
        ]
        .map(str::to_owned);
        assert_eq!(
            diagnose_application(Some(&exited(1)), &lines),
            "The application ended with exit code 1: io.fabric8.kubernetes.client.KubernetesClientException: An error has occurred. \
             Caused by: java.net.SocketTimeoutException: timed out"
        );
        assert!(exception_in(&lines[..2]).is_some_and(|words| words.ends_with("An error has occurred.")));
    }

    #[test]
    fn unknown_words_are_quoted() {
        assert_eq!(
            diagnose(Some(&exited(3)), &log("all is lost"), true),
            "The driver ended with exit code 3; its last words: all is lost"
        );
        assert_eq!(
            diagnose(Some(&exited(3)), &log(""), true),
            "The driver ended with exit code 3 and without a word."
        );
        let killed = Exit {
            signal: Some(9),
            ..Exit::default()
        };
        assert!(diagnose(Some(&killed), &log(""), true).contains("memory"));
        assert!(diagnose(None, &log(""), true).contains("keeper"));
        let over = Exit {
            code: Some(143),
            limit: Some("The driver was ended: it had too much.".into()),
            ..Exit::default()
        };
        assert_eq!(
            diagnose(Some(&over), &log(""), false),
            "The driver was ended: it had too much."
        );
        assert_eq!(
            diagnose_application(Some(&over), &log("ValueError: no")),
            "The driver was ended: it had too much."
        );
        let missing = Exit {
            error: Some("/none/bin/spark-submit: No such file or directory".into()),
            ..Exit::default()
        };
        assert!(diagnose(Some(&missing), &[], false).contains("spark.home"));
        let long = Exit {
            error: Some("/spark/bin/spark-submit: Argument list too long (os error 7)".into()),
            ..Exit::default()
        };
        assert!(diagnose(Some(&long), &[], false).contains("(args) are longer"));
    }
}

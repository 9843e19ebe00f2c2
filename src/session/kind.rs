//! The languages of sessions and statements, with Livy's names and aliases.

/// A language that runs here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Scala.
    Spark,
    /// Python.
    Pyspark,
    /// R.
    Sparkr,
    /// SQL.
    Sql,
    /// A session without a language of its own. Never the kind of a statement.
    Shared,
}

/// No language that anybody has here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Invalid kind: {0}")]
pub struct BadKind(String);

impl Kind {
    /// Reads Livy's names and aliases (clients.md, W12).
    ///
    /// # Errors
    /// It is none.
    pub fn parse(word: &str) -> Result<Self, BadKind> {
        match word {
            "spark" | "scala" => Ok(Self::Spark),
            "pyspark" | "python" | "pyspark3" => Ok(Self::Pyspark),
            "sparkr" | "r" => Ok(Self::Sparkr),
            "sql" => Ok(Self::Sql),
            "shared" => Ok(Self::Shared),
            _ => Err(BadKind(word.chars().take(64).collect())),
        }
    }

    /// Livy's canonical name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Spark => "spark",
            Self::Pyspark => "pyspark",
            Self::Sparkr => "sparkr",
            Self::Sql => "sql",
            Self::Shared => "shared",
        }
    }

    /// The language of a statement that names none: the session's own, Python in a shared one.
    #[must_use]
    pub fn of_statement(self) -> Self {
        match self {
            Self::Shared => Self::Pyspark,
            kind => kind,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_have_one_name() {
        for (alias, name) in [
            ("python", "pyspark"),
            ("pyspark3", "pyspark"),
            ("scala", "spark"),
            ("r", "sparkr"),
        ] {
            assert_eq!(Kind::parse(alias).unwrap().as_str(), name);
            assert_eq!(Kind::parse(name), Kind::parse(alias));
        }
        assert_eq!(Kind::Shared.of_statement(), Kind::Pyspark);
        assert_eq!(
            Kind::parse("cobol").unwrap_err().to_string(),
            "Invalid kind: cobol"
        );
    }
}

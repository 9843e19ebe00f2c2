//! The languages of sessions and statements, with Livy's names and aliases.

/// A language that runs here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Python.
    Pyspark,
    /// SQL, one statement at a time.
    Sql,
    /// A session without a language of its own. Never the kind of a statement.
    Shared,
}

/// Why a kind is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKind {
    /// Livy does not know it either.
    #[error("Invalid kind: {0}")]
    Unknown(String),
    /// Livy has it, this server not yet.
    #[error("Invalid kind: {0}. This server runs pyspark, sql and shared; {0} is not supported yet.")]
    Unsupported(String),
}

impl Kind {
    /// Reads Livy's names and aliases (clients.md, W12).
    ///
    /// # Errors
    /// It is none, or one of a language that has no interpreter here.
    pub fn parse(word: &str) -> Result<Self, BadKind> {
        match word {
            "pyspark" | "python" | "pyspark3" => Ok(Self::Pyspark),
            "sql" => Ok(Self::Sql),
            "shared" => Ok(Self::Shared),
            "spark" | "scala" | "sparkr" | "r" => Err(BadKind::Unsupported(word.to_owned())),
            _ => Err(BadKind::Unknown(word.chars().take(64).collect())),
        }
    }

    /// Livy's canonical name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pyspark => "pyspark",
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
        assert_eq!(Kind::parse("python").unwrap().as_str(), "pyspark");
        assert_eq!(Kind::parse("pyspark3"), Ok(Kind::Pyspark));
        assert_eq!(Kind::Shared.of_statement(), Kind::Pyspark);
        assert_eq!(
            Kind::parse("cobol").unwrap_err().to_string(),
            "Invalid kind: cobol"
        );
        assert!(
            Kind::parse("spark")
                .unwrap_err()
                .to_string()
                .contains("not supported yet")
        );
    }
}

//! Who calls: the ways in which callers prove it, tried in the order of `access.mode`. A file of users (`basic.rs`, `passwd.rs`); each further
//! way is a file of its own.
//!
//! No types of the HTTP server: `api` reads a request into [`Presented`] and turns [`Refusal`] into an answer. May be called by
//! `api`, `serve` and `main`; calls `access` (callers, names) and `config`.

mod basic;
mod header;
mod passwd;

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::access::Caller;
use crate::background::Background;
use crate::config::{Access, AccessMode};

pub use basic::{BasicFile, BasicFileError};
pub use passwd::set_password;

/// Passwords that are checked at once; more wait. Each takes a core for tens of milliseconds and argon2's memory.
const PASSWORD_CHECKS: usize = 2;

/// What a request says of who sends it.
#[derive(Debug, Clone, Default)]
pub struct Presented {
    /// The header `Authorization`.
    pub authorization: Option<String>,
}

/// A caller who has proved who it is.
#[derive(Debug, Clone)]
pub struct Proved {
    /// Who it is.
    pub caller: Caller,
    /// How it was proved; none where nobody is asked.
    pub by: Option<AccessMode>,
    /// A header `WWW-Authenticate` of the answer, by which the server proves itself in turn (RFC 4559).
    pub answer: Option<String>,
}

/// Why nobody is let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Nothing was proved: 401 with these `WWW-Authenticate` headers, one for each way that a client can choose.
    Unproved(Vec<String>),
    /// What would have to be asked does not answer: 503 with this sentence.
    Unavailable(String),
}

/// What one way says of a request.
enum Verdict {
    /// Nothing of its kind is in the request, or it does not know that user: the next way is tried.
    NotMine,
    Proved(Proved),
    #[expect(dead_code, reason = "the ways that ask elsewhere say so")]
    Unavailable(String),
}

/// The ways that `access.mode` lists.
#[derive(Debug)]
pub struct Authentication {
    access: Access,
    background: Background,
    ways: Vec<Way>,
    password_checks: Semaphore,
}

#[derive(Debug)]
enum Way {
    Basic(Arc<BasicFile>),
}

impl Authentication {
    /// Opens each way.
    ///
    /// # Errors
    /// One can't be used; the sentence says why.
    pub fn open(access: &Access, background: &Background) -> anyhow::Result<Self> {
        let mut ways = Vec::new();
        for mode in access.mode.iter() {
            match mode {
                AccessMode::Basic => {
                    let file = BasicFile::open(&access.basic_file, access.cache.get())?;
                    ways.push(Way::Basic(Arc::new(file)));
                }
                other => anyhow::bail!("access.mode: {:?} is not in this build", other.as_str()),
            }
        }
        Ok(Self {
            access: access.clone(),
            background: background.clone(),
            ways,
            password_checks: Semaphore::new(PASSWORD_CHECKS),
        })
    }

    /// Who sends a request. Without a way everybody is let in, and is nobody in particular. Cancel safe.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn prove(&self, presented: &Presented) -> Result<Proved, Refusal> {
        if self.access.mode.is_open() {
            return Ok(Proved {
                caller: Caller::anonymous(),
                by: None,
                answer: None,
            });
        }
        for way in &self.ways {
            let verdict = match way {
                Way::Basic(file) => self.basic(file, presented).await,
            };
            match verdict {
                Verdict::NotMine => {}
                Verdict::Proved(proved) => return Ok(proved),
                Verdict::Unavailable(why) => return Err(Refusal::Unavailable(why)),
            }
        }
        Err(Refusal::Unproved(self.challenges()))
    }

    /// What a client may try: `WWW-Authenticate` headers, each scheme once.
    #[must_use]
    pub fn challenges(&self) -> Vec<String> {
        let mut challenges: Vec<String> = Vec::new();
        for way in &self.ways {
            let challenge = match way {
                Way::Basic(_) => "Basic realm=\"firesteel\", charset=\"UTF-8\"",
            };
            if !challenges.iter().any(|known| known == challenge) {
                challenges.push(challenge.to_owned());
            }
        }
        challenges
    }

    /// A caller that this server knows by name, with these groups of the way that proved it.
    fn proved(&self, user: &str, groups: Vec<String>, by: AccessMode) -> Verdict {
        Verdict::Proved(Proved {
            caller: Caller::named(user, groups, &self.access),
            by: Some(by),
            answer: None,
        })
    }

    async fn basic(&self, file: &Arc<BasicFile>, presented: &Presented) -> Verdict {
        let Some((user, password)) = presented.authorization.as_deref().and_then(header::basic) else {
            return Verdict::NotMine;
        };
        let is_right = match file.verify_cached(&user, &password) {
            Some(known) => known,
            None => {
                // A hash takes tens of milliseconds of a core on purpose: only so many at once, off the workers.
                let Ok(permit) = self.password_checks.acquire().await else {
                    return Verdict::NotMine;
                };
                let (file, name) = (Arc::clone(file), user.clone());
                let verified = self
                    .background
                    .blocking(move || file.verify(&name, &password))
                    .await;
                drop(permit);
                verified.unwrap_or(false)
            }
        };
        if is_right {
            self.proved(&user, Vec::new(), AccessMode::Basic)
        } else {
            Verdict::NotMine
        }
    }
}

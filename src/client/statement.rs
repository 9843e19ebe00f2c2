//! One statement: posted, waited for, cancelled.

use serde_json::{Value, json};

use super::backoff::Backoff;
use super::failure::Failure;
use super::http::{Answer, Client};
use super::interrupts::{Interrupt, Interrupts};
use super::model::{self, Statement};
use super::screen::Screen;
use super::session::Session;

/// Looks at a statement between two looks at its session: Livy's statements of a dead one run for ever.
const LOOKS: u32 = 10;

/// How a statement ended.
#[derive(Debug)]
pub enum Outcome {
    /// Livy's output object, and at which limit its rows were cut.
    Done(Value, Option<String>),
    /// Somebody cancelled it: who, where it was here.
    Cancelled(Option<Interrupt>),
}

/// Runs code. The first interrupt cancels it, the second waits for it no longer.
///
/// # Errors
/// The server's; the session has ended.
pub async fn run(
    session: &Session,
    code: &str,
    client: &Client,
    screen: &Screen,
    interrupts: &mut Interrupts,
) -> Result<Outcome, Failure> {
    let answer = client
        .post(&session.path("/statements"), &session.body(code))
        .await?;
    client.be_patient();
    let id = model::read::<Statement>(answer.body.clone())?.id;
    let path = session.path(&format!("/statements/{id}"));
    let mut cancelled = None;
    let mut wait = Box::pin(done(session, &path, answer, client, screen));
    let outcome = loop {
        tokio::select! {
            outcome = &mut wait => break outcome?,
            interrupt = interrupts.next() => {
                if cancelled.replace(interrupt).is_some() {
                    break Outcome::Cancelled(cancelled);
                }
                screen.note("cancelling; Ctrl-C again does not wait for it.");
                client.post_again(&format!("{path}/cancel"), &json!({})).await?;
            }
        }
    };
    screen.clear();
    Ok(match outcome {
        Outcome::Cancelled(None) => Outcome::Cancelled(cancelled),
        outcome => outcome,
    })
}

async fn done(
    session: &Session,
    path: &str,
    mut answer: Answer,
    client: &Client,
    screen: &Screen,
) -> Result<Outcome, Failure> {
    let mut backoff = Backoff::new();
    let mut looks = 0;
    loop {
        let statement: Statement = model::read(answer.body)?;
        match (statement.state.as_str(), statement.output) {
            ("available" | "error", Some(output)) => return Ok(Outcome::Done(output, answer.truncated)),
            ("cancelled", Some(output)) if output.is_object() => {
                return Ok(Outcome::Done(output, answer.truncated));
            }
            ("cancelled", _) => return Ok(Outcome::Cancelled(None)),
            (state, _) => screen.progress(&format!("{} {state}", session.place), statement.progress),
        }
        backoff.pause().await;
        looks += 1;
        if looks % LOOKS == 0 {
            session.is_open(client).await?;
        }
        answer = match client.get_answer(path).await {
            Err(Failure::NotFound(_)) => {
                session.is_open(client).await?;
                return Err(Failure::NotFound(
                    "the statement is not there any more".to_owned(),
                ));
            }
            answer => answer?,
        };
    }
}

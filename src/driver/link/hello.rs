//! The hello: both sides prove that they hold the driver's secret, and say what they have received.

use futures_util::{SinkExt as _, StreamExt as _};
use hmac::Mac as _;
use serde_json::json;
use tokio_util::codec::Framed;
use uuid::Uuid;

use super::frame::{Frame, FrameCodec, FrameError};
use super::secret::{Secret, from_hex, hex, random_hex};
use super::stream::Stream;

/// The version of `docs/link.md` that this server speaks.
const PROTOCOL: i64 = 1;

/// Why an agent was not let in. The text goes to the agent and to the server's log.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The bytes were no frames.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Not this protocol.
    #[error("the hello is not of protocol {PROTOCOL}")]
    Protocol,
    /// No such driver, or no longer.
    #[error("no driver {0} is expected")]
    Unknown(String),
    /// The secret is not the driver's.
    #[error("the proof is wrong")]
    Proof,
    /// Nobody waits for this result, or no longer.
    #[error("no result is expected under this ticket")]
    Ticket,
    /// The operating system gave no random bytes.
    #[error("no random bytes")]
    Random,
}

/// What an agent said in its first frame.
pub(super) struct Hello {
    pub driver: Uuid,
    /// The last of the server's frames that the agent has taken.
    pub received: u64,
    /// For a connection that is no link, but sends the result for which the ticket was given.
    pub ticket: Option<String>,
    nonce: String,
}

pub(super) type Handshake = Framed<Stream, FrameCodec>;

async fn next(connection: &mut Handshake, kind: &str) -> Result<Frame, Refused> {
    match connection.next().await {
        Some(Ok(frame)) if frame.kind() == kind => Ok(frame),
        Some(Ok(_)) => Err(Refused::Protocol),
        Some(Err(error)) => Err(error.into()),
        None => Err(FrameError::Io(std::io::ErrorKind::UnexpectedEof.into()).into()),
    }
}

pub(super) async fn receive(connection: &mut Handshake) -> Result<Hello, Refused> {
    let frame = next(connection, "hello").await?;
    let nonce = frame.text("nonce").unwrap_or("");
    let ticket = frame.text("ticket");
    if frame.number("protocol") != Some(PROTOCOL) || (nonce.len() != 64 && ticket.is_none()) {
        return Err(Refused::Protocol);
    }
    let driver = frame.text("driver").unwrap_or("");
    Ok(Hello {
        driver: driver
            .parse()
            .map_err(|_| Refused::Unknown(driver.chars().take(64).collect()))?,
        received: frame
            .number("received")
            .and_then(|number| u64::try_from(number).ok())
            .unwrap_or(0),
        ticket: ticket.map(str::to_owned),
        nonce: nonce.to_owned(),
    })
}

/// What a side's proof is made over.
fn proven(side: &str, driver: Uuid, agent_nonce: &str, server_nonce: &str) -> String {
    format!("firesteel-link-1\n{side}\n{driver}\n{agent_nonce}\n{server_nonce}")
}

/// Proves the secret to the agent, and has it prove the same. Who takes the connection then sends the `welcome`: so the agent that was
/// welcomed last has the connection that counts.
pub(super) async fn prove(
    connection: &mut Handshake,
    hello: &Hello,
    secret: &Secret,
    received: u64,
    epoch: i64,
) -> Result<(), Refused> {
    let nonce = random_hex().map_err(|_| Refused::Random)?;
    let mac = |side| secret.mac(&proven(side, hello.driver, &hello.nonce, &nonce));
    let proof = hex(&mac("server").finalize().into_bytes());
    let fields = json!({"nonce": nonce, "proof": proof, "received": received, "epoch": epoch});
    connection.send(Frame::new("challenge", fields, "")).await?;
    let answer = next(connection, "proof").await?;
    let proof = answer.text("proof").and_then(from_hex).ok_or(Refused::Proof)?;
    // Compares in constant time.
    mac("agent").verify_slice(&proof).map_err(|_| Refused::Proof)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use tokio::net::UnixStream;

    use super::super::secret::LinkKey;
    use super::*;

    /// What may stand in a field of a first frame.
    fn field() -> impl Strategy<Value = serde_json::Value> {
        prop_oneof![
            Just(json!(null)),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            Just(json!(1)),
            ".{0,80}".prop_map(Into::into),
            "[0-9a-f]{64}".prop_map(Into::into),
            Just(json!(Uuid::nil().to_string())),
            Just(json!({"a": [1]})),
        ]
    }

    proptest! {
        /// Whatever a stranger says first, he is let no further than his words allow, and nobody keeps much of them.
        #[test]
        fn any_first_frame(
            protocol in field(), driver in field(), nonce in field(), received in field(), ticket in prop::option::of(field()),
            kind in prop_oneof![Just("hello".to_owned()), ".{0,10}"],
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
            let said = runtime.block_on(async {
                let (near, far) = UnixStream::pair().unwrap();
                let mut fields = json!({"protocol": protocol, "driver": driver, "nonce": nonce, "received": received});
                if let (Some(ticket), Some(fields)) = (&ticket, fields.as_object_mut()) {
                    fields.insert("ticket".to_owned(), ticket.clone());
                }
                let mut stranger = Framed::new(far, FrameCodec { max: 1 << 16 });
                stranger.send(Frame::new(&kind, fields, "")).await.unwrap();
                receive(&mut Framed::new(Stream::Unix(near), FrameCodec { max: 1 << 16 })).await
            });
            match said {
                Ok(hello) => {
                    prop_assert_eq!(kind, "hello");
                    prop_assert_eq!(protocol, json!(1));
                    prop_assert!(hello.nonce.len() == 64 || hello.ticket.is_some());
                    prop_assert!(i64::try_from(hello.received).is_ok());
                }
                Err(refused) => prop_assert!(refused.to_string().len() < 400),
            }
        }
    }

    /// The agent's part, written from docs/link.md.
    async fn agent(stream: UnixStream, driver: Uuid, secret: &Secret) -> Result<(), Refused> {
        let mut connection = Framed::new(Stream::Unix(stream), FrameCodec { max: 1 << 16 });
        let nonce = "ab".repeat(32);
        let hello = json!({"protocol": 1, "driver": driver, "nonce": nonce, "received": 7});
        connection.send(Frame::new("hello", hello, "")).await?;
        let challenge = next(&mut connection, "challenge").await?;
        assert_eq!(challenge.number("received"), Some(3));
        let theirs = challenge.text("nonce").unwrap().to_owned();
        let expected = hex(&secret
            .mac(&proven("server", driver, &nonce, &theirs))
            .finalize()
            .into_bytes());
        if challenge.text("proof") != Some(&expected) {
            return Err(Refused::Proof);
        }
        let proof = hex(&secret
            .mac(&proven("agent", driver, &nonce, &theirs))
            .finalize()
            .into_bytes());
        connection
            .send(Frame::new("proof", json!({"proof": proof}), ""))
            .await?;
        next(&mut connection, "welcome").await.map(drop)
    }

    async fn server(stream: UnixStream, secret: &Secret) -> Result<u64, Refused> {
        let mut connection = Framed::new(Stream::Unix(stream), FrameCodec { max: 1 << 16 });
        let hello = receive(&mut connection).await?;
        prove(&mut connection, &hello, secret, 3, 1).await?;
        connection.send(Frame::new("welcome", json!({}), "")).await?;
        Ok(hello.received)
    }

    #[tokio::test]
    async fn both_sides_hold_the_secret() {
        let (near, far) = UnixStream::pair().unwrap();
        let secret = LinkKey::generate().unwrap().secret(Uuid::nil());
        let (ours, theirs) = tokio::join!(server(near, &secret), agent(far, Uuid::new_v4(), &secret));
        assert_eq!(ours.unwrap(), 7);
        theirs.unwrap();
    }

    #[tokio::test]
    async fn an_impostor_is_refused_by_either_side() {
        let (near, far) = UnixStream::pair().unwrap();
        let key = LinkKey::generate().unwrap();
        let (right, wrong) = (key.secret(Uuid::nil()), key.secret(Uuid::new_v4()));
        let (ours, theirs) = tokio::join!(server(near, &right), agent(far, Uuid::new_v4(), &wrong));
        assert!(ours.is_err());
        assert!(matches!(theirs, Err(Refused::Proof)));
    }
}

//! The secrets of drivers' links: each is made from one key of the state directory and the driver's id, so that a server that
//! comes back knows them without having kept any.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;
use uuid::Uuid;

/// Hex digits of the key, and of each secret: 256 bits.
const DIGITS: usize = 64;

/// The key of a state directory: 256 bits from the operating system in `link.key` (0600), made once.
#[derive(Debug)]
pub struct LinkKey(Secret);

impl LinkKey {
    /// Reads the key, or makes it where there is none.
    ///
    /// # Errors
    /// The file can't be read or written, or is no key.
    pub fn open(state_dir: &Path) -> io::Result<Self> {
        let path = state_dir.join("link.key");
        match fs::read_to_string(&path) {
            Ok(text) if text.len() == DIGITS && from_hex(&text).is_some() => Ok(Self(Secret(text.into()))),
            Ok(_) => {
                let reason = format!(
                    "{} is no key; without it the running drivers can't be taken back: restore it, or remove it and lose them",
                    path.display()
                );
                Err(io::Error::new(io::ErrorKind::InvalidData, reason))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key = Self::generate().map_err(io::Error::other)?;
                let fresh = state_dir.join("link.key.new");
                // Left by a server that died half-way.
                let _ = fs::remove_file(&fresh);
                let mut file = OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(&fresh)?;
                file.write_all(key.0.expose().as_bytes())?;
                file.sync_all()?;
                fs::rename(&fresh, &path)?;
                Ok(key)
            }
            Err(error) => Err(error),
        }
    }

    /// A new key, kept nowhere.
    ///
    /// # Errors
    /// The operating system has no random bytes.
    pub fn generate() -> Result<Self, getrandom::Error> {
        Ok(Self(Secret(random_hex()?.into())))
    }

    /// A driver's secret: HMAC-SHA256 of its id.
    #[must_use]
    pub fn secret(&self, driver: Uuid) -> Secret {
        let mac = self.0.mac(&format!("firesteel-driver-secret\n{driver}"));
        Secret(hex(&mac.finalize().into_bytes()).into())
    }
}

/// The secret of one driver's link, as hex digits. Its `Debug` shows nothing.
#[derive(Clone, Debug)]
pub struct Secret(SecretString);

impl Secret {
    /// The hex digits, for the driver's 0600 file.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// HMAC-SHA256 over `text`.
    pub(super) fn mac(&self, text: &str) -> Hmac<Sha256> {
        #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(self.expose().as_bytes()).expect("a key of any length");
        mac.update(text.as_bytes());
        mac
    }
}

pub(super) fn random_hex() -> Result<String, getrandom::Error> {
    let mut bytes = [0; DIGITS / 2];
    getrandom::fill(&mut bytes)?;
    Ok(hex(&bytes))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn from_hex(text: &str) -> Option<Vec<u8>> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_secret_is_never_shown() {
        let secret = LinkKey::generate().unwrap().secret(Uuid::nil());
        assert_eq!(secret.expose().len(), DIGITS);
        assert!(!format!("{secret:?}").contains(secret.expose()));
    }

    #[test]
    fn a_key_gives_the_same_secrets_after_a_restart_and_each_driver_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let [one, other] = [Uuid::new_v4(), Uuid::new_v4()];
        let before = LinkKey::open(directory.path()).unwrap();
        let after = LinkKey::open(directory.path()).unwrap();
        assert_eq!(before.secret(one).expose(), after.secret(one).expose());
        assert_ne!(after.secret(one).expose(), after.secret(other).expose());
        let mode = fs::metadata(directory.path().join("link.key"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(directory.path().join("link.key"), "torn").unwrap();
        assert!(LinkKey::open(directory.path()).is_err());
    }
}

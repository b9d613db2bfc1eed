//! Versions: the ids of writes.

use std::fmt;
use std::time::Duration;

use crate::{Error, Result, Timestamp};

/// The id of the write that made an item: 16 opaque bytes.
///
/// Writers choose a UUIDv7 (RFC 9562, made by [`Env::version`]); backends
/// derive others for changes that were made by other hands. A version is
/// never used twice, not even after delete and create again, and nothing is
/// ordered by it.
///
/// Its text is that of a UUID: `0193…-…`, lowercase with hyphens.
///
/// [`Env::version`]: crate::Env::version
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version([u8; 16]);

impl Version {
    /// From its bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// From a slice of stored bytes.
    ///
    /// # Errors
    /// `Corrupt` if it is not 16 bytes long.
    pub fn from_slice(bytes: &[u8]) -> Result<Self> {
        bytes.try_into().map(Self).map_err(|_| {
            Error::corrupt(format!(
                "a stored version has {} bytes, not 16",
                bytes.len()
            ))
        })
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// When it was made, if it is a UUIDv7; to the millisecond.
    pub fn time(&self) -> Option<Timestamp> {
        let id = uuid::Uuid::from_bytes(self.0);
        if id.get_version_num() != 7 || id.get_variant() != uuid::Variant::RFC4122 {
            return None;
        }
        let [a, b, c, d, e, f, ..] = self.0;
        let millis = i64::from_be_bytes([0, 0, a, b, c, d, e, f]);
        Some(Timestamp::from_micros(millis.saturating_mul(1000)))
    }

    /// Checks that this may be the id of a batch written now: a UUIDv7 of less
    /// than a day ago, and no more than a day ahead.
    ///
    /// Batch ids are remembered for a day. The rule is what makes an aborted
    /// id stay aborted: one that arrives later than that is refused for its
    /// age.
    ///
    /// # Errors
    /// `Invalid` if it is not a UUIDv7, `Expired` if it is too far from `now`.
    pub fn check_batch_id(&self, now: Timestamp) -> Result<()> {
        let Some(time) = self.time() else {
            return Err(Error::invalid(format!(
                "the batch id {self} is not a UUIDv7; take one from Env::version"
            )));
        };
        if time < now.before(BATCH_ID_LIFE) || time > now.after(BATCH_ID_LIFE) {
            return Err(Error::expired(format!(
                "the batch id {self} is from {time}, more than a day from the store's clock ({now}); \
                 make a new batch, or set the clock right"
            )));
        }
        Ok(())
    }
}

/// How long a backend with a batch log remembers ids: a day.
pub const BATCH_ID_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = uuid::Uuid::from_bytes(self.0).hyphenated();
        f.write_str(id.encode_lower(&mut [0; uuid::fmt::Hyphenated::LENGTH]))
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Version {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        text.parse::<uuid::Uuid>()
            .map(|id| Self(id.into_bytes()))
            .map_err(|error| {
                Error::invalid(format!(
                    "{text:?} is not a version; it has 32 hexadecimal digits, like \
                     0193c1f0-8a2b-7c3d-9e4f-001122334455"
                ))
                .because(error)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Env;

    #[test]
    fn a_batch_id_is_fresh_or_refused() {
        let env = Env::system();
        let id = env.version();
        let made = id.time().unwrap();
        assert!(id.check_batch_id(env.now()).is_ok());
        assert!(id.check_batch_id(made.after(BATCH_ID_LIFE)).is_ok());
        let late = made.after(BATCH_ID_LIFE + Duration::from_millis(1));
        assert_eq!(
            id.check_batch_id(late).unwrap_err().kind(),
            crate::ErrorKind::Expired
        );
        let early = made.before(BATCH_ID_LIFE + Duration::from_millis(1));
        assert!(id.check_batch_id(early).is_err());
        assert!(Version::from_bytes([1; 16]).check_batch_id(made).is_err());
    }

    #[test]
    fn text_and_back() {
        let id = Env::system().version();
        assert_eq!(id.to_string().parse::<Version>().unwrap(), id);
        assert!("xyz".parse::<Version>().is_err());
    }
}

//! Tokens: their text, and what is kept of them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use holdall_core::{Doc, Env, Error, Key, Result, Timestamp};
use serde::{Deserialize, Serialize};

use super::scope::{Grant, Pattern, Verb};

/// The most bytes of a token's name.
const MAX_NAME: usize = 128;

/// What every token starts with, so that programs that look for secrets in
/// code find it.
const PREFIX: &str = "hld_";

/// The id of a token: 16 characters, `0` to `9` and `a` to `f`. No secret.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(Arc<str>);

impl TokenId {
    const LENGTH: usize = 16;

    pub(super) fn new(env: &Env) -> Self {
        let mut bytes = [0; Self::LENGTH / 2];
        env.fill(&mut bytes);
        Self(HEXLOWER.encode(&bytes).into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn key(&self) -> Result<Key> {
        Key::new(self.as_str())
    }
}

impl FromStr for TokenId {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        if text.len() == Self::LENGTH && is_hex(text) {
            return Ok(Self(text.into()));
        }
        // The text is not repeated: it may be a whole token.
        Err(Error::invalid(
            "this is not the id of a token; it is the 16 characters behind hld_, and `holdall token list` shows it",
        ))
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text of a token, `hld_ID_SECRET`: whoever has it may do what the token
/// allows. It is printed by [`reveal`](Self::reveal) alone.
#[derive(Clone)]
pub struct Secret {
    id: TokenId,
    text: String,
}

impl Secret {
    /// 256 bits.
    const BYTES: usize = 32;

    pub(super) fn new(env: &Env, id: TokenId) -> Self {
        let mut bytes = [0; Self::BYTES];
        env.fill(&mut bytes);
        let text = format!("{PREFIX}{id}_{}", HEXLOWER.encode(&bytes));
        Self { id, text }
    }

    /// Reads what a client sent; `None` if it is no token, so that nothing is
    /// looked up for it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let sound = secret.len() == 2 * Self::BYTES && is_hex(secret);
        Some(Self {
            id: id.parse().ok().filter(|_| sound)?,
            text: text.to_owned(),
        })
    }

    /// The id of the token that it claims to be.
    pub fn id(&self) -> &TokenId {
        &self.id
    }

    /// The text, to hand it to whoever is to have it.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// What is kept of it. A plain hash is enough: it is slow hashes and salts
    /// that protect passwords, which can be guessed. A secret of 256 random bits
    /// cannot, however fast one may try; and this is made for every request. The
    /// id is hashed along, so that no record serves for another token.
    pub(super) fn digest(&self) -> blake3::Hash {
        blake3::hash(self.text.as_bytes())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}_***", self.id)
    }
}

fn is_hex(text: &str) -> bool {
    text.bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// A token to be made.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// What it is for, in words: 1 to 128 bytes.
    pub name: String,
    /// What it allows.
    pub grant: Grant,
    /// When it ends to be good.
    pub expires: Option<Timestamp>,
}

impl NewToken {
    /// Checks it; [`Tokens::create`](super::Tokens::create) does so, too.
    ///
    /// # Errors
    /// `Invalid` for a name that is empty or has control characters, and a
    /// time that is over; `TooLarge` for a name beyond 128 bytes.
    pub fn validate(&self, now: Timestamp) -> Result<()> {
        if self.name.is_empty() {
            return Err(Error::invalid(
                "a token's name must not be empty; say what it is for",
            ));
        }
        if self.name.len() > MAX_NAME {
            return Err(Error::too_large(format!(
                "a token's name has {} bytes; the limit is {MAX_NAME}",
                self.name.len()
            )));
        }
        if self.name.contains(char::is_control) {
            return Err(Error::invalid(format!(
                "the token's name {:?} has a control character in it; leave it out",
                self.name
            )));
        }
        match self.expires {
            Some(expires) if expires <= now => Err(Error::invalid(format!(
                "the token would expire at {expires}, which is over; choose a later time"
            ))),
            _ => Ok(()),
        }
    }
}

/// What is known of a token, its secret not.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// The id.
    pub id: TokenId,
    /// What it is for.
    pub name: String,
    /// What it allows.
    pub grant: Grant,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends to be good.
    pub expires: Option<Timestamp>,
    /// When it was revoked.
    pub revoked: Option<Timestamp>,
    pub(super) digest: blake3::Hash,
}

impl Token {
    /// Whether it is too late for it.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    pub(super) fn from_doc(id: TokenId, doc: &Doc) -> Result<Self> {
        let damaged = |error: Error| {
            let sentence = format!(
                "what is kept of the token {id} is damaged, or of a newer version; revoke it, and make another"
            );
            Error::corrupt(sentence).because(error)
        };
        let read = || -> Result<Self> {
            let kept: Kept = doc.to()?;
            let time = |text: Option<String>| text.map(|text| text.parse()).transpose();
            let verbs = kept.verbs.iter().map(|verb| verb.parse());
            let collections = kept.collections.iter().map(|pattern| pattern.parse());
            let digest = blake3::Hash::from_hex(&kept.hash)
                .map_err(|error| Error::invalid("the hash is none").because(error))?;
            Ok(Self {
                name: kept.name,
                grant: Grant::new(
                    verbs.collect::<Result<Vec<Verb>>>()?,
                    collections.collect::<Result<Vec<Pattern>>>()?,
                )?,
                created: kept.created.parse()?,
                expires: time(kept.expires)?,
                revoked: time(kept.revoked)?,
                digest,
                id: id.clone(),
            })
        };
        read().map_err(damaged)
    }

    pub(super) fn to_doc(&self) -> Result<Doc> {
        let time = |time: Timestamp| time.to_string();
        Doc::from_serialize(&Kept {
            name: self.name.clone(),
            verbs: self.grant.verbs().iter().map(Verb::to_string).collect(),
            collections: self
                .grant
                .collections()
                .iter()
                .map(Pattern::to_string)
                .collect(),
            created: time(self.created),
            expires: self.expires.map(time),
            revoked: self.revoked.map(time),
            hash: self.digest.to_hex().to_string(),
        })
    }
}

/// Without the hash, which is no secret, and nobody's business.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("grant", &self.grant)
            .field("expires", &self.expires)
            .field("revoked", &self.revoked)
            .finish_non_exhaustive()
    }
}

/// The doc of a token. A member that is not known may narrow what the token
/// allows, so a record that has one is not used.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    name: String,
    verbs: Vec<String>,
    collections: Vec<String>,
    created: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revoked: Option<String>,
    hash: String,
}

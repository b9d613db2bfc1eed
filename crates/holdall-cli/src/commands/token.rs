//! `token`: who may use a server, and for what.

use std::time::Duration;

use holdall::{Env, Timestamp};
use holdall_server::access::{Grant, NewToken, Token as Made, Tokens};
use serde_json::json;

use crate::args::{CreateToken, Expiry, Token, TokenCommand};
use crate::exit::{Failure, say};
use crate::output::Output;
use crate::store::Access;
use crate::table::{Table, time};
use crate::tokens;

pub(crate) async fn run(output: &mut Output, wanted: Token) -> Result<(), Failure> {
    let settings = tokens::choose(wanted.tokens.as_deref())?;
    let place = settings.to_string();
    match wanted.command {
        TokenCommand::Create(wanted) => {
            let new = new(wanted)?;
            let (store, tokens) = tokens::open(settings, Access::Any).await?;
            let result = create(output, &tokens, new, &place).await;
            result.and(store.close().await.map_err(Failure::from))
        }
        TokenCommand::List => {
            let (store, tokens) = tokens::open(settings, Access::Existing).await?;
            let result = list(output, &tokens).await;
            result.and(store.close().await.map_err(Failure::from))
        }
        TokenCommand::Revoke { id } => {
            let (store, tokens) = tokens::open(settings, Access::Existing).await?;
            let result = tokens.revoke(&id).await.map(|_| ());
            Ok(result.and(store.close().await)?)
        }
    }
}

/// What is to be made; read before anything is opened, so that wrong input
/// makes no file.
fn new(wanted: CreateToken) -> Result<NewToken, Failure> {
    let now = Env::system().now();
    let expires = wanted.expires.map(|expiry| match expiry {
        Expiry::After(time) => now.after(time),
        Expiry::At(time) => time,
    });
    let new = NewToken {
        name: wanted.name,
        grant: Grant::new(wanted.verbs, wanted.collections)?,
        expires,
    };
    new.validate(now)?;
    Ok(new)
}

async fn create(
    output: &mut Output,
    tokens: &Tokens,
    new: NewToken,
    place: &str,
) -> Result<(), Failure> {
    let (token, secret) = tokens.create(new).await?;
    // The token alone, so that a script can take it.
    output.line(secret.reveal())?;
    output.flush()?;
    say(
        "token",
        &format!(
            "{} is in {place} as a hash, and shown here only: keep it like a password. Send it as \
             `Authorization: Bearer TOKEN`; `holdall token revoke {}` ends it",
            token.id, token.id
        ),
    );
    Ok(())
}

async fn list(output: &mut Output, tokens: &Tokens) -> Result<(), Failure> {
    let now = Env::system().now();
    let mut table = Table::new(&[
        "ID",
        "NAME",
        "VERBS",
        "COLLECTIONS",
        "CREATED",
        "EXPIRES",
        "STATE",
    ]);
    for token in tokens.list().await? {
        let verbs = token.grant.verbs().iter().map(ToString::to_string);
        let verbs: Vec<_> = verbs.collect();
        let collections = token.grant.collections().iter();
        let collections: Vec<_> = collections.map(ToString::to_string).collect();
        let state = state(&token, now);
        if output.tables() {
            let cells = [
                token.id.to_string(),
                token.name,
                verbs.join(","),
                collections.join(","),
                time(token.created),
                token.expires.map_or_else(|| "never".into(), time),
                state.into(),
            ];
            table.row(output, cells)?;
        } else {
            let at = |time: Option<Timestamp>| time.map(|time| time.to_string());
            output.json(&json!({
                "id": token.id.as_str(),
                "name": token.name,
                "verbs": verbs,
                "collections": collections,
                "created": token.created.to_string(),
                "expires": at(token.expires),
                "revoked": at(token.revoked),
                "state": state,
            }))?;
        }
    }
    table.end(output)
}

fn state(token: &Made, now: Timestamp) -> &'static str {
    match token.revoked {
        Some(_) => "revoked",
        None if token.is_expired(now) => "expired",
        None => "good",
    }
}

/// Reads `90d`, `12h`, or a time.
pub(crate) fn expiry(text: &str) -> Result<Expiry, String> {
    if let Ok(time) = text.parse() {
        return Ok(Expiry::At(time));
    }
    let number = text.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
    let seconds = match text.strip_prefix(number) {
        Some("d") => Some(24 * 60 * 60),
        Some("h") => Some(60 * 60),
        Some("m") => Some(60),
        Some("s") => Some(1),
        _ => None,
    };
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    seconds
        .filter(|_| digits)
        .and_then(|seconds: u64| number.parse::<u64>().ok()?.checked_mul(seconds))
        // A hundred years: what is beyond has too many digits.
        .filter(|seconds| (1..=100 * 366 * 24 * 60 * 60).contains(seconds))
        .map(|seconds| Expiry::After(Duration::from_secs(seconds)))
        .ok_or_else(|| {
            "write a number and d, h, m or s, like 90d, or a time like 2027-01-31T00:00:00Z".into()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expiry_is_a_length_or_a_time() {
        let days = Duration::from_secs(90 * 24 * 60 * 60);
        assert_eq!(expiry("90d"), Ok(Expiry::After(days)));
        assert_eq!(expiry("1s"), Ok(Expiry::After(Duration::from_secs(1))));
        let time = "2027-01-31T00:00:00Z";
        assert_eq!(expiry(time), Ok(Expiry::At(time.parse().unwrap())));
        for wrong in [
            "",
            "d",
            "0d",
            "90",
            "-1d",
            "+1d",
            "1.5d",
            "1D",
            "90days",
            "36601d",
            "99999999999999999999d",
        ] {
            assert!(expiry(wrong).is_err(), "{wrong}");
        }
    }
}

//! `export`: all items as JSON lines.

use bytes::BytesMut;
use data_encoding::BASE64;
use futures_util::TryStreamExt;
use holdall::{Body, ByteStream, Error, Parts, Scan};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::args::Whole;
use crate::exit::Failure;
use crate::lines::PART;
use crate::output::{Output, raw};
use crate::store::{Access, Door};

#[derive(Serialize)]
struct Line<'a> {
    key: &'a str,
    doc: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parts: Option<u64>,
}

#[derive(Serialize)]
struct PartLine {
    part: String,
}

pub(crate) async fn run(door: &Door, output: &mut Output, wanted: Whole) -> Result<(), Failure> {
    let scan = Scan::all().parts(Parts::ALL);
    let store = door.open(Access::Existing).await?;
    let mut items = store.backend().scan(&wanted.collection, scan);
    while let Some(mut item) = items.try_next().await? {
        let body = item.body.take();
        let large = body.as_ref().is_some_and(|body| body.len() > PART as u64);
        let mut line = Line {
            key: item.key.as_str(),
            doc: raw(item.doc()?)?,
            size: body.as_ref().map(Body::len),
            digest: item.entry.digest.map(|digest| digest.to_string()),
            body: None,
            parts: None,
        };
        match body {
            Some(body) if large => {
                line.parts = Some(body.len().div_ceil(PART as u64));
                output.json(&line)?;
                let size = body.len();
                parts(output, body.into_stream(), size).await?;
            }
            Some(body) => {
                line.body = Some(BASE64.encode(&body.bytes(PART).await?));
                output.json(&line)?;
            }
            None => output.json(&line)?,
        }
    }
    Ok(())
}

async fn parts(output: &mut Output, mut pieces: ByteStream, size: u64) -> Result<(), Failure> {
    let mut held = BytesMut::new();
    let mut told = 0;
    while let Some(piece) = pieces.try_next().await? {
        held.extend_from_slice(&piece);
        told += piece.len() as u64;
        while held.len() >= PART {
            part(output, &held.split_to(PART))?;
        }
    }
    if !held.is_empty() {
        part(output, &held)?;
    }
    if told == size {
        Ok(())
    } else {
        Err(Error::corrupt(format!("a body of {size} bytes gave {told}")).into())
    }
}

fn part(output: &mut Output, bytes: &[u8]) -> Result<(), Failure> {
    output.json(&PartLine {
        part: BASE64.encode(bytes),
    })
}

//! Docs, filters and bodies from arguments, files and stdin.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use holdall::{ByteStream, CollectionName, DynBackend, Error, NewBody};
use tokio::sync::mpsc;

use crate::exit::Failure;

/// The most bytes of a doc or filter that are read: one more than either may
/// have.
const MAX_TEXT: u64 = holdall::MAX_DOC as u64 + 1;

/// A body of up to so many bytes is written with its item; a longer one is
/// staged first.
const INLINE: usize = 256 * 1024;

/// Bodies are read in pieces of so many bytes, and so many pieces ahead.
const PIECE: usize = 256 * 1024;
const AHEAD: usize = 4;

/// The text that an argument means: itself, the content of @FILE, or stdin.
pub(crate) fn text(argument: &str) -> Result<String, Failure> {
    let path = match argument {
        "-" => Path::new("-"),
        _ => match argument.strip_prefix('@') {
            Some(path) => Path::new(path),
            None => return Ok(argument.to_owned()),
        },
    };
    let mut text = Vec::new();
    open(path)?
        .take(MAX_TEXT)
        .read_to_end(&mut text)
        .map_err(|error| Failure::file("read", path, error))?;
    String::from_utf8(text).map_err(|error| {
        let name = path.display().to_string();
        Error::invalid(format!("{name:?} is not valid UTF-8"))
            .because(error)
            .into()
    })
}

/// A file, or stdin for `-`.
pub(crate) fn open(path: &Path) -> Result<Box<dyn Read + Send>, Failure> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin()));
    }
    let file = File::open(path).map_err(|error| Failure::file("read", path, error))?;
    // On Linux a folder can be opened, and only reading it fails.
    if file.metadata().is_ok_and(|meta| meta.is_dir()) {
        return Err(Failure::usage(format!(
            "{:?} is a folder, not a file",
            path.display().to_string()
        )));
    }
    Ok(Box::new(file))
}

/// Takes a body in: a short one as bytes, a long one staged.
pub(crate) async fn body(
    backend: &DynBackend,
    collection: &CollectionName,
    reader: Box<dyn Read + Send>,
    path: &Path,
) -> Result<NewBody, Failure> {
    let mut pieces = pieces(reader, path);
    let mut first = Vec::new();
    while first.len() <= INLINE {
        match pieces.next().await {
            Some(piece) => first.extend_from_slice(&piece?),
            None => return Ok(NewBody::Bytes(first.into())),
        }
    }
    let first = stream::once(async { Ok(Bytes::from(first)) });
    let staged = backend
        .stage(collection, first.chain(pieces).boxed())
        .await?;
    Ok(NewBody::Staged(staged))
}

/// Reads on a thread of its own, a few pieces ahead.
fn pieces(mut reader: Box<dyn Read + Send>, path: &Path) -> ByteStream {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let path = path.display().to_string();
    std::thread::spawn(move || {
        loop {
            let mut piece = Vec::with_capacity(PIECE);
            let read = reader.by_ref().take(PIECE as u64).read_to_end(&mut piece);
            let piece = match read {
                Ok(0) => return,
                Ok(_) => Ok(Bytes::from(piece)),
                Err(error) => Err(Error::other(format!("cannot read {path:?}")).because(error)),
            };
            let failed = piece.is_err();
            if sender.blocking_send(piece).is_err() || failed {
                return;
            }
        }
    });
    received(receiver).boxed()
}

/// What comes out of a channel, as a stream.
pub(crate) fn received<T: Send + 'static>(
    receiver: mpsc::Receiver<T>,
) -> impl futures_util::Stream<Item = T> + Send {
    stream::unfold(receiver, |mut receiver| async move {
        let next = receiver.recv().await?;
        Some((next, receiver))
    })
}

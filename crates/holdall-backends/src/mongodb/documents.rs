//! Items as documents, and back.

use std::ops::Range;

use bytes::Bytes;
use holdall_core::{
    Attrs, Body, ByteRange, Digest, Doc, Entry, Error, Holds, Item, Key, Parts, Result, Subject,
    Timestamp, Type, Value, Version, sort_key, sort_key_or_missing, words_of,
};
use mongodb::bson::raw::{RawArrayBuf, RawBson, RawDocumentBuf};
use mongodb::bson::{Binary, Document, RawDocument, cstr, doc, spec::BinarySubtype};

use super::catalogue::Declared;
use super::names::OWN;
use super::order;
use super::value::{self, foreign};

/// The most bytes of a document. MongoDB takes 16 MiB, and a command has to hold
/// more than the document.
const MAX_DOCUMENT: usize = 15 * 1024 * 1024;

/// The most words of a doc that an index holds; MongoDB takes 100,000 entries of
/// one document. One with more is found by every word, and asked again.
const MAX_WORDS: usize = 50_000;

/// Stands for any word.
pub(super) const ANY_WORD: &str = "";

/// The fields of an entry, without doc, body and what indexes need.
const ENTRY: [&str; 7] = [
    "version", "created", "modified", "size", "digest", "attrs", "file",
];

/// Where the body of an item lies.
#[derive(Clone, Debug, Default)]
pub(super) enum Kept {
    #[default]
    None,
    Inline(Bytes),
    File(Version),
}

/// An item that is to be written.
pub(super) struct New<'a> {
    pub(super) key: &'a Key,
    pub(super) entry: Entry,
    pub(super) attrs: &'a Attrs,
    pub(super) doc: &'a Value,
    pub(super) body: &'a Kept,
}

/// The document of an item.
pub(super) fn document(new: &New<'_>, indexes: &[Declared]) -> Result<RawDocumentBuf> {
    let mut own = RawDocumentBuf::new();
    own.append(cstr!("version"), uuid(new.entry.version));
    own.append(cstr!("created"), new.entry.created.as_micros());
    own.append(cstr!("modified"), new.entry.modified.as_micros());
    own.append(
        cstr!("size"),
        i64::try_from(new.entry.size).unwrap_or(i64::MAX),
    );
    if let Some(digest) = &new.entry.digest {
        own.append(cstr!("digest"), generic(digest.as_bytes()));
    }
    if !new.attrs.is_empty() {
        own.append(cstr!("attrs"), generic(&new.attrs.encode()));
    }
    match new.body {
        Kept::None => {}
        Kept::Inline(body) => own.append(cstr!("body"), generic(body)),
        Kept::File(id) => own.append(cstr!("file"), uuid(*id)),
    }
    append_indexes(&mut own, new, indexes)?;
    let mut out = RawDocumentBuf::new();
    out.append(cstr!("_id"), new.key.as_str());
    let members = new
        .doc
        .as_object()
        .ok_or_else(|| Error::corrupt("a doc is not a JSON object"))?;
    value::append_doc(&mut out, members)?;
    out.append(cstr!("_holdall"), own);
    if out.as_bytes().len() > MAX_DOCUMENT {
        return Err(Error::too_large(format!(
            "the document of the item, with what its indexes hold, has {} bytes in MongoDB; the limit is {MAX_DOCUMENT}",
            out.as_bytes().len()
        )));
    }
    Ok(out)
}

/// What indexes hold of an item: texts to sort by, words, and digests of what is
/// unique.
fn append_indexes(own: &mut RawDocumentBuf, new: &New<'_>, indexes: &[Declared]) -> Result<()> {
    let subject = Subject {
        key: new.key,
        entry: &new.entry,
        doc: new.doc,
    };
    let (mut sort, mut words, mut unique) = (
        RawDocumentBuf::new(),
        RawDocumentBuf::new(),
        RawDocumentBuf::new(),
    );
    for Declared { id, index, .. } in indexes {
        let id = value::c_string(&id.to_string())?;
        if index.holds == Holds::Words {
            let found = index.paths.first().and_then(|path| subject.at(path));
            if let Some(found) = found {
                words.append(&id, word_list(&found));
            }
            continue;
        }
        let values: Vec<_> = index.paths.iter().map(|path| subject.at(path)).collect();
        let only = match index.holds {
            Holds::Only(of) => Some(of),
            Holds::Any | Holds::Words => None,
        };
        if let Some(of) = only
            && !matches!(values.first(), Some(Some(value)) if Type::of(value) == of)
        {
            continue;
        }
        let mut place = Vec::new();
        for value in &values {
            place.extend(sort_key_or_missing(value.as_deref()));
        }
        if index.unique && values.iter().all(Option::is_some) {
            unique.append(&id, generic(Digest::of(&place).as_bytes()));
        }
        place.extend_from_slice(new.key.as_str().as_bytes());
        sort.append(&id, order::text(&place));
    }
    for (name, fields) in [
        (cstr!("sort"), sort),
        (cstr!("words"), words),
        (cstr!("unique"), unique),
    ] {
        if !fields.is_empty() {
            own.append(name, fields);
        }
    }
    Ok(())
}

fn word_list(found: &Value) -> RawArrayBuf {
    let mut list = words_of(found);
    list.sort_unstable();
    list.dedup();
    if list.len() > MAX_WORDS {
        list = vec![ANY_WORD.to_owned()];
    }
    let mut out = RawArrayBuf::new();
    for word in list {
        out.push(word);
    }
    out
}

/// What a unique index compares; `None` for a doc that is exempt.
pub(super) fn unique_digest(declared: &Declared, doc: &Value) -> Option<Digest> {
    let mut place = Vec::new();
    for path in &declared.index.paths {
        let value = path.in_doc(doc)?;
        if matches!(declared.index.holds, Holds::Only(of) if of != Type::of(value)) {
            return None;
        }
        place.extend(sort_key(value));
    }
    Some(Digest::of(&place))
}

fn uuid(version: Version) -> RawBson {
    RawBson::Binary(Binary {
        subtype: BinarySubtype::Uuid,
        bytes: version.as_bytes().to_vec(),
    })
}

fn generic(bytes: &[u8]) -> RawBson {
    RawBson::Binary(Binary {
        subtype: BinarySubtype::Generic,
        bytes: bytes.to_vec(),
    })
}

/// The fields that answer these parts; with the text of an index, to go on from.
pub(super) fn projection(parts: Parts, index: Option<i32>) -> Document {
    let own = |name: &str| format!("{OWN}.{name}");
    let mut out = Document::new();
    if parts.doc {
        for name in ["words", "unique"] {
            out.insert(own(name), 0);
        }
        if index.is_none() {
            out.insert(own("sort"), 0);
        }
        if !parts.body {
            out.insert(own("body"), 0);
        }
        return out;
    }
    for name in ENTRY {
        out.insert(own(name), 1);
    }
    if parts.body {
        out.insert(own("body"), 1);
    }
    if let Some(id) = index {
        out.insert(format!("{OWN}.sort.{id}"), 1);
    }
    out
}

/// What a writer needs of what is there.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) version: Version,
    pub(super) created: Timestamp,
    pub(super) file: Option<Version>,
    /// The digests of unique indexes.
    unique: Option<RawDocumentBuf>,
}

impl Found {
    pub(super) fn projection() -> Document {
        let own = |name: &str| format!("{OWN}.{name}");
        doc! { own("version"): 1, own("created"): 1, own("file"): 1, own("unique"): 1 }
    }

    pub(super) fn read(document: &RawDocument) -> Result<(String, Self)> {
        let own = own(document)?;
        let found = Self {
            version: version(own, "version")?,
            created: time(own, "created")?,
            file: file(own)?,
            unique: own.get_document("unique").ok().map(RawDocument::to_owned),
        };
        Ok((key_text(document)?.to_owned(), found))
    }

    /// Whether a document in the place of this one gives up a unique value, which
    /// another of the same batch may take.
    pub(super) fn gives_up(&self, new: &RawDocument) -> bool {
        let Some(old) = &self.unique else {
            return false;
        };
        let new = own(new)
            .ok()
            .and_then(|own| own.get_document("unique").ok());
        old.iter()
            .flatten()
            .any(|(id, value)| new.and_then(|new| new.get(id).ok().flatten()) != Some(value))
    }
}

fn own(document: &RawDocument) -> Result<&RawDocument> {
    document
        .get_document(OWN)
        .map_err(|_| foreign("it has no field _holdall"))
}

/// The key of a document.
pub(super) fn key_text(document: &RawDocument) -> Result<&str> {
    document
        .get_str("_id")
        .map_err(|_| foreign("its _id is no text"))
}

fn version(own: &RawDocument, name: &str) -> Result<Version> {
    match own.get_binary(name) {
        Ok(binary) => Version::from_slice(binary.bytes),
        Err(_) => Err(foreign("it has no version")),
    }
}

fn time(own: &RawDocument, name: &str) -> Result<Timestamp> {
    own.get_i64(name)
        .map(Timestamp::from_micros)
        .map_err(|_| foreign("it has no time"))
}

fn file(own: &RawDocument) -> Result<Option<Version>> {
    optional(own, "file").map(Version::from_slice).transpose()
}

fn optional<'a>(own: &'a RawDocument, name: &str) -> Option<&'a [u8]> {
    own.get_binary(name).ok().map(|binary| binary.bytes)
}

/// An item as its document tells it. The body of a large one is still a reference.
pub(super) struct Stored {
    pub(super) item: Item,
    /// The range that was asked for of a body in GridFS.
    pub(super) large: Option<(Version, Range<u64>)>,
    /// What it weighs in memory.
    pub(super) bytes: usize,
}

/// Reads a document that has the fields of [`projection`].
pub(super) fn stored(
    document: &RawDocument,
    parts: Parts,
    range: Option<ByteRange>,
) -> Result<Stored> {
    let key = Key::new(key_text(document)?)?;
    let own = own(document)?;
    let size = own
        .get_i64("size")
        .ok()
        .and_then(|size| u64::try_from(size).ok());
    let entry = Entry {
        version: version(own, "version")?,
        created: time(own, "created")?,
        modified: time(own, "modified")?,
        size: size.ok_or_else(|| foreign("it has no size"))?,
        digest: optional(own, "digest")
            .map(Digest::from_slice)
            .transpose()?,
    };
    let attrs = optional(own, "attrs")
        .map(Attrs::decode)
        .transpose()?
        .unwrap_or_default();
    let doc = parts.doc.then(|| value::read_doc(document)).transpose()?;
    let (mut body, mut large) = (None, None);
    if parts.body && entry.digest.is_some() {
        let range = range.map_or(Ok(0..entry.size), |range| range.resolve(entry.size))?;
        match file(own)? {
            Some(id) => large = Some((id, range)),
            None => body = Some(slice(optional(own, "body").unwrap_or_default(), range)?),
        }
    }
    let bytes = document.as_bytes().len();
    Ok(Stored {
        item: Item {
            key,
            entry,
            doc,
            body,
            attrs,
        },
        large,
        bytes,
    })
}

fn slice(bytes: &[u8], range: Range<u64>) -> Result<Body> {
    let ends = usize::try_from(range.start)
        .ok()
        .zip(usize::try_from(range.end).ok());
    match ends.and_then(|(start, end)| bytes.get(start..end)) {
        Some(part) => Ok(Body::from_bytes(Bytes::copy_from_slice(part), range.start)),
        None => Err(Error::corrupt(
            "a stored body is shorter than its entry says",
        )),
    }
}

/// The text that an index has of a document.
pub(super) fn sort_text(document: &RawDocument, index: i32) -> Result<String> {
    let sort = own(document)?.get_document("sort").ok();
    let text = sort.and_then(|sort| sort.get_str(index.to_string()).ok());
    text.map(str::to_owned)
        .ok_or_else(|| foreign("it is not in an index that covers it"))
}

/// The parsed doc and the entry of a document, for those who index it anew.
pub(super) fn whole(document: &RawDocument) -> Result<(Stored, Value)> {
    let stored = stored(document, Parts::DOC, None)?;
    let value = stored
        .item
        .doc
        .as_ref()
        .map_or_else(|| Ok(Value::Null), Doc::value)?;
    Ok((stored, value))
}

/// The fields that indexes need of an item, to be set in its document.
pub(super) fn index_fields(stored: &Stored, doc: &Value, indexes: &[Declared]) -> Result<Document> {
    let new = New {
        key: &stored.item.key,
        entry: stored.item.entry,
        attrs: &stored.item.attrs,
        doc,
        body: &Kept::None,
    };
    let mut own = RawDocumentBuf::new();
    append_indexes(&mut own, &new, indexes)?;
    let own = Document::try_from(own)
        .map_err(|error| Error::other("BSON was not made").because(error.to_string()))?;
    let mut fields = Document::new();
    for (kind, entries) in own {
        let Some(entries) = entries.as_document() else {
            continue;
        };
        for (id, value) in entries {
            fields.insert(format!("{OWN}.{kind}.{id}"), value.clone());
        }
    }
    Ok(fields)
}

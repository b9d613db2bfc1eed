//! Which collections there are, and which indexes they have.

use std::sync::Arc;

use futures_util::FutureExt;
use holdall_core::{CollectionName, Error, Holds, Index, Path, Result, Type};
use mongodb::ClientSession;
use mongodb::bson::{Bson, Document, doc};
use mongodb::options::ReadConcern;

use super::error::{EXISTS, Failure, code, failed};
use super::names::{self, COLLECTIONS};
use super::{Shared, value};

/// An index that a collection has.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Declared {
    /// Never used again in this collection.
    pub(super) id: i32,
    pub(super) index: Index,
    /// Whether all documents have it. Until then it is written, and not read.
    pub(super) ready: bool,
}

/// A collection as the catalogue has it.
#[derive(Clone, Debug, Default)]
pub(super) struct Layout {
    pub(super) indexes: Vec<Declared>,
    /// Counts the changes of `indexes`.
    pub(super) generation: i64,
    /// The id of the next index.
    pub(super) next: i32,
}

impl Layout {
    pub(super) fn read(entry: &Document) -> Result<Self> {
        let damaged = || value::foreign("a collection of the catalogue is damaged");
        let mut layout = Self {
            generation: entry.get_i64("generation").map_err(|_| damaged())?,
            next: entry.get_i32("next").map_err(|_| damaged())?,
            indexes: Vec::new(),
        };
        for index in entry.get_array("indexes").map_err(|_| damaged())? {
            let index = index.as_document().ok_or_else(damaged)?;
            layout.indexes.push(read_declared(index)?);
        }
        Ok(layout)
    }

    /// The indexes as the catalogue keeps them.
    pub(super) fn written(&self) -> Vec<Bson> {
        self.indexes.iter().map(write_declared).collect()
    }
}

fn write_declared(declared: &Declared) -> Bson {
    let paths: Vec<String> = declared
        .index
        .paths
        .iter()
        .map(ToString::to_string)
        .collect();
    let holds = match declared.index.holds {
        Holds::Any => "any",
        Holds::Words => "words",
        Holds::Only(of) => type_name(of),
    };
    Bson::Document(doc! {
        "id": declared.id,
        "paths": paths,
        "unique": declared.index.unique,
        "holds": holds,
        "ready": declared.ready,
    })
}

fn read_declared(index: &Document) -> Result<Declared> {
    let damaged = || value::foreign("an index of the catalogue is damaged");
    let paths = index.get_array("paths").map_err(|_| damaged())?;
    let paths = paths
        .iter()
        .map(|path| path.as_str().ok_or_else(damaged)?.parse())
        .collect::<Result<Vec<Path>>>()?;
    let holds = match index.get_str("holds").map_err(|_| damaged())? {
        "any" => Holds::Any,
        "words" => Holds::Words,
        name => Holds::Only(
            TYPES
                .into_iter()
                .find(|of| type_name(*of) == name)
                .ok_or_else(damaged)?,
        ),
    };
    let unique = index.get_bool("unique").map_err(|_| damaged())?;
    Ok(Declared {
        id: index.get_i32("id").map_err(|_| damaged())?,
        index: Index {
            paths,
            unique,
            holds,
        },
        ready: index.get_bool("ready").map_err(|_| damaged())?,
    })
}

const TYPES: [Type; 6] = [
    Type::Null,
    Type::Bool,
    Type::Number,
    Type::String,
    Type::Array,
    Type::Object,
];

fn type_name(of: Type) -> &'static str {
    match of {
        Type::Null => "null",
        Type::Bool => "bool",
        Type::Number => "number",
        Type::String => "string",
        Type::Array => "array",
        Type::Object => "object",
    }
}

/// What the catalogue says of a collection now.
pub(super) async fn layout(shared: &Shared, collection: &CollectionName) -> Result<Layout> {
    let catalogue = shared.database.collection::<Document>(COLLECTIONS);
    let find = catalogue.find_one(doc! { "_id": collection.as_str() });
    match shared.read(find).await? {
        Some(entry) => Layout::read(&entry),
        None => Ok(Layout::default()),
    }
}

/// The same for some collections, as a transaction sees it.
pub(super) async fn layouts(
    shared: &Shared,
    session: &mut ClientSession,
    collections: &[CollectionName],
) -> Result<Vec<Layout>, Failure> {
    let names: Vec<&str> = collections.iter().map(CollectionName::as_str).collect();
    let catalogue = shared.database.collection::<Document>(COLLECTIONS);
    let find = catalogue
        .find(doc! { "_id": { "$in": names } })
        .session(&mut *session);
    let mut cursor = shared.call(find).await?;
    let mut layouts = vec![Layout::default(); collections.len()];
    while shared.call(cursor.advance(session)).await? {
        let entry = cursor.deserialize_current()?;
        let name = entry.get_str("_id").unwrap_or_default();
        let at = collections
            .iter()
            .position(|collection| collection.as_str() == name);
        if let Some(place) = at.and_then(|at| layouts.get_mut(at)) {
            *place = Layout::read(&entry)?;
        }
    }
    Ok(layouts)
}

/// Makes what a collection needs before anything is written to it. A collection
/// stays for ever, even when it is dropped, so this is done once.
pub(super) async fn ensure(
    shared: &Arc<Shared>,
    collection: &CollectionName,
) -> Result<(), Failure> {
    if shared.known.lock().contains(collection) {
        return Ok(());
    }
    let table = names::table(collection);
    let catalogue = shared.database.collection::<Document>(COLLECTIONS);
    let by_name = doc! { "_id": collection.as_str() };
    if shared
        .call(catalogue.find_one(by_name.clone()))
        .await?
        .is_none()
    {
        let there = shared
            .database
            .list_collection_names()
            .filter(doc! { "name": &table });
        let there = !shared.call(there).await?.is_empty();
        // Whoever made it for this collection has entered it first.
        if there && shared.call(catalogue.find_one(by_name)).await?.is_none() {
            return Err(Failure::Error(
                Error::conflict(format!(
                    "MongoDB has a collection {table:?} that is not Holdall's; \
                 rename it there, or keep the store in a database of its own"
                ))
                .at(collection, None),
            ));
        }
        let entry = doc! {
            "_id": collection.as_str(),
            "collection": &table,
            "generation": 0_i64,
            "next": 1,
            "indexes": [],
        };
        match shared.call(catalogue.insert_one(entry)).await {
            Ok(_) | Err(Failure::Taken(_)) => {}
            Err(error) => return Err(error),
        }
    }
    let create = shared.database.create_collection(&table).into_future();
    let created = create.map(|created| match created {
        // Somebody else was first.
        Err(error) if code(&error) == Some(EXISTS) => Ok(()),
        other => other,
    });
    shared.call(created).await?;
    shared.known.lock().insert(collection.clone());
    Ok(())
}

/// The collections that ever were.
pub(super) async fn all(shared: &Shared) -> Result<Vec<CollectionName>> {
    let catalogue = shared.database.collection::<Document>(COLLECTIONS);
    let find = catalogue
        .find(doc! {})
        .projection(doc! { "_id": 1 })
        .sort(doc! { "_id": 1 })
        .read_concern(ReadConcern::majority());
    let mut cursor = shared.read(find).await?;
    let mut names = Vec::new();
    while shared.read(cursor.advance()).await? {
        let entry = cursor.deserialize_current().map_err(failed)?;
        let name = entry
            .get_str("_id")
            .map_err(|_| value::foreign("a collection has no name"))?;
        names.push(CollectionName::new(name)?);
    }
    Ok(names)
}

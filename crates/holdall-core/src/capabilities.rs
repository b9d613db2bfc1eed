//! What a backend can do.

/// What a backend, with the layers around it, can do. Each field is tested by
/// the conformance suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// What a batch may span and hold, after what layers and logs take.
    pub batch: BatchLimits,
    /// How far a reader sees a batch as a unit.
    pub snapshot: Snapshot,
    /// Which conditions are checked at commit.
    pub conditions: Conditions,
    /// Which changes [`watch`](crate::Backend::watch) tells.
    pub watch: Watch,
    /// Whether queries are answered by the backend's own means.
    pub query: QuerySupport,
    /// Whether a batch that was answered survives a loss of power.
    pub durable: bool,
    /// Whether several processes may work on it at once.
    pub shared: bool,
    /// The most bytes of a key; at most [`MAX_KEY`](crate::MAX_KEY).
    pub max_key: usize,
    /// The most bytes of a doc; at most [`MAX_DOC`](crate::MAX_DOC).
    pub max_doc: usize,
    /// The most bytes of a body.
    pub max_body: u64,
}

/// What a batch may span and hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// How far a batch may reach.
    pub scope: Scope,
    /// The most operations.
    pub max_ops: usize,
    /// The most bytes of all keys, docs, attrs and bodies given as bytes.
    pub max_bytes: u64,
}

/// How far a batch may reach and still be all or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// One item.
    Item,
    /// Items of one collection.
    Collection,
    /// Any items of the store. Such a backend records batch ids too.
    Store,
}

/// How far a reader sees a batch as a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Snapshot {
    /// One item is always whole; two items may be of different times.
    Item,
    /// What comes back in one page of a scan or query is of one time.
    Page,
    /// A whole stream is of one time.
    Stream,
}

/// Which conditions are checked at commit, against other writers too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Conditions {
    /// None.
    None,
    /// That the item is absent.
    CreateOnly,
    /// All.
    Full,
}

/// Which changes a watch tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Watch {
    /// None.
    None,
    /// All, and those of one key in their order.
    PerKey,
    /// All, in one order that every watcher sees.
    Total,
}

/// Who answers queries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum QuerySupport {
    /// The reference evaluator, over a scan.
    Scan,
    /// The backend, with its indexes.
    Native,
}

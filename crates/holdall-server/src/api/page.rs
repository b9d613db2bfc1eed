//! Many items at once: pages of lines.

use axum::extract::State;
use axum::response::Response;
use futures_util::TryStreamExt;
use holdall_core::{CollectionName, Error, Item, ItemStream, Query, Result, Scan};
use holdall_wire::{
    Count, Counts, GetMany, GroupShape, MAX_INLINE_BODY, PartsShape, QueryShape, names,
    write_absent, write_end, write_item,
};
use http::StatusCode;

use super::Api;
use super::content::Content;
use super::params::Params;
use crate::Answer;
use crate::access::{Caller, Verb};
use crate::budget::Hold;
use crate::kept::keep;
use crate::openapi;

/// Items of a page where nothing is said.
const PAGE: u64 = 100;

/// A page that is being written.
struct Page {
    text: Vec<u8>,
    parts: PartsShape,
    hold: Hold,
}

impl Page {
    fn new(api: &Api, parts: PartsShape) -> Self {
        Self {
            text: Vec::new(),
            parts,
            hold: api.budget().hold(),
        }
    }

    async fn add(&mut self, item: &mut Item) -> Result<()> {
        // A doc that is there to sort by, and not wanted, stays with the item.
        let unwanted = if self.parts.doc {
            None
        } else {
            item.doc.take()
        };
        let body = match item.body.take() {
            Some(body) if self.parts.body && body.len() <= MAX_INLINE_BODY => {
                let limit = usize::try_from(MAX_INLINE_BODY).unwrap_or(usize::MAX);
                Some(body.bytes(limit).await?)
            }
            _ => None,
        };
        write_item(&mut self.text, item, body.as_ref(), self.parts.attrs);
        item.doc = item.doc.take().or(unwanted);
        self.hold.grow_to(self.text.len() as u64)
    }

    fn is_full(&self, api: &Api) -> bool {
        self.text.len() as u64 >= api.limits().max_page_bytes
    }

    fn end(mut self, next: Option<String>) -> Response {
        write_end(&mut self.text, next);
        let page = super::content(StatusCode::OK, names::LINES_TYPE, self.text.into());
        // Whoever reads slowly has it in memory until the end.
        keep(page, self.hold)
    }
}

/// Reads several items
///
/// A line for each key, in their order.
#[utoipa::path(
    post, path = "/v1/get-many", operation_id = "get_many", tag = "Many items",
    params(openapi::InCollection),
    request_body = GetMany,
    responses(openapi::PageOfLines, openapi::MayBeUnsupported, openapi::WithContent, openapi::Usual),
)]
pub(super) async fn get_many(
    State(api): State<Api>,
    caller: Caller,
    mut params: Params,
    content: Content,
) -> Answer {
    /// Docs of so many are in memory at once.
    const AT_ONCE: usize = 16;
    let collection = params.collection()?;
    params.finish()?;
    caller.may(Verb::Read, &collection)?;
    let wanted: GetMany = content.json().await?;
    check_page(&api, wanted.keys.len() as u64)?;
    let keys = wanted.read_keys()?;
    let mut page = Page::new(&api, wanted.parts());
    let mut answered = 0;
    for some in keys.chunks(AT_ONCE) {
        if page.is_full(&api) {
            return Ok(page.end(Some(answered.to_string())));
        }
        let parts = wanted.parts().into();
        for item in api.backend().get_many(&collection, some, parts).await? {
            match item {
                Some(mut item) => page.add(&mut item).await?,
                None => write_absent(&mut page.text),
            }
        }
        answered += some.len();
    }
    Ok(page.end(None))
}

/// Lists items by key
#[utoipa::path(
    get,
    path = "/v1/scan",
    operation_id = "scan",
    tag = "Many items",
    params(openapi::InCollection, openapi::Scanning),
    responses(openapi::PageOfLines, openapi::MayBeUnsupported, openapi::Usual)
)]
pub(super) async fn scan(State(api): State<Api>, caller: Caller, mut params: Params) -> Answer {
    let collection = params.collection()?;
    let parts = PartsShape {
        doc: params.flag("doc", true)?,
        body: params.flag("body", false)?,
        attrs: params.flag("attrs", false)?,
    };
    let mut scan = Scan {
        prefix: params.text("prefix"),
        after: params.text("after"),
        reverse: params.flag("reverse", false)?,
        limit: params.number("limit")?,
        parts: parts.into(),
    };
    params.finish()?;
    caller.may(Verb::Read, &collection)?;
    let limit = scan.limit.unwrap_or(PAGE);
    check_page(&api, limit)?;
    // One more tells whether there is a next page.
    scan.limit = Some(limit + 1);
    let items = api.backend().scan(&collection, scan);
    let next = |item: &Item| Ok(item.key.as_str().to_owned());
    one_page(&api, parts, limit, items, next).await
}

/// Finds items
///
/// Those that a filter matches, in the order that is asked for.
#[utoipa::path(
    post, path = "/v1/query", operation_id = "query", tag = "Many items",
    params(openapi::InCollection),
    request_body = QueryShape,
    responses(openapi::PageOfLines, openapi::MayBeUnsupported, openapi::WithContent, openapi::Usual),
)]
pub(super) async fn query(
    State(api): State<Api>,
    caller: Caller,
    mut params: Params,
    content: Content,
) -> Answer {
    let collection = params.collection()?;
    params.finish()?;
    caller.may(Verb::Read, &collection)?;
    let wanted: QueryShape = content.json().await?;
    let (query, limit) = query_of(&api, &wanted)?;
    let items = api.backend().query(&collection, query.clone());
    of_query(&api, wanted.parts(), &query, limit, items).await
}

/// The query for a page, and how many items that has.
pub(super) fn query_of(api: &Api, wanted: &QueryShape) -> Result<(Query, u64)> {
    let mut query = wanted.read()?;
    let limit = query.limit.unwrap_or(PAGE);
    check_page(api, limit)?;
    // One more tells whether there is a next page.
    query.limit = Some(limit + 1);
    // The cursor is made of the values that the items are sorted by.
    query.parts.doc |= query.reads_doc();
    Ok((query, limit))
}

pub(super) async fn of_query(
    api: &Api,
    parts: PartsShape,
    query: &Query,
    limit: u64,
    items: ItemStream,
) -> Answer {
    let next = |item: &Item| query.cursor(item).map(|cursor| cursor.to_string());
    one_page(api, parts, limit, items, next).await
}

async fn one_page(
    api: &Api,
    parts: PartsShape,
    limit: u64,
    mut items: ItemStream,
    next: impl Fn(&Item) -> Result<String>,
) -> Answer {
    let mut page = Page::new(api, parts);
    let mut left = limit;
    let mut last: Option<Item> = None;
    while let Some(mut item) = items.try_next().await? {
        if left == 0 || page.is_full(api) {
            // Of a page of no items there is none to go on from.
            return Ok(page.end(last.as_ref().map(next).transpose()?));
        }
        left -= 1;
        page.add(&mut item).await?;
        last = Some(item);
    }
    Ok(page.end(None))
}

fn check_page(api: &Api, size: u64) -> Result<()> {
    let most = api.limits().max_page as u64;
    if size <= most {
        return Ok(());
    }
    Err(Error::too_large(format!(
        "a page of {size} items was asked for; the limit of this server is {most}. Ask for the rest with `after`"
    )))
}

/// Counts items
///
/// All that a filter matches, or by the value at a path.
#[utoipa::path(
    post, path = "/v1/count", operation_id = "count", tag = "Many items",
    params(openapi::InCollection),
    request_body = Count,
    responses(openapi::Counted, openapi::WithContent, openapi::Usual),
)]
pub(super) async fn count(
    State(api): State<Api>,
    caller: Caller,
    mut params: Params,
    content: Content,
) -> Answer {
    let collection: CollectionName = params.collection()?;
    params.finish()?;
    caller.may(Verb::Read, &collection)?;
    let wanted: Count = content.json().await?;
    let (filter, by) = wanted.read()?;
    let mut counts = Counts::default();
    match by {
        None => counts.count = Some(api.backend().count(&collection, &filter).await?),
        Some(path) => {
            let groups = api.backend().count_by(&collection, &filter, &path).await?;
            counts.groups = Some(groups.into_iter().map(GroupShape::from).collect());
        }
    }
    super::json(StatusCode::OK, &counts)
}

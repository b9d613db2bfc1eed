//! STUB until merged.
use axum::extract::FromRequestParts;
use holdall_core::{CollectionName, Result};
use http::request::Parts;

#[derive(Clone, Copy, Debug)]
pub enum Verb {
    Read,
    Write,
    Watch,
    Admin,
    Metrics,
}
#[derive(Clone, Debug)]
pub struct Caller;
impl Caller {
    pub fn may(&self, _: Verb, _: &CollectionName) -> Result<()> {
        Ok(())
    }
    pub fn may_any(&self, _: Verb) -> Result<()> {
        Ok(())
    }
    pub fn reaches(&self, _: Verb, _: &CollectionName) -> bool {
        true
    }
    pub fn id(&self) -> Option<&str> {
        None
    }
}
impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = std::convert::Infallible;
    async fn from_request_parts(_: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self)
    }
}

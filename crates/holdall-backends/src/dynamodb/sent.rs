//! What was sent and not answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_sdk_dynamodb::config::interceptors::{
    BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef,
};
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::{BoxError, ConnectorError};
use holdall_core::{Error, Retry};

use super::error::causes;

/// Counts the requests of a call that may still take effect.
///
/// The library sends a request again and tells the last error alone. That may be one of
/// a request that was refused, or that never left, while an earlier one arrived.
#[derive(Clone, Debug, Default)]
pub(super) struct Sent(Arc<AtomicUsize>);

impl Sent {
    pub(super) fn is_open(&self) -> bool {
        self.0.load(Ordering::SeqCst) > 0
    }

    /// An error of the call. Where a request is open, the outcome is not known.
    pub(super) fn unknown(&self, error: Error) -> Error {
        match self.is_open() {
            true => error.with_retry(Retry::Unknown),
            false => error,
        }
    }
}

impl Intercept for Sent {
    fn name(&self) -> &'static str {
        "holdall"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let (said, error) = match context.output_or_error() {
            Some(Ok(_)) => (true, None),
            // Those behind 500 do not know themselves.
            Some(Err(error)) => {
                let status = context.response().map(|response| response.status());
                let refused = status.is_some_and(|status| status.is_client_error());
                (refused, error.as_connector_error())
            }
            None => (false, None),
        };
        if said || error.is_some_and(never_left) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
        Ok(())
    }
}

/// Whether there was no connection.
fn never_left(error: &ConnectorError) -> bool {
    causes(error).any(|cause| {
        let client = cause.downcast_ref::<hyper_util::client::legacy::Error>();
        client.is_some_and(hyper_util::client::legacy::Error::is_connect)
    })
}

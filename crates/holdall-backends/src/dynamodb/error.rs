//! Turns what DynamoDB says, and what happens on the way there, into errors of
//! Holdall.

use std::error::Error as StdError;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use holdall_core::{Error, Retry};

/// Why a call has no answer.
#[derive(Debug)]
pub(super) enum Fault {
    /// It never left, or was refused: nothing happened.
    Failed(Error),
    /// It may have been sent, and what became of it is not known.
    Lost(Error),
}

impl Fault {
    /// The error of a call that changes nothing, or that may be made twice.
    pub(super) fn of_read(self) -> Error {
        match self {
            Self::Failed(error) | Self::Lost(error) => error,
        }
    }

    /// The error of a call that changes something.
    pub(super) fn of_write(self) -> Error {
        match self {
            Self::Failed(error) => error,
            Self::Lost(error) => error.with_retry(Retry::Unknown),
        }
    }
}

/// Reads the error of a call.
pub(super) fn fault<E, R>(error: &SdkError<E, R>) -> Fault
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    let within = |fault: Error| fault.in_backend("dynamodb");
    match error {
        SdkError::ServiceError(service) => {
            let meta = service.err().meta();
            let (code, message) = (meta.code(), meta.message());
            let fault = said(code.unwrap_or_default(), message.unwrap_or_default());
            match code {
                // The server does not know itself.
                Some("InternalServerError" | "InternalServerErrorException") | None => {
                    Fault::Lost(within(fault))
                }
                _ => Fault::Failed(within(fault)),
            }
        }
        SdkError::TimeoutError(_) => Fault::Lost(within(Error::timeout(
            "DynamoDB did not answer in time; it may be throttled or out of reach, or allow it more by the option timeout",
        ))),
        SdkError::DispatchFailure(failure) => {
            let cause = failure
                .as_connector_error()
                .map(cause_of)
                .unwrap_or_default();
            if cause.contains("no providers in chain") || cause.contains("credential") {
                return Fault::Failed(within(no_credentials()));
            }
            let message = format!(
                "cannot reach DynamoDB: {cause}. Are region and endpoint right, and is it running?"
            );
            Fault::Lost(within(Error::unavailable(message)))
        }
        SdkError::ConstructionFailure(_) => Fault::Failed(within(no_credentials())),
        _ => Fault::Lost(within(Error::unavailable(
            "the answer of DynamoDB cannot be read. Does something on the way change it?",
        ))),
    }
}

fn no_credentials() -> Error {
    Error::denied(
        "the request cannot be made: region or keys are missing. Give the options region, access_key_id and secret_access_key",
    )
}

/// What lies at the bottom of an error.
fn cause_of(error: &(impl StdError + 'static)) -> String {
    let mut at: &(dyn StdError + 'static) = error;
    for _ in 0..16 {
        match at.source() {
            Some(source) => at = source,
            None => break,
        }
    }
    at.to_string()
}

fn said(code: &str, message: &str) -> Error {
    match code {
        "ProvisionedThroughputExceededException"
        | "ThrottlingException"
        | "ThrottlingError"
        | "RequestLimitExceeded"
        | "ProvisionedThroughputExceeded" => Error::unavailable(
            "DynamoDB slows us down, as the table's capacity or the account's is used up; try again, or give it more",
        ),
        "ResourceNotFoundException" => Error::not_found(
            "there is no such table. Are name and region right? It is made with create_table=true",
        ),
        "AccessDeniedException" => Error::denied(format!(
            "DynamoDB does not allow these keys the call; docs/dynamodb.md lists what is needed ({message})"
        )),
        "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "MissingAuthenticationTokenException"
        | "MissingAuthenticationToken"
        | "IncompleteSignatureException" => Error::denied(
            "DynamoDB does not let in: the access keys are wrong, or of another region",
        ),
        "ExpiredTokenException" => {
            Error::denied("DynamoDB does not let in: the session token has expired; give a new one")
        }
        "LimitExceededException" => {
            Error::unavailable("DynamoDB makes no more tables right now; try again")
        }
        "ItemCollectionSizeLimitExceededException" | "ValidationException" | "ValidationError" => {
            Error::other(format!(
                "DynamoDB refused a call; this is a bug of Holdall ({message})"
            ))
        }
        "InternalServerError" | "ServiceUnavailable" | "TransactionInProgressException" => {
            Error::unavailable("DynamoDB cannot answer right now; try again")
        }
        _ => Error::other(format!("DynamoDB refused a call: {code} ({message})")),
    }
}

/// Stored data of a shape that Holdall does not make.
pub(super) fn damaged(what: &str) -> Error {
    Error::corrupt(format!(
        "{what} in DynamoDB cannot be read. Do other programs write to the store's partitions?"
    ))
    .in_backend("dynamodb")
}
